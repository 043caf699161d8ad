//! The rotation and the centroids in a tower's folder: a model folder whose weights have them as two more tensors.

use std::fs::File;
use std::path::{Path, PathBuf};

use hardmine_files::{MappedBytes, foreign};
use hardmine_records::{Error, Result};
use safetensors::{Dtype, SafeTensors};

use crate::codebook::{CENTROIDS, Codebook};
use crate::rotation::Rotation;

/// The usual name of a weights file.
const WEIGHTS: &str = "model.safetensors";

/// What a tower has beside its encoder.
pub struct TowerTensors {
    /// Turns the encoder's vectors.
    pub rotation: Rotation,
    /// What codes of the turned vectors stand for.
    pub codebook: Codebook,
}

impl TowerTensors {
    /// Reads the tensors `rotation`, (D, D), and `centroids`, (M, 256, D/M), out of a model folder. Nothing else of its
    /// weights is read.
    ///
    /// # Errors
    /// A folder without `model.safetensors`, a model without these tensors, tensors of other shapes.
    pub fn read(folder: &Path) -> Result<Self> {
        let path = weights(folder)?;
        let place = path.display().to_string();
        let file = File::open(&path).map_err(Error::io(&place))?;
        let bytes = MappedBytes::new(&place, &file)?;
        let tensors = foreign(&place, || SafeTensors::deserialize(&bytes))?;
        let tensors =
            tensors.map_err(|e| Error::new(&place, format!("is a truncated or damaged weights file: {e}")))?;
        let (rotation, shape) = floats(&tensors, "rotation", &place)?;
        let wrong = |what: &str, shape: &[usize]| Error::new(&place, format!("{what} of shape {shape:?}"));
        let &[rows, columns] = &shape[..] else { return Err(wrong("has a rotation", &shape)) };
        let rotation = Rotation::new(rotation, columns).map_err(Error::at(&place))?;
        let (centroids, shape) = floats(&tensors, "centroids", &place)?;
        match shape[..] {
            [subvectors, CENTROIDS, width] if subvectors.checked_mul(width) == Some(rows) => {
                let codebook = Codebook::new(centroids, subvectors).map_err(Error::at(&place))?;
                Ok(TowerTensors { rotation, codebook })
            }
            _ => Err(wrong(&format!("has a rotation to {rows} dimensions, and centroids"), &shape)
                .hint("256 centroids of each of M subvectors, where M divides the dimensions")),
        }
    }
}

/// The weights file of a folder, which in a folder of sentence-transformers may be in that of its first module.
fn weights(folder: &Path) -> Result<PathBuf> {
    let inner = folder.join("0_Transformer").join(WEIGHTS);
    let found = [folder.join(WEIGHTS), inner].into_iter().find(|path| path.is_file());
    found.ok_or_else(|| {
        Error::new(folder.display(), format!("no {WEIGHTS}"))
            .hint("a tower is a model folder whose weights have a rotation and centroids, as train jpq writes it")
    })
}

fn floats(tensors: &SafeTensors, name: &str, place: &str) -> Result<(Vec<f32>, Vec<usize>)> {
    let tensor = tensors.tensor(name).map_err(|_| {
        Error::new(place, format!("has no tensor '{name}', so that it is no tower"))
            .hint("train jpq and train repconc write towers")
    })?;
    if tensor.dtype() != Dtype::F32 {
        return Err(Error::new(place, format!("tensor '{name}' is {:?}, expected F32", tensor.dtype())));
    }
    let numbers = tensor.data().as_chunks().0.iter().map(|&number| f32::from_le_bytes(number));
    Ok((numbers.collect(), tensor.shape().to_vec()))
}
