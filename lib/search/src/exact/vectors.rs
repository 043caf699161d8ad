//! What an exact search compares: the vectors of queries, and blocks of documents.

use std::ops::Range;

use super::inner_product::norm;

/// The queries of a search.
pub(super) struct Queries<'a> {
    /// Vectors, (Q, E), row by row.
    pub vectors: &'a [f32],
    /// Dimension E.
    pub dim: usize,
    /// Euclidean lengths, (Q,).
    pub norms: Vec<f32>,
}

impl<'a> Queries<'a> {
    pub fn new(vectors: &'a [f32], dim: usize) -> Self {
        assert!(vectors.len().is_multiple_of(dim), "whole vectors of dimension {dim}");
        Queries { vectors, dim, norms: vectors.chunks(dim).map(norm).collect() }
    }

    pub fn len(&self) -> usize {
        self.norms.len()
    }

    pub fn rows(&self, rows: Range<usize>) -> &[f32] {
        &self.vectors[rows.start * self.dim..rows.end * self.dim]
    }

    pub fn row(&self, row: usize) -> &[f32] {
        self.rows(row..row + 1)
    }
}

/// Consecutive documents.
pub(super) struct Block<'a> {
    /// Internal ids, (N,).
    pub ids: &'a [i64],
    /// Vectors, (N, E), row by row.
    pub vectors: &'a [f32],
    /// Dimension E.
    pub dim: usize,
}

impl Block<'_> {
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    pub fn rows(&self, rows: Range<usize>) -> &[f32] {
        &self.vectors[rows.start * self.dim..rows.end * self.dim]
    }

    pub fn row(&self, row: usize) -> &[f32] {
        self.rows(row..row + 1)
    }
}
