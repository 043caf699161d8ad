//! The first look at the scores of a block, and what all first looks on the CPU share.

use std::ops::Range;

use rayon::prelude::*;
use tch::TchError;

use super::inner_product::{error_bound, norm};
use super::shortlist::Shortlist;
use super::vectors::{Block, Queries};

/// A first look at the scores of all documents of a block, which need not be exact.
///
/// Scans may hold tensors, which threads cannot share; hence `Send` without `Sync`.
pub(super) trait Scan: Send {
    /// Hands each query's list the documents of `block` that may be among the query's best, with their approximate
    /// scores. Returns for each query, (Q,), how far an approximate score can be from [`super::inner_product()`].
    ///
    /// It is called on a thread of the pool whose threads share the work.
    fn scan(&mut self, queries: &Queries, block: &Block, lists: &mut [Shortlist]) -> Result<Vec<f32>, TchError>;
}

/// Documents in a matrix product on the CPU: their scores stay in the cache until they are looked at.
pub(super) const TILE: usize = 512;
/// Most queries in a matrix product on the CPU.
const TILE_QUERIES: usize = 256;

/// How many queries each thread of the current pool takes at once.
pub(super) fn queries_per_thread(queries: usize) -> usize {
    queries.div_ceil(rayon::current_num_threads()).clamp(1, TILE_QUERIES)
}

/// Multiplies the queries with the block's documents tile by tile, and hands each list the scores of its query. Each
/// thread of the current pool takes queries of its own.
///
/// `products_of` gets the rows of a thread's queries, P of them. What it returns is called with the rows of each tile,
/// N documents, and fills in the scores, (P, N); it may raise the error bounds of the queries, (P,).
pub(super) fn scan_tiles<Products>(
    queries: &Queries,
    block: &Block,
    lists: &mut [Shortlist],
    error_bounds: &mut [f32],
    products_of: impl Fn(Range<usize>) -> Products + Sync,
) -> Result<(), TchError>
where
    Products: FnMut(Range<usize>, &mut [f32], &mut [f32]) -> Result<(), TchError>,
{
    let share = queries_per_thread(queries.len());
    let parts = lists.par_chunks_mut(share).zip(error_bounds.par_chunks_mut(share)).enumerate();
    parts.try_for_each(|(part, (lists, error_bounds))| {
        let first = part * share;
        let mut products = products_of(first..first + lists.len());
        let mut scores = vec![0.0; lists.len() * TILE];
        let mut scratch = Vec::new();
        for start in (0..block.len()).step_by(TILE) {
            let tile = start..block.len().min(start + TILE);
            let scores = &mut scores[..lists.len() * tile.len()];
            products(tile.clone(), scores, error_bounds)?;
            let rows = lists.iter_mut().zip(scores.chunks(tile.len())).zip(&*error_bounds).enumerate();
            for (row, ((list, scores), &error_bound)) in rows {
                list.add_scores(scores, start, error_bound);
                list.shorten_if_long(error_bound, queries.row(first + row), block, &mut scratch);
            }
        }
        Ok(())
    })
}

/// How far the scores of a matrix product in float32 can be from exact ones, for each query, (Q,).
pub(super) fn float32_error_bounds(queries: &Queries, block: &Block) -> Vec<f32> {
    let longest = block.vectors.par_chunks(block.dim).map(norm).reduce(|| 0.0, f32::max);
    queries.norms.iter().map(|&norm| error_bound(block.dim, norm, longest)).collect()
}
