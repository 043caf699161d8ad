//! The rotation and the centroids of product quantization as tensors, of which the centroids are trained.

use hardmine_encoder::{Encoder, Workers};
use hardmine_quantization::{Codebook, Rotation, digest};
use hardmine_records::{Error, Result};
use tch::{Device, Kind, Tensor, no_grad};

use crate::assign::Assignment;

/// What turns a vector into a code and a code into a vector.
pub struct Quantizer {
    /// (E, E)
    rotation: Tensor,
    /// (M, K, E/M); an optimizer changes them in place.
    centroids: Tensor,
}

// SAFETY: as with the encoder, nothing in here changes a tensor through a shared reference; the optimizer updates the
// centroids in place while nobody computes with them.
unsafe impl Sync for Quantizer {}

impl Quantizer {
    /// Puts a `rotation` and the centroids of a `codebook` on `device`.
    pub fn new(rotation: &Rotation, codebook: &Codebook, device: Device) -> Self {
        let shape = [codebook.subvectors() as i64, -1, codebook.subvector_dim() as i64];
        let rows = [rotation.dim_out() as i64, rotation.dim_in() as i64];
        Quantizer {
            rotation: Tensor::from_slice(rotation.matrix()).view(rows).to_device(device),
            centroids: Tensor::from_slice(codebook.centroids()).view(shape).to_device(device),
        }
    }

    /// Refuses a rotation of other dimensions than the vectors of `encoder`. `place` is the file it came from.
    pub(crate) fn check(&self, encoder: &Encoder, place: &str) -> Result<()> {
        let (rows, columns) = (self.rotation.size()[0], self.rotation.size()[1]);
        let dimension = encoder.dimension() as i64;
        if (rows, columns) == (dimension, dimension) {
            return Ok(());
        }
        let found = if rows == columns { rows.to_string() } else { format!("{columns}, rotated to {rows}") };
        let text = format!("vectors of {found} dimensions, expected {dimension}, the model's");
        Err(Error::new(place, text).hint("make the index from embeddings of the model that --init names"))
    }

    /// The rotation, (E, E).
    pub fn rotation(&self) -> &Tensor {
        &self.rotation
    }

    /// The centroids, (M, K, E/M), as they are now.
    pub fn centroids(&self) -> &Tensor {
        &self.centroids
    }

    /// Number M of subvectors.
    pub fn subvectors(&self) -> i64 {
        self.centroids.size()[0]
    }

    /// X·Rᵀ, (N, E), of `vectors` X, (N, E). A gradient flows through it.
    pub fn rotate(&self, vectors: &Tensor) -> Tensor {
        vectors.matmul(&self.rotation.tr())
    }

    /// The centroids as a tensor of their own that shares their memory and gathers the gradient of one step.
    pub(crate) fn leaf(&self) -> Tensor {
        self.centroids.detach().set_requires_grad(true)
    }

    /// What is left of `vectors`, (N, E) before the rotation, when they are kept as codes: rotated, and then the nearest
    /// centroids in their place.
    pub(crate) fn quantized(&self, vectors: &Tensor, workers: &Workers) -> Tensor {
        let nearest = Assignment { epsilon: 1.0, iterations: 0, constrained: false };
        no_grad(|| decode(&self.centroids, &nearest.of(&self.rotate(vectors), &self.centroids, workers).codes))
    }

    /// The centroids as they are now.
    ///
    /// # Errors
    /// Numbers that are not finite.
    pub fn codebook(&self) -> Result<Codebook> {
        let numbers: Vec<f32> = numbers(&self.centroids);
        Codebook::new(numbers, self.subvectors() as usize)
    }

    /// What tells the quantizer at the start of a run from others.
    pub(crate) fn identity(&self) -> String {
        format!("{} {}", digest(&numbers(&self.rotation)), digest(&numbers(&self.centroids)))
    }
}

/// The vectors, (N, E), that `codes`, (N, M) of integers, stand for: `centroids`, (M, K, E/M), one after the other. The
/// centroids that are named get a gradient, and no others.
pub fn decode(centroids: &Tensor, codes: &Tensor) -> Tensor {
    let (subvectors, count, width) = centroids.size3().expect("centroids have three dimensions");
    let firsts = Tensor::arange(subvectors, (Kind::Int64, codes.device())) * count;
    let places = codes.to_kind(Kind::Int64) + firsts; // (N, M)
    // Unlike a gather, it adds up its gradients in the same order each time, on a GPU too.
    let rows = Tensor::embedding(&centroids.view([subvectors * count, width]), &places, -1, false, false);
    rows.view([-1, subvectors * width])
}

/// The numbers of a tensor of float32 in order.
fn numbers(tensor: &Tensor) -> Vec<f32> {
    Vec::try_from(tensor.detach().to_device(Device::Cpu).flatten(0, -1)).expect("rotation and centroids are float32")
}
