//! Product quantization. A vector of D dimensions, which a rotation may turn first, is cut into M subvectors, and of
//! each only the number of the nearest of 256 centroids is kept: M bytes a document. Here are centroids ([`Codebook`]),
//! the rotation ([`Rotation`]), and the files in which faiss keeps them with the codes of all documents ([`PqIndex`]),
//! read and written without faiss. Nothing here searches or trains.
//!
//! ```
//! use hardmine_quantization::{CENTROIDS, Codebook};
//!
//! // Vectors of 2 dimensions in 2 subvectors. Centroid k is k in the first one, and −k in the second.
//! let numbers = (0..2 * CENTROIDS).map(|n| if n < CENTROIDS { n as f32 } else { CENTROIDS as f32 - n as f32 });
//! let codebook = Codebook::new(numbers.collect(), 2)?;
//! let code = codebook.nearest(&[3.2, -1.9]);
//! assert_eq!(code, [3, 2]);
//!
//! let mut vector = [0.0; 2];
//! codebook.decode(&code, &mut vector);
//! assert_eq!(vector, [3.0, -2.0]);
//!
//! // The score of a query is a sum of entries of its table.
//! let (query, mut table) = ([1.0, 10.0], [0.0; 2 * CENTROIDS]);
//! codebook.table(&query, &mut table);
//! assert_eq!(table[3] + table[CENTROIDS + 2], 3.0 - 20.0);
//! # Ok::<(), hardmine_records::Error>(())
//! ```

mod codebook;
mod codes;
mod cursor;
mod describe;
mod digest;
mod index;
mod lists;
mod read;
mod rotation;
mod write;

pub use codebook::{CENTROIDS, Codebook};
pub use digest::digest;
pub use index::{Coarse, PqIndex};
pub use lists::{CodeLists, CodeListsBuilder, List};
pub use rotation::Rotation;
