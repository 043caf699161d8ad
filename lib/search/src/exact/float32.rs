//! A first look in float32 on the CPU. Its scores differ from the exact ones only in the order in which products are
//! summed, which a library of matrix products chooses as it likes.

use tch::TchError;

use super::scan::{Scan, float32_error_bounds, scan_tiles};
use super::shortlist::Shortlist;
use super::tensors::product;
use super::vectors::{Block, Queries};

pub(super) struct Float32Scan;

impl Scan for Float32Scan {
    fn scan(&mut self, queries: &Queries, block: &Block, lists: &mut [Shortlist]) -> Result<Vec<f32>, TchError> {
        let mut error_bounds = float32_error_bounds(queries, block);
        scan_tiles(queries, block, lists, &mut error_bounds, |part| {
            let vectors = queries.rows(part);
            move |tile, scores, _| product(vectors, block.rows(tile), block.dim, scores)
        })?;
        Ok(error_bounds)
    }
}
