//! Product quantization. A vector of D dimensions, which a rotation may turn first, is cut into M subvectors, and of each
//! only the number of the nearest of 256 centroids is kept: M bytes a document. Here are centroids ([`Codebook`]), the
//! rotation ([`Rotation`]), and the files in which faiss keeps them with the codes of all documents ([`PqIndex`]), read
//! and written without faiss. Nothing here searches or trains.

mod codebook;
mod codes;
mod cursor;
mod describe;
mod digest;
mod index;
mod lists;
mod read;
mod rotation;
mod tower;
mod write;

pub use codebook::{CENTROIDS, Codebook};
pub use digest::digest;
pub use index::{Coarse, PqIndex};
pub use lists::{CodeLists, CodeListsBuilder, List};
pub use rotation::Rotation;
pub use tower::TowerTensors;
