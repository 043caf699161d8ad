//! A first look in bfloat16 on the CPU: some processors multiply several times as fast in bfloat16 as in float32, and a
//! bound on the rounding errors says which documents must be scored again in float32.
//!
//! Vectors are rounded relative to a mean, as `centred.rs` says. libtorch adds up the products of a q̃·d̃ in float32, and
//! rounds the sum to bfloat16 once.

use std::sync::OnceLock;
use std::time::Instant;

use rayon::prelude::*;
use tch::TchError;

use super::centred::{Centred, MARGIN, mean_of, products_with};
use super::rounded::{Bfloat16, Rounded};
use super::scan::{Scan, TILE, scan_tiles};
use super::shortlist::Shortlist;
use super::tensors::{Number, product};
use super::vectors::{Block, Queries};

/// Unit roundoff of bfloat16, which has 8 bits of precision.
const UNIT_ROUNDOFF: f32 = 1.0 / 256.0;

/// How much longer a product in float32 must take.
const LEAST_GAIN: f64 = 1.5;
/// Rows and columns of the matrices that this is measured with.
const SAMPLE: usize = 256;

/// Whether products in bfloat16 take so much less time here than those in float32 that rounding pays. This is measured
/// once: some processors have the instructions and take twice as long with them.
pub(super) fn is_fast() -> bool {
    static IS_FAST: OnceLock<bool> = OnceLock::new();
    *IS_FAST.get_or_init(|| {
        let seconds = has_instructions().then(|| Some((seconds::<f32>()?, seconds::<Bfloat16>()?))).flatten();
        seconds.is_some_and(|(float32, bfloat16)| float32 > LEAST_GAIN * bfloat16)
    })
}

fn has_instructions() -> bool {
    #[cfg(target_arch = "x86_64")]
    return is_x86_feature_detected!("avx512bf16");
    #[cfg(not(target_arch = "x86_64"))]
    return false;
}

/// What a small product takes, a few milliseconds in all; none if libtorch can't make it.
fn seconds<T: Number + Default + Copy>() -> Option<f64> {
    let matrix = vec![T::default(); SAMPLE * SAMPLE];
    let mut out = matrix.clone();
    // The first product also prepares the others.
    let mut taken = || {
        let started = Instant::now();
        product(&matrix, &matrix, SAMPLE, &mut out).ok().map(|()| started.elapsed().as_secs_f64())
    };
    taken()?;
    (0..5).map(|_| taken()).collect::<Option<Vec<f64>>>()?.into_iter().reduce(f64::min)
}

pub(super) struct Bfloat16Scan {
    queries: Rounded,
    /// m, (E,).
    mean: Vec<f32>,
}

impl Bfloat16Scan {
    pub fn new(queries: &Queries) -> Self {
        let mean = mean_of(queries.vectors, queries.dim);
        Bfloat16Scan { queries: Rounded::new(queries.vectors, &mean, &mean), mean }
    }

    /// Rounds the documents of a block, which the threads of the current pool share.
    fn round(&self, queries: &Queries, block: &Block) -> RoundedBlock {
        let dim = block.dim;
        // Any vector will do as μ; the nearer to the documents, the tighter the bound.
        let centre = mean_of(block.rows(0..block.len().min(TILE)), dim);
        let round = |vectors: &[f32]| Rounded::new(vectors, &centre, &self.mean);
        let tiles: Vec<Rounded> = block.vectors.par_chunks(TILE * dim).map(round).collect();
        let largest = Centred::largest(tiles.iter().map(|tile| &tile.about));
        let error_bounds = self.queries.about.error_bounds(queries, &self.mean, &centre, largest);
        RoundedBlock { tiles, of_centre: products_with(queries, &centre), error_bounds }
    }
}

impl Scan for Bfloat16Scan {
    fn scan(&mut self, queries: &Queries, block: &Block, lists: &mut [Shortlist]) -> Result<Vec<f32>, TchError> {
        let rounded = self.round(queries, block);
        // Each tile raises them to what covers its own scores.
        let mut error_bounds = vec![0.0; queries.len()];
        scan_tiles(queries, block, lists, &mut error_bounds, |part| {
            let vectors = &self.queries.bits[part.start * block.dim..part.end * block.dim];
            let (of_centre, least_bounds) = (&rounded.of_centre[part.clone()], &rounded.error_bounds[part]);
            let mut products = vec![Bfloat16::ZERO; of_centre.len() * TILE];
            let tiles = &rounded.tiles;
            move |tile, scores, error_bounds| {
                let Rounded { bits, about } = &tiles[tile.start / TILE];
                let products = &mut products[..scores.len()]; // (P, N)
                product(vectors, bits, block.dim, products)?;
                let rows = products.chunks(tile.len()).zip(scores.chunks_mut(tile.len()));
                for (row, (products, scores)) in rows.enumerate() {
                    let largest = add_up(products, &about.offsets, of_centre[row], scores);
                    error_bounds[row] = error_bounds[row].max(least_bounds[row] + MARGIN * UNIT_ROUNDOFF * largest);
                }
                Ok(())
            }
        })?;
        Ok(error_bounds)
    }
}

/// The documents of a block, rounded.
struct RoundedBlock {
    /// [`TILE`] documents each.
    tiles: Vec<Rounded>,
    /// q·μ, (Q,).
    of_centre: Vec<f32>,
    /// How far a score may be off, but for the rounding of q̃·d̃ itself, (Q,).
    error_bounds: Vec<f32>,
}

/// Sets `scores` to `products` + `offsets` + `constant`; returns the largest magnitude of a product.
fn add_up(products: &[Bfloat16], offsets: &[f32], constant: f32, scores: &mut [f32]) -> f32 {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx512bw") && is_x86_feature_detected!("avx512f") {
        // SAFETY: the processor has the instructions that the function is compiled for.
        return unsafe { add_up_avx512(products, offsets, constant, scores) };
    }
    add_up_lanes(products, offsets, constant, scores)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw")]
fn add_up_avx512(products: &[Bfloat16], offsets: &[f32], constant: f32, scores: &mut [f32]) -> f32 {
    add_up_lanes(products, offsets, constant, scores)
}

#[inline(always)]
fn add_up_lanes(products: &[Bfloat16], offsets: &[f32], constant: f32, scores: &mut [f32]) -> f32 {
    let mut largest = Bfloat16::ZERO;
    for ((score, &product), &offset) in scores.iter_mut().zip(products).zip(offsets) {
        largest = largest.or_magnitude(product);
        *score = product.to_f32() + (offset + constant);
    }
    match largest.to_f32() {
        magnitude if magnitude.is_finite() => magnitude,
        _ => f32::INFINITY,
    }
}
