//! The ranked list of one query while documents go by with their scores.

use crate::hit::{Hit, keep_best, rank_best};

/// The best `top_k` documents of a query so far, and some more.
pub(super) struct Best {
    top_k: usize,
    hits: Vec<Hit>,
    /// Documents with a lower score are not among the best: `top_k` others have this score or more.
    floor: f32,
}

impl Best {
    pub fn new(top_k: usize) -> Self {
        Best { top_k, hits: Vec::new(), floor: f32::NEG_INFINITY }
    }

    /// Bytes that a list may take.
    pub fn bytes(top_k: usize) -> usize {
        size_of::<Best>() + (2 * top_k).next_power_of_two() * size_of::<Hit>()
    }

    /// The lowest score with which a document may still get into the list.
    pub fn floor(&self) -> f32 {
        self.floor
    }

    /// Adds a document.
    pub fn push(&mut self, hit: Hit) {
        // The sign of what overflowed says nothing. First in the list, it is surely seen.
        let score = if hit.score.is_finite() { hit.score } else { f32::INFINITY };
        self.hits.push(Hit { score, ..hit });
        if self.hits.len() >= 2 * self.top_k {
            keep_best(&mut self.hits, self.top_k);
            self.floor = self.hits.iter().map(|hit| hit.score).fold(f32::INFINITY, f32::min);
        }
    }

    /// The ranked list of the documents of all `parts`.
    pub fn ranked(parts: impl IntoIterator<Item = Best>, top_k: usize) -> Vec<Hit> {
        let mut hits: Vec<Hit> = parts.into_iter().flat_map(|part| part.hits).collect();
        rank_best(&mut hits, top_k);
        hits
    }
}
