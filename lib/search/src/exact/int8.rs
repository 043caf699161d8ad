//! A first look in whole numbers of 8 bits on the CPU: processors with AVX-512 VNNI multiply four times as many of these
//! as of float32. A bound on the rounding errors says which documents must be scored again in float32. They are more than
//! after a look in bfloat16, because a vector of 768 numbers loses about 0.7 % of its length, and still few.
//!
//! Vectors are rounded relative to a mean, as `centred.rs` says: x̃ is a scale, which is that of the vector's largest
//! number, times whole numbers from -127 to 127. The sum of the products of whole numbers is exact.

use rayon::prelude::*;
use tch::TchError;

use super::centred::{Centred, mean_of, products_with};
use super::int8_products::{Documents, Scaled, is_fast_here, write_scores};
use super::scan::{Scan, TILE, scan_tiles};
use super::shortlist::Shortlist;
use super::vectors::{Block, Queries};

/// Most numbers of a vector with which a sum of products is exact in 32 bits.
const MOST_NUMBERS: usize = 1 << 16;

/// How many documents for each place of a list should come before those that are looked at in 8 bits.
pub(super) const DOCUMENTS_BEFORE: usize = 100;

/// Whether a look in 8 bits takes less time here than one in float32.
pub(super) fn is_fast(dim: usize) -> bool {
    is_fast_here() && dim <= MOST_NUMBERS
}

pub(super) struct Int8Scan {
    queries: Scaled,
    /// What is known of the queries.
    about: Centred,
    /// m, (E,).
    mean: Vec<f32>,
}

/// [`TILE`] documents, and what is known of them.
type Tile = (Documents, Centred);

impl Int8Scan {
    pub fn new(queries: &Queries) -> Self {
        let mean = mean_of(queries.vectors, queries.dim);
        let (mut scaled, mut about) = (Scaled::new(queries.dim), Centred::default());
        round(queries.vectors, &mean, |numbers, scale, centred, error| {
            scaled.push(numbers, scale);
            about.push(centred, error, &mean);
        });
        Int8Scan { queries: scaled, about, mean }
    }
}

impl Scan for Int8Scan {
    fn scan(&mut self, queries: &Queries, block: &Block, lists: &mut [Shortlist]) -> Result<Vec<f32>, TchError> {
        let dim = block.dim;
        // Any vector will do as μ; the nearer to the documents, the tighter the bound.
        let centre = mean_of(block.rows(0..block.len().min(TILE)), dim);
        let tile = |vectors: &[f32]| {
            let (mut documents, mut about) = (Documents::new(vectors.len() / dim, dim), Centred::default());
            round(vectors, &centre, |numbers, scale, centred, error| {
                documents.push(numbers, scale);
                about.push(centred, error, &self.mean);
            });
            (documents, about)
        };
        let tiles: Vec<Tile> = block.vectors.par_chunks(TILE * dim).map(tile).collect();
        let largest = Centred::largest(tiles.iter().map(|(_, about)| about));
        let mut error_bounds = self.about.error_bounds(queries, &self.mean, &centre, largest);
        let of_centre = products_with(queries, &centre);
        scan_tiles(queries, block, lists, &mut error_bounds, |part| {
            let (tiles, of_centre, scaled) = (&tiles, &of_centre, &self.queries);
            move |tile, scores, _| {
                let (documents, about) = &tiles[tile.start / TILE];
                write_scores(scaled, part.clone(), documents, &about.offsets, &of_centre[part.clone()], scores);
                Ok(())
            }
        })?;
        Ok(error_bounds)
    }
}

/// Rounds `vectors` (N, E) relative to `mean` (E,); calls `each` with the whole numbers of a vector, their scale, x′ and
/// x′ − x̃. Of a vector with NaN or an infinite number the scale is NaN, and so are its scores.
fn round(vectors: &[f32], mean: &[f32], mut each: impl FnMut(&[i8], f32, &[f32], &[f32])) {
    let dim = mean.len();
    let (mut numbers, mut centred, mut error) = (vec![0; dim], vec![0.0; dim], vec![0.0; dim]);
    for vector in vectors.chunks(dim) {
        let scale = round_one(vector, mean, &mut centred, &mut numbers, &mut error);
        each(&numbers, scale, &centred, &error);
    }
}

fn round_one(vector: &[f32], mean: &[f32], centred: &mut [f32], numbers: &mut [i8], error: &mut [f32]) -> f32 {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw") {
        // SAFETY: the processor has the instructions that the function is compiled for.
        return unsafe { round_avx512(vector, mean, centred, numbers, error) };
    }
    round_lanes(vector, mean, centred, numbers, error)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw")]
fn round_avx512(vector: &[f32], mean: &[f32], centred: &mut [f32], numbers: &mut [i8], error: &mut [f32]) -> f32 {
    round_lanes(vector, mean, centred, numbers, error)
}

/// Returns the scale.
#[inline(always)]
fn round_lanes(vector: &[f32], mean: &[f32], centred: &mut [f32], numbers: &mut [i8], error: &mut [f32]) -> f32 {
    const LARGEST: f32 = 127.0;
    // As whole numbers, the bits of magnitudes are in the order of what they stand for, those of NaN last.
    let mut largest = 0;
    for ((centred, x), mean) in centred.iter_mut().zip(vector).zip(mean) {
        *centred = x - mean;
        largest = largest.max(centred.to_bits() & !(1 << 31));
    }
    let largest = f32::from_bits(largest);
    let (scale, factor) = match largest {
        _ if !largest.is_finite() => (f32::NAN, 0.0),
        // The factor of numbers so small would be infinite.
        _ if largest < f32::MIN_POSITIVE * LARGEST => (0.0, 0.0),
        _ => (largest / LARGEST, LARGEST / largest),
    };
    for ((number, error), centred) in numbers.iter_mut().zip(error).zip(&*centred) {
        let whole = (centred * factor).round_ties_even();
        *number = whole as i8;
        *error = centred - whole * scale;
    }
    scale
}
