//! Training: samplers, losses, optimizers, the schedule, the loop, and resuming.
//! `run` is the loop; `method` says what each method draws and which loss of `losses` it takes.

mod begin;
mod checkpoint;
pub mod data;
mod documents;
mod encoding;
mod folder;
mod identity;
mod lists;
pub mod log;
pub mod losses;
mod method;
mod optimizer;
mod ranked;
mod run;
mod sampler;
mod scaler;
mod schedule;
mod settings;

pub use begin::begin;
pub use checkpoint::Checkpoint;
pub use documents::Documents;
pub use encoding::{Encoded, Encoding, Texts};
pub use folder::ModelFolder;
pub use identity::identity;
pub use lists::Lists;
pub use method::Method;
pub use optimizer::Rule;
pub use run::Run;
pub use settings::Settings;
