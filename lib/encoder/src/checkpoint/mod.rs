//! Weights on disk: safetensors or PyTorch's pickle, whole or in shards. Only tensors are read;
//! nothing that a file names is ever executed.

mod names;
mod pickle;
mod pytorch;
mod safetensors;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::{Path, PathBuf};

use hardmine_files::foreign;
use hardmine_records::{Error, Result};
use memmap2::Mmap;
use serde::Deserialize;
use tch::{Kind, Tensor};

use crate::config::read_json;

pub(crate) use names::{belongs_to_a_task, canonical};
pub(crate) use safetensors::write;

/// The usual name of a weights file.
pub(crate) const SAFETENSORS: &str = "model.safetensors";
const PICKLE: &str = "pytorch_model.bin";

/// Tensors by name.
pub(crate) type Tensors = BTreeMap<String, Tensor>;

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

/// The files that hold a folder's weights: safetensors rather than pickle, one file rather than shards.
/// With shards, the index comes first.
///
/// # Errors
/// There are none.
pub(crate) fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    for name in [SAFETENSORS, PICKLE] {
        let file = folder.join(name);
        if file.exists() {
            return Ok(vec![file]);
        }
        let index = folder.join(format!("{name}.index.json"));
        if index.exists() {
            let shards: BTreeSet<String> = read_json::<Index>(&index)?.weight_map.into_values().collect();
            if let Some(name) = shards.iter().find(|name| name.contains(['/', '\\'])) {
                return Err(Error::new(index.display(), format!("shard '{name}' leaves the folder")));
            }
            return Ok(std::iter::once(index.clone()).chain(shards.iter().map(|name| folder.join(name))).collect());
        }
    }
    Err(Error::new(folder.display(), format!("no {SAFETENSORS} or {PICKLE}"))
        .hint("a model is a folder in Hugging Face layout"))
}

/// All floating-point tensors of a folder's weights, as float32, under their canonical names.
///
/// # Errors
/// Unreadable, truncated or unsafe files, values that are not finite, two tensors of one name.
pub(crate) fn read(folder: &Path) -> Result<Tensors> {
    let mut tensors = Tensors::new();
    for file in files(folder)? {
        let place = file.display().to_string();
        let found = match file.extension().and_then(|ending| ending.to_str()) {
            Some("json") => continue,
            Some("safetensors") => foreign(&place, || safetensors::read(&map(&file)?, &place))??,
            _ => foreign(&place, || pytorch::read(&map(&file)?, &place))??,
        };
        for (name, tensor) in found {
            let name = canonical(&name);
            let finite = tensor.isfinite().all();
            if !bool::try_from(&finite).map_err(Error::at(&place))? {
                return Err(Error::new(&place, format!("{name} has NaN or infinite values")));
            }
            if tensors.insert(name.clone(), tensor).is_some() {
                return Err(Error::new(&place, format!("{name} occurs twice")));
            }
        }
    }
    Ok(tensors)
}

fn map(file: &Path) -> Result<Mmap> {
    let opened = File::open(file).map_err(Error::io(file.display()))?;
    if opened.metadata().map_err(Error::io(file.display()))?.len() == 0 {
        return Err(Error::new(file.display(), "empty file"));
    }
    // SAFETY: the map is read once, right here; a file cut short by someone else meanwhile would end
    // the process with SIGBUS, as it does every program that maps files.
    unsafe { Mmap::map(&opened) }.map_err(Error::io(file.display()))
}

/// A float32 tensor from the bytes of elements of `kind`.
fn tensor(bytes: &[u8], shape: &[i64], kind: Kind, place: &str) -> Result<Tensor> {
    let tensor = Tensor::f_from_data_size(bytes, shape, kind).map_err(Error::at(place))?;
    Ok(tensor.to_kind(Kind::Float))
}

fn is_float(kind: Kind) -> bool {
    matches!(kind, Kind::Float | Kind::Half | Kind::BFloat16 | Kind::Double)
}
