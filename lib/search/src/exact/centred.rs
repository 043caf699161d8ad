//! Vectors relative to a mean of theirs. The vectors of dense retrievers share most of their length, and what they share
//! needs no rounding.
//!
//! With q = m + q′ and d = μ + d′, q·d = q·μ + m·d′ + q′·d′. The first two terms are computed in float32. Of the last
//! one, a first look computes q̃·d̃, where the tilde is rounding to something that is multiplied faster.

use super::inner_product::{error_bound, inner_product, norm};
use super::vectors::Queries;

/// Room for the rounding of a bound itself.
pub(super) const MARGIN: f32 = 1.02;
/// With fewer queries, rounding the documents hardly pays: rounding a number costs about what this many products of it
/// save (an estimate from the rates of both, not a measurement).
pub(super) const FEWEST_QUERIES: usize = 48;

/// What is known of vectors x relative to a mean, x′, and rounded, x̃.
#[derive(Default)]
pub(super) struct Centred {
    /// ‖x′‖, (N,).
    pub norms: Vec<f32>,
    /// ‖x′ − x̃‖, (N,).
    pub errors: Vec<f32>,
    /// y·x′ for a vector y, (N,).
    pub offsets: Vec<f32>,
}

impl Centred {
    /// Adds a vector by x′ and x′ − x̃.
    pub fn push(&mut self, centred: &[f32], error: &[f32], y: &[f32]) {
        self.norms.push(norm(centred));
        self.errors.push(norm(error));
        self.offsets.push(inner_product(y, centred));
    }

    /// The largest ‖x′‖ and the largest ‖x′ − x̃‖ of several sets of vectors.
    pub fn largest<'a>(all: impl Iterator<Item = &'a Centred> + Clone) -> (f32, f32) {
        let largest = |of: fn(&Centred) -> &Vec<f32>| all.clone().flat_map(of).copied().fold(0.0, f32::max);
        (largest(|set| &set.norms), largest(|set| &set.errors))
    }

    /// How far q·μ + m·d′ + q̃·d̃ can be from the exact score, for each query q, (Q,), and any document of which the
    /// largest ‖d′‖ and ‖d′ − d̃‖ are given. `self` is about the queries. The rounding of q̃·d̃ itself is not in it.
    pub fn error_bounds(
        &self,
        queries: &Queries,
        mean: &[f32],
        centre: &[f32],
        (longest, error): (f32, f32),
    ) -> Vec<f32> {
        let (mean_norm, centre_norm) = (norm(mean), norm(centre));
        let bound = |(&query_norm, (&centred, &lost)): (&f32, (&f32, &f32))| {
            // |q′·d′ − q̃·d̃| ≤ ‖q′ − q̃‖‖d′‖ + ‖q̃‖‖d′ − d̃‖ (Cauchy–Schwarz), ‖q̃‖ ≤ ‖q′‖ + ‖q′ − q̃‖
            let rounding = lost * longest + (centred + lost) * error;
            // Every float32 sum of the decomposition, and the exact score's own, is over vectors no longer than
            // these; together they are off by less than twice the bound for one.
            let sums = 2.0 * error_bound(queries.dim, query_norm + mean_norm, longest + 2.0 * centre_norm);
            let bound = MARGIN * (rounding + sums);
            // Where something overflowed, nothing is known.
            if bound.is_nan() { f32::INFINITY } else { bound }
        };
        queries.norms.iter().zip(self.norms.iter().zip(&self.errors)).map(bound).collect()
    }
}

/// q·μ for each query q, (Q,).
pub(super) fn products_with(queries: &Queries, centre: &[f32]) -> Vec<f32> {
    queries.vectors.chunks(queries.dim).map(|query| inner_product(query, centre)).collect()
}

/// The mean of `vectors` (N, E).
pub(super) fn mean_of(vectors: &[f32], dim: usize) -> Vec<f32> {
    let mut mean = vec![0.0; dim];
    let share = dim as f32 / vectors.len() as f32;
    for vector in vectors.chunks(dim) {
        mean.iter_mut().zip(vector).for_each(|(mean, x)| *mean += x * share);
    }
    mean
}
