//! libtorch: encoder models, pooling, checkpoints, devices and precision.
//! Token ids become vectors here, for encoding a collection as well as for training.

mod attention;
mod batch;
mod block;
mod checkpoint;
mod config;
mod device;
mod digest;
mod dropout;
mod embedding;
mod families;
mod gated;
mod grouped_attention;
mod head;
mod int8;
mod layers;
mod mkl;
mod model;
mod modules;
mod network;
mod parameters;
mod pass;
mod pooling;
mod precision;
mod process;
mod rotary;
mod save;
mod similarity;
mod tower;
mod workers;

pub use batch::{Batch, Truncation, check_token_ids, cut_by_tokens, cut_evenly};
pub use device::DeviceChoice;
pub use digest::digest;
pub use embedding::{Embedded, Embedding, Form, default_batch_tokens, window_texts};
pub use model::Encoder;
pub use network::Network;
pub use pooling::{Pooling, PoolingMode};
pub use precision::Precision;
pub use process::prepare_process;
pub use similarity::Similarity;
pub use tower::Tower;
pub use workers::Workers;
