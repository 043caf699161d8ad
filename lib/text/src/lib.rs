//! Corpora, queries, prompts, and tokenization.
//!
//! A [`Corpus`] is read text by text, a [`Tokenizer`] turns each into ids, and [`tokenize`] runs both
//! over all cores in constant memory.

mod beir;
mod cache;
mod columns;
mod corpus;
mod digest;
mod files;
mod folder;
mod hugging_face;
mod judged;
mod keys;
mod kind;
mod parquet;
mod pieces;
mod pipeline;
mod pretokens;
mod problem;
mod prompts;
mod python;
mod text;
mod tokenizer;
mod tokenizer_config;
mod transformers2;
mod vocabulary;

pub use columns::Columns;
pub use corpus::Corpus;
pub use folder::FolderSettings;
pub use judged::Judged;
pub use kind::{Fields, TextKind};
pub use pipeline::{Summary, tokenize};
pub use prompts::Prompts;
pub use text::Text;
pub use tokenizer::Tokenizer;
