//! Where bytes come from: a file or standard input, `.gz` and `.zst` unpacked, its content recognized
//! from its first bytes; and text read line by line with the place at hand.

use std::convert::Infallible;
use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::{Error, Result};

const BUFFER: usize = 1 << 20;

/// An input as it is named on the command line; `-` is standard input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// Standard input.
    Stdin,
    /// A file.
    Path(PathBuf),
}

impl FromStr for Input {
    type Err = Infallible;

    fn from_str(text: &str) -> std::result::Result<Self, Infallible> {
        Ok(if text == "-" { Input::Stdin } else { Input::Path(text.into()) })
    }
}

impl From<&Path> for Input {
    fn from(path: &Path) -> Self {
        Input::Path(path.into())
    }
}

impl fmt::Display for Input {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Input::Stdin => f.write_str("standard input"),
            Input::Path(path) => path.display().fmt(f),
        }
    }
}

/// What the first bytes say an input is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// Arrow IPC file.
    ArrowFile,
    /// Arrow IPC stream.
    ArrowStream,
    /// Parquet file.
    Parquet,
    /// Anything else: text, until it turns out not to be.
    Text,
}

/// An opened input.
pub struct Source {
    /// The name used in errors.
    pub name: String,
    /// What it holds.
    pub content: Content,
    /// Its bytes, unpacked, from the beginning.
    pub reader: Box<dyn BufRead + Send>,
    file: Option<File>,
}

impl Input {
    /// Opens the input and looks at its first bytes.
    ///
    /// # Errors
    /// A missing file, a folder, an empty input, a broken `.gz` or `.zst`.
    pub fn open(&self) -> Result<Source> {
        let name = self.to_string();
        let (reader, file): (Box<dyn Read + Send>, _) = match self {
            Input::Stdin => {
                use std::io::IsTerminal;
                if io::stdin().is_terminal() {
                    return Err(
                        Error::new(&name, "is a terminal").hint("name a file, or pipe something in; see --help")
                    );
                }
                (Box::new(io::stdin()), None)
            }
            Input::Path(path) => {
                let file = File::open(path).map_err(Error::io(&name))?;
                if file.metadata().map_err(Error::io(&name))?.is_dir() {
                    return Err(Error::new(&name, "is a folder, expected a file"));
                }
                let copy = file.try_clone().map_err(Error::io(&name))?;
                (Box::new(file), Some(copy))
            }
        };
        let mut reader = BufReader::with_capacity(BUFFER, reader);
        let head = peek(&mut reader, 8).map_err(Error::io(&name))?;
        if head.is_empty() {
            return Err(Error::new(&name, "is empty").hint("did the command that should have made it fail?"));
        }
        let packed = head.starts_with(&[0x1f, 0x8b]) || head.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]);
        let reader: Box<dyn Read + Send> = Box::new(Cursor::new(head.clone()).chain(reader));
        let unpacked: Box<dyn Read + Send> = match packed {
            true if head[0] == 0x1f => Box::new(flate2::read::MultiGzDecoder::new(reader)),
            true => Box::new(zstd::Decoder::new(reader).map_err(Error::io(&name))?),
            false => reader,
        };
        let mut reader = BufReader::with_capacity(BUFFER, unpacked);
        let head = peek(&mut reader, 8).map_err(Error::io(&name))?;
        let content = match &head[..] {
            [b'A', b'R', b'R', b'O', b'W', b'1', ..] => Content::ArrowFile,
            [b'P', b'A', b'R', b'1', ..] => Content::Parquet,
            [0xff, 0xff, 0xff, 0xff, ..] => Content::ArrowStream,
            _ => Content::Text,
        };
        let file = file.filter(|_| !packed);
        Ok(Source { name, content, reader: Box::new(BufReader::new(Cursor::new(head).chain(reader))), file })
    }
}

impl Source {
    /// The input as a file one can seek in; standard input and packed files are copied to a temporary one.
    pub fn into_file(mut self) -> Result<File> {
        let mut file = match self.file.take() {
            Some(file) => file,
            None => {
                let mut file = tempfile::tempfile().map_err(Error::io(&self.name))?;
                io::copy(&mut self.reader, &mut file).map_err(Error::io(&self.name))?;
                file
            }
        };
        file.seek(SeekFrom::Start(0)).map_err(Error::io(&self.name))?;
        Ok(file)
    }

