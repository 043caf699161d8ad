//! The options of `train jpq` and `train repconc` that are about documents kept as codes.

use clap::value_parser;
use hardmine_command::one_of;
use hardmine_encoder::Encoder;
use hardmine_files::{Input, MappedTokens};
use hardmine_records::Error;
use hardmine_training::{Assignment, CentroidSettings, Clustering, Constraint, Quantizer, TrainingSettings};

use super::update::above_0;

/// The two programs that the authors of RepCONC released.
#[derive(Clone, Copy, PartialEq)]
enum Release {
    /// The paper's.
    First,
    /// Its rewrite, version 0.2.1.
    Second,
}

const RELEASES: [(&str, &str, Release); 2] = [
    ("1", "The paper's", Release::First),
    (
        "2",
        "The authors' rewrite: shares are computed at scaled distances in float64 and never overflow, a document that was \
         drawn several times for a batch is a negative only once, and each query is trained against its hardest negatives",
        Release::Second,
    ),
];

/// How the first stage of RepCONC makes codes. The defaults are those of the release, for 48 bytes a document.
#[derive(clap::Args)]
pub(crate) struct ClusteringOptions {
    /// Index of product quantization to take the rotation and the first centroids from. It is made by index --factory
    /// OPQ48,IVF1,PQ48x8 from embeddings of the model that training starts from
    #[arg(long)]
    pub(crate) index: Input,
    /// Which release of RepCONC to follow. It decides the defaults of the other options, too
    #[arg(long, default_value = "1", value_parser = one_of(&RELEASES))]
    release: Release,
    /// How many hard negatives to draw for each query. Every query of the batch is trained against all of them
    /// [default: 1; release 2: 11]
    #[arg(long, value_parser = value_parser!(u32).range(1..))]
    hard_num: Option<u32>,
    /// Weight in the loss of the mean squared distance between a document and what its code stands for [default: 0.05;
    /// release 2: 0.0096, which is the authors' 1e-4 for each of the 96 parts that their batch is encoded in]
    #[arg(long, value_name = "WEIGHT", value_parser = super::update::from_0)]
    mse_weight: Option<f64>,
    /// How gradually shares fall with the distance: the smaller, the nearer the centroids of the documents are among all
    /// choices with even shares. In release 1, too small a number overflows: all documents of the batch then get their
    /// nearest centroids, which the training log counts [default: 0.05; release 2: 0.003]
    #[arg(long, value_parser = above_0)]
    epsilon: Option<f64>,
    /// How often the shares are brought closer to even ones [default: 30; release 2: 100]
    #[arg(long)]
    iterations: Option<u32>,
    /// Take the nearest centroids always, however uneven their shares are
    #[arg(long)]
    no_constraint: bool,
    /// Learning rate of the centroids at its highest [default: 2e-4; release 2: 5e-4]
    #[arg(long, value_name = "RATE", value_parser = above_0)]
    centroid_rate: Option<f64>,
}

impl ClusteringOptions {
    /// Opens the index, which must be made of vectors of `encoder`.
    pub(crate) fn open(&self, encoder: &Encoder, docs: &MappedTokens) -> Result<Clustering, Error> {
        let (epsilon, iterations, constraint) = match self.release {
            Release::First => (0.05, 30, Constraint::Even),
            Release::Second => (0.003, 100, Constraint::EvenOfScaled),
        };
        let assignment = Assignment {
            epsilon: self.epsilon.unwrap_or(epsilon),
            iterations: self.iterations.unwrap_or(iterations),
            constraint: if self.no_constraint { Constraint::None } else { constraint },
        };
        Ok(Clustering {
            quantizer: Quantizer::open(&self.index, encoder, docs)?,
            assignment,
            mse_weight: self.mse_weight.unwrap_or(self.of_release(0.05, 0.0096)),
            once: self.release == Release::Second,
        })
    }

    /// How many hard negatives are drawn for each query.
    pub(crate) fn hard_num(&self) -> u32 {
        self.hard_num.unwrap_or(self.of_release(1, 11))
    }

    /// How many of the batch's negatives a query is trained against, unless the loss has another number; none if that is
    /// all of them.
    pub(crate) fn hardest(&self) -> Option<i64> {
        self.of_release(None, Some(11))
    }

    /// The method's settings.
    pub(crate) fn settings(&self) -> TrainingSettings {
        let settings = self.of_release(TrainingSettings::repconc(), TrainingSettings::second_repconc());
        with_centroid_rate(settings, self.centroid_rate)
    }

    fn of_release<T>(&self, first: T, second: T) -> T {
        match self.release {
            Release::First => first,
            Release::Second => second,
        }
    }
}

/// The method's `settings` with another learning rate of centroids, if there is one.
pub(crate) fn with_centroid_rate(settings: TrainingSettings, rate: Option<f64>) -> TrainingSettings {
    let with = |of: CentroidSettings| CentroidSettings { learning_rate: rate.unwrap_or(of.learning_rate), ..of };
    TrainingSettings { centroids: settings.centroids.map(with), ..settings }
}
