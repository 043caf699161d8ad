//! Where results go: a file that appears whole or not at all, or standard output.

use std::fmt;
use std::fs::{File, Permissions};
use std::io::{BufWriter, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::{Error, Input, Kind, Result, command};

/// The form records are written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Arrow IPC stream.
    Stream,
    /// Arrow IPC file.
    File,
    /// Parquet.
    Parquet,
    /// MS MARCO's TSV.
    Tsv,
    /// TREC's columns.
    Trec,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Format::Stream => "Arrow stream",
            Format::File => "Arrow",
            Format::Parquet => "Parquet",
            Format::Tsv => "TSV",
            Format::Trec => "TREC",
        })
    }
}

/// An output as it is named on the command line; `-` is standard output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Standard output: an Arrow IPC stream.
    Stdout,
    /// A file, its format chosen by its ending.
    Path(PathBuf, Format),
}

impl FromStr for Output {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        if text == "-" {
            return Ok(Output::Stdout);
        }
        let format = match Path::new(text).extension().and_then(|ending| ending.to_str()) {
            Some("parquet") => Format::Parquet,
            Some("arrow") => Format::File,
            Some("arrows") => Format::Stream,
            Some("tsv") => Format::Tsv,
            Some("trec" | "txt") => Format::Trec,
            _ => {
                return Err(
                    "its ending should be .parquet, .arrow or .arrows (or .tsv, .trec, .txt for runs and qrels)".into(),
                );
            }
        };
        Ok(Output::Path(text.into(), format))
    }
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Output::Stdout => f.write_str("standard output"),
            Output::Path(path, _) => path.display().fmt(f),
        }
    }
}

impl Output {
    /// The format of what is written.
    pub fn format(&self) -> Format {
        match self {
            Output::Stdout => Format::Stream,
            Output::Path(_, format) => *format,
        }
    }

    /// Refuses an output that is one of the inputs.
    pub fn check_differs(&self, inputs: &[&Input]) -> Result<()> {
        match self {
            Output::Stdout => Ok(()),
            Output::Path(path, _) => check_differs(path, inputs),
        }
    }

    pub(crate) fn check_kind(&self, kind: Kind) -> Result<()> {
        match self.format() {
            Format::Tsv | Format::Trec if !kind.has_text_form() => {
                let text = format!("{kind} can't be written as {}", self.format());
                Err(Error::new(self, text).hint("name it .parquet, .arrow or .arrows"))
            }
            _ => Ok(()),
        }
    }
}

/// Refuses an output path that is one of the inputs.
pub fn check_differs(path: &Path, inputs: &[&Input]) -> Result<()> {
    let identity = |path: &Path| std::fs::metadata(path).ok().map(|found| (found.dev(), found.ino()));
    let Some(output) = identity(path) else { return Ok(()) };
    for input in inputs {
        if let Input::Path(input) = input
            && identity(input) == Some(output)
        {
            return Err(Error::new(path.display(), "is input and output at once").hint("write to another file"));
        }
    }
    Ok(())
}

/// A file under a temporary name beside its own, which it gets by [`AtomicFile::commit`]; dropped
/// before, or when the program is interrupted, it leaves nothing behind.
pub struct AtomicFile {
    path: PathBuf,
    writer: BufWriter<tempfile::NamedTempFile>,
}

impl AtomicFile {
    /// # Errors
    /// The folder is missing or not writable, or `path` is a folder.
    pub fn create(path: &Path) -> Result<Self> {
        if path.is_dir() {
            return Err(Error::new(path.display(), "is a folder, expected the name of a file to write"));
        }
        let folder = folder_of(path);
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let make = || {
            let permissions = Permissions::from_mode(0o666);
            let name = format!(".{name}.");
            tempfile::Builder::new().prefix(&name).suffix(".tmp").permissions(permissions).tempfile_in(folder)
        };
        let temporary = command::removable(make, |file| file.path().into())
            .map_err(|e| Error::new(folder.display(), format!("can't write into this folder: {e}")))?;
        Ok(AtomicFile { path: path.into(), writer: BufWriter::with_capacity(1 << 20, temporary) })
    }

    /// The file under its temporary name, with everything written so far.
    pub fn file(&mut self) -> Result<&mut File> {
        self.writer.flush().map_err(Error::io(self.path.display()))?;
        Ok(self.writer.get_mut().as_file_mut())
    }

    /// Path of the temporary file, for libraries that write by name.
    pub fn temporary(&self) -> &Path {
        self.writer.get_ref().path()
    }

    /// Gives the file its name, once it is safely on disk.
    pub fn commit(mut self) -> Result<()> {
        let place = self.path.display().to_string();
        self.file()?.sync_all().map_err(Error::io(&place))?;
        let temporary = self.writer.into_inner().map_err(|e| Error::new(&place, e.error()))?;
        temporary.persist(&self.path).map_err(|e| Error::new(&place, e.error))?;
        File::open(folder_of(&self.path)).and_then(|folder| folder.sync_all()).map_err(Error::io(&place))
    }
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.writer.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.writer.flush()
    }
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}
