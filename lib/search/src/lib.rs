//! faiss indexes, exact search, and merging of ranked lists.
