//! The model that training starts from.

use std::path::Path;

use hardmine_encoder::{Encoder, Precision, Similarity};
use hardmine_records::Result;
use tch::Device;

/// Loads the model folder `init` for training by `similarity`, or by the folder's own if none is given. A plain RoBERTa
/// gets a new head, which is drawn at random with `seed`.
///
/// # Errors
/// As [`Encoder::load_for_training`].
pub fn starting_model(
    init: &Path,
    device: Device,
    precision: Precision,
    seed: u64,
    similarity: Option<Similarity>,
) -> Result<Encoder> {
    tch::manual_seed(seed as i64);
    Encoder::load_for_training(init, device, precision, similarity)
}