    /// The input as lines of text.
    pub fn into_lines(self) -> Lines {
        Lines { name: self.name, reader: self.reader, buffer: Vec::new(), number: 0 }
    }
}

/// The first bytes of `reader`, at most `count`, which it then no longer yields.
fn peek(reader: &mut impl Read, count: usize) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    reader.by_ref().take(count as u64).read_to_end(&mut head)?;
    Ok(head)
}

/// Lines of a text, without their `\n` or `\r\n`.
pub struct Lines {
    name: String,
    reader: Box<dyn BufRead + Send>,
    buffer: Vec<u8>,
    number: usize,
}

impl Lines {
    /// The next line; none at the end.
    ///
    /// # Errors
    /// Invalid UTF-8, with the line's number.
    pub fn next_line(&mut self) -> Result<Option<&str>> {
        self.buffer.clear();
        let read = self.reader.read_until(b'\n', &mut self.buffer).map_err(Error::io(&self.name))?;
        if read == 0 {
            return Ok(None);
        }
        self.number += 1;
        line(&self.buffer, || place(&self.name, self.number)).map(Some)
    }

    /// The next lines, some `size` bytes of them; none at the end.
    pub(crate) fn next_block(&mut self, size: usize) -> Result<Option<Block>> {
        let mut bytes = Vec::with_capacity(size + 1024);
        let read = self.reader.by_ref().take(size as u64).read_to_end(&mut bytes);
        read.and_then(|_| self.reader.read_until(b'\n', &mut bytes)).map_err(Error::io(&self.name))?;
        let first = self.number + 1;
        let unended = bytes.last().is_some_and(|&last| last != b'\n');
        self.number += bytes.iter().filter(|&&byte| byte == b'\n').count() + usize::from(unended);
        Ok((!bytes.is_empty()).then_some(Block { bytes, first }))
    }

    /// Number of the last line read, from 1.
    pub fn number(&self) -> usize {
        self.number
    }

    /// `file: line N` of the last line read.
    pub fn place(&self) -> String {
        place(&self.name, self.number)
    }

    /// The name used in errors.
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// Whole lines, with the number of the first one.
pub(crate) struct Block {
    bytes: Vec<u8>,
    first: usize,
}

impl Block {
    /// One line that was read by itself.
    pub(crate) fn of_line(line: String, number: usize) -> Block {
        Block { bytes: line.into_bytes(), first: number }
    }

    /// The lines, as [`Lines::next_line`] gives them, with their numbers; `name` is the file's.
    pub(crate) fn lines(&self, name: &str) -> impl Iterator<Item = (usize, Result<&str>)> {
        let lines = self.bytes.split_inclusive(|&byte| byte == b'\n');
        (self.first..).zip(lines).map(move |(number, bytes)| (number, line(bytes, || place(name, number))))
    }
}

/// A line without its end.
fn line(bytes: &[u8], place: impl FnOnce() -> String) -> Result<&str> {
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
    std::str::from_utf8(bytes)
        .map_err(|e| Error::new(place(), format!("is not UTF-8 (byte {} of the line)", e.valid_up_to() + 1)))
}

/// Where a line is, for errors.
pub(crate) fn place(name: &str, number: usize) -> String {
    format!("{name}: line {number}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_of_any_size_have_the_lines() {
        for text in ["one\ntwo\n\nfour\r\nfünf\n", "no end", "\n\n", "a\nb"] {
            let lines = || Lines { name: "t".into(), reader: Box::new(text.as_bytes()), buffer: vec![], number: 0 };
            let (mut one_by_one, mut expected) = (lines(), Vec::new());
            while let Some(line) = one_by_one.next_line().unwrap().map(str::to_owned) {
                expected.push((one_by_one.number(), line));
            }
            for size in 1..20 {
                let (mut blocks, mut found) = (lines(), Vec::new());
                while let Some(block) = blocks.next_block(size).unwrap() {
                    found.extend(block.lines("t").map(|(number, line)| (number, line.unwrap().to_owned())));
                }
                assert_eq!(found, expected, "blocks of {size} bytes of {text:?}");
                assert_eq!(blocks.number(), one_by_one.number());
            }
        }
    }
}
