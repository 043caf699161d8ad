//! Outputs as they are named on the command line: where they go, in which form, and what they must differ from.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use crate::Input;
use crate::dataset_writer::{Sharding, check_replaceable};
use crate::paths::{descriptor, is_descriptor, resolve};
use hardmine_records::{Error, Kind, Result};

/// The form in which records are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// An Arrow IPC stream, which can be read while it is written.
    Stream,
    /// An Arrow IPC file, which can be mapped into memory.
    File,
    /// Parquet, packed with Zstandard except for vectors.
    Parquet,
    /// MS MARCO's text: runs as `query document rank`, qrels as `query 0 document relevance`.
    Tsv,
    /// TREC's text: runs as `query Q0 document rank score tag`, qrels as `query 0 document relevance`.
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

/// The path that means standard output.
pub(crate) const STDOUT: &str = "-";

/// An output as it is named on the command line; `-` is standard output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Standard output: an Arrow IPC stream.
    Stdout,
    /// A file, its format chosen by its ending.
    Path(PathBuf, Format),
    /// A folder of shards, named with a slash at its end, and how rows are divided among them, once that is known.
    Folder(PathBuf, Option<Sharding>),
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Output::Stdout => f.write_str("standard output"),
            Output::Path(path, _) | Output::Folder(path, _) => path.display().fmt(f),
        }
    }
}

impl Output {
    /// The output that an argument names. `-` is standard output, and so are its other names, such as `/dev/stdout`.
    ///
    /// # Errors
    /// The file name has an ending that belongs to no form. The text is meant for a message about wrong usage.
    pub fn parse(text: &OsStr) -> std::result::Result<Self, String> {
        let path = Path::new(text);
        if path.as_os_str() == STDOUT || is_descriptor(path, 1) {
            return Ok(Output::Stdout);
        }
        if text.as_encoded_bytes().ends_with(b"/") {
            return Ok(Output::Folder(path.into(), None));
        }
        let format = match path.extension().and_then(|ending| ending.to_str()) {
            Some("parquet") => Format::Parquet,
            Some("arrow") => Format::File,
            Some("arrows") => Format::Stream,
            Some("tsv") => Format::Tsv,
            Some("trec" | "txt") => Format::Trec,
            // A pipe such as >(…), or a device.
            _ if is_stream(path) => Format::Stream,
            _ => {
                return Err(
                    "its ending should be .parquet, .arrow or .arrows (or .tsv, .trec, .txt for runs and qrels)".into(),
                );
            }
        };
        Ok(Output::Path(path.into(), format))
    }

    /// The path under which [`OutputFile::create`](crate::OutputFile::create) opens it; `-` for standard output.
    pub fn path(&self) -> &Path {
        match self {
            Output::Stdout => Path::new(STDOUT),
            Output::Path(path, _) | Output::Folder(path, _) => path,
        }
    }

    /// The form in which records are written to it.
    pub fn format(&self) -> Format {
        match self {
            Output::Stdout => Format::Stream,
            Output::Path(_, format) => *format,
            Output::Folder(..) => Format::File,
        }
    }

    /// Refuses an output that is one of the inputs.
    pub fn check_differs(&self, inputs: &[&Input]) -> Result<()> {
        if let Output::Folder(path, _) = self
            && inputs.iter().any(|input| input.folder().is_some_and(|folder| is_same_output(folder, path)))
        {
            return Err(Error::new(self, "is input and output at once").hint("write to another folder"));
        }
        check_differs(self.path(), inputs)
    }

    /// Refuses a folder of shards whose place is taken by anything but an empty folder or a dataset. A writer does so too;
    /// this is for those who have long work before them.
    ///
    /// # Errors
    /// As said.
    pub fn check_replaceable(&self) -> Result<()> {
        match self {
            Output::Folder(path, _) => check_replaceable(&self.to_string(), &resolve(path).map_err(Error::io(self))?),
            _ => Ok(()),
        }
    }

    /// Whether it is a folder of shards.
    pub fn is_folder(&self) -> bool {
        matches!(self, Output::Folder(..))
    }

    /// A folder of shards with its rows divided as `sharding` says; any other output is left as it is.
    pub fn sharded(self, sharding: Sharding) -> Output {
        match self {
            Output::Folder(path, _) => Output::Folder(path, Some(sharding)),
            output => output,
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

/// Refuses an output path (`-` is standard output) that is one of the inputs.
pub fn check_differs(path: &Path, inputs: &[&Input]) -> Result<()> {
    let Some(output) = identity(path, "/dev/stdout") else { return Ok(()) };
    if inputs.iter().any(|input| identity(input.path(), "/dev/stdin") == Some(output)) {
        return Err(Error::new(name_of(path), "is input and output at once").hint("write to another file"));
    }
    Ok(())
}

/// Whether two output paths (`-` is standard output) lead to the same place.
pub fn is_same_output(one: &Path, other: &Path) -> bool {
    let resolved = |path: &Path| resolve(if path.as_os_str() == STDOUT { Path::new("/dev/stdout") } else { path }).ok();
    let identity = |path| identity(path, "/dev/stdout");
    resolved(one) == resolved(other) || identity(one).is_some() && identity(one) == identity(other)
}

/// What tells the file or pipe at `path` from others, where there is one; `-` is the `standard` one. Devices may be
/// input and output at once.
fn identity(path: &Path, standard: &str) -> Option<(u64, u64)> {
    let found = std::fs::metadata(if path.as_os_str() == STDOUT { Path::new(standard) } else { path }).ok()?;
    (found.is_file() || found.file_type().is_fifo()).then(|| (found.dev(), found.ino()))
}

/// Whether what is at `path` can only be written to, not replaced: a device, a pipe, an open descriptor.
fn is_stream(path: &Path) -> bool {
    let is_open = resolve(path).is_ok_and(|path| descriptor(&path).is_some());
    is_open || std::fs::metadata(path).is_ok_and(|found| !found.is_file() && !found.is_dir())
}

/// The name of an output path in errors.
pub(crate) fn name_of(path: &Path) -> String {
    if path.as_os_str() == STDOUT { "standard output".into() } else { path.display().to_string() }
}
