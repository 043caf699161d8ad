//! The lexical index: an inverted index of tantivy's, searched by BM25.
//!
//! The score of a document for a query is
//!
//! ```text
//! Σ over the words w of the query:  idf(w) · tf(w) / (tf(w) + k1 · (1 − b + b · length / average length))
//! idf(w) = ln(1 + (N − n(w) + 0.5) / (n(w) + 0.5))
//! ```
//!
//! where tf(w) is how often w occurs in the document, the length of a document is its number of words, N is the number
//! of all documents, empty ones included, and n(w) is the number of those that have w. A word that a query repeats
//! counts as often as it occurs there. These are the formula and the idf of Lucene 8 and later: BM25 of Robertson and
//! Zaragoza ("The Probabilistic Relevance Framework: BM25 and Beyond", 2009, eq. 3.15) without its factor k1 + 1, which
//! changes no order, and with an idf that is never negative (Kamphuis et al., "Which BM25 Do You Mean?", ECIR 2020,
//! table 1, "Lucene (accurate)").
//!
//! tantivy has a BM25 of its own, but its k1 and b are constants, and it knows lengths only rounded to one byte. So we
//! take the postings from tantivy, keep the exact lengths in a column beside them, and add up the scores ourselves.

mod analysis;
mod builder;
mod folder;
mod index;
mod ranker;
mod scoring;
mod segments;

pub use builder::{LexicalBuilder, LexicalSummary};
pub use index::LexicalIndex;
pub use ranker::{LexicalRanker, LexicalRun, TokenRows};
pub use scoring::Bm25;

#[cfg(test)]
mod tests;
