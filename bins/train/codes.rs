//! The options of `train jpq` and `train repconc` that are about documents kept as codes.

use hardmine_encoder::Encoder;
use hardmine_files::{Input, MappedTokens};
use hardmine_records::Error;
use hardmine_training::{Assignment, CentroidSettings, Clustering, Quantizer, TrainingSettings};

use super::update::above_0;

/// How the first stage of RepCONC makes codes. The defaults are the paper's for 48 bytes a document.
#[derive(clap::Args)]
pub(crate) struct ClusteringOptions {
    /// Index of product quantization to take the rotation and the first centroids from. It is made by index --factory
    /// OPQ48,IVF1,PQ48x8 from embeddings of the model that training starts from
    #[arg(long)]
    pub(crate) index: Input,
    /// Weight in the loss of the mean squared distance between a document and what its code stands for
    #[arg(long, value_name = "WEIGHT", default_value_t = 0.05, value_parser = super::update::from_0)]
    mse_weight: f64,
    /// How gradually shares fall with the distance: the smaller, the nearer the centroids of the documents are among all
    /// choices with even shares. Too small a number overflows: all documents of the batch then get their nearest
    /// centroids, which the training log counts
    #[arg(long, default_value_t = 0.05, value_parser = above_0)]
    epsilon: f64,
    /// How often the shares are brought closer to even ones
    #[arg(long, default_value_t = 30)]
    iterations: u32,
    /// Take the nearest centroids always, however uneven their shares are
    #[arg(long)]
    no_constraint: bool,
    /// Learning rate of the centroids at its highest
    #[arg(long, value_name = "RATE", default_value_t = 2e-4, value_parser = above_0)]
    centroid_rate: f64,
}

impl ClusteringOptions {
    /// Opens the index, which must be made of vectors of `encoder`.
    pub(crate) fn open(&self, encoder: &Encoder, docs: &MappedTokens) -> Result<Clustering, Error> {
        let assignment =
            Assignment { epsilon: self.epsilon, iterations: self.iterations, constrained: !self.no_constraint };
        Ok(Clustering {
            quantizer: Quantizer::open(&self.index, encoder, docs)?,
            assignment,
            mse_weight: self.mse_weight,
        })
    }

    /// The method's `settings` with what the options say.
    pub(crate) fn apply(&self, settings: TrainingSettings) -> TrainingSettings {
        with_centroid_rate(settings, Some(self.centroid_rate))
    }
}

/// The method's `settings` with another learning rate of centroids, if there is one.
pub(crate) fn with_centroid_rate(settings: TrainingSettings, rate: Option<f64>) -> TrainingSettings {
    let with = |of: CentroidSettings| CentroidSettings { learning_rate: rate.unwrap_or(of.learning_rate), ..of };
    TrainingSettings { centroids: settings.centroids.map(with), ..settings }
}
