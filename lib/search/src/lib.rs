//! Search for the best documents of queries. By inner product of vectors: exact search, codes of product quantization,
//! faiss indexes, and the command `rank` over all of them. By the words of texts: the [`lexical`] index.

mod add_lists;
mod blocks;
mod compressed;
mod documents;
mod exact;
mod faiss_build;
mod faiss_index;
mod faiss_stderr;
mod hit;
mod index_file;
#[cfg(not(feature = "faiss-gpu"))]
mod index_process;
pub mod lexical;
mod pairs;
mod rank;
mod rerank;
mod run_batches;
mod settings;
mod threads;
mod turn;

pub use add_lists::add_lists;
pub use exact::{ExactSearch, ExactSearcher};
pub use faiss_index::FaissIndex;
pub use hit::Hit;
pub use index_file::create_index;
pub use pairs::{PairScorer, PairsSummary};
pub use rank::{RankSummary, Ranker};
pub use run_batches::RunBatches;
pub use settings::RankSettings;
