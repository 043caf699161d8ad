//! Shards as files, for those who make or use them one by one: what a dataset consists of, and a dataset made of files
//! that are there already.

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::datatypes::Schema;
use hardmine_records::{Error, Kind, Provenance, Result};

use crate::dataset_writer::DatasetWriter;
use crate::input::read_small;
use crate::manifest::{MANIFEST, Manifest, ShardEntry, UNITS, sha256, shard_name};
use crate::table::open_records;
use crate::temporary::Temporary;
use crate::{Input, Sharding};

/// Bytes that a note of units may have.
const LONGEST: u64 = 64 << 20;

/// A file that is a shard of a dataset, or all of what is no dataset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Where it is.
    pub path: PathBuf,
    /// Its number of rows.
    pub rows: u64,
    /// SHA-256 of its bytes, in hexadecimal.
    pub sha256: String,
}

/// What tells the bytes of a file from those of others and from its own of another time, without a look at them:
/// device, inode, length and time of its last change; and their SHA-256.
type Version = (u64, u64, u64, i64, i64, String);

/// The file at `path`, an Arrow file or Parquet, which is read as a whole; and where its records came from.
///
/// # Errors
/// A file that is missing, cut off, or of another form.
pub fn part(path: &Path) -> Result<(Part, Provenance)> {
    let name = path.display().to_string();
    let source = Input::from(path).open()?;
    let content = source.content;
    let file = source.into_file()?;
    let sha256 = sha256(&file).map_err(Error::io(&name))?;
    let (mut batches, _, provenance) = open_records(&name, content, file)?;
    let mut rows = 0;
    while let Some(batch) = batches.next(&name)? {
        rows += batch.num_rows() as u64;
    }
    Ok((Part { path: path.into(), rows, sha256 }, provenance))
}

/// The shards of the dataset `input` in their order, as its manifest names them, or the one file that it is; and where
/// the whole came from. The shards of a dataset are not looked at, except to compute digests that its manifest lacks.
///
/// # Errors
/// An input that can't be read again; a broken manifest; errors of [`part`].
pub fn parts(input: &Input) -> Result<(Vec<Part>, Provenance)> {
    let Some(folder) = input.folder() else {
        input.check_reopenable("can be read only once")?;
        let (part, provenance) = part(input.path())?;
        return Ok((vec![part], provenance));
    };
    let manifest = Manifest::read_any(folder)?;
    if let Some(name) = manifest.stranger(folder)? {
        let text = "lies in the folder of a dataset, but its manifest.json does not name it";
        return Err(Error::new(folder.join(name).display(), text));
    }
    let provenance = manifest.provenance();
    let parts = manifest.shards.into_iter().map(|shard| {
        let path = folder.join(&shard.file);
        match shard.sha256 {
            Some(sha256) => Ok(Part { path, rows: shard.rows, sha256 }),
            None => Ok(part(&path)?.0),
        }
    });
    Ok((parts.collect::<Result<_>>()?, provenance))
}

/// Puts a dataset of `parts` in their order into the folder `path`, in the place of a dataset that is there already.
/// The files keep their names where they are; the dataset has links to them, or copies where the file system has no
/// links.
///
/// # Errors
/// There is no part; a folder that is no dataset is in the way; the disk is full.
pub fn assemble(path: &Path, kind: Kind, parts: &[Part], mut provenance: Provenance) -> Result<()> {
    provenance.stamp(kind);
    let mut writer = DatasetWriter::create(path, Sharding::Whole, kind, Arc::new(Schema::empty()), &provenance)?;
    parts.iter().try_for_each(|part| writer.adopt(part))?;
    writer.finish(&provenance)
}

/// The text of the manifest of a dataset of `parts`, whose files are called `00000.arrow` and so on.
///
/// # Errors
/// None in practice: text can always be written as JSON.
pub fn manifest(kind: Kind, parts: &[Part], provenance: &Provenance) -> Result<String> {
    let mut provenance = provenance.clone();
    provenance.stamp(kind);
    let shards = parts.iter().enumerate().map(|(shard, part)| ShardEntry {
        file: shard_name(shard),
        rows: part.rows,
        sha256: Some(part.sha256.clone()),
    });
    Manifest::new(shards.collect(), &provenance).to_json().map_err(Error::io(MANIFEST))
}

/// The rows of shards that are near those of another dataset, which have these `rows`: each except the last ends at a
/// multiple of `multiple` rows.
pub fn shards_near(rows: &[u64], multiple: u64) -> Vec<u64> {
    let total: u64 = rows.iter().sum();
    let (mut near, mut ended, mut end) = (Vec::new(), 0, 0);
    for rows in rows {
        ended += rows;
        let next = ended.next_multiple_of(multiple).min(total);
        if next > end {
            near.push(next - end);
            end = next;
        }
    }
    near
}

/// Notes beside the dataset in `folder` which unit of work made each of its shards: the name of the unit, then the
/// SHA-256 of the shard. (The name of its file would say nothing once another dataset is copied into the folder.)
///
/// # Errors
/// The file can't be written.
pub fn remember(folder: &Path, units: &BTreeMap<String, String>) -> Result<()> {
    let path = folder.join(UNITS);
    let place = path.display().to_string();
    let text = serde_json::to_string_pretty(units).map_err(Error::at(&place))?;
    let new = Temporary::file(&path).map_err(Error::io(&place))?;
    fs::write(new.path(), text).map_err(Error::io(&place))?;
    new.place(|new| fs::rename(new, &path)).map_err(Error::io(&place))
}

/// What [`remember`] noted beside the dataset in `folder`; nothing if there is no such note, or no dataset.
pub fn remembered(folder: &Path) -> BTreeMap<String, String> {
    let text = read_small(&folder.join(UNITS), LONGEST).unwrap_or_default();
    serde_json::from_slice(&text).unwrap_or_default()
}

/// SHA-256 of the bytes of the file at `path`, in hexadecimal.
///
/// # Errors
/// The file can't be read.
pub fn sha256_of(path: &Path) -> Result<String> {
    let name = path.display().to_string();
    let file = File::open(path).map_err(Error::io(&name))?;
    sha256(&file).map_err(Error::io(&name))
}

/// Refuses the file at `path` if its bytes are not those that have this SHA-256. Bytes that were looked at before, and
/// have not changed since, are not read again.
///
/// # Errors
/// The bytes are others, or can't be read.
pub fn check_part(path: &Path, sha256: &str) -> Result<()> {
    let name = path.display().to_string();
    let file = File::open(path).map_err(Error::io(&name))?;
    check_digest(&name, &file, sha256)
}

/// [`check_part`] of a file that is open.
pub(crate) fn check_digest(name: &str, file: &File, expected: &str) -> Result<()> {
    static SEEN: Mutex<Option<HashSet<Version>>> = Mutex::new(None);
    let found = file.metadata().map_err(Error::io(name))?;
    let version =
        (found.dev(), found.ino(), found.len(), found.mtime(), found.mtime_nsec(), expected.to_ascii_lowercase());
    let mut seen = SEEN.lock().unwrap_or_else(PoisonError::into_inner);
    let seen = seen.get_or_insert_default();
    if seen.contains(&version) {
        return Ok(());
    }
    if sha256(file).map_err(Error::io(name))? != version.5 {
        let text = "is not the shard that the dataset's manifest.json was written for: its SHA-256 is another";
        return Err(Error::new(name, text)
            .hint("it was cut off, changed, exchanged with another shard, or is being written right now"));
    }
    seen.insert(version);
    Ok(())
}
