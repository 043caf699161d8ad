//! Exact search by inner product. Exact means that the lists are those that scoring every document with
//! [`inner_product()`] in float32 and sorting all scores would give, to the last bit, on every machine and device.
//!
//! That is much faster than to score and sort everything, because most documents only need a look:
//!
//! 1. A [`Scan`] computes all scores of a block of documents by a matrix product, and says how far each can be from the
//!    exact one. There are four: in float32, in bfloat16 and in 8 bits on the CPU, and on a
//!    GPU. [`ExactSearcher::choose_scans`] is where they are chosen.
//! 2. A [`Shortlist`] for each query drops a document only when `top_k` others are better however wrong all scores are
//!    within their bounds.
//! 3. The documents that remain, hardly more than `top_k` for a query, are scored again with [`inner_product()`].
//!
//! So the scan decides how long a search takes, and nothing about its result.

mod bfloat16;
mod centred;
mod device;
mod float32;
mod inner_product;
mod int8;
mod int8_products;
mod rounded;
mod scan;
mod shortlist;
mod tensors;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod vectors;

use bfloat16::Bfloat16Scan;
use centred::FEWEST_QUERIES;
use device::DeviceScan;
use float32::Float32Scan;
use hardmine_records::{Error, Result};
use int8::Int8Scan;
use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};
use tch::{Device, TchError};

use crate::hit::Hit;
pub(crate) use inner_product::inner_product;
use scan::{Scan, TILE, queries_per_thread};
use shortlist::Shortlist;
use vectors::{Block, Queries};

/// The scan of the first documents; and another one, with the number of documents after which it takes over.
type Scans = (Box<dyn Scan>, Option<(usize, Box<dyn Scan>)>);

/// Finds the `top_k` documents with the largest inner product for each query, exactly: the lists are the same to the
/// last bit whatever the number of threads, the device and the blocks in which documents come.
///
/// ```
/// use hardmine_search::ExactSearcher;
/// use tch::Device;
///
/// let searcher = ExactSearcher::new(2, 2, Device::Cpu)?; // vectors of 2 dimensions, the best 2 documents
/// let queries = [1.0, 0.0, 0.6, 0.8]; // two of them, row by row
/// let mut search = searcher.start(&queries)?;
/// search.add(&[10, 11], &[0.5, 0.5, 1.0, 0.0])?; // documents come in blocks of any size
/// search.add(&[12], &[0.0, 1.0])?;
///
/// let lists: Vec<Vec<i64>> =
///     search.finish().iter().map(|hits| hits.iter().map(|hit| hit.id).collect()).collect();
/// assert_eq!(lists, [[11, 10], [12, 10]]);
/// # Ok::<(), hardmine_records::Error>(())
/// ```
pub struct ExactSearcher {
    dim: usize,
    top_k: usize,
    device: Device,
    threads: ThreadPool,
}

/// A search for some queries, which documents are added to.
pub struct ExactSearch<'a> {
    searcher: &'a ExactSearcher,
    queries: Queries<'a>,
    scan: Box<dyn Scan>,
    /// The scan that takes over after so many documents.
    next: Option<(usize, Box<dyn Scan>)>,
    /// How many documents were added.
    added: usize,
    /// One for each query.
    lists: Vec<Shortlist>,
}

impl ExactSearcher {
    /// A searcher for the best `top_k` documents, at least one, among vectors of dimension `dim`. It uses as many
    /// threads as libtorch is set to at this moment; on a GPU, `device`, it multiplies there.
    ///
    /// # Errors
    /// Threads that the system does not grant.
    pub fn new(dim: usize, top_k: usize, device: Device) -> Result<Self> {
        let threads = usize::try_from(tch::get_num_threads()).unwrap_or(1);
        // Each thread multiplies tiles of its own; more threads inside a product would get in the way.
        let threads = ThreadPoolBuilder::new().num_threads(threads).start_handler(|_| tch::set_num_threads(1)).build();
        let threads = threads.map_err(Error::at("exact search"))?;
        Ok(ExactSearcher { dim, top_k, device, threads })
    }

    /// Bytes that each query may take while it is searched for: its vector, rounded too, and its ranked list.
    pub fn bytes_per_query(&self) -> usize {
        let vector = self.dim * (size_of::<f32>() + size_of::<u16>());
        vector + Shortlist::bytes(self.top_k, TILE) + self.top_k * size_of::<Hit>()
    }

    /// Starts a search for `queries`, (Q, E), row by row.
    ///
    /// # Errors
    /// Too little memory on the GPU.
    ///
    /// # Panics
    /// If the last vector is not whole.
    pub fn start<'a>(&'a self, queries: &'a [f32]) -> Result<ExactSearch<'a>> {
        let queries = Queries::new(queries, self.dim);
        let (scan, next) = self.choose_scans(&queries).map_err(failed)?;
        Ok(ExactSearch { next, ..self.start_with(scan, queries) })
    }

