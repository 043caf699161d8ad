//! A first look in float32 on a GPU. Its memory holds the queries, a tile of documents at a time, and the best documents
//! of the block so far; only these come back.

use tch::{Device, TchError, Tensor};

use super::scan::{Scan, float32_error_bounds};
use super::shortlist::Shortlist;
use super::tensors::{download, upload};
use super::vectors::{Block, Queries};

/// Documents in a matrix product.
const TILE: usize = 8192;
/// Most queries in a matrix product, whose 2²⁶ scores take 256 MiB.
const TILE_QUERIES: usize = (1 << 26) / TILE;
/// How many documents more than `top_k` are kept for each query: those that are within the error bound of the last one,
/// which are few unless documents are equal.
const SPARE: usize = 64;

pub(super) struct DeviceScan {
    device: Device,
    top_k: usize,
    /// (Q, E), on the device.
    queries: Tensor,
}

/// The best documents of a block so far, for P queries: scores and rows, (P, K), in no order.
struct Best {
    scores: Tensor,
    rows: Tensor,
}

/// Documents that lists may want: for each the place (query, column), its row in the block, and its score.
struct Wanted {
    places: Vec<i64>,
    rows: Vec<i64>,
    scores: Vec<f32>,
}

impl DeviceScan {
    pub fn new(queries: &Queries, top_k: usize, device: Device) -> Result<Self, TchError> {
        Ok(DeviceScan { device, top_k, queries: upload(queries.vectors, queries.dim, device)? })
    }

    /// The most documents that are kept for a query.
    fn kept(&self) -> usize {
        self.top_k + SPARE.max(self.top_k / 8)
    }

    /// What the lists may want of the `best` documents of the block; and for each query, (P,), whether a list may want a
    /// document that is not among these.
    fn wanted(
        &self,
        best: &Best,
        lists: &[Shortlist],
        error_bounds: &[f32],
        documents: usize,
    ) -> Result<(Wanted, Vec<bool>), TchError> {
        let (rows, order) = best.rows.f_sort(1, false)?; // the lists want ascending rows
        let scores = best.scores.f_gather(1, &order, false)?;
        let thresholds = self.thresholds(&scores, lists, error_bounds)?;
        let wanted = scores.f_less_tensor(&thresholds)?.f_logical_not()?; // NaN is wanted
        // Documents that were not kept have no higher score than any that was.
        let more = scores.f_amin(1, true)?.f_less_tensor(&thresholds)?.f_logical_not()?;
        let more = match documents > self.kept() {
            true => download::<bool>(&more)?,
            false => vec![false; lists.len()],
        };
        let found = Wanted {
            places: download(&wanted.f_nonzero()?)?,
            rows: download(&rows.f_masked_select(&wanted)?)?,
            scores: download(&scores.f_masked_select(&wanted)?)?,
        };
        Ok((found, more))
    }

    /// The lowest of `scores` (P, N) with which a document may still get into the list of its query, (P, 1).
    fn thresholds(&self, scores: &Tensor, lists: &[Shortlist], error_bounds: &[f32]) -> Result<Tensor, TchError> {
        let thresholds = lists.iter().zip(error_bounds).map(|(list, &error_bound)| list.threshold(error_bound));
        let thresholds = upload(&thresholds.collect::<Vec<_>>(), 1, self.device)?; // (P, 1)
        if scores.size()[1] <= self.top_k as i64 {
            return Ok(thresholds);
        }
        // A list that is still short wants everything; the best top_k of these documents tell it what not to want.
        let (best, _) = scores.f_topk(self.top_k as i64, 1, true, false)?;
        let lowest = best.f_amin(1, true)?;
        thresholds.f_maximum(&(lowest - upload(error_bounds, 1, self.device)? * 2.0))
    }

