//! What a search is told.

use tch::Device;

/// How to search.
#[derive(Clone, Debug)]
pub struct RankSettings {
    /// Most documents for each query; at least 1.
    pub top_k: usize,
    /// Whether a document is left out of its own list, where queries are documents.
    pub exclude_self: bool,
    /// Whether queries may have another prompt than the documents' encoder asks for.
    pub other_prompt: bool,
    /// Where exact search multiplies, and where a faiss index is searched if faiss was built for it.
    pub device: Device,
    /// Bytes that blocks of embeddings and ranked lists may take, beside a faiss index.
    pub memory: usize,
    /// Search parameters of a faiss index, such as `nprobe=16`; see [`crate::FaissIndex::set_parameters`].
    pub parameters: Option<String>,
}
