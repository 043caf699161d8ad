//! A first look in float32 on a GPU. Its memory holds the queries and a tile of documents at a time; only the scores
//! that may matter come back.

use tch::{Device, TchError, Tensor};

use super::scan::{Scan, float32_error_bounds};
use super::shortlist::Shortlist;
use super::tensors::{download, upload};
use super::vectors::{Block, Queries};

/// Documents in a matrix product.
const TILE: usize = 8192;
/// Most queries in a matrix product, whose 2²⁶ scores take 256 MiB.
const TILE_QUERIES: usize = (1 << 26) / TILE;

pub(super) struct DeviceScan {
    device: Device,
    top_k: usize,
    /// (Q, E), on the device.
    queries: Tensor,
}

impl DeviceScan {
    pub fn new(queries: &Queries, top_k: usize, device: Device) -> Result<Self, TchError> {
        Ok(DeviceScan { device, top_k, queries: upload(queries.vectors, queries.dim, device)? })
    }

    /// The places (row of `scores`, column) and the values of the `scores` (P, N) that the lists of these queries may
    /// want.
    fn wanted(
        &self,
        scores: &Tensor,
        lists: &[Shortlist],
        error_bounds: &[f32],
    ) -> Result<(Vec<i64>, Vec<f32>), TchError> {
        let thresholds = lists.iter().zip(error_bounds).map(|(list, &error_bound)| list.threshold(error_bound));
        let mut thresholds = upload(&thresholds.collect::<Vec<_>>(), 1, self.device)?; // (P, 1)
        if scores.size()[1] > self.top_k as i64 {
            // A list that is still short wants everything; the tile's own top_k documents tell it what not to want.
            let (best, _) = scores.f_topk(self.top_k as i64, 1, true, false)?;
            let lowest = best.f_amin(1, true)?;
            thresholds = thresholds.f_maximum(&(lowest - upload(error_bounds, 1, self.device)? * 2.0))?;
        }
        let wanted = scores.f_less_tensor(&thresholds)?.f_logical_not()?; // NaN is wanted
        Ok((download(&wanted.f_nonzero()?)?, download(&scores.f_masked_select(&wanted)?)?))
    }
}

impl Scan for DeviceScan {
    fn scan(&mut self, queries: &Queries, block: &Block, lists: &mut [Shortlist]) -> Result<Vec<f32>, TchError> {
        let error_bounds = float32_error_bounds(queries, block);
        let mut scratch = Vec::new();
        for start in (0..block.len()).step_by(TILE) {
            let tile = start..block.len().min(start + TILE);
            let documents = upload(block.rows(tile), block.dim, self.device)?; // (N, E)
            let parts = lists.chunks_mut(TILE_QUERIES).zip(error_bounds.chunks(TILE_QUERIES)).enumerate();
            for (part, (lists, error_bounds)) in parts {
                let first = part * TILE_QUERIES;
                let vectors = self.queries.f_narrow(0, first as i64, lists.len() as i64)?;
                let scores = vectors.f_matmul(&documents.f_tr()?)?; // (P, N)
                let (places, values) = self.wanted(&scores, lists, error_bounds)?;
                for (place, value) in places.chunks(2).zip(values) {
                    lists[place[0] as usize].add_score(start + place[1] as usize, value);
                }
                for (row, (list, &error_bound)) in lists.iter_mut().zip(error_bounds).enumerate() {
                    list.shorten_if_long(error_bound, queries.row(first + row), block, &mut scratch);
                }
            }
        }
        Ok(error_bounds)
    }
}
