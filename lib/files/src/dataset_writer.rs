//! Writes datasets: shards into a temporary folder, then the manifest, and then the folder gets its name.

use std::collections::HashSet;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use hardmine_records::{Error, Kind, Provenance, Result, provenance::COMMAND_OF_WHOLE};

use crate::dataset::shared;
use crate::manifest::{MANIFEST, Manifest, ShardEntry, UNITS, sha256, shard_name};
use crate::output_folder::{contents, put_folder, put_folder_back};
use crate::parts::Part;
use crate::paths::resolve;
use crate::temporary::{Temporary, folder_of, sync_folder};
use crate::{Format, Input, Mapped, Output, Writer};

/// Holds all rows until their number is known, where they are divided by it.
const SPOOL: &str = ".all.arrow";

/// How rows are divided among the shards of a dataset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sharding {
    /// One shard.
    Whole,
    /// So many shards, whose numbers of rows differ by 1 at most.
    Shards(u64),
    /// So many rows a shard; the last has what is left.
    Rows(u64),
    /// The rows of each shard; whatever comes after the last goes into one more.
    Like(Vec<u64>),
}

/// Writes a dataset, which appears with [`DatasetWriter::finish`] or not at all.
pub(crate) struct DatasetWriter {
    place: String,
    target: PathBuf,
    folder: Temporary,
    kind: Kind,
    schema: SchemaRef,
    /// What is written into every shard.
    about: Provenance,
    sharding: Sharding,
    done: Vec<ShardEntry>,
    present: Option<(Writer, u64)>,
}

impl DatasetWriter {
    pub(crate) fn create(
        path: &Path,
        sharding: Sharding,
        kind: Kind,
        schema: SchemaRef,
        about: &Provenance,
    ) -> Result<Self> {
        let place = path.display().to_string();
        let target = resolve(path).map_err(Error::io(&place))?;
        put_folder_back(&target).map_err(Error::io(&place))?;
        check_replaceable(&place, &target)?;
        let folder = Temporary::folder(&target)
            .map_err(|e| Error::new(folder_of(&target).display(), format!("can't write into this folder: {e}")))?;
        let (about, done) = (shared(about), Vec::new());
        Ok(DatasetWriter { place, target, folder, kind, schema, about, sharding, done, present: None })
    }

