//! Corpora, queries, and tokenization.
