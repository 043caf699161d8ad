//! Training: samplers, losses, optimizers, the schedule, the loop, and resuming.
//! `run` is the loop; `method` says what each method draws, and `objective` which loss of `losses` is taken of it.

mod card;
mod checkpoint;
pub mod data;
pub mod dev;
mod document_lists;
mod documents;
mod encoding;
mod folder;
mod freeze;
mod identity;
pub mod log;
pub mod losses;
mod method;
mod objective;
mod optimizer;
mod ranked;
mod run;
mod sampler;
mod scaler;
mod schedule;
mod settings;
mod starting_model;
mod teacher;
pub mod tensorboard;

pub use card::Card;
pub use checkpoint::Checkpoint;
pub use document_lists::DocumentLists;
pub use documents::Documents;
pub use encoding::{Chunks, Encoded, Encoding, Texts};
pub use folder::ModelFolder;
pub use freeze::Freeze;
pub use identity::identity;
pub use method::Method;
pub use objective::{Loss, Objective};
pub use optimizer::Rule;
pub use run::Run;
pub use schedule::Decay;
pub use settings::TrainingSettings;
pub use starting_model::starting_model;
pub use teacher::{TaughtPairs, Teacher};
