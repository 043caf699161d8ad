//! The gradients of a step.

use hardmine_encoder::Workers;
use tch::Tensor;

use crate::encoding::add;
use crate::optimizer::gradient_norm;

/// The gradients at all that is trained.
#[derive(Default)]
pub struct Gradients {
    /// One for each parameter of the encoder that is trained.
    pub encoder: Vec<Tensor>,
    /// That of the centroids, where they are trained.
    pub centroids: Option<Tensor>,
}

/// Global L2 norms of gradients.
pub struct Norms {
    pub encoder: f64,
    pub all: f64,
}

impl Gradients {
    /// Adds those of another batch.
    pub fn add(&mut self, other: Gradients) {
        if self.encoder.is_empty() {
            *self = other;
            return;
        }
        let centroids = self.centroids.iter_mut().zip(&other.centroids);
        self.encoder.iter_mut().zip(&other.encoder).chain(centroids).for_each(|(sum, one)| add(sum, one));
    }

    /// Their norms, divided by `scale`.
    pub fn norms(&self, scale: f64, workers: &Workers) -> Norms {
        let encoder = gradient_norm(&self.encoder, workers) / scale;
        let centroids = self.centroids.as_slice();
        Norms { encoder, all: encoder.hypot(gradient_norm(centroids, workers) / scale) }
    }
}
