//! The settings of a run, as the command line gives them.

use hardmine_encoder::{Encoder, Truncation};
use hardmine_files::MappedTokens;
use hardmine_records::provenance::PROMPT_TOKENS;
use hardmine_records::{Error, Result};
use serde::Serialize;

use crate::encoding::Chunks;
use crate::freeze::Freeze;
use crate::objective::{Loss, Objective};
use crate::optimizer::{Rule, UpdateSettings};
use crate::schedule::Decay;

/// Settings that all methods have.
#[derive(Clone, Debug, Serialize)]
pub struct TrainingSettings {
    /// How many times training goes over the queries, at least 1.
    pub epochs: u64,
    /// Training stops after this many steps, that is updates, if they are fewer than those of all epochs.
    pub steps: Option<u64>,
    /// Number of queries in each batch, at least 1.
    pub batch_size: usize,
    /// What training minimizes.
    pub objective: Objective,
    /// How gradients change the parameters.
    pub optimizer: Rule,
    /// What share of itself, times the learning rate, a parameter that decays loses at each update.
    pub weight_decay: f64,
    /// Gradients of a larger global norm are scaled down to it.
    pub max_gradient_norm: f64,
    /// What is not trained; none if everything is.
    pub freeze: Option<Freeze>,
    /// How many batches the gradient of an update is the mean of, at least 1.
    pub accumulate: u64,
    /// The learning rate at its highest, after the warm-up.
    pub learning_rate: f64,
    /// Number of steps in which the learning rate rises from 0.
    pub warmup_steps: u64,
    /// How the learning rate goes on after the warm-up.
    pub schedule: Decay,
    /// How centroids are updated, where a method trains them.
    pub centroids: Option<CentroidSettings>,
    /// Digest of the moments of an earlier run that the optimizer begins with; its first update then has the rate 0.
    pub moments: Option<String>,
    /// Most tokens of a query, special tokens included.
    pub max_query_length: usize,
    /// Most tokens of a document, special tokens included.
    pub max_doc_length: usize,
    /// How much is encoded at a time, each text twice, so that memory does not grow with the batch. None encodes the
    /// whole batch once.
    pub chunks: Option<Chunks>,
    /// Whether gradients are computed in float16 and need a loss scale.
    pub scale_loss: bool,
    /// Seed of everything that is drawn at random.
    pub seed: u64,
    /// Number of steps between two checkpoints, at least 1.
    #[serde(skip)]
    pub save_every: u64,
}

/// How centroids are updated. They have the optimizer, the schedule and the clipping norm of the encoder.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct CentroidSettings {
    /// Their learning rate at its highest.
    pub learning_rate: f64,
    /// What share of themselves, times the rate, they lose at each update.
    pub weight_decay: f64,
    /// Whether their gradient is clipped together with that of the encoder. Else it is not clipped, and does not count
    /// in the norm.
    pub clipped: bool,
}

impl TrainingSettings {
    /// The paper's settings for methods that train both sides.
    pub fn both_sides() -> Self {
        TrainingSettings {
            epochs: 100,
            steps: None,
            batch_size: 256,
            objective: Objective::default(),
            optimizer: Rule::Lamb,
            weight_decay: 0.01,
            max_gradient_norm: 1.0,
            freeze: None,
            accumulate: 1,
            learning_rate: 1e-4,
            warmup_steps: 1000,
            schedule: Decay::Linear,
            centroids: None,
            moments: None,
            max_query_length: 24,
            max_doc_length: 120,
            chunks: None,
            scale_loss: false,
            seed: 42,
            save_every: 1000,
        }
    }

    /// The paper's settings for ADORE, which trains the query encoder alone.
    pub fn query_side() -> Self {
        TrainingSettings {
            epochs: 6,
            batch_size: 32,
            optimizer: Rule::AdamW,
            learning_rate: 5e-6,
            warmup_steps: 2000,
            max_query_length: 64,
            ..TrainingSettings::both_sides()
        }
    }

