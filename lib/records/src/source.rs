//! Where bytes come from: a file or standard input, `.gz` and `.zst` unpacked, its content recognized
//! from its first bytes; and text read line by line with the place at hand.

use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, IsTerminal, Read, Seek, SeekFrom};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::output::is_descriptor;
use crate::{Error, Result, streams};

const BUFFER: usize = 1 << 20;

/// What means standard input on a command line.
const STDIN: &str = "-";

/// The byte order mark, in UTF-8.
pub const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// Bytes that a line of text may have, unless the user allows more: a packed file of a few kilobytes may be one line
/// of gigabytes.
pub const MAX_LINE: usize = 64 << 20;

/// An input as it is named on the command line; `-` is standard input, and so are its other names.
#[derive(Clone, Debug)]
pub enum Input {
    /// Standard input.
    Stdin,
    /// A file, or a pipe that has a name.
    Path(PathBuf),
    /// An open file that can be read any number of times, such as a copy of an input that can't; see
    /// [`Input::reopenable`].
    Opened(OpenedFile),
}

/// An open file and what it is called.
#[derive(Clone, Debug)]
pub struct OpenedFile {
    name: String,
    /// Leads to the file as long as it is open.
    path: PathBuf,
    _file: Arc<File>,
}

impl OpenedFile {
    /// `file`, called `name` in errors.
    pub fn new(name: impl ToString, file: File) -> Self {
        let path = format!("/proc/self/fd/{}", file.as_raw_fd()).into();
        OpenedFile { name: name.to_string(), path, _file: Arc::new(file) }
    }
}

impl From<OsString> for Input {
    fn from(text: OsString) -> Self {
        let path = PathBuf::from(text);
        if path.as_os_str() == STDIN || is_descriptor(&path, 0) { Input::Stdin } else { Input::Path(path) }
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
            Input::Opened(file) => f.write_str(&file.name),
        }
    }
}

/// What two of `inputs` name that can be read only once: standard input, or the same pipe.
pub(crate) fn named_twice(inputs: &[&Input]) -> Option<String> {
    let pipe = |input: &Input| {
        let path = if let Input::Stdin = input { Path::new("/dev/stdin") } else { input.path() };
        let found = std::fs::metadata(path).ok().filter(|found| found.file_type().is_fifo());
        found.map(|found| (found.dev(), found.ino()))
    };
    let same = |one: &Input, other: &Input| match (one, other) {
        (Input::Stdin, Input::Stdin) => true,
        _ => pipe(one).is_some() && pipe(one) == pipe(other),
    };
    let twice = |index: &usize| inputs[..*index].iter().any(|before| same(before, inputs[*index]));
    (0..inputs.len()).find(twice).map(|index| inputs[index].to_string())
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
    /// Whether it was packed, so that few bytes may have become many.
    pub packed: bool,
    file: Option<File>,
}

impl Input {
    /// A path that leads to it, for libraries; `-` for standard input. It is UTF-8 for an opened file.
    pub fn path(&self) -> &Path {
        match self {
            Input::Stdin => Path::new(STDIN),
            Input::Path(path) => path,
            Input::Opened(file) => &file.path,
        }
    }

    /// Whether it is a file that can be opened again and read from its beginning, unlike a pipe.
    pub fn is_reopenable(&self) -> bool {
        match self {
            Input::Stdin => false,
            Input::Path(path) => path.is_file(),
            Input::Opened(_) => true,
        }
    }

    /// This input if it can be opened again; else a copy of its bytes, in a temporary file that has no name and so
    /// is gone with the program.
    ///
    /// # Errors
    /// As [`Input::open`].
    pub fn reopenable(&self) -> Result<Input> {
        match self.is_reopenable() {
            true => Ok(self.clone()),
            false => Ok(Input::Opened(OpenedFile::new(self, self.open()?.into_file()?))),
        }
    }

