//! Temporary files and folders, in one list: whatever ends the program, they are cleared away. A signal clears those
//! on the list; what is left after SIGKILL, the next run with the same output clears. Each is locked (flock) as long as
//! its process lives, which is how the next run knows.

use std::ffi::{OsStr, OsString};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};

/// What names of temporaries end in: our mark, so that nothing else is taken for one.
const ENDING: &str = ".hardmine.tmp";
/// Random letters in the name of a temporary.
const LETTERS: usize = 6;
/// Bytes of the output's name that stand in the temporary's, which with all of them might become too long.
const LONGEST: usize = 200;

static TEMPORARIES: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

fn temporaries() -> MutexGuard<'static, Vec<PathBuf>> {
    TEMPORARIES.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// A file or folder under a hidden name beside the output it is for. Dropped, or when the program is interrupted, it
/// is removed with all that is in it.
pub struct Temporary {
    path: PathBuf,
    /// Holds the lock.
    file: File,
}

impl Temporary {
    /// Makes a file beside `output`, and clears what runs that were killed left there.
    ///
    /// # Errors
    /// The folder is missing or not writable.
    pub fn file(output: &Path) -> io::Result<Self> {
        Temporary::make(output, |path| {
            OpenOptions::new().read(true).write(true).create_new(true).mode(0o666).open(path)
        })
    }

    /// Makes a folder beside `output`, and clears what runs that were killed left there.
    ///
    /// # Errors
    /// As [`Temporary::file`].
    pub fn folder(output: &Path) -> io::Result<Self> {
        Temporary::make(output, |path| {
            DirBuilder::new().mode(0o777).create(path)?;
            File::open(path)
        })
    }

    fn make(output: &Path, mut make: impl FnMut(&Path) -> io::Result<File>) -> io::Result<Self> {
        let (folder, prefix) = (folder_of(output), prefix(output));
        left_by_others(output, ENDING).iter().for_each(|(path, _)| remove(path));
        loop {
            // Locked from before it exists until it is on the list, so that no signal comes in between.
            let mut list = temporaries();
            let made = tempfile::Builder::new()
                .prefix(&prefix)
                .suffix(ENDING)
                .rand_bytes(LETTERS)
                .make_in(folder, &mut make)?;
            let (file, path) = made.into_parts();
            let path = path.keep().map_err(|e| e.error)?;
            // A file system without locks has none to look for either: nothing is cleared there.
            drop(file.lock());
            // Another run may have taken it for abandoned in the moment before.
            if file.metadata()?.nlink() > 0 {
                list.push(path.clone());
                return Ok(Temporary { path, file });
            }
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The open file; of a folder, a handle that only reads it.
    pub fn open_file(&self) -> &File {
        &self.file
    }

    /// Calls `place`, which gives it its final name, while no signal can come in between.
    pub fn place<T>(&self, place: impl FnOnce(&Path) -> T) -> T {
        let _list = temporaries();
        place(&self.path)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let mut list = temporaries();
        remove(&self.path);
        list.retain(|path| *path != self.path);
    }
}

/// Clears all temporaries of this process, and keeps new ones from being made.
pub fn clear_all() {
    let list = temporaries();
    list.iter().for_each(|path| remove(path));
    std::mem::forget(list);
}

/// Removes what is there. Other threads may still be writing into a folder, so that more than one try is needed.
fn remove(path: &Path) {
    for _ in 0..100 {
        let removed = match fs::symlink_metadata(path) {
            Ok(found) if found.is_dir() => fs::remove_dir_all(path),
            Ok(_) => fs::remove_file(path),
            Err(_) => return,
        };
        match removed {
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => continue,
            _ => return,
        }
    }
}

/// What names of temporaries of `output` begin with.
fn prefix(output: &Path) -> OsString {
    let name = output.file_name().unwrap_or_default().as_bytes();
    OsString::from_vec([b".", &name[..name.len().min(LONGEST)], b"."].concat())
}

/// What lies beside `output` under the name of one of its temporaries, but with this `ending`, and whose process is
/// gone; locked by the file beside it.
pub(crate) fn left_by_others(output: &Path, ending: &str) -> Vec<(PathBuf, File)> {
    let prefix = prefix(output);
    let is_ours = |name: &OsStr| {
        let middle = name.as_bytes().strip_prefix(prefix.as_bytes());
        middle.and_then(|rest| rest.strip_suffix(ending.as_bytes())).is_some_and(|letters| letters.len() == LETTERS)
    };
    let mut left = Vec::new();
    for entry in fs::read_dir(folder_of(output)).into_iter().flatten().flatten() {
        let plain = entry.file_type().is_ok_and(|kind| kind.is_file() || kind.is_dir());
        if plain
            && is_ours(&entry.file_name())
            && let Ok(file) = File::open(entry.path())
            && file.try_lock().is_ok()
        {
            left.push((entry.path(), file));
        }
    }
    left
}

/// Brings a new name in a folder to disk. Some file systems can't, and some folders may be written but not read: what
/// was written is in its place all the same.
///
/// # Errors
/// The disk fails.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    match File::open(folder).and_then(|folder| folder.sync_all()) {
        Err(error) if matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::InvalidInput) => Ok(()),
        done => done,
    }
}

/// The folder that `path` lies in.
pub(crate) fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<OsString> {
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect()
    }

    #[test]
    fn only_what_a_dead_process_left_of_the_same_output_is_cleared() {
        let home = tempfile::tempdir().unwrap();
        let output = home.path().join("out.arrow");
        let living = Temporary::file(&output).unwrap();
        let kept = [".out.arrow.abcdef.tmp", ".out.arrow.abcdefg.hardmine.tmp", ".out.abcdef.hardmine.tmp", "notes"];
        kept.iter().for_each(|name| fs::write(home.path().join(name), "").unwrap());
        fs::write(home.path().join(".out.arrow.abcdef.hardmine.tmp"), "").unwrap();
        fs::create_dir_all(home.path().join(".out.arrow.ghijkl.hardmine.tmp/deep")).unwrap();
        let next = Temporary::folder(&output).unwrap();
        assert!(living.path().exists() && next.path().exists());
        assert!(kept.iter().all(|name| home.path().join(name).exists()));
        assert_eq!(names(home.path()).len(), kept.len() + 2);
        drop((living, next));
        assert_eq!(names(home.path()).len(), kept.len());
    }

    #[test]
    fn names_may_be_long_or_no_text() {
        let home = tempfile::tempdir().unwrap();
        for name in [vec![b'x'; 255], vec![0xff, b'a']] {
            let output = home.path().join(OsString::from_vec(name));
            assert!(Temporary::file(&output).unwrap().path().exists());
        }
    }
}