    /// JPQ's settings for the published M nearest to `subvectors`; with a loss that draws one relevant document, those
    /// of the second stage of RepCONC, in the release that has the loss.
    pub fn jpq(subvectors: i64, loss: Loss) -> Self {
        let second_stage = loss.draws_one();
        let rate = match subvectors {
            _ if second_stage => 2e-5,
            ..28 => 5e-6,
            28..40 => 2e-5,
            _ => 1e-4,
        };
        let jpq = TrainingSettings {
            max_query_length: 32,
            centroids: Some(CentroidSettings { learning_rate: rate, weight_decay: 0.0, clipped: second_stage }),
            ..TrainingSettings::query_side()
        };
        match loss {
            Loss::UnmaskedList => TrainingSettings {
                epochs: 4,
                batch_size: 128,
                optimizer: Rule::TorchAdamW,
                learning_rate: 2e-6,
                warmup_steps: 0,
                schedule: Decay::Constant,
                weight_decay: 0.0,
                max_query_length: 16,
                ..jpq
            },
            _ if second_stage => TrainingSettings { batch_size: 128, learning_rate: 2e-6, weight_decay: 0.001, ..jpq },
            _ => jpq,
        }
    }

    /// The settings of the first stage of RepCONC's second release, for passages.
    pub fn second_repconc() -> Self {
        TrainingSettings {
            epochs: 4,
            batch_size: 4096,
            optimizer: Rule::TorchAdamW,
            weight_decay: 0.0,
            learning_rate: 2e-5,
            centroids: Some(CentroidSettings { learning_rate: 5e-4, weight_decay: 0.0, clipped: true }),
            max_query_length: 16,
            max_doc_length: 128,
            ..TrainingSettings::repconc()
        }
    }

    /// The settings of RepCONC's first stage for passages.
    pub fn repconc() -> Self {
        TrainingSettings {
            epochs: 10,
            batch_size: 1024,
            optimizer: Rule::AdamW,
            weight_decay: 0.001,
            learning_rate: 5e-6,
            warmup_steps: 0,
            schedule: Decay::Constant,
            centroids: Some(CentroidSettings { learning_rate: 2e-4, weight_decay: 0.0, clipped: true }),
            max_doc_length: 110,
            ..TrainingSettings::both_sides()
        }
    }

    /// Number of steps of a run on so many queries.
    pub fn total_steps(&self, queries: usize) -> u64 {
        let batches = queries.div_ceil(self.batch_size.max(1)) as u64;
        let all = self.epochs.saturating_mul(batches).div_ceil(self.accumulate);
        self.steps.map_or(all, |steps| steps.min(all))
    }

    pub(crate) fn update(&self) -> UpdateSettings {
        let &TrainingSettings { optimizer: rule, weight_decay, max_gradient_norm, .. } = self;
        UpdateSettings { rule, weight_decay, max_gradient_norm }
    }

    /// How centroids are updated, besides their rate.
    pub(crate) fn update_of_centroids(&self) -> Option<UpdateSettings> {
        let CentroidSettings { weight_decay, clipped, .. } = self.centroids?;
        let max_gradient_norm = if clipped { self.max_gradient_norm } else { f64::INFINITY };
        Some(UpdateSettings { rule: self.optimizer, weight_decay, max_gradient_norm })
    }

    /// Refuses a number of tokens that leaves no room for a text behind its prompt, and warns where little is left.
    /// `option` is where the number was given.
    pub(crate) fn check_prompt(option: &str, length: usize, tokens: &MappedTokens) -> Result<()> {
        let (name, about) = (tokens.name(), tokens.provenance());
        if let Err(error) = Truncation::new(length, about) {
            return Err(Error::new(format!("{option} {length}"), format!("{name}: {error}")));
        }
        let prompt: usize = about.get(PROMPT_TOKENS).and_then(|count| count.parse().ok()).unwrap_or(0);
        if 2 * prompt > length {
            tracing::warn!("{name}: its prompt takes {prompt} of the {length} token ids of {option}");
        }
        Ok(())
    }

    /// Refuses a number of tokens that `encoder` can't take; `option` is where it was given.
    pub(crate) fn check_length(option: &str, length: usize, encoder: &Encoder) -> Result<()> {
        if (2..=encoder.max_positions()).contains(&length) {
            return Ok(());
        }
        let text = format!("is {length}, expected 2 to {}, the positions of the model", encoder.max_positions());
        Err(Error::new(option, text))
    }
}
