//! What the first stage of RepCONC makes of the documents of a batch: codes, and the vectors that these stand for.

use hardmine_encoder::Workers;
use tch::{Kind, Tensor};

use crate::assign::{Assigned, Assignment};
use crate::log::Clustered;
use crate::losses::repconc;
use crate::quantizer::{Quantizer, decode};

/// How the documents of a batch become codes, and what that costs.
pub struct Clustering {
    /// The rotation and the centroids.
    pub quantizer: Quantizer,
    /// How codes are chosen.
    pub assignment: Assignment,
    /// The weight in the loss of the squared distance between documents and what their codes stand for.
    pub mse_weight: f64,
    /// Whether a document that was drawn several times for the batch is a negative only once.
    pub once: bool,
}

impl Clustering {
    /// What tells it from others.
    pub(crate) fn identity(&self) -> String {
        format!("{:?} {} {} {}", self.assignment, self.mse_weight, self.once, self.quantizer.identity())
    }

    /// `docs` (N, E) with the values of what their codes stand for, in rotated space; the error that makes, with its
    /// weight; and how it went.
    pub(crate) fn of(&self, docs: &Tensor, centroids: &Tensor, workers: &Workers) -> (Tensor, Tensor, Clustered) {
        let rotated = self.quantizer.rotate(docs);
        let Assigned { codes, fell_back } = self.assignment.of(&rotated.detach(), &centroids.detach(), workers);
        let decoded = decode(centroids, &codes);
        let error = repconc::error(&decoded, &rotated);
        let clustered = Clustered {
            mse: error.double_value(&[]) as f32,
            imbalance: imbalance(&codes, centroids.size()[1]),
            fallbacks: fell_back.into(),
        };
        (repconc::straight_through(&decoded, &rotated), error * self.mse_weight, clustered)
    }
}

/// The mean over all centroids of |1 − K · share|, where `codes` (N, M) name them, K of each subvector.
fn imbalance(codes: &Tensor, count: i64) -> f32 {
    let (documents, subvectors) = codes.size2().expect("codes are a matrix");
    let places = codes + Tensor::arange(subvectors, (Kind::Int64, codes.device())) * count;
    let counts = places.flatten(0, -1).bincount::<Tensor>(None, subvectors * count);
    let shares = counts.to_kind(Kind::Float) / documents as f64;
    (-(shares * count as f64) + 1.0).abs().mean(Kind::Float).double_value(&[]) as f32
}