    /// Chooses how the search first looks at scores. Only its speed depends on that: a scan proposes documents, whose
    /// scores [`ExactSearch::add`] then computes again in float32, whatever the scan.
    fn choose_scans(&self, queries: &Queries) -> std::result::Result<Scans, TchError> {
        let mut next: Option<(usize, Box<dyn Scan>)> = None;
        let first: Box<dyn Scan> = if self.device != Device::Cpu {
            // A GPU's matrix products are far faster than a CPU's, even in float32.
            Box::new(DeviceScan::new(queries, self.top_k, self.device)?)
        } else if queries.len() < FEWEST_QUERIES {
            // Rounding the documents costs the same for any number of queries, so that it pays for many.
            Box::new(Float32Scan)
        } else if bfloat16::is_fast() {
            // The product takes a third of the time or less.
            Box::new(Bfloat16Scan::new(queries))
        } else if int8::is_fast(queries.dim) {
            // It takes a quarter or more, but leaves more documents to be scored again, which are few only once most
            // documents are far below all that is in the lists.
            next = Some((int8::DOCUMENTS_BEFORE.saturating_mul(self.top_k), Box::new(Int8Scan::new(queries))));
            Box::new(Float32Scan)
        } else {
            Box::new(Float32Scan)
        };
        Ok((first, next))
    }

    fn start_with<'a>(&'a self, scan: Box<dyn Scan>, queries: Queries<'a>) -> ExactSearch<'a> {
        let lists = (0..queries.len()).map(|_| Shortlist::new(self.top_k)).collect();
        ExactSearch { searcher: self, queries, scan, next: None, added: 0, lists }
    }
}

impl ExactSearch<'_> {
    /// Adds documents with these ids, (N,), and vectors, (N, E), row by row. No document may be added twice.
    ///
    /// # Errors
    /// Too little memory on the GPU.
    ///
    /// # Panics
    /// If there is not one vector for each id.
    pub fn add(&mut self, ids: &[i64], vectors: &[f32]) -> Result<()> {
        let dim = self.searcher.dim;
        assert_eq!(vectors.len(), ids.len() * dim, "one vector for each id");
        let before = self.next.as_ref().map_or(ids.len(), |(after, _)| after.saturating_sub(self.added).min(ids.len()));
        self.added += ids.len();
        let (vectors, others) = vectors.split_at(before * dim);
        self.look_at(&ids[..before], vectors)?;
        if before < ids.len()
            && let Some((_, next)) = self.next.take()
        {
            self.scan = next;
        }
        self.look_at(&ids[before..], others)
    }

    fn look_at(&mut self, ids: &[i64], vectors: &[f32]) -> Result<()> {
        if ids.is_empty() {
            return Ok(());
        }
        let ExactSearch { searcher, queries, scan, lists, .. } = self;
        let block = Block { ids, vectors, dim: searcher.dim };
        searcher.threads.install(|| {
            let error_bounds = scan.scan(queries, &block, lists).map_err(failed)?;
            rescore(queries, &block, lists, &error_bounds);
            Ok(())
        })
    }

    /// The ranked lists, in the order of the queries: score descending, then id ascending. A score too large for
    /// float32 is infinite, whatever its sign, and ranks first.
    pub fn finish(self) -> Vec<Vec<Hit>> {
        let lists = self.lists.into_par_iter();
        self.searcher.threads.install(|| lists.map(Shortlist::into_ranked).collect())
    }
}

/// Scores the candidates of every list exactly, so that the lists hold nothing but exact scores.
fn rescore(queries: &Queries, block: &Block, lists: &mut [Shortlist], error_bounds: &[f32]) {
    let share = queries_per_thread(queries.len());
    let parts = lists.par_chunks_mut(share).zip(error_bounds.par_chunks(share)).enumerate();
    parts.for_each(|(part, (lists, error_bounds))| {
        let mut scratch = Vec::new();
        for (list, &error_bound) in lists.iter_mut().zip(error_bounds) {
            list.drop_beaten(error_bound, &mut scratch);
        }
        // Tile by tile, so that a document comes from memory once for all queries of the part.
        for end in (0..block.len()).step_by(TILE).map(|start| start + TILE) {
            for (row, list) in lists.iter_mut().enumerate() {
                list.rescore(end, queries.row(part * share + row), block);
            }
        }
        lists.iter_mut().for_each(Shortlist::keep_best);
    });
}

fn failed(error: TchError) -> Error {
    Error::new("exact search", error.to_string().lines().next().unwrap_or_default())
}
