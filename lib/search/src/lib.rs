//! faiss indexes, exact search, and merging of ranked lists.

mod blocks;
mod dot;
mod exact;
mod faiss_index;
mod index_file;
#[cfg(not(feature = "faiss-gpu"))]
mod index_process;
mod narrow;
mod rank;
mod ranking;
mod shortlist;

pub use exact::{Search, Searcher};
pub use faiss_index::{FACTORY, FaissIndex};
pub use index_file::create_index;
pub use rank::{Ranked, Ranker, Settings};
pub use ranking::Hit;
