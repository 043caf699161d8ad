//! The model folder that a run writes: there as a whole, or not at all, and never in place of what others wrote.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use hardmine_encoder::digest;
use hardmine_files::{
    Input, OutputFile, Table, Temporary, contents, put_folder, put_folder_back, resolve, sync_all, sync_folder,
};
use hardmine_records::provenance::{FILES, MODEL};
use hardmine_records::{Error, Kind, Result};

use crate::checkpoint::path_beside;
use crate::log::FILE_NAME;

/// A folder under a temporary name beside its own, which it gets by [`ModelFolder::commit`].
pub struct ModelFolder {
    /// Where it will be, without links.
    path: PathBuf,
    /// The path as it was given.
    place: String,
    temporary: Temporary,
}

impl ModelFolder {
    /// Begins the folder `path`, and tries what writing it and the checkpoint beside it will need.
    ///
    /// # Errors
    /// `path` is there and not a model that `train` wrote, with nothing else in it; or it is, holds or lies in the
    /// folder `init` that training starts from or one of `inputs`; its parent is not writable.
    pub fn create(path: &Path, init: &Path, inputs: &[&Input]) -> Result<Self> {
        let place = path.display().to_string();
        if place == "-" {
            return Err(Error::new("--output -", "a model is a folder, which can't go to standard output"));
        }
        let path = resolve(path).map_err(Error::io(&place))?;
        let parent = path.parent().ok_or_else(|| Error::new(&place, "is the root of all folders"))?;
        check_apart(&place, &path, "--init", init)?;
        for input in inputs.iter().filter(|input| matches!(input, Input::Path(_))) {
            check_apart(&place, &path, "the input", input.path())?;
        }
        put_folder_back(&path).map_err(Error::io(&place))?;
        check_replaceable(&place, &path)?;
        let temporary = Temporary::folder(&path)
            .map_err(|e| Error::new(parent.display(), format!("can't write there: {}", e.kind())))?;
        let checkpoint = path_beside(&path);
        if checkpoint.metadata().is_ok_and(|found| !found.is_file()) {
            return Err(Error::new(
                checkpoint.display(),
                "is not a regular file, but train would write its checkpoint there",
            )
            .hint("choose another --output, or move it away"));
        }
        drop(OutputFile::create(&checkpoint)?);
        Ok(ModelFolder { path, place, temporary })
    }

    /// Where it will be, without links.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where to write its files.
    pub fn temporary(&self) -> &Path {
        self.temporary.path()
    }

    /// The files written so far, as a JSON list of paths within the folder: what the training log says is ours.
    ///
    /// # Errors
    /// A folder that can't be read.
    pub fn files(&self) -> Result<String> {
        let files = contents(self.temporary()).map_err(Error::io(&self.place))?;
        serde_json::to_string(&files).map_err(Error::at(&self.place))
    }

    /// Gives the folder its name, once it is safely on disk, in place of the one before. A model that can't have it
    /// any more is kept under another name.
    ///
    /// # Errors
    /// A folder that was changed since the run began.
    pub fn commit(self) -> Result<()> {
        sync_all(self.temporary()).map_err(Error::io(&self.place))?;
        let placed = check_replaceable(&self.place, &self.path)
            .and_then(|()| self.temporary.place(|new| put_folder(new, &self.path)).map_err(Error::io(&self.place)));
        placed.map_err(|error| self.keep(error))?;
        let parent = self.path.parent().unwrap_or(Path::new("/"));
        sync_folder(parent).map_err(Error::io(&self.place))
    }

    /// Keeps the model under the first free name, and says so.
    fn keep(&self, error: Error) -> Error {
        let numbered = |number: u32| {
            let mut path = self.path.clone().into_os_string();
            path.push(format!(".{number}"));
            PathBuf::from(path)
        };
        let Some(free) = (1..1000).map(numbered).find(|path| path.symlink_metadata().is_err()) else { return error };
        match self.temporary.place(|new| fs::rename(new, &free)) {
            Ok(()) => error.hint(format!("the trained model is in {}", free.display())),
            Err(_) => error,
        }
    }
}

/// Refuses an output that is, holds or lies in `other`.
fn check_apart(place: &str, path: &Path, what: &str, other: &Path) -> Result<()> {
    let name = other.display();
    let other = resolve(other).map_err(Error::io(&name))?;
    let how = match () {
        () if path == other => format!("is {what} and --output at once"),
        () if path.starts_with(&other) => format!("lies in {what} {name}"),
        () if other.starts_with(path) => format!("holds {what} {name}"),
        () => return Ok(()),
    };
    Err(Error::new(place, how).hint("choose another --output"))
}

/// Refuses what would be lost: anything but an empty folder, or a model as `train` wrote it.
fn check_replaceable(place: &str, path: &Path) -> Result<()> {
    let Ok(found) = path.symlink_metadata() else { return Ok(()) };
    let refuse = |what: String| Err(Error::new(place, what).hint("choose another --output, or move it away"));
    if !found.is_dir() {
        return refuse("is a file, expected a folder".into());
    }
    if path.parent().and_then(|parent| parent.metadata().ok()).is_some_and(|parent| parent.dev() != found.dev()) {
        return Err(Error::new(place, "is where a disk is mounted, which can't be replaced")
            .hint("name a folder in it as --output"));
    }
    let files = contents(path).map_err(Error::io(place))?;
    if files.is_empty() {
        return Ok(());
    }
    let log = path.join(FILE_NAME);
    if !log.is_file() {
        return refuse(format!("exists and is not a model folder that train wrote: it has no {FILE_NAME}"));
    }
    let log = Table::open(&Input::Path(log), &[Kind::TrainingLog])?;
    let ours: Vec<PathBuf> =
        log.provenance().get(FILES).and_then(|files| serde_json::from_str(files).ok()).unwrap_or_default();
    if let Some(foreign) = files.iter().find(|file| !ours.contains(file) && file.as_os_str() != FILE_NAME) {
        return refuse(format!("holds {}, which train did not write", foreign.display()));
    }
    match digest(path) {
        Ok(digest) if log.provenance().get(MODEL) == Some(digest.as_str()) => Ok(()),
        _ => refuse("holds another model than train wrote there".into()),
    }
}