    /// Opens the input and looks at its first bytes. A pipe can be opened once only.
    ///
    /// # Errors
    /// A missing file, a folder, an empty input, a broken `.gz` or `.zst`.
    pub fn open(&self) -> Result<Source> {
        let name = self.to_string();
        let (reader, file): (Box<dyn Read + Send>, _) = match self {
            Input::Stdin if streams::stdin_was_closed() => {
                return Err(Error::new(&name, "is closed").hint("name a file, or pipe something in; see --help"));
            }
            Input::Stdin if io::stdin().is_terminal() => {
                return Err(Error::new(&name, "is a terminal").hint("name a file, or pipe something in; see --help"));
            }
            Input::Stdin => (Box::new(io::stdin()), None),
            Input::Path(path) | Input::Opened(OpenedFile { path, .. }) => {
                let file = File::open(path).map_err(Error::io(&name))?;
                let found = file.metadata().map_err(Error::io(&name))?;
                if found.is_dir() {
                    return Err(Error::new(&name, "is a folder, expected a file"));
                }
                let copy = found.is_file().then(|| file.try_clone()).transpose().map_err(Error::io(&name))?;
                (Box::new(file), copy)
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
        if content == Content::Text && (head.starts_with(&[0xff, 0xfe]) || head.starts_with(&[0xfe, 0xff])) {
            return Err(
                Error::new(&name, "is UTF-16, expected UTF-8").hint("iconv -f UTF-16 -t UTF-8 turns it into that")
            );
        }
        let file = file.filter(|_| !packed);
        let reader = Box::new(BufReader::new(Cursor::new(head).chain(reader)));
        Ok(Source { name, content, reader, packed, file })
    }
}

impl Source {
    /// The input as a file one can seek in; pipes and packed files are copied to a temporary one.
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
        Lines { name: self.name, reader: self.reader, buffer: Vec::new(), number: 0, max_line: MAX_LINE }
    }

    /// The whole input as text, which may have `limit` bytes.
    ///
    /// # Errors
    /// More bytes than that, and invalid UTF-8.
    pub fn into_text(self, limit: u64) -> Result<String> {
        let bytes = read_at_most(self.reader, limit, &self.name)?;
        String::from_utf8(bytes).map_err(|e| Error::new(&self.name, format!("is not UTF-8: {}", e.utf8_error())))
    }
}

/// A whole file that is read at once, and that is known to be small: it may have `limit` bytes.
///
/// # Errors
/// A missing file, a folder, and one with more bytes than that.
pub fn read_small(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let name = path.display().to_string();
    let file = File::open(path).map_err(Error::io(&name))?;
    read_at_most(file, limit, &name)
}

fn read_at_most(reader: impl Read, limit: u64, name: &str) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.take(limit + 1).read_to_end(&mut bytes).map_err(Error::io(name))?;
    match bytes.len() as u64 <= limit {
        true => Ok(bytes),
        false => Err(Error::new(name, format!("has more than {} MiB, which can't be right", limit >> 20))),
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
    max_line: usize,
}

impl Lines {
    /// Allows lines of at most `bytes` bytes instead of [`MAX_LINE`].
    pub fn set_max_line(&mut self, bytes: usize) {
        self.max_line = bytes;
    }

    /// The next line; none at the end.
    ///
    /// # Errors
    /// Invalid UTF-8 and a line that is too long, with the line's number.
    pub fn next_line(&mut self) -> Result<Option<&str>> {
        self.buffer.clear();
        let most = self.max_line as u64 + 1;
        let read = self.reader.by_ref().take(most).read_until(b'\n', &mut self.buffer);
        if read.map_err(Error::io(&self.name))? == 0 {
            return Ok(None);
        }
        self.number += 1;
        self.check_length(&self.buffer)?;
        line(&self.buffer, || place(&self.name, self.number)).map(Some)
    }

    /// The next lines, some `size` bytes of them; none at the end.
    pub(crate) fn next_block(&mut self, size: usize) -> Result<Option<Block>> {
        let mut bytes = Vec::with_capacity(size + 1024);
        let read = self.reader.by_ref().take(size as u64).read_to_end(&mut bytes);
        let most = self.max_line as u64 + 1;
        read.and_then(|_| self.reader.by_ref().take(most).read_until(b'\n', &mut bytes))
            .map_err(Error::io(&self.name))?;
        let first = self.number + 1;
        let unended = bytes.last().is_some_and(|&last| last != b'\n');
        self.number += bytes.iter().filter(|&&byte| byte == b'\n').count() + usize::from(unended);
        let end = bytes.len() - usize::from(!unended && !bytes.is_empty());
        let last = bytes[..end].iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
        self.check_length(&bytes[last..])?;
        Ok((!bytes.is_empty()).then_some(Block { bytes, first }))
    }

    /// Checks the last line that was read, of which there may be more.
    fn check_length(&self, line: &[u8]) -> Result<()> {
        match line.strip_suffix(b"\n").unwrap_or(line).len() <= self.max_line {
            true => Ok(()),
            false => Err(Error::new(self.place(), format!("has more than {} bytes", self.max_line))
                .hint("a line is one text or one row; for texts, tokenize --max-line allows more")),
        }
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
    /// The lines, as [`Lines::next_line`] gives them, with their numbers; `name` is the file's.
    pub(crate) fn lines(&self, name: &str) -> impl Iterator<Item = (usize, Result<&str>)> {
        let lines = self.bytes.split_inclusive(|&byte| byte == b'\n');
        (self.first..).zip(lines).map(move |(number, bytes)| (number, line(bytes, || place(name, number))))
    }
}

/// A line without its end, and without the byte order mark that some programs begin a file with (several such files,
/// one behind the other, have several).
fn line(bytes: &[u8], place: impl FnOnce() -> String) -> Result<&str> {
    let bytes = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
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
        for text in ["one\ntwo\n\nfour\r\nfünf\n", "no end", "\n\n", "a\nb", "\u{feff}a\nb"] {
            let lines = || Lines {
                name: "t".into(),
                reader: Box::new(text.as_bytes()),
                buffer: vec![],
                number: 0,
                max_line: MAX_LINE,
            };
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
