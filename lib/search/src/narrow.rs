//! A first look at scores in bfloat16, in which some processors multiply several times as fast as in float32, with a
//! bound on how far each is from the exact score. Queries and documents are taken relative to a mean of theirs: the
//! vectors of dense retrievers share most of their length, and what is shared needs no rounding.
//!
//! With q = m + q′ and d = μ + d′, q·d = q·μ + m·d′ + q′·d′. The first two terms are float32; of the last, q̃·d̃ is
//! computed, where the tilde is rounding to bfloat16. Libtorch adds up the products in float32 and rounds the sum once.

use rayon::prelude::*;
use tch::{Device, Kind, TchError, Tensor};

use crate::dot::{dot, norm, slack};
use crate::exact::TILE;

/// Unit roundoff of bfloat16.
const UNIT: f32 = 1.0 / 256.0;
/// Room for the rounding of the bound itself.
const MARGIN: f32 = 1.02;
/// With fewer queries, rounding the documents is hardly paid back: a number's rounding costs about what this many
/// products of it save (an estimate from the rates of both, not a measurement).
pub(crate) const FEWEST_QUERIES: usize = 48;

/// Whether the processor multiplies in bfloat16 itself.
pub(crate) fn is_fast() -> bool {
    #[cfg(target_arch = "x86_64")]
    return is_x86_feature_detected!("avx512bf16");
    #[cfg(not(target_arch = "x86_64"))]
    return false;
}

/// Vectors (N, E) relative to a mean, and rounded.
struct Rounded {
    /// Bits of x̃, (N, E).
    bits: Vec<u16>,
    /// ‖x′‖, (N,).
    norms: Vec<f32>,
    /// ‖x′ − x̃‖, (N,).
    errors: Vec<f32>,
    /// y·x′ for the vector y that was asked for, (N,).
    offsets: Vec<f32>,
}

impl Rounded {
    fn new(vectors: &[f32], mean: &[f32], y: &[f32]) -> Rounded {
        let (dim, rows) = (mean.len(), vectors.len() / mean.len());
        let row_of = || Vec::with_capacity(rows);
        let mut rounded =
            Rounded { bits: vec![0; vectors.len()], norms: row_of(), errors: row_of(), offsets: row_of() };
        let (mut centred, mut error) = (vec![0.0; dim], vec![0.0; dim]);
        for (vector, bits) in vectors.chunks(dim).zip(rounded.bits.chunks_mut(dim)) {
            let numbers = vector.iter().zip(mean).zip(centred.iter_mut().zip(error.iter_mut())).zip(bits);
            for (((&x, &mean), (centred, error)), bits) in numbers {
                *centred = x - mean;
                *bits = nearest(*centred);
                *error = *centred - wide(*bits);
            }
            rounded.norms.push(norm(&centred));
            rounded.errors.push(norm(&error));
            rounded.offsets.push(dot(y, &centred));
        }
        rounded
    }
}

/// The nearest bfloat16, ties to even. What is too large becomes infinite, and its error with it; what is too small for
/// a normal number becomes 0, for which the processor takes it anyway.
#[inline(always)]
fn nearest(x: f32) -> u16 {
    let bits = x.to_bits();
    let rounded = ((bits + 0x7fff + ((bits >> 16) & 1)) >> 16) as u16;
    if rounded & 0x7f80 == 0 { 0 } else { rounded }
}

#[inline(always)]
fn wide(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
}

fn mean_of(vectors: &[f32], dim: usize) -> Vec<f32> {
    let mut mean = vec![0.0; dim];
    let share = dim as f32 / vectors.len() as f32;
    for vector in vectors.chunks(dim) {
        mean.iter_mut().zip(vector).for_each(|(mean, x)| *mean += x * share);
    }
    mean
}

/// Queries to scan for.
pub(crate) struct NarrowQueries {
    rounded: Rounded,
    /// m, (E,).
    mean: Vec<f32>,
}

impl NarrowQueries {
    /// From vectors (Q, E).
    pub fn new(queries: &[f32], dim: usize) -> Self {
        let mean = mean_of(queries, dim);
        NarrowQueries { rounded: Rounded::new(queries, &mean, &mean), mean }
    }
}

