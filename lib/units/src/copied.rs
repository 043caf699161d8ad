//! Units whose files lie in object stores: a worker fetches what a unit reads, and sends what it made.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hardmine_files::{MANIFEST, check_part};
use hardmine_records::{Error, Result};
use hardmine_stores::{Copies, Fetch, Location};

use crate::job::{Job, Unit};
use crate::last::Last;

/// What a unit needs of the stores, on this machine.
pub(crate) struct Copied {
    /// The folder of the copies of whoever made the job, which stands in its paths.
    theirs: PathBuf,
    copies: Arc<Copies>,
}

impl Copied {
    /// For the units of `job`, in the copies of which `last` has those of the job that came last: those of another job
    /// may have the same names and other bytes. None if nothing of the job is in a store.
    ///
    /// # Errors
    /// The temporary folder can't be written.
    pub fn of(job: &Job, last: &Last<Copies>) -> Result<Option<Copied>> {
        let Some(theirs) = job.copies.clone() else { return Ok(None) };
        let copies = last.get_or_make(&theirs, Copies::new)?;
        Ok(Some(Copied { theirs, copies }))
    }

    fn location(&self, path: &Path) -> Option<Location> {
        Location::of_copy(&self.theirs, path)
    }

    /// An argument, or a path, with our folder in the place of theirs.
    pub fn ours(&self, argument: &str) -> String {
        argument.replace(&*self.theirs.to_string_lossy(), &self.copies.root().to_string_lossy())
    }

    /// [`Copied::ours`] of a path.
    pub fn our_path(&self, path: &Path) -> PathBuf {
        self.location(path).map_or_else(|| path.to_owned(), |location| self.copies.path(&location))
    }

    /// The folder with all copies.
    pub fn root(&self) -> &Path {
        self.copies.root()
    }

    /// Text for people, with URLs in the place of paths.
    pub fn with_urls(&self, text: &str) -> String {
        self.copies.with_urls(text)
    }

    /// Whether the shard at `path` was made. If so, its manifest is fetched.
    ///
    /// # Errors
    /// Those of the store.
    pub fn is_made(&self, path: &Path) -> Result<bool> {
        let Some(location) = self.location(path) else { return Ok(path.exists()) };
        let made = self.copies.has_file(&location.join(MANIFEST))?;
        if made {
            self.copies.fetch(&location, Fetch::Manifest)?;
        }
        Ok(made)
    }

    /// Fetches what `unit` of `job` reads, and what its options name, such as a model; and makes the folder for what it
    /// makes.
    ///
    /// # Errors
    /// Those of the store; a file is not what it was when the job was made.
    pub fn fetch(&self, job: &Job, unit: &Unit) -> Result<()> {
        let theirs = self.theirs.to_string_lossy();
        for argument in job.options.iter().chain(&unit.arguments) {
            let path = argument.find(&*theirs).map(|start| Path::new(&argument[start..]));
            if let Some(location) = path.and_then(|path| self.location(path)) {
                self.copies.fetch(&location, Fetch::Manifest)?;
            }
        }
        if let Some(folder) = self.our_path(&job.part(unit)).parent() {
            fs::create_dir_all(folder).map_err(Error::io(folder.display()))?;
        }
        for (read, sha256) in &unit.reads {
            match self.location(read) {
                Some(location) => check_part(&self.copies.fetch(&location, Fetch::Whole)?, sha256)?,
                None => check_part(&job.folder.join(read), sha256)?,
            }
        }
        Ok(())
    }

    /// Sends the shard that a unit made, whose path is `path`, and removes our copy of it and of what no other unit
    /// reads.
    ///
    /// # Errors
    /// Those of the store.
    pub fn send(&self, job: &Job, unit: &Unit, path: &Path) -> Result<()> {
        if let Some(location) = self.location(path) {
            self.copies.send(&location)?;
            drop(fs::remove_file(self.copies.path(&location).join("00000.arrow")));
        }
        for (read, _) in &unit.reads {
            let only_here =
                job.units.iter().filter(|unit| unit.reads.iter().any(|(other, _)| other == read)).count() < 2;
            if let Some(location) = self.location(read).filter(|_| only_here) {
                let copy = self.copies.path(&location);
                fs::remove_file(&copy).map_err(Error::io(copy.display()))?;
            }
        }
        Ok(())
    }
}
