//! The ranked list of one query while documents go by in blocks: the hits kept so far, and the documents of the
//! block at hand that may still get into the list.

use crate::dot::dot;
use crate::ranking::{Hit, keep_best, rank_best};

/// Vectors of consecutive documents.
pub(crate) struct Block<'a> {
    /// Internal ids, (N,).
    pub ids: &'a [i64],
    /// Vectors, (N, E) in row order.
    pub vectors: &'a [f32],
    /// Dimension E.
    pub dim: usize,
}

impl Block<'_> {
    fn vector(&self, row: usize) -> &[f32] {
        &self.vectors[row * self.dim..(row + 1) * self.dim]
    }
}

/// A document whose score is known to within the block's slack.
#[derive(Clone, Copy)]
struct Candidate {
    row: u32,
    scanned: f32,
}

/// The best `top_k` documents of one query so far.
///
/// A matrix product gives every score to within a `slack` (see [`crate::dot::slack`]). A document is let go only
/// when `top_k` others are better whatever the rounding; the few that stay are scored again by [`dot`].
/// So the list doesn't depend on how the product was computed.
pub(crate) struct Shortlist {
    kept: Vec<Hit>,
    /// By row.
    candidates: Vec<Candidate>,
    /// How many of the candidates are scored and among the kept.
    scored: usize,
    /// At least `top_k` documents seen score this or more.
    floor: f32,
}

/// How many times `top_k` candidates may wait before the floor is raised.
const WAITING: usize = 2;

impl Shortlist {
    pub fn new() -> Self {
        Shortlist { kept: Vec::new(), candidates: Vec::new(), scored: 0, floor: f32::NEG_INFINITY }
    }

    /// Bytes that a list may take.
    pub fn bytes(top_k: usize, tile: usize) -> usize {
        let waiting = WAITING * top_k + 2 * tile;
        size_of::<Shortlist>() + (top_k + waiting) * size_of::<Hit>() + waiting * size_of::<Candidate>()
    }

    /// The lowest scanned score that can matter.
    pub fn bar(&self, slack: f32) -> f32 {
        self.floor - slack
    }

    /// Takes the scanned scores of the documents at `first..` of the block.
    pub fn scan(&mut self, scanned: &[f32], first: usize, slack: f32) {
        const STEP: usize = 32;
        let bar = self.bar(slack);
        for (step, scores) in scanned.chunks(STEP).enumerate() {
            if scores.iter().fold(false, |any, &score| any | !is_below(score, bar)) {
                for (offset, &score) in scores.iter().enumerate() {
                    if !is_below(score, bar) {
                        self.push(first + step * STEP + offset, score);
                    }
                }
            }
        }
    }

    /// Takes one scanned score.
    pub fn push(&mut self, row: usize, scanned: f32) {
        self.candidates.push(Candidate { row: row as u32, scanned });
    }

    /// Raises the floor when many candidates wait. Scores them when that leaves too many, as among equal documents.
    pub fn tidy(&mut self, top_k: usize, slack: f32, query: &[f32], block: &Block, scratch: &mut Vec<f32>) {
        if self.candidates.len() > WAITING * top_k {
            self.raise_floor(top_k, slack, scratch);
            if self.candidates.len() > WAITING * top_k {
                self.score(top_k, query, block);
            }
        }
    }

    /// Lets go of candidates that `top_k` other documents surely beat.
    pub fn raise_floor(&mut self, top_k: usize, slack: f32, scratch: &mut Vec<f32>) {
        if self.kept.len() + self.candidates.len() < top_k {
            return;
        }
        scratch.clear();
        scratch.extend(self.kept.iter().map(|hit| hit.score));
        let lowest = self.candidates.iter().map(|candidate| candidate.scanned - slack);
        scratch.extend(lowest.map(|score| if score.is_finite() { score } else { f32::NEG_INFINITY }));
        let (_, lowest, _) = scratch.select_nth_unstable_by(top_k - 1, |a, b| b.total_cmp(a));
        self.floor = self.floor.max(*lowest);
        let bar = self.bar(slack);
        self.candidates.retain(|candidate| !is_below(candidate.scanned, bar));
    }

    /// Scores the candidates, which then compete for the list.
    fn score(&mut self, top_k: usize, query: &[f32], block: &Block) {
        self.score_rows(block.ids.len(), query, block);
        self.settle(top_k);
    }

    /// Scores the candidates before row `end` of the block.
    pub fn score_rows(&mut self, end: usize, query: &[f32], block: &Block) {
        while let Some(candidate) = self.candidates.get(self.scored)
            && (candidate.row as usize) < end
        {
            let row = candidate.row as usize;
            let score = dot(query, block.vector(row));
            // Of what overflowed, the sign says nothing; first in the list, it is surely seen.
            let score = if score.is_finite() { score } else { f32::INFINITY };
            self.kept.push(Hit { id: block.ids[row], score });
            self.scored += 1;
        }
    }

    /// Has the candidates, now all scored, compete for the list.
    pub fn settle(&mut self, top_k: usize) {
        self.candidates.clear();
        self.scored = 0;
        self.cut(top_k);
    }

    fn cut(&mut self, top_k: usize) {
        keep_best(&mut self.kept, top_k);
        if self.kept.len() == top_k {
            let lowest = self.kept.iter().map(|hit| hit.score).fold(f32::INFINITY, f32::min);
            self.floor = self.floor.max(lowest);
        }
    }

    /// The list, ranked.
    pub fn finish(mut self, top_k: usize) -> Vec<Hit> {
        rank_best(&mut self.kept, top_k);
        self.kept
    }
}

/// Never of NaN, so that it is kept: scoring it again ends in an error.
fn is_below(score: f32, bar: f32) -> bool {
    score < bar
}
