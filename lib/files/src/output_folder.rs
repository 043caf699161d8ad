//! Folders that take the place of others as a whole.

use std::ffi::CString;
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::temporary::left_by_others;

/// All files in `folder`, and folders with nothing in them, as sorted paths within it.
///
/// # Errors
/// A folder that can't be read.
pub fn contents(folder: &Path) -> io::Result<Vec<PathBuf>> {
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
///
/// # Errors
/// A folder that can't be renamed.
pub fn put_folder(new: &Path, path: &Path) -> io::Result<()> {
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
/// a program that is killed there leaves the old folder under a name from which [`put_folder_back`] brings it back.
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

/// Brings back the folder that a run was replacing by `swap` when it was killed, or clears it away if the new one is
/// in its place.
///
/// # Errors
/// A folder that can't be renamed or removed.
pub fn put_folder_back(path: &Path) -> io::Result<()> {
    for (old, _lock) in left_by_others(path, ".hardmine.old") {
        match path.symlink_metadata() {
            Err(_) => fs::rename(old, path)?,
            Ok(_) => fs::remove_dir_all(old)?,
        }
    }
    Ok(())
}

/// Brings a file, or all that is in a folder, to disk.
///
/// # Errors
/// The disk fails.
pub fn sync_all(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        for entry in fs::read_dir(path)? {
            sync_all(&entry?.path())?;
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
            put_folder_back(&path).unwrap();
            assert_eq!(fs::read_to_string(path.join("text")).unwrap(), "new");
            assert_eq!(fs::read_dir(home.path()).unwrap().count(), 2);
        }
    }
}
