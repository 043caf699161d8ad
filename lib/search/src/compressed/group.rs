//! Queries whose tables stand side by side, and the documents that they look at together.

use hardmine_quantization::{CENTROIDS, PqIndex};

use super::best::Best;
use super::sums::{Table, add_entries};
use super::{TILE, Tile};
use crate::hit::Hit;

/// Up to `L` queries.
pub(super) struct Group<'a, const L: usize> {
    index: &'a PqIndex,
    /// Vectors in the space of the codes, (Q, D), row by row.
    queries: &'a [f32],
    /// One for each subvector.
    tables: Vec<Table<L>>,
    top_k: usize,
}

impl<'a, const L: usize> Group<'a, L> {
    pub fn new(index: &'a PqIndex, queries: &'a [f32], top_k: usize) -> Self {
        let codebook = index.codebook();
        let mut tables = vec![[[0.0; L]; CENTROIDS]; codebook.subvectors()];
        let mut table = vec![0.0; codebook.subvectors() * CENTROIDS];
        for (lane, query) in queries.chunks(codebook.dim()).enumerate() {
            codebook.table(query, &mut table);
            for (entries, &entry) in tables.as_flattened_mut().iter_mut().zip(&table) {
                entries[lane] = entry;
            }
        }
        Group { index, queries, tables, top_k }
    }

    /// The best documents of `tiles`, for each query.
    pub fn scan(&self, tiles: &[Tile]) -> Vec<Best> {
        let mut found: Vec<Best> = self.vectors().map(|_| Best::new(self.top_k)).collect();
        let mut sums = [[0.0; L]; TILE];
        let code_size = self.tables.len();
        for tiles in tiles.chunk_by(|one, next| one.list == next.list) {
            let documents = self.index.lists().list(tiles[0].list);
            let mut offsets = [0.0; L];
            for (offset, query) in offsets.iter_mut().zip(self.vectors()) {
                *offset = self.index.offset(tiles[0].list, query);
            }
            for Tile { rows, .. } in tiles {
                let sums = &mut sums[..rows.len()];
                sums.fill([0.0; L]);
                add_entries(&self.tables, &documents.codes()[rows.start * code_size..rows.end * code_size], sums);
                keep(sums, &offsets, |row| documents.id(rows.start + row), &mut found);
            }
        }
        found
    }

    /// The ranked lists of the queries, from the best documents of each part.
    pub fn ranked(&self, mut parts: Vec<Vec<Best>>) -> Vec<Vec<Hit>> {
        let mut lists = Vec::new();
        for _ in self.vectors() {
            lists.push(Best::ranked(parts.iter_mut().filter_map(Vec::pop), self.top_k));
        }
        lists.reverse();
        lists
    }

    fn vectors(&self) -> impl Iterator<Item = &'a [f32]> {
        self.queries.chunks(self.index.codebook().dim())
    }
}

/// Hands documents with these `sums` of table entries, (N, L), to the queries whose best they may be among.
fn keep<const L: usize>(sums: &[[f32; L]], offsets: &[f32; L], id: impl Fn(usize) -> i64, found: &mut [Best]) {
    // Where there is no query, no score is high enough.
    let mut floors = [f32::INFINITY; L];
    floors.iter_mut().zip(&*found).for_each(|(floor, best)| *floor = best.floor());
    for (row, sums) in sums.iter().enumerate() {
        let score = |lane: usize| offsets[lane] + sums[lane];
        if (0..L).fold(true, |none, lane| none & is_below(score(lane), floors[lane])) {
            continue;
        }
        for (lane, best) in found.iter_mut().enumerate() {
            if !is_below(score(lane), floors[lane]) {
                best.push(Hit { id: id(row), score: score(lane) });
                floors[lane] = best.floor();
            }
        }
    }
}

/// NaN is never below: it is kept, and ends in an error.
fn is_below(score: f32, floor: f32) -> bool {
    score < floor
}
