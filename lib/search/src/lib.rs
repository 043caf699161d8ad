//! faiss indexes, exact search, and merging of ranked lists.

mod blocks;
mod dot;
mod exact;
mod faiss_index;
mod index_file;
mod narrow;
mod rank;
mod ranking;
mod shortlist;

pub use exact::{Search, Searcher};
pub use faiss_index::{FACTORY, FaissIndex};
pub use index_file::IndexOutput;
pub use rank::{Ranked, Ranker, Settings};
pub use ranking::Hit;
