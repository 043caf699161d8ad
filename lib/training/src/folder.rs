//! The model folder that a run writes: there as a whole, or not at all.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use hardmine_records::{Error, Result, command};
use tempfile::TempDir;

/// A folder under a temporary name beside its own, which it gets by [`ModelFolder::commit`].
pub struct ModelFolder {
    path: PathBuf,
    temporary: TempDir,
}

impl ModelFolder {
    /// Begins the folder `path`.
    ///
    /// # Errors
    /// `path` is something else than a model, or the folder `init` that training starts from; its parent is not
    /// writable.
    pub fn create(path: &Path, init: &Path) -> Result<Self> {
        let place = path.display();
        let path = std::path::absolute(path).map_err(Error::io(&place))?;
        if path.exists() {
            if !path.join("config.json").exists() && !is_empty_folder(&path) {
                return Err(Error::new(&place, "exists and is not a model folder").hint("choose another --output"));
            }
            if same(&path, init) {
                return Err(Error::new(&place, "is --init and --output at once").hint("choose another --output"));
            }
        }
        let parent = path.parent().unwrap_or(Path::new("/"));
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let make = || {
            tempfile::Builder::new()
                .prefix(&format!(".{name}."))
                .suffix(".tmp")
                .permissions(Permissions::from_mode(0o777))
                .tempdir_in(parent)
        };
        let temporary = command::removable(make, |temporary| temporary.path().into())
            .map_err(|e| Error::new(parent.display(), format!("can't write there: {}", e.kind())))?;
        Ok(ModelFolder { path, temporary })
    }

    /// Where to write its files.
    pub fn temporary(&self) -> &Path {
        self.temporary.path()
    }

    /// Gives the folder its name, once it is safely on disk, in place of the one before.
    pub fn commit(self) -> Result<()> {
        let place = self.path.display();
        sync(self.temporary.path()).map_err(Error::io(&place))?;
        if !self.path.exists() {
            fs::rename(self.temporary.path(), &self.path).map_err(Error::io(&place))?;
        } else {
            let old = self.temporary.path().with_extension("old");
            fs::rename(&self.path, &old).map_err(Error::io(&place))?;
            fs::rename(self.temporary.path(), &self.path).map_err(Error::io(&place))?;
            fs::remove_dir_all(&old).map_err(Error::io(old.display()))?;
        }
        let parent = self.path.parent().unwrap_or(Path::new("/"));
        File::open(parent).and_then(|folder| folder.sync_all()).map_err(Error::io(&place))
    }
}

fn is_empty_folder(path: &Path) -> bool {
    fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none())
}

fn same(one: &Path, other: &Path) -> bool {
    matches!((one.canonicalize(), other.canonicalize()), (Ok(one), Ok(other)) if one == other)
}

/// Brings a file, or all that is in a folder, to disk.
fn sync(path: &Path) -> std::io::Result<()> {
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
    fn a_model_is_replaced_by_a_whole_one_only() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("model");
        let content = || fs::read_to_string(path.join("config.json")).unwrap();
        let written = |text: &str| {
            let folder = ModelFolder::create(&path, home.path()).unwrap();
            fs::write(folder.temporary().join("config.json"), text).unwrap();
            folder
        };
        written("one").commit().unwrap();
        drop(written("two"));
        assert_eq!(content(), "one");
        written("three").commit().unwrap();
        assert_eq!(content(), "three");
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1);
    }

    #[test]
    fn other_folders_are_left_alone() {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join("notes"), "mine").unwrap();
        assert!(ModelFolder::create(home.path(), Path::new("/")).is_err());
    }
}
