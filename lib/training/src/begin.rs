//! The model that training starts from.

use std::path::Path;

use hardmine_encoder::{DeviceChoice, Encoder, Precision};
use hardmine_records::Result;

/// Loads the model folder `init`. What its head lacks is drawn with `seed`; a Normalize module is left out, since
/// the method trains inner products as they are (SIGIR 2021, §3).
///
/// # Errors
/// A device that can't be had; a model that can't be loaded.
pub fn begin(init: &Path, device: DeviceChoice, precision: Precision, seed: u64) -> Result<Encoder> {
    let device = device.open()?;
    tch::manual_seed(seed as i64);
    Ok(Encoder::load_or_begin(init, device, precision)?.without_normalize())
}