    pub(crate) fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let mut rest = batch.clone();
        while rest.num_rows() > 0 {
            let most = match &self.sharding {
                Sharding::Whole | Sharding::Shards(_) => u64::MAX,
                Sharding::Rows(rows) => *rows,
                Sharding::Like(rows) => rows.get(self.done.len()).copied().unwrap_or(u64::MAX),
            };
            let (mut writer, rows) = match self.present.take() {
                Some(present) => present,
                None => (self.open(&self.file())?, 0),
            };
            let taken = (rest.num_rows() as u64).min(most - rows);
            writer.write(&rest.slice(0, taken as usize))?;
            rest = rest.slice(taken as usize, rest.num_rows() - taken as usize);
            self.present = Some((writer, rows + taken));
            if rows + taken == most {
                self.close()?;
            }
        }
        Ok(())
    }

    /// The name of the file that is written next.
    fn file(&self) -> String {
        match self.sharding {
            Sharding::Shards(_) => SPOOL.to_owned(),
            _ => shard_name(self.done.len()),
        }
    }

    fn open(&self, file: &str) -> Result<Writer> {
        let output = Output::Path(self.folder.path().join(file), Format::File);
        Writer::create(&output, self.kind, self.schema.clone(), self.about.clone())
    }

    /// Ends the shard that is being written.
    fn close(&mut self) -> Result<()> {
        let Some((writer, _)) = self.present.take() else { return Ok(()) };
        let file = self.file();
        let rows = writer.finish()?;
        let digest = File::open(self.folder.path().join(&file)).and_then(|shard| sha256(&shard));
        let sha256 = Some(digest.map_err(Error::io(&self.place))?);
        self.done.push(ShardEntry { file, rows, sha256 });
        Ok(())
    }

    /// Takes in a file that is a shard already.
    pub(crate) fn adopt(&mut self, part: &Part) -> Result<()> {
        let file = self.file();
        let target = self.folder.path().join(&file);
        let linked = fs::hard_link(&part.path, &target).or_else(|_| fs::copy(&part.path, &target).map(drop));
        linked.map_err(Error::io(part.path.display()))?;
        self.done.push(ShardEntry { file, rows: part.rows, sha256: Some(part.sha256.clone()) });
        Ok(())
    }

    /// Ends the dataset, whose whole came from where `provenance` says.
    pub(crate) fn finish(mut self, provenance: &Provenance) -> Result<()> {
        if let Sharding::Shards(count) = self.sharding {
            self.divide(count)?;
        }
        self.close()?;
        // A unit of work may make no rows although all units together make some.
        if self.done.is_empty() && std::env::var_os(COMMAND_OF_WHOLE).is_some() {
            self.present = Some((self.open(&self.file())?, 0));
            self.close()?;
        }
        if self.done.is_empty() {
            return Err(Error::new(&self.place, "would be a dataset without rows"));
        }
        let place = &self.place;
        let manifest = Manifest::new(std::mem::take(&mut self.done), provenance);
        let path = self.folder.path().join(MANIFEST);
        fs::write(&path, manifest.to_json().map_err(Error::io(place))?).map_err(Error::io(place))?;
        File::open(&path).and_then(|file| file.sync_all()).map_err(Error::io(place))?;
        sync_folder(self.folder.path()).map_err(Error::io(place))?;
        // The old folder goes away with the temporary one, whose place it takes.
        check_replaceable(place, &self.target)?;
        self.folder.place(|new| put_folder(new, &self.target)).map_err(Error::io(place))?;
        sync_folder(folder_of(&self.target)).map_err(Error::io(place))
    }

    /// Divides the rows, all of which were written into one file, among `count` shards.
    fn divide(&mut self, count: u64) -> Result<()> {
        let Some((writer, rows)) = self.present.take() else { return Ok(()) };
        writer.finish()?;
        if rows < count {
            let text = format!("there are only {rows} rows for {count} shards, and a shard must have one at least");
            return Err(Error::new(&self.place, text).hint(format!("--shards {rows}")));
        }
        self.sharding =
            Sharding::Like((0..count).map(|shard| rows / count + u64::from(shard < rows % count)).collect());
        let spool = self.folder.path().join(SPOOL);
        let all = Mapped::open(&Input::Path(spool.clone()), self.kind)?;
        all.batches().iter().try_for_each(|batch| self.write(batch))?;
        fs::remove_file(spool).map_err(Error::io(&self.place))
    }
}

/// Refuses to put a dataset in the place of anything but an empty folder or a dataset, with all that is in it.
pub(crate) fn check_replaceable(place: &str, target: &Path) -> Result<()> {
    let Ok(found) = target.symlink_metadata() else { return Ok(()) };
    if !found.is_dir() {
        return Err(Error::new(place, "is a file, expected a folder to write shards into"));
    }
    if target.parent().and_then(|parent| parent.metadata().ok()).is_some_and(|parent| parent.dev() != found.dev()) {
        return Err(
            Error::new(place, "is where a disk is mounted, which can't be replaced").hint("name a folder in it")
        );
    }
    check_of_dataset(place, target, &contents(target).map_err(Error::io(place))?)
}

/// Refuses a folder, called `place`, with these `files` if one of them is not of the dataset whose manifest is in
/// `folder`, or if there is no manifest.
///
/// # Errors
/// As said; the manifest is broken.
pub fn check_of_dataset(place: &str, folder: &Path, files: &[PathBuf]) -> Result<()> {
    let known: HashSet<PathBuf> = match folder.join(MANIFEST).exists() {
        true => {
            let shards = Manifest::read(folder)?.shards.into_iter().map(|shard| PathBuf::from(shard.file));
            shards.chain([MANIFEST.into(), UNITS.into()]).collect()
        }
        false => HashSet::new(),
    };
    match files.iter().find(|file| !known.contains(*file)) {
        Some(file) => {
            let text = format!("is a folder that holds {}, which is not of a dataset", file.display());
            Err(Error::new(place, text).hint("choose another --output, or move it away"))
        }
        None => Ok(()),
    }
}
