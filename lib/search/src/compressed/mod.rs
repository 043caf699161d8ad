//! Search of the codes of product quantization. A document's score is ⟨q', c⟩ + Σₘ T[m, zₘ]: q' is the query in the
//! space of the codes, c the centroid of the document's list where codes stand for residuals (else the term is 0), z
//! its code, and T[m, k] the inner product of subvector m of q' and centroid k. The sum is made in float32 in the order
//! of m, and the term before it is added last, so that the score has the same bits on every machine.
//!
//! Unlike the scores of whole vectors, these need no approximate first look: with the tables of sixteen queries side by
//! side, one read of a table's row adds an entry to the sums of all sixteen, in that very order. What is kept of a
//! query is the best documents so far, and most scores are done with after one comparison.

mod best;
mod group;
mod probes;
mod sums;
#[cfg(test)]
mod tests;

use std::ops::Range;

use hardmine_quantization::{CENTROIDS, PqIndex};
use hardmine_records::{Provenance, Result};
use rayon::ThreadPool;
use rayon::prelude::*;

use self::best::Best;
use self::group::Group;
use crate::hit::Hit;
use crate::settings::RankSettings;
use crate::threads::threads;
use crate::turn::Turn;

/// Most queries whose tables stand side by side: the entries of as many float32 are 64 bytes, which is what a processor
/// reads from memory at once, and what a register of AVX-512 holds.
const SIDE_BY_SIDE: usize = 16;
/// Documents whose scores are summed before they are looked at: the sums stay in the cache.
const TILE: usize = 1024;

/// Finds the documents of the best scores for queries, exactly: the lists are the same to the last bit whatever the
/// number of threads and the queries that are searched for at once.
pub(crate) struct CompressedSearcher {
    index: PqIndex,
    /// How queries get into the space of the codes.
    turn: Turn,
    /// How many lists are searched for a query.
    nprobe: usize,
    top_k: usize,
    threads: ThreadPool,
}

/// Consecutive documents of the list of this number.
struct Tile {
    list: usize,
    rows: Range<usize>,
}

impl CompressedSearcher {
    /// A searcher of `index` for queries in the space of the codes.
    ///
    /// # Errors
    /// Search parameters other than nprobe, or of an index without lists; threads that the system does not grant.
    pub fn new(index: PqIndex, settings: &RankSettings) -> Result<Self> {
        let nprobe = probes::parse(settings.parameters.as_deref(), index.coarse(), index.lists().len())?;
        Ok(CompressedSearcher { index, turn: Turn::Nothing, nprobe, top_k: settings.top_k, threads: threads()? })
    }

    /// Prepares for these queries, given by name and provenance, and returns the dimension that they must have. The
    /// index is called `name`.
    ///
    /// # Errors
    /// Queries in another space, from which nothing leads into that of the codes.
    pub fn prepare(&mut self, queries: (&str, &Provenance), name: &str) -> Result<usize> {
        self.turn = Turn::into_index(queries, (name, self.index.provenance()), self.index.rotation())?;
        Ok(self.turn.dim(self.index.codebook().dim()))
    }

    /// What is searched.
    pub fn index(&self) -> &PqIndex {
        &self.index
    }

    /// Bytes that each query may take while it is searched for: its vector, turned too, its tables and its ranked list.
    pub fn bytes_per_query(&self) -> usize {
        let codebook = self.index.codebook();
        let numbers = self.index.dim() + codebook.dim() + codebook.subvectors() * CENTROIDS;
        numbers * size_of::<f32>() + Best::bytes(self.top_k) + self.top_k * size_of::<Hit>()
    }

    /// The ranked lists of `queries`, (Q, E) row by row: score descending, then id ascending. A score too large for
    /// float32 is infinite, whatever its sign, and ranks first.
    pub fn search(&self, queries: &[f32]) -> Vec<Vec<Hit>> {
        let queries = self.threads.install(|| self.turn.apply(queries));
        let dim = self.index.codebook().dim();
        // Queries that search lists of their own share no codes.
        let together = if self.nprobe == self.index.lists().len() { SIDE_BY_SIDE } else { 1 };
        let groups = queries.len().div_ceil(together * dim);
        // Few queries share the threads, each of which then takes documents of its own.
        let threads = self.threads.current_num_threads();
        let parts = if groups < 8 * threads { threads } else { 1 };
        let search = |queries: &[f32]| match queries.len() / dim {
            1 => self.search_group::<1>(queries, parts),
            2..=4 => self.search_group::<4>(queries, parts),
            _ => self.search_group::<SIDE_BY_SIDE>(queries, parts),
        };
        self.threads.install(|| queries.par_chunks(together * dim).flat_map_iter(search).collect())
    }

    /// The ranked lists of up to `L` queries, which search the same lists. The documents are cut into `parts`.
    fn search_group<const L: usize>(&self, queries: &[f32], parts: usize) -> Vec<Vec<Hit>> {
        let lists = match self.nprobe == self.index.lists().len() {
            true => (0..self.nprobe).collect(),
            false => self.index.best_lists(queries, self.nprobe),
        };
        let group = Group::<L>::new(&self.index, queries, self.top_k);
        let tiles: Vec<Tile> =
            lists.into_iter().flat_map(|list| tiles(list, self.index.lists().list(list).len())).collect();
        let found: Vec<Vec<Best>> = match parts {
            1 => vec![group.scan(&tiles)],
            _ => tiles.par_chunks(tiles.len().div_ceil(parts).max(1)).map(|tiles| group.scan(tiles)).collect(),
        };
        group.ranked(found)
    }
}

fn tiles(list: usize, rows: usize) -> impl Iterator<Item = Tile> {
    (0..rows).step_by(TILE).map(move |first| Tile { list, rows: first..rows.min(first + TILE) })
}
