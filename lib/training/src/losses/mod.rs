//! The training losses, one file each, as functions of vectors or scores and masks. Which of them a step takes, and of
//! what, is said in `objective.rs`.
//!
//! B queries are in a batch, N documents were drawn as negatives for all of them, and vectors have E numbers. Scores
//! are inner products divided by the temperature; of vectors of length 1 these are cosines divided by it.

pub mod adore;
pub mod infonce;
pub mod kl;
pub mod margin_mse;
pub mod matryoshka;
pub mod repconc;
pub mod softplus;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_of_codes;

use tch::Tensor;

/// Documents that serve as negatives of every query of the batch.
#[derive(Clone, Copy)]
pub struct Negatives<'a> {
    /// (N, E)
    pub docs: &'a Tensor,
    /// (B, N), 1 where the document counts as a negative of the query, and 0 where it is relevant to the query: what is
    /// relevant is never trained against.
    pub mask: &'a Tensor,
}

/// The score of what a softmax is to leave out. It is finite because a softmax over nothing but infinities has no
/// gradient.
const LEFT_OUT: f64 = -1e30;
