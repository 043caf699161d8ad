//! The model folder that a run writes: there as a whole, or not at all, and never in place of what others wrote.

use std::ffi::CString;
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use hardmine_encoder::digest;
use hardmine_files::{Input, OutputFile, Table, Temporary, left_by_others, resolve, sync_folder};
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
        put_back(&path).map_err(Error::io(&place))?;
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
        sync(self.temporary()).map_err(Error::io(&self.place))?;
        let placed = check_replaceable(&self.place, &self.path)
            .and_then(|()| self.temporary.place(|new| put(new, &self.path)).map_err(Error::io(&self.place)));
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

/// All files in `folder`, and folders with nothing in them, as sorted paths within it.
fn contents(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = PathBuf::from(entry.file_name());
        let below = if entry.file_type()?.is_dir() { contents(&entry.path())? } else { Vec::new() };
        match below.is_empty() {
            true => found.push(name),
            false => found.extend(below.into_iter().map(|path| name.join(path))),
        }
    }
    found.sort();
    Ok(found)
}

/// Puts the whole folder `new` at `path`. What was there is then at `new`, to be removed.
fn put(new: &Path, path: &Path) -> io::Result<()> {
    match fs::rename(new, path) {
        // Only an empty folder gives way.
        Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => match exchange(new, path) {
            Err(error) if matches!(error.raw_os_error(), Some(libc::EINVAL | libc::ENOSYS)) => swap(new, path),
            done => done,
        },
        done => done,
    }
}

/// Exchanges two folders at once: at no moment is there none.
fn exchange(one: &Path, other: &Path) -> io::Result<()> {
    let [one, other] = [one, other].map(|path| CString::new(path.as_os_str().as_bytes()));
    let (one, other, here) = (one?, other?, libc::AT_FDCWD);
    // SAFETY: both are strings that end in a zero byte.
    match unsafe { libc::renameat2(here, one.as_ptr(), here, other.as_ptr(), libc::RENAME_EXCHANGE) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// As [`exchange`], for file systems that have no such thing. Between the first two steps there is nothing at `path`:
/// a program that is killed there leaves the old folder under a name from which [`put_back`] brings it back.
fn swap(new: &Path, path: &Path) -> io::Result<()> {
    let old = new.with_extension("old");
    // The lock goes with the folder: another run must not take it for left behind.
    let held = File::open(path)?;
    drop(held.lock());
    fs::rename(path, &old)?;
    if let Err(error) = fs::rename(new, path) {
        fs::rename(&old, path)?;
        return Err(error);
    }
    fs::rename(&old, new)
}

/// Brings back the folder that a run was replacing by [`swap`] when it was killed, or clears it away if the new one is
/// in its place.
fn put_back(path: &Path) -> io::Result<()> {
    for (old, _lock) in left_by_others(path, ".hardmine.old") {
        match path.symlink_metadata() {
            Err(_) => fs::rename(old, path)?,
            Ok(_) => fs::remove_dir_all(old)?,
        }
    }
    Ok(())
}

/// Brings a file, or all that is in a folder, to disk.
fn sync(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        for entry in fs::read_dir(path)? {
            sync(&entry?.path())?;
        }
    }
    File::open(path)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_change_places_with_and_without_help_of_the_file_system() {
        for put in [exchange, swap] {
            let home = tempfile::tempdir().unwrap();
            let (new, path) = (home.path().join(".m.abcdef.hardmine.tmp"), home.path().join("m"));
            for (folder, text) in [(&new, "new"), (&path, "old")] {
                fs::create_dir(folder).unwrap();
                fs::write(folder.join("text"), text).unwrap();
            }
            put(&new, &path).unwrap();
            assert_eq!(fs::read_to_string(path.join("text")).unwrap(), "new");
            assert_eq!(fs::read_to_string(new.join("text")).unwrap(), "old");
            // Killed between the two steps of a swap.
            fs::rename(&path, home.path().join(".m.ghijkl.hardmine.old")).unwrap();
            put_back(&path).unwrap();
            assert_eq!(fs::read_to_string(path.join("text")).unwrap(), "new");
            assert_eq!(fs::read_dir(home.path()).unwrap().count(), 2);
        }
    }
}
