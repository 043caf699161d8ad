//! Reads datasets: folders of shards, which are Arrow or Parquet files, with one manifest.

use std::ops::Range;
use std::path::Path;

use arrow::array::{Int64Array, RecordBatch};
use arrow::datatypes::{Field, SchemaRef};
use hardmine_records::{Error, Provenance, Result, provenance};

use crate::Input;
use crate::input::Content;
use crate::manifest::{Manifest, ShardEntry};
use crate::parts::check_digest;
use crate::table::{Batches, open_records};

/// What a shard says of itself only, so that it may differ from what the whole says.
const OF_THE_SHARD: [&str; 3] = [provenance::PROGRAM, provenance::COMMAND, provenance::KEYS];

/// The shards of a dataset, all of them open and checked, in their order.
pub(crate) struct Dataset {
    shards: Vec<Shard>,
    /// The shard that is being read, and how many of its rows were.
    present: usize,
    read: u64,
    /// The last id so far, of records that have one.
    last_id: Option<i64>,
    provenance: Provenance,
    schema: SchemaRef,
    /// Rows of the shards before those that are open.
    first_row: u64,
}

struct Shard {
    name: String,
    rows: u64,
    batches: Batches,
}

impl Dataset {
    /// Opens all shards of the dataset in `folder`. They stay what they are now, even if another dataset takes the
    /// place of the folder.
    ///
    /// # Errors
    /// There is no manifest, or it and the files disagree; shards that are not of one kind, with the same columns, and
    /// of one model, tokenizer and so on.
    pub(crate) fn open(folder: &Path) -> Result<Dataset> {
        Dataset::open_rows(folder, &(0..u64::MAX))
    }

    /// [`Dataset::open`], but only of the shards that have some of `rows`.
    ///
    /// # Errors
    /// As [`Dataset::open`]; there are not so many rows.
    pub(crate) fn open_rows(folder: &Path, rows: &Range<u64>) -> Result<Dataset> {
        let manifest = Manifest::read(folder)?;
        if let Some(name) = manifest.stranger(folder)? {
            let text = "lies in the folder of a dataset, but its manifest.json does not name it";
            return Err(Error::new(folder.join(name).display(), text)
                .hint("is the folder still being written? otherwise remove the file, or add it to the manifest"));
        }
        let mut whole = manifest.provenance();
        let mut schema: Option<SchemaRef> = None;
        let mut shards: Vec<Shard> = Vec::new();
        let (mut first_row, mut end) = (0, 0);
        for entry in &manifest.shards {
            let start = end;
            end += entry.rows;
            if end <= rows.start || start >= rows.end {
                continue;
            }
            if shards.is_empty() {
                first_row = start;
            }
            let (shard, columns, about) = Shard::open(folder, entry)?;
            if shards.is_empty() && whole.iter().next().is_none() {
                whole = shared(&about);
            }
            check_alike(&shard.name, &about, &whole)?;
            let first = schema.get_or_insert_with(|| columns.clone());
            let described = |schema: &SchemaRef| -> Vec<_> {
                let described = |field: &std::sync::Arc<Field>| (field.name().clone(), field.data_type().clone());
                schema.fields().iter().map(described).collect()
            };
            if described(first) != described(&columns) {
                let other = shards.first().map_or("the first shard", |shard| &shard.name);
                let text = format!("has other columns, or columns of other types, than {other}");
                return Err(Error::new(shard.name, text));
            }
            shards.push(shard);
        }
        let schema = schema.ok_or_else(|| {
            let text = format!("has {end} rows, so that there are no rows {}..{}", rows.start, rows.end);
            Error::new(folder.display(), text)
        })?;
        Ok(Dataset { shards, present: 0, read: 0, last_id: None, provenance: whole, schema, first_row })
    }