    /// Hands the lists of these queries everything that they may want, tile by tile. It is right for any documents, but
    /// brings far more scores back.
    fn scan_all(
        &self,
        rows: &[usize],
        queries: &Queries,
        block: &Block,
        lists: &mut [Shortlist],
        error_bounds: &[f32],
    ) -> Result<(), TchError> {
        let mut scratch = Vec::new();
        for rows in rows.chunks(TILE_QUERIES) {
            let places: Vec<i64> = rows.iter().map(|&row| row as i64).collect();
            let vectors = self.queries.f_index_select(0, &Tensor::f_from_slice(&places)?.f_to(self.device)?)?;
            for start in (0..block.len()).step_by(TILE) {
                let tile = start..block.len().min(start + TILE);
                let documents = upload(block.rows(tile), block.dim, self.device)?; // (N, E)
                let scores = vectors.f_matmul(&documents.f_tr()?)?; // (P, N)
                let mut thresholds = Vec::with_capacity(rows.len());
                for &row in rows {
                    thresholds.push(lists[row].threshold(error_bounds[row]));
                }
                let wanted = scores.f_less_tensor(&upload(&thresholds, 1, self.device)?)?.f_logical_not()?;
                let (places, values) =
                    (download::<i64>(&wanted.f_nonzero()?)?, download::<f32>(&scores.f_masked_select(&wanted)?)?);
                for (place, value) in places.chunks(2).zip(values) {
                    lists[rows[place[0] as usize]].add_score(start + place[1] as usize, value);
                }
                for &row in rows {
                    lists[row].shorten_if_long(error_bounds[row], queries.row(row), block, &mut scratch);
                }
            }
        }
        Ok(())
    }
}

impl Best {
    /// The best `kept` of these and of the documents with these `scores` (P, N), which are those from row `first` on.
    fn and(best: Option<Best>, scores: &Tensor, first: usize, kept: usize) -> Result<Best, TchError> {
        let (scores, columns) = highest(scores, kept)?;
        let rows = columns.f_add_scalar(first as i64)?;
        let Some(before) = best else { return Ok(Best { scores, rows }) };
        let (scores, rows) = (Tensor::f_cat(&[before.scores, scores], 1)?, Tensor::f_cat(&[before.rows, rows], 1)?);
        let (scores, places) = highest(&scores, kept)?;
        Ok(Best { scores, rows: rows.f_gather(1, &places, false)? })
    }
}

/// The `count` highest scores of each row, or all if there are fewer, with their columns. NaN is highest.
fn highest(scores: &Tensor, count: usize) -> Result<(Tensor, Tensor), TchError> {
    scores.f_topk((count as i64).min(scores.size()[1]), 1, true, false)
}

impl Scan for DeviceScan {
    fn scan(&mut self, queries: &Queries, block: &Block, lists: &mut [Shortlist]) -> Result<Vec<f32>, TchError> {
        let error_bounds = float32_error_bounds(queries, block);
        let mut parts: Vec<Option<Best>> = lists.chunks(TILE_QUERIES).map(|_| None).collect();
        for start in (0..block.len()).step_by(TILE) {
            let tile = start..block.len().min(start + TILE);
            let documents = upload(block.rows(tile), block.dim, self.device)?; // (N, E)
            for (best, vectors) in parts.iter_mut().zip(self.queries.f_split(TILE_QUERIES as i64, 0)?) {
                let scores = vectors.f_matmul(&documents.f_tr()?)?; // (P, N)
                *best = Some(Best::and(best.take(), &scores, start, self.kept())?);
            }
        }
        let mut others = Vec::new();
        let by_part = lists.chunks_mut(TILE_QUERIES).zip(error_bounds.chunks(TILE_QUERIES)).enumerate();
        for ((part, (lists, error_bounds)), best) in by_part.zip(parts.iter().flatten()) {
            let (wanted, more) = self.wanted(best, lists, error_bounds, block.len())?;
            let found = wanted.places.chunks(2).zip(wanted.rows).zip(wanted.scores);
            for ((place, row), score) in found {
                let query = place[0] as usize;
                if !more[query] {
                    lists[query].add_score(row as usize, score);
                }
            }
            others.extend((0..lists.len()).filter(|&query| more[query]).map(|query| part * TILE_QUERIES + query));
        }
        self.scan_all(&others, queries, block, lists, &error_bounds)?;
        Ok(error_bounds)
    }
}
