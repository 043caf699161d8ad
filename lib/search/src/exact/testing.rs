//! Vectors for tests.

use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;

/// `rows` vectors of numbers between −1 and 1.
pub(super) fn random(rows: usize, dim: usize, seed: u64) -> Vec<f32> {
    let mut random = Pcg64Mcg::seed_from_u64(seed);
    (0..rows * dim).map(|_| random.random_range(-1.0..1.0)).collect()
}

/// The vectors, each multiplied with the scale of its row.
pub(super) fn scaled(mut vectors: Vec<f32>, dim: usize, scale_of: impl Fn(usize) -> f32) -> Vec<f32> {
    for (row, vector) in vectors.chunks_mut(dim).enumerate() {
        vector.iter_mut().for_each(|x| *x *= scale_of(row));
    }
    vectors
}

/// The vectors made to share most of their length, as those of a trained RobertaDot do, whose inner products are near
/// 700 and differ in the units.
pub(super) fn sharing_most(mut vectors: Vec<f32>, dim: usize) -> Vec<f32> {
    for vector in vectors.chunks_mut(dim) {
        vector.iter_mut().enumerate().for_each(|(place, x)| *x = *x * 0.1 + [3.0, -2.0, 1.0][place % 3]);
    }
    vectors
}