/// Documents of a block, ready to be scanned.
pub(crate) struct NarrowBlock {
    tiles: Vec<Rounded>,
    /// q·μ, (Q,).
    of_centre: Vec<f32>,
    /// Bounds on how far a score may be off, but for the rounding of the products, (Q,).
    slacks: Vec<f32>,
}

impl NarrowBlock {
    /// Rounds the documents (N, E), all workers at once, for a scan with `narrow`, made from `queries` (Q, E).
    pub fn new(narrow: &NarrowQueries, queries: &[f32], vectors: &[f32]) -> Self {
        let dim = narrow.mean.len();
        // Any vector will do; the nearer to the documents, the tighter the bound.
        let centre = mean_of(&vectors[..vectors.len().min(TILE * dim)], dim);
        let round = |vectors: &[f32]| Rounded::new(vectors, &centre, &narrow.mean);
        let tiles: Vec<Rounded> = vectors.par_chunks(TILE * dim).map(round).collect();
        let largest = |of: fn(&Rounded) -> &Vec<f32>| tiles.iter().flat_map(of).copied().fold(0.0, f32::max);
        let (longest, error) = (largest(|tile| &tile.norms), largest(|tile| &tile.errors));
        let (mean_norm, centre_norm) = (norm(&narrow.mean), norm(&centre));
        let Rounded { norms, errors, .. } = &narrow.rounded;
        let bound = |(query, (&centred, &lost)): (&[f32], (&f32, &f32))| {
            // |q′·d′ − q̃·d̃| ≤ ‖q′ − q̃‖‖d′‖ + ‖q̃‖‖d′ − d̃‖ (Cauchy–Schwarz), ‖q̃‖ ≤ ‖q′‖ + ‖q′ − q̃‖
            let rounding = lost * longest + (centred + lost) * error;
            // Every float32 sum of the decomposition, and the exact score's own, is over vectors no longer than
            // these; together they are off by less than twice the slack of one.
            let sums = 2.0 * slack(dim, norm(query) + mean_norm, longest + 2.0 * centre_norm);
            let slack = MARGIN * (rounding + sums);
            // Where something overflowed, nothing is known.
            if slack.is_nan() { f32::INFINITY } else { slack }
        };
        let slacks = queries.chunks(dim).zip(norms.iter().zip(errors)).map(bound).collect();
        let of_centre = queries.chunks(dim).map(|query| dot(query, &centre)).collect();
        NarrowBlock { tiles, of_centre, slacks }
    }

    /// Scores of the documents of tile `number` for the queries from `first` on, into `scores` (P, N); raises
    /// `slacks` (P,) to what covers them.
    pub fn scan(
        &self,
        narrow: &NarrowQueries,
        number: usize,
        first: usize,
        scores: &mut [f32],
        slacks: &mut [f32],
    ) -> Result<(), TchError> {
        let (dim, rows) = (narrow.mean.len(), slacks.len());
        let Rounded { bits, offsets, .. } = &self.tiles[number];
        let queries = view(&narrow.rounded.bits[first * dim..(first + rows) * dim], dim);
        let products = queries.f_mm(&view(bits, dim).f_tr()?)?.f_contiguous()?; // (P, N)
        let count = offsets.len();
        // SAFETY: a contiguous bfloat16 tensor of so many numbers, which lives to the end of this function.
        let products = unsafe { std::slice::from_raw_parts(products.data_ptr().cast::<u16>(), rows * count) };
        for (row, products) in products.chunks(count).enumerate() {
            let scores = &mut scores[row * count..(row + 1) * count];
            let largest = widen(products, offsets, self.of_centre[first + row], scores);
            slacks[row] = slacks[row].max(self.slacks[first + row] + MARGIN * UNIT * largest);
        }
        Ok(())
    }
}

/// The bits of bfloat16 numbers as a tensor of rows of `columns`.
fn view(bits: &[u16], columns: usize) -> Tensor {
    let size = [(bits.len() / columns) as i64, columns as i64];
    // SAFETY: the callers keep the slice alive for longer than the tensor.
    unsafe { Tensor::from_blob(bits.as_ptr().cast(), &size, &[size[1], 1], Kind::BFloat16, Device::Cpu) }
}

