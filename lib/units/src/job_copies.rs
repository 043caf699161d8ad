//! Units whose files lie in object stores: a worker fetches what a unit reads, and sends what it made.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hardmine_files::{MANIFEST, check_part, shard_name};
use hardmine_records::{Error, Result};
use hardmine_stores::{Copies, Fetch, Location};

use crate::job::{Job, Unit};
use crate::last::Last;

/// This worker's copies of what a job has in object stores. Paths that are in no store stand for themselves.
pub(crate) struct JobCopies(Option<Stored>);

struct Stored {
    /// The client's folder of copies, which stands in the paths of the job.
    theirs: PathBuf,
    ours: Arc<Copies>,
}

impl JobCopies {
    /// Takes the copies kept from the unit before if it was of the same job. Another job's copies may hold other bytes
    /// under the same names.
    ///
    /// # Errors
    /// The temporary folder can't be written.
    pub fn of(job: &Job, last: &Last<Copies>) -> Result<JobCopies> {
        let stored = |theirs: &PathBuf| {
            let ours = last.get_or_make(theirs, Copies::new)?;
            Ok(Stored { theirs: theirs.clone(), ours })
        };
        job.copies.as_ref().map(stored).transpose().map(JobCopies)
    }

    /// Where `path` is in a store, and our copies.
    fn stored(&self, path: &Path) -> Option<(Location, &Copies)> {
        let stored = self.0.as_ref()?;
        Some((Location::of_copy(&stored.theirs, path)?, &*stored.ours))
    }

    /// An argument with our folder in the place of the client's.
    pub fn our_argument(&self, argument: &str) -> String {
        match &self.0 {
            Some(Stored { theirs, ours }) => {
                argument.replace(&*theirs.to_string_lossy(), &ours.root().to_string_lossy())
            }
            None => argument.to_owned(),
        }
    }

    /// The path of our copy.
    pub fn our_path(&self, path: &Path) -> PathBuf {
        self.stored(path).map_or_else(|| path.to_owned(), |(location, copies)| copies.path(&location))
    }

    /// The folder with all of our copies, if anything of the job is in a store.
    pub fn root(&self) -> Option<&Path> {
        self.0.as_ref().map(|stored| stored.ours.root())
    }

    /// Text for people, with URLs in the place of our paths and of the client's.
    pub fn with_urls(&self, text: &str) -> String {
        self.0.as_ref().map_or_else(|| text.to_owned(), |stored| stored.ours.with_urls(&self.our_argument(text)))
    }

    /// Whether the shard at `path` was made. If so, its manifest is fetched.
    ///
    /// # Errors
    /// Those of the store.
    pub fn is_made(&self, path: &Path) -> Result<bool> {
        let Some((location, copies)) = self.stored(path) else { return Ok(path.exists()) };
        let made = copies.has_file(&location.join(MANIFEST))?;
        if made {
            copies.fetch(&location, Fetch::Manifest)?;
        }
        Ok(made)
    }

    /// Fetches what `unit` of `job` reads, and what its options name, such as a model; and makes the folder for what it
    /// makes.
    ///
    /// # Errors
    /// Those of the store; a file is not what it was when the job was made.
    pub fn fetch(&self, job: &Job, unit: &Unit) -> Result<()> {
        if let Some(Stored { theirs, ours }) = &self.0 {
            let theirs_in_text = theirs.to_string_lossy();
            for argument in job.options.iter().chain(&unit.arguments) {
                let path = argument.find(&*theirs_in_text).map(|start| Path::new(&argument[start..]));
                if let Some(location) = path.and_then(|path| Location::of_copy(theirs, path)) {
                    ours.fetch(&location, Fetch::Manifest)?;
                }
            }
            if let Some(folder) = self.our_path(&job.part(unit)).parent() {
                fs::create_dir_all(folder).map_err(Error::io(folder.display()))?;
            }
        }
        for (read, sha256) in &unit.reads {
            match self.stored(read) {
                Some((location, copies)) => check_part(&copies.fetch(&location, Fetch::Whole)?, sha256)?,
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
        if let Some((location, copies)) = self.stored(path) {
            copies.send(&location)?;
            remove(&copies.path(&location).join(shard_name(0)))?;
        }
        for (read, _) in &unit.reads {
            let only_here =
                job.units.iter().filter(|unit| unit.reads.iter().any(|(other, _)| other == read)).count() < 2;
            if let Some((location, copies)) = self.stored(read).filter(|_| only_here) {
                remove(&copies.path(&location))?;
            }
        }
        Ok(())
    }
}

/// Removes a file that may be gone: a unit may read it under two names.
fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::io(path.display())(error)),
        _ => Ok(()),
    }
}
