//! A dataset of what units made, and units of a dataset that is there already.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use hardmine_files::{Input, MANIFEST, Part, UNITS, check_part, manifest, parts, remember, remembered, shard_name};
use hardmine_records::{Error, Kind, Provenance, Result};
use hardmine_stores::{Fetch, Location, copies};

use crate::{Job, Unit};

/// Puts the dataset that consists of the shards `made` by the units of `job` into the folder `output`, and clears away
/// what else there is of the job. `complete` adds to what the first shard says of where the whole came from.
///
/// # Errors
/// A folder that is no dataset is in the way; the disk is full.
pub fn assemble(
    job: Job,
    output: &Path,
    kind: Kind,
    made: &[Part],
    complete: impl FnOnce(&mut Provenance),
) -> Result<()> {
    let first = job.units.first().ok_or_else(|| Error::new(output.display(), "would be a dataset without rows"))?;
    let (_, mut provenance) = parts(&Input::from(job.part(first).as_path()))?;
    complete(&mut provenance);
    let (units, made): (Vec<&Unit>, Vec<Part>) =
        job.units.iter().zip(made.iter().cloned()).filter(|(_, part)| part.rows > 0).unzip();
    if made.is_empty() {
        return Err(Error::new(output.display(), "would be a dataset without rows"));
    }
    let made = &made[..];
    let units = units.into_iter().zip(made);
    let units = units.map(|(unit, shard)| (name(&job.part(unit)), shard.sha256.clone())).collect();
    match job.location(output) {
        Some(target) => assemble_in_store(&job, &target, kind, made, &provenance, &units)?,
        None => {
            hardmine_files::assemble(output, kind, made, provenance)?;
            remember(output, &units)?;
        }
    }
    job.clear()
}

/// [`assemble`] in an object store, which copies the shards itself.
fn assemble_in_store(
    job: &Job,
    target: &Location,
    kind: Kind,
    made: &[Part],
    provenance: &Provenance,
    units: &BTreeMap<String, String>,
) -> Result<()> {
    let copies = copies()?;
    let before = copies.names(target)?;
    for (shard, part) in made.iter().enumerate() {
        let from = job.location(&part.path).ok_or_else(|| Error::new(part.path.display(), "is in no object store"))?;
        copies.duplicate(&from, &target.join(&shard_name(shard)))?;
    }
    let noted = serde_json::to_vec_pretty(units).map_err(Error::at(target))?;
    copies.put(&target.join(UNITS), noted)?;
    copies.put(&target.join(MANIFEST), manifest(kind, made, provenance)?.into())?;
    let names = (0..made.len()).map(shard_name).chain([MANIFEST.to_owned(), UNITS.to_owned()]).collect();
    before.difference(&names).try_for_each(|old| copies.remove_file(&target.join(old)))?;
    // The copy of its manifest is that of the dataset before.
    let old = copies.path(target);
    match fs::remove_dir_all(&old) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::io(old.display())(error)),
        _ => Ok(()),
    }
}

impl Job {
    /// Takes the shards that units of this job would make out of the dataset in `output`, if units of an earlier job
    /// made it: where a collection has grown, only the new shards are to be made. Those whose bytes have changed since
    /// are made again. (In an object store, only their readers look at them.)
    ///
    /// # Errors
    /// The folder of the job's parts can't be written.
    pub fn recall(&self, output: &Path) -> Result<()> {
        let known = remembered(output);
        let Ok((shards, provenance)) = parts(&Input::from(output)) else { return Ok(()) };
        let kind = provenance.kind("dataset")?;
        let shards: BTreeMap<&str, &Part> = shards.iter().map(|shard| (shard.sha256.as_str(), shard)).collect();
        let mut missing: Vec<PathBuf> = self.units.iter().map(|unit| self.part(unit)).collect();
        self.leave_missing(&mut missing)?;
        for folder in missing {
            if let Some(&shard) = known.get(&name(&folder)).and_then(|sha256| shards.get(sha256.as_str()))
                && let Some(kind) = kind
            {
                if let (Some(from), Some(to)) = (self.location(&shard.path), self.location(&folder)) {
                    copies()?.duplicate(&from, &to.join(&shard_name(0)))?;
                    let manifest = manifest(kind, std::slice::from_ref(shard), &provenance)?;
                    copies()?.put(&to.join(MANIFEST), manifest.into())?;
                    continue;
                }
                if check_part(&shard.path, &shard.sha256).is_err() {
                    continue;
                }
                fs::create_dir_all(&self.parts).map_err(Error::io(self.parts.display()))?;
                hardmine_files::assemble(&folder, kind, std::slice::from_ref(shard), provenance.clone())?;
            }
        }
        Ok(())
    }

    /// Takes out of `parts`, which are of units of this job, those that were made.
    ///
    /// # Errors
    /// Those of an object store.
    pub(crate) fn leave_missing(&self, parts: &mut Vec<PathBuf>) -> Result<()> {
        match self.location(&self.parts) {
            None => parts.retain(|part| !part.exists()),
            Some(folder) => {
                let there = copies()?.names(&folder)?;
                parts.retain(|part| !there.contains(&format!("{}/{MANIFEST}", name(part))));
            }
        }
        Ok(())
    }

    /// What is to be said of shards that need not be made, because they are there.
    ///
    /// # Errors
    /// Those of an object store.
    pub fn kept(&self) -> Result<Option<String>> {
        let mut missing: Vec<PathBuf> = self.units.iter().map(|unit| self.part(unit)).collect();
        self.leave_missing(&mut missing)?;
        let (all, kept) = (self.units.len(), self.units.len() - missing.len());
        Ok((kept > 0).then(|| format!("{kept} of {all} shards were there already")))
    }

    /// Makes sure that the manifest of what `unit` made is there to be read.
    ///
    /// # Errors
    /// Those of an object store.
    pub(crate) fn fetch_part(&self, unit: &Unit) -> Result<()> {
        match self.location(&self.part(unit)) {
            Some(location) => copies()?.fetch(&location, Fetch::Manifest).map(drop),
            None => Ok(()),
        }
    }

    /// The path of a file in the folder of the job's parts, which is fetched if it is in an object store.
    ///
    /// # Errors
    /// Those of an object store.
    pub fn fetched(&self, path: &Path) -> Result<PathBuf> {
        match self.location(path) {
            Some(location) => copies()?.fetch(&location, Fetch::Whole),
            None => Ok(path.to_owned()),
        }
    }

    /// Clears away what was made for the job.
    ///
    /// # Errors
    /// The folder of its parts can't be removed.
    pub fn clear(self) -> Result<()> {
        if let Some(folder) = self.location(&self.parts) {
            copies()?.remove(&folder)?;
        }
        match fs::remove_dir_all(&self.parts) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::io(self.parts.display())(error)),
            _ => Ok(()),
        }
    }
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
