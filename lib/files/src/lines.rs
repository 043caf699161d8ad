//! Text line by line, or in blocks of whole lines.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};

use hardmine_records::{Error, Place, Result};

/// The byte order mark, in UTF-8.
pub const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// Bytes that a line of text may have, unless the user allows more: a packed file of a few kilobytes may be one line
/// of gigabytes.
pub const MAX_LINE: usize = 64 << 20;

/// Bytes that are read at once after a jump.
const BUFFER: usize = 1 << 20;

/// Lines of a text, without their `\n` or `\r\n`.
pub struct Lines {
    name: String,
    reader: Box<dyn BufRead + Send>,
    buffer: Vec<u8>,
    number: usize,
    max_line: usize,
    /// The file itself, if it is not packed, and how many of its bytes were read as lines.
    file: Option<File>,
    offset: u64,
}

/// Where a line ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineEnd {
    /// Bytes of the file up to there.
    pub bytes: u64,
    /// Lines of the file up to there.
    pub lines: usize,
}

impl Lines {
    pub(crate) fn new(name: String, reader: Box<dyn BufRead + Send>) -> Self {
        Lines { name, reader, buffer: Vec::new(), number: 0, max_line: MAX_LINE, file: None, offset: 0 }
    }

    /// Lines that can also be read [from a place](Lines::jump) in `file`.
    pub(crate) fn in_file(self, file: Option<File>) -> Self {
        Lines { file, ..self }
    }

    /// Where the last line ended that [`Lines::next_line`] gave; none if the file is packed or a pipe, so that there is
    /// no way to get there without reading it.
    pub fn end(&self) -> Option<LineEnd> {
        self.file.as_ref().map(|_| LineEnd { bytes: self.offset, lines: self.number })
    }

    /// Goes on behind a line, which must have ended at `end` in this file.
    ///
    /// # Errors
    /// The file is packed or a pipe.
    pub fn jump(&mut self, end: LineEnd) -> Result<()> {
        let Some(file) = &self.file else {
            return Err(Error::new(&self.name, "is packed or a pipe, and can't be read from a place in it"));
        };
        let mut file = file.try_clone().map_err(Error::io(&self.name))?;
        file.seek(SeekFrom::Start(end.bytes)).map_err(Error::io(&self.name))?;
        self.reader = Box::new(BufReader::with_capacity(BUFFER, file));
        (self.offset, self.number) = (end.bytes, end.lines);
        Ok(())
    }

    /// Sets the number of bytes that a line may have; it is [`MAX_LINE`] otherwise.
    pub fn set_max_line(&mut self, bytes: usize) {
        self.max_line = bytes;
    }

    /// The next line without its end; none at the end of the text.
    ///
    /// # Errors
    /// The line is not UTF-8 or is too long. The place has the line's number.
    pub fn next_line(&mut self) -> Result<Option<&str>> {
        self.buffer.clear();
        let most = self.max_line as u64 + 1;
        let read = self.reader.by_ref().take(most).read_until(b'\n', &mut self.buffer);
        let read = read.map_err(Error::io(&self.name))?;
        if read == 0 {
            return Ok(None);
        }
        self.offset += read as u64;
        self.number += 1;
        self.check_length(&self.buffer)?;
        line(&self.buffer, || self.place()).map(Some)
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
            false => Err(Error::in_place(self.place(), format!("has more than {} bytes", self.max_line))
                .hint("a line is one text or one row; for texts, tokenize --max-line allows more")),
        }
    }

    /// Number of the last line read, from 1.
    pub fn number(&self) -> usize {
        self.number
    }

    /// The place of the last line read.
    pub fn place(&self) -> Place {
        Place::Line(self.name.clone(), self.number)
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
        (self.first..).zip(lines).map(move |(number, bytes)| (number, line(bytes, || Place::Line(name.into(), number))))
    }
}

/// A line without its end, and without the byte order mark that some programs begin a file with (several such files,
/// one behind the other, have several).
fn line(bytes: &[u8], place: impl FnOnce() -> Place) -> Result<&str> {
    let bytes = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
    std::str::from_utf8(bytes)
        .map_err(|e| Error::in_place(place(), format!("is not UTF-8 (byte {} of the line)", e.valid_up_to() + 1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_of_any_size_have_the_lines() {
        for text in ["one\ntwo\n\nfour\r\nfünf\n", "no end", "\n\n", "a\nb", "\u{feff}a\nb"] {
            let lines = || Lines::new("t".into(), Box::new(text.as_bytes()));
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