/// `scores` = `products` + `offsets` + `constant`; returns the largest magnitude of a product.
fn widen(products: &[u16], offsets: &[f32], constant: f32, scores: &mut [f32]) -> f32 {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx512bw") {
        // SAFETY: the processor has these instructions.
        return unsafe { widen_avx512(products, offsets, constant, scores) };
    }
    widen_lanes(products, offsets, constant, scores)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw")]
fn widen_avx512(products: &[u16], offsets: &[f32], constant: f32, scores: &mut [f32]) -> f32 {
    widen_lanes(products, offsets, constant, scores)
}

#[inline(always)]
fn widen_lanes(products: &[u16], offsets: &[f32], constant: f32, scores: &mut [f32]) -> f32 {
    // Without their sign, the bits of floats are in the order of the numbers, infinity and NaN last.
    let mut largest = 0u16;
    for ((score, &product), &offset) in scores.iter_mut().zip(products).zip(offsets) {
        largest = largest.max(product & 0x7fff);
        *score = wide(product) + (offset + constant);
    }
    match wide(largest) {
        magnitude if magnitude.is_finite() => magnitude,
        _ => f32::INFINITY,
    }
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};
    use rand_pcg::Pcg64Mcg;

    use super::*;

    /// The largest share of its slack that a score is off by, over all queries and documents.
    fn largest_share(queries: &[f32], documents: &[f32], dim: usize) -> f32 {
        let narrow = NarrowQueries::new(queries, dim);
        let block = NarrowBlock::new(&narrow, queries, documents);
        let rows = queries.len() / dim;
        let mut largest = 0f32;
        for (number, tile) in documents.chunks(TILE * dim).enumerate() {
            let count = tile.len() / dim;
            let (mut scores, mut slacks) = (vec![0.0; rows * count], vec![0.0; rows]);
            block.scan(&narrow, number, 0, &mut scores, &mut slacks).unwrap();
            for (row, query) in queries.chunks(dim).enumerate() {
                for (place, document) in tile.chunks(dim).enumerate() {
                    let off = (dot(query, document) - scores[row * count + place]).abs();
                    if slacks[row].is_finite() {
                        assert!(off <= slacks[row], "query {row}, document {place}: {off:e} over {:e}", slacks[row]);
                        largest = largest.max(off / slacks[row]);
                    }
                }
            }
        }
        largest
    }

    fn random(rows: usize, dim: usize, seed: u64, scale: impl Fn(usize) -> f32) -> Vec<f32> {
        let mut random = Pcg64Mcg::seed_from_u64(seed);
        (0..rows * dim).map(|place| random.random_range(-1.0..1.0) * scale(place / dim)).collect()
    }

    #[test]
    fn every_score_is_within_its_slack() {
        for (dim, rows) in [(16, 1), (24, 600), (384, 515), (768, 300)] {
            let (queries, documents) = (random(50, dim, 1, |_| 1.0), random(rows, dim, 2, |_| 1.0));
            let share = largest_share(&queries, &documents, dim);
            // A bound that nothing comes near would let everything pass.
            assert!(rows == 1 || share > 0.05, "{dim} × {rows}: {share}");
        }
        // What is shared by all is far longer than what differs.
        let shared = |mut values: Vec<f32>| {
            values.iter_mut().enumerate().for_each(|(place, x)| *x = *x * 0.1 + [3.0, -2.0, 1.0][place % 3]);
            values
        };
        largest_share(&shared(random(50, 48, 3, |_| 1.0)), &shared(random(700, 48, 4, |_| 1.0)), 48);
        // Lengths far apart, and numbers too small to be normal.
        let scales = [1e-38, 1e-25, 1e-6, 1.0, 1e6];
        let documents = random(600, 64, 5, |row| scales[row % 5]);
        largest_share(&random(50, 64, 6, |row| scales[row % 5]), &documents, 64);
        largest_share(&random(50, 64, 7, |_| 2e-38), &random(600, 64, 8, |_| 1e4), 64);
    }

    #[test]
    fn where_a_mean_overflows_everything_may_pass() {
        let mut queries = vec![0.0; 60 * 4];
        queries.chunks_mut(4).enumerate().for_each(|(row, query)| query[0] = if row == 59 { 3e38 } else { -3e38 });
        let narrow = NarrowQueries::new(&queries, 4);
        let block = NarrowBlock::new(&narrow, &queries, &[1.0; 8]);
        assert_eq!(block.slacks[59], f32::INFINITY);
    }
}
