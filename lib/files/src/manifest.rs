//! What a dataset says of itself: `manifest.json` beside its shards.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::Path;

use hardmine_records::{Error, Provenance, Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::input::read_small;

/// The name of the manifest in the folder of a dataset.
pub const MANIFEST: &str = "manifest.json";

/// The name of the file beside the manifest that says which unit of work made each shard, where the dataset was made by
/// such. It tells which shards need not be made again when the collection grows, and is no part of the dataset.
pub const UNITS: &str = ".units.json";

/// The version of the manifest's form.
const VERSION: u32 = 1;
/// Bytes that a manifest may have: enough for a few hundred thousand shards.
const LONGEST: u64 = 64 << 20;

/// The shards of a dataset in their order, and where the whole came from.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Manifest {
    version: u32,
    /// Rows of all shards together.
    rows: u64,
    pub(crate) shards: Vec<ShardEntry>,
    /// The `hardmine.…` entries of the whole; none if another program wrote the records.
    #[serde(default)]
    provenance: BTreeMap<String, String>,
}

/// What the manifest says of a shard.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ShardEntry {
    /// The name of the file in the folder.
    pub(crate) file: String,
    pub(crate) rows: u64,
    /// SHA-256 of the file's bytes, in hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) sha256: Option<String>,
}

impl Manifest {
    pub(crate) fn new(shards: Vec<ShardEntry>, provenance: &Provenance) -> Self {
        let provenance = provenance.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        Manifest { version: VERSION, rows: shards.iter().map(|shard| shard.rows).sum(), shards, provenance }
    }

    /// Reads the manifest of the dataset in `folder`.
    ///
    /// # Errors
    /// There is none, or it is broken, contradicts itself, or names a shard that is empty or lies elsewhere.
    pub(crate) fn read(folder: &Path) -> Result<Manifest> {
        Manifest::read_with(folder, false)
    }

    /// [`Manifest::read`], also of a dataset that has shards without rows, as a unit of work may make one.
    ///
    /// # Errors
    /// As [`Manifest::read`].
    pub(crate) fn read_any(folder: &Path) -> Result<Manifest> {
        Manifest::read_with(folder, true)
    }

    fn read_with(folder: &Path, may_be_empty: bool) -> Result<Manifest> {
        let path = folder.join(MANIFEST);
        if !path.exists() {
            let text = format!("is a folder without a {MANIFEST}, so that the order of its files is not known");
            return Err(Error::new(folder.display(), text).hint(
                "tokenize --shards N -o FOLDER/ and embed -o FOLDER/ write one; schemas/README.md says what is in it",
            ));
        }
        let place = path.display();
        let manifest: Manifest = serde_json::from_slice(&read_small(&path, LONGEST)?)
            .map_err(|e| Error::new(&place, format!("is no manifest of a dataset: {e}")))?;
        if manifest.version != VERSION {
            let text = format!("is of version {}; this program reads version {VERSION}", manifest.version);
            return Err(Error::new(place, text));
        }
        let mut names: Vec<&str> = Vec::new();
        for ShardEntry { file, rows, .. } in &manifest.shards {
            if file.starts_with('.') || file.contains('/') || file.is_empty() {
                return Err(Error::new(place, format!("shard '{file}' is not the name of a file in this folder")));
            }
            if *rows == 0 && !may_be_empty {
                let shard = folder.join(file);
                return Err(Error::new(shard.display(), "is a shard without rows").hint("leave it out of the dataset"));
            }
            names.push(file);
        }
        names.sort_unstable();
        if let Some(twice) = names.windows(2).find(|names| names[0] == names[1]) {
            return Err(Error::new(place, format!("names the shard {} twice", twice[0])));
        }
        let sum = manifest.shards.iter().try_fold(0u64, |sum, shard| sum.checked_add(shard.rows));
        if manifest.shards.is_empty() || sum != Some(manifest.rows) {
            let sum = sum.map_or("too many".to_owned(), |sum| sum.to_string());
            let text = format!("says that there are {} rows, but its shards have {sum}", manifest.rows);
            return Err(Error::new(place, text));
        }
        Ok(manifest)
    }

    pub(crate) fn provenance(&self) -> Provenance {
        Provenance::from_metadata(&self.provenance)
    }

    /// The name of something in `folder` that is neither this manifest nor one of its shards. Hidden files are left
    /// aside.
    ///
    /// # Errors
    /// The folder can't be read.
    pub(crate) fn stranger(&self, folder: &Path) -> Result<Option<String>> {
        let known: std::collections::HashSet<&str> = self.shards.iter().map(|shard| shard.file.as_str()).collect();
        let mut strangers = Vec::new();
        for entry in fs::read_dir(folder).map_err(Error::io(folder.display()))? {
            let name = entry.map_err(Error::io(folder.display()))?.file_name().to_string_lossy().into_owned();
            if name != MANIFEST && !name.starts_with('.') && !known.contains(name.as_str()) {
                strangers.push(name);
            }
        }
        Ok(strangers.into_iter().min())
    }

    /// The text of the file.
    ///
    /// # Errors
    /// None in practice: text can always be written as JSON.
    pub(crate) fn to_json(&self) -> io::Result<String> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }
}

/// The name of the file of shard `number`, counted from 0.
pub fn shard_name(number: usize) -> String {
    format!("{number:05}.arrow")
}

/// SHA-256 of all bytes of `file`, in hexadecimal.
///
/// # Errors
/// Those of reading.
pub(crate) fn sha256(mut file: &File) -> io::Result<String> {
    let mut hash = Sha256::new();
    io::copy(&mut file, &mut hash)?;
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}
