//! The ranked list of one query while blocks of documents go by: the best hits of the blocks before, and the documents
//! of the block at hand that may still get into the list.

use super::inner_product::inner_product;
use super::vectors::Block;
use crate::hit::{Hit, keep_best, rank_best};

/// A document of the block at hand whose score is only known approximately.
#[derive(Clone, Copy)]
struct Candidate {
    row: u32,
    /// Within the scan's error bound of the exact score.
    score: f32,
}

/// The best `top_k` documents of one query so far.
///
/// A scan gives every score to within an `error_bound`. A document is dropped only when `top_k` others are better
/// whatever the errors; the few that remain are scored again by [`inner_product`]. So the list does not depend on how
/// the scan computed its scores.
pub(super) struct Shortlist {
    top_k: usize,
    /// Documents with exact scores.
    hits: Vec<Hit>,
    /// In the order of their rows.
    candidates: Vec<Candidate>,
    /// How many of the candidates, from the first, have been scored again and are among the hits, too.
    rescored: usize,
    /// At least `top_k` documents seen so far have an exact score of this or more.
    floor: f32,
}

/// How many times `top_k` candidates may wait before the list is made shorter.
const MOST_CANDIDATES: usize = 2;

impl Shortlist {
    pub fn new(top_k: usize) -> Self {
        Shortlist { top_k, hits: Vec::new(), candidates: Vec::new(), rescored: 0, floor: f32::NEG_INFINITY }
    }

    /// Bytes that a list may take while tiles of `tile` documents are scanned.
    pub fn bytes(top_k: usize, tile: usize) -> usize {
        let candidates = MOST_CANDIDATES * top_k + 2 * tile;
        size_of::<Shortlist>() + (top_k + candidates) * size_of::<Hit>() + candidates * size_of::<Candidate>()
    }

    /// The lowest approximate score with which a document may still get into the list.
    pub fn threshold(&self, error_bound: f32) -> f32 {
        self.floor - error_bound
    }

    /// Adds the candidates among the documents of the block from row `first` on, which have these approximate scores.
    pub fn add_scores(&mut self, scores: &[f32], first: usize, error_bound: f32) {
        // Most documents are no candidates: so many at a time are compared in one go.
        const STEP: usize = 32;
        let threshold = self.threshold(error_bound);
        for (step, scores) in scores.chunks(STEP).enumerate() {
            if scores.iter().fold(false, |any, &score| any | !is_below(score, threshold)) {
                for (offset, &score) in scores.iter().enumerate() {
                    if !is_below(score, threshold) {
                        self.add_score(first + step * STEP + offset, score);
                    }
                }
            }
        }
    }

    /// Adds the document in this row of the block as a candidate. Rows must ascend.
    pub fn add_score(&mut self, row: usize, score: f32) {
        self.candidates.push(Candidate { row: row as u32, score });
    }

    /// Drops candidates when many wait. Scores them again when that leaves too many, as among equal documents.
    pub fn shorten_if_long(&mut self, error_bound: f32, query: &[f32], block: &Block, scratch: &mut Vec<f32>) {
        if self.candidates.len() > MOST_CANDIDATES * self.top_k {
            self.drop_beaten(error_bound, scratch);
            if self.candidates.len() > MOST_CANDIDATES * self.top_k {
                self.rescore(block.len(), query, block);
                self.keep_best();
            }
        }
    }

    /// Drops the candidates that `top_k` other documents surely beat.
    pub fn drop_beaten(&mut self, error_bound: f32, scratch: &mut Vec<f32>) {
        if self.hits.len() + self.candidates.len() < self.top_k {
            return;
        }
        scratch.clear();
        scratch.extend(self.hits.iter().map(|hit| hit.score));
        let lowest = self.candidates.iter().map(|candidate| candidate.score - error_bound);
        scratch.extend(lowest.map(|score| if score.is_finite() { score } else { f32::NEG_INFINITY }));
        let (_, lowest, _) = scratch.select_nth_unstable_by(self.top_k - 1, |a, b| b.total_cmp(a));
        self.floor = self.floor.max(*lowest);
        let threshold = self.threshold(error_bound);
        self.candidates.retain(|candidate| !is_below(candidate.score, threshold));
    }

    /// Scores the candidates before row `end` of the block again, exactly.
    pub fn rescore(&mut self, end: usize, query: &[f32], block: &Block) {
        while let Some(candidate) = self.candidates.get(self.rescored)
            && (candidate.row as usize) < end
        {
            let row = candidate.row as usize;
            let score = inner_product(query, block.row(row));
            // The sign of what overflowed says nothing. First in the list, it is surely seen.
            let score = if score.is_finite() { score } else { f32::INFINITY };
            self.hits.push(Hit { id: block.ids[row], score });
            self.rescored += 1;
        }
    }

    /// Keeps the best hits, once all candidates have been scored again and are among them.
    pub fn keep_best(&mut self) {
        self.candidates.clear();
        self.rescored = 0;
        keep_best(&mut self.hits, self.top_k);
        if self.hits.len() == self.top_k {
            let lowest = self.hits.iter().map(|hit| hit.score).fold(f32::INFINITY, f32::min);
            self.floor = self.floor.max(lowest);
        }
    }

    /// Rows and approximate scores of the candidates.
    #[cfg(test)]
    pub fn candidates(&self) -> impl Iterator<Item = (usize, f32)> {
        self.candidates.iter().map(|candidate| (candidate.row as usize, candidate.score))
    }

    /// The ranked list.
    pub fn into_ranked(mut self) -> Vec<Hit> {
        rank_best(&mut self.hits, self.top_k);
        self.hits
    }
}

/// NaN is never below: it is kept, and scoring it again ends in an error.
fn is_below(score: f32, threshold: f32) -> bool {
    score < threshold
}
