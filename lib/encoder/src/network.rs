//! The computation of an encoder: token ids in, vectors out.

use tch::{Device, Tensor};

use hardmine_quantization::Rotation;
use hardmine_records::{Error, Result};

use crate::config::Config;
use crate::dropout::Dropout;
use crate::families::Transformer;
use crate::head::Head;
use crate::pass::Pass;
use crate::{Batch, Precision, Similarity, Truncation};

/// What encodes: a transformer and the head that makes one vector of its hidden states. By itself it can be neither
/// trained nor saved; an `Encoder` can.
pub struct Network {
    pub(crate) config: Config,
    pub(crate) transformer: Box<dyn Transformer>,
    pub(crate) head: Head,
    pub(crate) device: Device,
    pub(crate) precision: Precision,
    pub(crate) digest: String,
}

// SAFETY: several threads may compute with the same libtorch tensors at once, and nothing in here changes a tensor
// through a shared reference.
unsafe impl Sync for Network {}

impl Network {
    /// The texts `rows`, of which none may be empty, shortened and as a batch. Texts of like length should stand
    /// together.
    pub fn batch(&self, rows: &[&[i32]], truncation: Truncation) -> Batch {
        Batch::new(rows, truncation, self.config.sizes.numbering, self.device)
    }

    /// Vectors (B, E) of a batch, float32. Whether gradients are recorded is for the parameters and the caller to say.
    pub fn encode(&self, batch: &Batch) -> Tensor {
        self.forward(batch, None)
    }

    /// [`Network::encode`] with dropout; the same `seed` gives the same zeros.
    pub fn encode_with_dropout(&self, batch: &Batch, seed: u64) -> Tensor {
        self.forward(batch, Some(Dropout::new(seed, self.device)))
    }

    fn forward(&self, batch: &Batch, dropout: Option<Dropout>) -> Tensor {
        let pass = Pass { batch, kind: self.precision.kind(), dropout, chosen: self.head.chosen(batch) };
        self.head.forward(self.transformer.forward(&pass), batch)
    }

    /// Whether its vectors have length 1, so that their inner product is the cosine.
    pub fn similarity(&self) -> Similarity {
        if self.head.normalizes() { Similarity::Cosine } else { Similarity::Dot }
    }

    /// The same network with only the first `dimension` numbers of each vector, which is brought back to length 1 if it
    /// had that. It makes sense for models that were trained so (Kusupati et al. 2022, arXiv 2205.13147).
    ///
    /// # Errors
    /// There are fewer numbers.
    pub fn cut_to(mut self, dimension: usize) -> Result<Network> {
        match dimension {
            0 => Err(Error::new("0 dimensions", "expected at least 1")),
            _ if dimension > self.dimension() => Err(Error::new(
                format!("{dimension} dimensions"),
                format!("the model's vectors have only {}", self.dimension()),
            )),
            _ if dimension == self.dimension() => Ok(self),
            _ => {
                self.head.cut(dimension as i64);
                Ok(self)
            }
        }
    }

    /// The same network with rotated vectors, as the codes of a product quantizer stand for. They are compared among
    /// themselves as the plain ones are.
    ///
    /// # Errors
    /// A rotation of vectors of another size.
    pub fn rotated(mut self, rotation: &Rotation) -> Result<Network> {
        let (dim, found) = (self.dimension(), (rotation.dim_out(), rotation.dim_in()));
        if found != (dim, dim) {
            let text =
                format!("is a matrix of {} times {}, but the model's vectors have {dim} numbers", found.0, found.1);
            return Err(Error::new("rotation", text));
        }
        let matrix = Tensor::from_slice(rotation.matrix()).view([dim as i64, dim as i64]);
        self.head.rotate(matrix.to_device(self.device));
        Ok(self)
    }

    /// E, the size of a vector.
    pub fn dimension(&self) -> usize {
        self.head.dimension as usize
    }

    /// The most tokens a text may have.
    pub fn max_positions(&self) -> usize {
        self.config.sizes.max_tokens as usize
    }

    /// Number of token ids that the model knows; all ids are below it.
    pub fn vocabulary(&self) -> usize {
        self.config.sizes.vocabulary as usize
    }

    /// The device that it computes on.
    pub fn device(&self) -> Device {
        self.device
    }

    /// The number type of its matrix products.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// The digest of the folder it was loaded from, see [`digest()`](crate::digest()).
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// For a query encoder trained by ADORE: the digest of the encoder of the documents it searches.
    pub fn document_model(&self) -> Option<&str> {
        self.config.document_model.as_deref()
    }
}
