//! Where bytes come from: a file or standard input, `.gz` and `.zst` unpacked, its content recognized
//! from its first bytes.

use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, IsTerminal, Read, Seek, SeekFrom};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hardmine_records::{Error, Result};

use crate::lines::Lines;
use crate::manifest::MANIFEST;
use crate::paths::is_descriptor;
use crate::streams;

const BUFFER: usize = 1 << 20;

/// What means standard input on a command line.
const STDIN: &str = "-";

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

/// A file that stays open as long as this is kept, with the name that errors use for it.
#[derive(Clone, Debug)]
pub struct OpenedFile {
    name: String,
    /// Leads to the file as long as it is open.
    path: PathBuf,
    _file: Arc<File>,
}

impl OpenedFile {
    /// Keeps `file` open under the name `name`, which errors use.
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

/// The name of an input that two of `inputs` share although it can be read only once: standard input, or a pipe.
pub fn named_twice(inputs: &[&Input]) -> Option<String> {
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

/// What an input is, as its first bytes tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// An Arrow IPC file.
    ArrowFile,
    /// An Arrow IPC stream.
    ArrowStream,
    /// A Parquet file.
    Parquet,
    /// Anything else. It is taken for text, and reading it as text may fail.
    Text,
}

/// An input that has been opened, and whose first bytes have been looked at.
pub struct Source {
    /// The name used in errors.
    pub name: String,
    /// What its first bytes say it is.
    pub content: Content,
    /// All of its bytes. A packed input is unpacked while it is read.
    pub reader: Box<dyn BufRead + Send>,
    /// Whether it was packed. Then a small file may become very large, and readers set limits.
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
            Input::Path(path) => path.is_file() || self.is_dataset(),
            Input::Opened(_) => true,
        }
    }

    /// Refuses an input that can be read only once, saying what is wrong with that.
    ///
    /// # Errors
    /// As said; there is no such file.
    pub fn check_reopenable(&self, text: &str) -> Result<()> {
        if self.is_reopenable() {
            return Ok(());
        }
        if let Input::Path(path) = self {
            std::fs::metadata(path).map_err(Error::io(self))?;
        }
        Err(Error::new(self, text).hint("write it to a file first, and name that"))
    }

    /// Whether it is a folder of shards with a manifest, which [`Table`](crate::Table) and
    /// [`Mapped`](crate::Mapped) read as if it were one file.
    pub fn is_dataset(&self) -> bool {
        self.folder().is_some_and(|folder| folder.join(MANIFEST).is_file())
    }

    /// Its path if it is a folder.
    pub(crate) fn folder(&self) -> Option<&Path> {
        match self {
            Input::Path(path) if path.is_dir() => Some(path),
            _ => None,
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
    /// The file is missing, is a folder, is empty, or is a broken `.gz` or `.zst`.
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
    /// The input as a file in which one can seek. Pipes and packed files are copied into a temporary file first.
    ///
    /// # Errors
    /// The input can't be read, or the temporary folder has no space.
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

    /// The input as text, to be read line by line.
    pub fn into_lines(self) -> Lines {
        Lines::new(self.name, self.reader).in_file(self.file)
    }

    /// The whole input as text.
    ///
    /// # Errors
    /// The text has more than `limit` bytes, or is not UTF-8.
    pub fn into_text(self, limit: u64) -> Result<String> {
        let bytes = read_at_most(self.reader, limit, &self.name)?;
        String::from_utf8(bytes).map_err(|e| Error::new(&self.name, format!("is not UTF-8: {}", e.utf8_error())))
    }
}

/// Reads a whole file that is known to be small, such as a configuration.
///
/// # Errors
/// The file is missing, is a folder, or has more than `limit` bytes.
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
