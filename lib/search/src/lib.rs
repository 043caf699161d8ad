//! Search for the best documents of queries, by inner product: exact search, faiss indexes, and the command `rank`
//! over both.

mod blocks;
mod documents;
mod exact;
mod faiss_index;
mod hit;
mod index_file;
#[cfg(not(feature = "faiss-gpu"))]
mod index_process;
mod pairs;
mod rank;
mod settings;

pub use exact::{ExactSearch, ExactSearcher};
pub use faiss_index::FaissIndex;
pub use hit::Hit;
pub use index_file::create_index;
pub use pairs::{PairScorer, PairsSummary};
pub use rank::{RankSummary, Ranker};
pub use settings::RankSettings;