    /// The next batch of the present shard, or of the next one.
    pub(crate) fn next(&mut self) -> Result<Option<RecordBatch>> {
        while let Some(Shard { name, rows, batches }) = self.shards.get_mut(self.present) {
            if let Some(batch) = batches.next(name)? {
                self.read += batch.num_rows() as u64;
                return Ok(Some(batch));
            }
            if self.read != *rows {
                let text = format!("has {} rows, but the dataset's manifest says {rows}", self.read);
                return Err(Error::new(name, text));
            }
            (self.present, self.read) = (self.present + 1, 0);
        }
        Ok(None)
    }

    /// Refuses `ids`, those of the batch that [`Dataset::next`] gave last, if they don't go on from those before.
    pub(crate) fn check_ids(&mut self, ids: &Int64Array) -> Result<()> {
        let (Some(&first), Some(&last)) = (ids.values().first(), ids.values().last()) else { return Ok(()) };
        let before = self.last_id.replace(last).filter(|&before| before >= first);
        match (before, self.shards.get(self.present)) {
            (Some(before), Some(shard)) => {
                let text =
                    format!("has id {first} after id {before} of the rows before; ids go on from shard to shard");
                Err(Error::new(&shard.name, text).hint("are the shards in their order in manifest.json?"))
            }
            _ => Ok(()),
        }
    }

    /// Whether the batches of all shards point into memory maps.
    pub(crate) fn is_mapped(&self) -> bool {
        self.shards.iter().all(|shard| matches!(shard.batches, Batches::Mapped(..)))
    }

    /// Rows of each shard.
    pub(crate) fn rows(&self) -> Vec<u64> {
        self.shards.iter().map(|shard| shard.rows).collect()
    }

    /// The number of the first row of the first shard that is open.
    pub(crate) fn first_row(&self) -> u64 {
        self.first_row
    }

    pub(crate) fn provenance(&self) -> &Provenance {
        &self.provenance
    }

    /// The columns of the first shard, which all others have.
    pub(crate) fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }
}

impl Shard {
    fn open(folder: &Path, entry: &ShardEntry) -> Result<(Shard, SchemaRef, Provenance)> {
        let path = folder.join(&entry.file);
        let name = path.display().to_string();
        if !path.exists() {
            let text = "is missing, although the dataset's manifest.json names it";
            return Err(Error::new(name, text).hint("was the whole folder copied?"));
        }
        let input = Input::Path(path);
        let source = input.open()?;
        if !matches!(source.content, Content::ArrowFile | Content::Parquet) || source.packed {
            return Err(Error::new(name, "is no shard of a dataset: it is neither an Arrow file nor Parquet"));
        }
        let content = source.content;
        let file = source.into_file()?;
        if let Some(expected) = &entry.sha256 {
            check_digest(&name, &file, expected)?;
        }
        let (batches, schema, about) = open_records(&name, content, file)?;
        Ok((Shard { name, rows: entry.rows, batches }, schema, about))
    }
}

/// What a shard says that holds for the whole dataset, too.
pub(crate) fn shared(about: &Provenance) -> Provenance {
    let mut shared = Provenance::default();
    let entries = about.iter().filter(|(name, _)| !OF_THE_SHARD.contains(name));
    entries.for_each(|(name, value)| shared.set(name, value));
    shared
}

/// Refuses a shard of another kind, schema version, model, … than the whole.
fn check_alike(name: &str, shard: &Provenance, whole: &Provenance) -> Result<()> {
    let differs = shared(shard)
        .iter()
        .find(|(entry, value)| whole.get(entry) != Some(value))
        .map(|(entry, value)| (entry.to_owned(), value.to_owned()));
    let Some((entry, value)) = differs else { return Ok(()) };
    let entry = (entry.trim_start_matches("hardmine.").replace('_', " "), whole.get(&entry).unwrap_or("not there"));
    let text = format!("is a shard whose {} is {value}, but that of the dataset is {}", entry.0, entry.1);
    Err(Error::new(name, text).hint("shards of different kinds, schema versions or models can't be mixed"))
}
