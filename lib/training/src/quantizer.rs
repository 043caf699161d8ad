//! The rotation and the centroids of product quantization as tensors, of which the centroids are trained.

use hardmine_encoder::{Encoder, Tower, Workers};
use hardmine_files::{Input, MappedTokens};
use hardmine_quantization::{Codebook, PqIndex, Rotation, digest};
use hardmine_records::provenance::{KEYS, MODEL, SPACE};
use hardmine_records::{Error, Provenance, Result, check_same_space};
use tch::{Device, Kind, Tensor, no_grad};

use crate::assign::{Assignment, Constraint};

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
    /// Takes the rotation and the centroids of an index, without the coarse centroid, as RepCONC does.
    ///
    /// # Errors
    /// No index of product quantization; one of another model than `encoder`, of other documents than `docs`, or of
    /// vectors of other dimensions.
    pub fn open(input: &Input, encoder: &Encoder, docs: &MappedTokens) -> Result<Self> {
        let index = PqIndex::open(input)?;
        let name = index.name();
        check_model(name, index.provenance(), encoder)?;
        check_same_space((KEYS, name, index.provenance()), (KEYS, docs.name(), docs.provenance()))?;
        let quantizer = Quantizer::new(&rotation_of(&index, encoder)?, index.codebook(), encoder.device());
        quantizer.check(encoder, name)?;
        Ok(quantizer)
    }

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

    /// What is left of `vectors`, (N, E) before the rotation, when they are kept as codes: rotated, and then the
    /// nearest centroids in their place.
    pub(crate) fn quantized(&self, vectors: &Tensor, workers: &Workers) -> Tensor {
        let nearest = Assignment { epsilon: 1.0, iterations: 0, constraint: Constraint::None };
        no_grad(|| decode(&self.centroids, &nearest.of(&self.rotate(vectors), &self.centroids, workers).codes))
    }

    /// What makes a tower of the encoder.
    ///
    /// # Errors
    /// Numbers that are not finite.
    pub fn tower(&self) -> Result<Tower> {
        let dimension = self.rotation.size()[1] as usize;
        Ok(Tower { rotation: Rotation::new(numbers(&self.rotation), dimension)?, codebook: self.codebook()? })
    }

    /// What identifies the rotation in the provenance of rotated vectors.
    pub fn space(&self) -> String {
        digest(&numbers(&self.rotation))
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
        format!("{} {}", self.space(), digest(&numbers(&self.centroids)))
    }
}

/// Refuses what another model than `encoder` encoded, or than the one whose documents it searches.
pub(crate) fn check_model(name: &str, provenance: &Provenance, encoder: &Encoder) -> Result<()> {
    match provenance.get(MODEL) {
        Some(model) if model != encoder.digest() && Some(model) != encoder.document_model() => {
            Err(Error::new(name, "was made of embeddings of another model than --init")
                .hint("make it from embeddings of that model, or name the model that it was made with as --init"))
        }
        _ => Ok(()),
    }
}

/// The rotation of an index, or that of `encoder` for an index of rotated vectors.
pub(crate) fn rotation_of(index: &PqIndex, encoder: &Encoder) -> Result<Rotation> {
    let name = index.name();
    let tower = encoder.tower().map(|tower| &tower.rotation);
    let wrong = |text: &str| Err(Error::new(name, text).hint("--init is the model that the index was made with"));
    match (index.rotation(), tower) {
        (Some(own), Some(tower)) if own.digest() != tower.digest() => {
            wrong("has another rotation than the tower that --init names")
        }
        (Some(own), _) => Ok(own.clone()),
        (None, Some(tower)) => match index.provenance().get(SPACE) {
            Some(space) if space != tower.digest() => wrong("is of vectors that another tower than --init rotated"),
            _ => Ok(tower.clone()),
        },
        (None, None) => wrong("has no rotation, and the model that --init names is no tower, which would have one"),
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
