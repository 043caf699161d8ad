//! The model that training starts from.

use std::path::Path;

use hardmine_encoder::{Encoder, Precision};
use hardmine_records::Result;
use tch::Device;

/// Loads the model folder `init`. A plain RoBERTa gets a new head, which is drawn at random with `seed`. A Normalize
/// module is left out, because the method trains inner products as they are (SIGIR 2021, §3).
///
/// # Errors
/// As [`Encoder::load`].
pub fn starting_model(init: &Path, device: Device, precision: Precision, seed: u64) -> Result<Encoder> {
    tch::manual_seed(seed as i64);
    Ok(Encoder::load_for_training(init, device, precision)?.without_normalize())
}
