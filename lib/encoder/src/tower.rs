//! A tower: an encoder whose folder also holds the rotation and the centroids of a product quantizer, as JPQ and
//! RepCONC write it (their `JPQTower` and `QuantDot`). Beside the weights of the encoder there are two more tensors,
//! `rotation` (D, D) and `centroids` (M, 256, D/M), and `config.json` has `MCQ_M` and `MCQ_K`. Programs that know
//! nothing of towers load the same folder as the encoder that it is.

use hardmine_quantization::{CENTROIDS, Codebook, Rotation};
use hardmine_records::{Error, Result};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tch::{Kind, Tensor};

use crate::checkpoint::Tensors;

/// How far R·Rᵀ may be from the identity, for a rotation that went through float16.
const TOLERANCE: f64 = 1e-2;

const ROTATION: &str = "rotation";
const CENTROIDS_NAME: &str = "centroids";

/// What makes a tower of an encoder. Documents are kept as codes of R·x, and queries are rotated by R before they are
/// scored.
#[derive(Clone, Debug, PartialEq)]
pub struct Tower {
    /// R, (D, D).
    pub rotation: Rotation,
    /// C, (M, 256, D/M).
    pub codebook: Codebook,
}

/// What `config.json` says of a tower.
#[derive(Clone, Copy, Default, Deserialize)]
pub(crate) struct TowerConfig {
    /// Number of subvectors, M.
    #[serde(rename = "MCQ_M")]
    subvectors: Option<i64>,
    /// Number of centroids of a subvector, K.
    #[serde(rename = "MCQ_K")]
    centroids: Option<i64>,
}

impl Tower {
    /// Takes the tensors of a tower out of the weights of an encoder whose vectors have `dimension` numbers; none if
    /// the folder is no tower.
    ///
    /// # Errors
    /// Only one of the two tensors, shapes that don't fit each other or `config.json`, a matrix that is no rotation.
    pub(crate) fn take(
        weights: &mut Tensors,
        config: TowerConfig,
        dimension: i64,
        place: &str,
    ) -> Result<Option<Tower>> {
        let (rotation, centroids) = match (weights.remove(ROTATION), weights.remove(CENTROIDS_NAME)) {
            (Some(rotation), Some(centroids)) => (rotation, centroids),
            (None, None) if config.subvectors.is_none() => return Ok(None),
            (rotation, _) => {
                let missing = if rotation.is_none() { ROTATION } else { CENTROIDS_NAME };
                let text = format!("is a tower without {missing}; JPQ and RepCONC need both rotation and centroids");
                return Err(Error::new(place, text));
            }
        };
        let wrong = |text: String| Err(Error::new(place, text));
        if rotation.size() != [dimension, dimension] {
            let found = rotation.size();
            return wrong(format!("rotation: expected shape {:?}, found {found:?}", [dimension, dimension]));
        }
        let (found, k) = (centroids.size(), CENTROIDS as i64);
        let subvectors = config.subvectors.or(found.first().copied()).unwrap_or(0);
        if config.centroids.is_some_and(|centroids| centroids != k) {
            return wrong(format!("MCQ_K is not {k}; codes of other sizes than one byte are not known here"));
        }
        if subvectors < 1 || dimension % subvectors != 0 {
            return wrong(format!("MCQ_M is {subvectors}, which does not divide the {dimension} numbers of a vector"));
        }
        let expected = [subvectors, k, dimension / subvectors];
        if found != expected {
            return wrong(format!("centroids: expected shape {expected:?}, found {found:?}"));
        }
        let wide = rotation.to_kind(Kind::Double);
        let identity = Tensor::eye(dimension, (Kind::Double, wide.device()));
        let off = (wide.matmul(&wide.tr()) - identity).abs().max().double_value(&[]);
        if off > TOLERANCE {
            return wrong(format!("rotation is no rotation: R times its transpose is off the identity by {off:.2}"));
        }
        let rotation = Rotation::new(numbers(&rotation), dimension as usize)?;
        let codebook = Codebook::new(numbers(&centroids), subvectors as usize)?;
        Ok(Some(Tower { rotation, codebook }))
    }

    /// Its tensors by name, as they stand in the weights.
    pub(crate) fn tensors(&self) -> [(&'static str, Tensor); 2] {
        let Tower { rotation, codebook } = self;
        let dim = rotation.dim_in() as i64;
        let m = codebook.subvectors() as i64;
        [
            (ROTATION, Tensor::from_slice(rotation.matrix()).view([dim, dim])),
            (CENTROIDS_NAME, Tensor::from_slice(codebook.centroids()).view([m, CENTROIDS as i64, dim / m])),
        ]
    }
}

/// Says in a `config.json` whether the folder is a tower.
pub(crate) fn say_tower(config: &mut Map<String, Value>, tower: Option<&Tower>) {
    for (name, value) in
        [("MCQ_M", tower.map(|tower| tower.codebook.subvectors())), ("MCQ_K", tower.map(|_| CENTROIDS))]
    {
        match value {
            Some(value) => config.insert(name.into(), json!(value)),
            None => config.remove(name),
        };
    }
}

/// All numbers of a float32 tensor, row by row.
fn numbers(tensor: &Tensor) -> Vec<f32> {
    let mut numbers = vec![0.0; tensor.numel()];
    tensor.contiguous().copy_data(&mut numbers, tensor.numel());
    numbers
}
