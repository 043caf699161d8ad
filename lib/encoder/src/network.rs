//! The computation of an encoder: token ids in, vectors out.

use tch::{Device, Tensor};

use crate::config::Config;
use crate::dropout::Dropout;
use crate::head::Head;
use crate::transformer::Transformer;
use crate::{Batch, Precision, Truncation};

/// What encodes: a transformer and the head that makes one vector of its hidden states. By itself it can be neither
/// trained nor saved; an `Encoder` can.
pub struct Network {
    pub(crate) config: Config,
    pub(crate) transformer: Transformer,
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
        Batch::new(rows, truncation, &self.config, self.device)
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
        let hidden = self.transformer.forward(batch, self.precision.kind(), self.head.first_only(), dropout);
        self.head.forward(hidden, batch)
    }

    /// Whether all vectors have length 1.
    pub fn normalizes(&self) -> bool {
        self.head.normalizes()
    }

    /// E, the size of a vector.
    pub fn dimension(&self) -> usize {
        self.head.dimension as usize
    }

    /// The most tokens a text may have.
    pub fn max_positions(&self) -> usize {
        self.config.max_positions()
    }

    /// Number of token ids that the model knows; all ids are below it.
    pub fn vocabulary(&self) -> usize {
        self.config.vocab_size as usize
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
