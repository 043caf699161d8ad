//! A dataset of what units made, and units of a dataset that is there already.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use hardmine_files::{Input, Part, parts, remember, remembered};
use hardmine_records::{Error, Kind, Provenance, Result};

use crate::Job;

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
    hardmine_files::assemble(output, kind, made, provenance)?;
    let units = job.units.iter().enumerate();
    let units = units.map(|(shard, unit)| (name(&job.part(unit)), format!("{shard:05}.arrow")));
    remember(output, &units.collect())?;
    job.clear()
}

impl Job {
    /// Takes the shards that units of this job would make out of the dataset in `output`, if units of an earlier job
    /// made it: where a collection has grown, only the new shards are to be made.
    ///
    /// # Errors
    /// The folder of the job's parts can't be written.
    pub fn recall(&self, output: &Path) -> Result<()> {
        let known = remembered(output);
        let Ok((shards, provenance)) = parts(&Input::from(output)) else { return Ok(()) };
        let kind = provenance.kind("dataset")?;
        let shards: BTreeMap<String, &Part> = shards.iter().map(|shard| (name(&shard.path), shard)).collect();
        for unit in &self.units {
            let folder = self.part(unit);
            if let Some(&shard) = known.get(&name(&folder)).and_then(|file| shards.get(file))
                && let Some(kind) = kind
                && !folder.exists()
            {
                fs::create_dir_all(&self.parts).map_err(Error::io(self.parts.display()))?;
                hardmine_files::assemble(&folder, kind, std::slice::from_ref(shard), provenance.clone())?;
            }
        }
        Ok(())
    }

    /// Clears away what was made for the job.
    ///
    /// # Errors
    /// The folder of its parts can't be removed.
    pub fn clear(self) -> Result<()> {
        match fs::remove_dir_all(&self.parts) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::io(self.parts.display())(error)),
            _ => Ok(()),
        }
    }
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
