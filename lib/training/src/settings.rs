//! The settings of a run, as the command line gives them.

use hardmine_encoder::Encoder;
use hardmine_records::{Error, Result};
use serde::Serialize;

use crate::optimizer::Rule;

/// Settings that all methods have.
#[derive(Clone, Debug, Serialize)]
pub struct Settings {
    /// Passes over the queries, at least 1.
    pub epochs: u64,
    /// No more steps than these.
    pub steps: Option<u64>,
    /// Queries a step, at least 1.
    pub batch_size: usize,
    /// Rule of update.
    pub optimizer: Rule,
    /// Highest learning rate.
    pub learning_rate: f64,
    /// Steps until it is reached.
    pub warmup_steps: u64,
    /// Tokens a query keeps.
    pub max_query_length: usize,
    /// Tokens a document keeps.
    pub max_doc_length: usize,
    /// Texts whose graph is kept at a time; of all of a batch if none.
    pub chunk_size: Option<usize>,
    /// Whether gradients are computed in float16 and need a loss scale.
    pub scale_loss: bool,
    /// Seed of all draws.
    pub seed: u64,
    /// Steps between checkpoints, at least 1.
    #[serde(skip)]
    pub save_every: u64,
}

impl Settings {
    /// The paper's settings for methods that train both sides.
    pub fn both_sides() -> Self {
        Settings {
            epochs: 100,
            steps: None,
            batch_size: 256,
            optimizer: Rule::Lamb,
            learning_rate: 1e-4,
            warmup_steps: 1000,
            max_query_length: 24,
            max_doc_length: 120,
            chunk_size: None,
            scale_loss: false,
            seed: 42,
            save_every: 1000,
        }
    }

    /// The paper's settings for ADORE, which trains the query encoder alone.
    pub fn query_side() -> Self {
        Settings {
            epochs: 6,
            batch_size: 32,
            optimizer: Rule::AdamW,
            learning_rate: 5e-6,
            warmup_steps: 2000,
            max_query_length: 64,
            ..Settings::both_sides()
        }
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
