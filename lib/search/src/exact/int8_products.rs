//! Products of vectors of whole numbers of 8 bits with many documents of such.

use std::ops::Range;

/// Numbers that one instruction multiplies and sums up.
const GROUP: usize = 4;
/// Documents whose products are computed at once, two registers of 16.
const PANEL: usize = 32;

/// Vectors of whole numbers, each with what they are to be multiplied by.
pub(super) struct Scaled {
    /// (N, E), padded to full groups with zeros.
    numbers: Vec<i8>,
    /// (N,).
    scales: Vec<f32>,
    /// Sums of the whole numbers, (N,).
    sums: Vec<i32>,
    groups: usize,
}

/// Documents of whole numbers, laid out so that a register gets a group of numbers of sixteen of them at once.
pub(super) struct Documents {
    /// (panels, groups): 128 is added to each number, which the instruction takes without a sign.
    cells: Vec<Cell>,
    /// (N,), padded to full panels with zeros.
    scales: Vec<f32>,
    groups: usize,
    len: usize,
}

#[derive(Clone)]
#[repr(align(64))]
struct Cell([[u8; GROUP]; PANEL]);

impl Scaled {
    /// No vectors yet, of dimension `dim`.
    pub fn new(dim: usize) -> Scaled {
        Scaled { numbers: Vec::new(), scales: Vec::new(), sums: Vec::new(), groups: dim.div_ceil(GROUP) }
    }

    /// Adds the vector `numbers` (E,) times `scale`.
    pub fn push(&mut self, numbers: &[i8], scale: f32) {
        self.numbers.extend_from_slice(numbers);
        self.scales.push(scale);
        self.numbers.resize(self.scales.len() * self.groups * GROUP, 0);
        self.sums.push(numbers.iter().map(|&number| i32::from(number)).sum());
    }

    fn row(&self, row: usize) -> &[i8] {
        &self.numbers[row * self.groups * GROUP..][..self.groups * GROUP]
    }
}

impl Documents {
    /// Room for so many documents of dimension `dim`.
    pub fn new(documents: usize, dim: usize) -> Documents {
        let (panels, groups) = (documents.div_ceil(PANEL), dim.div_ceil(GROUP));
        let cells = vec![Cell([[128; GROUP]; PANEL]); panels * groups];
        Documents { cells, scales: vec![0.0; panels * PANEL], groups, len: 0 }
    }

    /// Adds the document `numbers` (E,) times `scale`.
    pub fn push(&mut self, numbers: &[i8], scale: f32) {
        let (panel, place) = (self.len / PANEL, self.len % PANEL);
        let cells = &mut self.cells[panel * self.groups..][..self.groups];
        for (cell, numbers) in cells.iter_mut().zip(numbers.chunks(GROUP)) {
            for (byte, &number) in cell.0[place].iter_mut().zip(numbers) {
                *byte = (number as u8) ^ 128;
            }
        }
        self.scales[self.len] = scale;
        self.len += 1;
    }
}

/// Whether the processor has instructions for these products.
pub(super) fn is_fast_here() -> bool {
    #[cfg(target_arch = "x86_64")]
    return vnni::is_there();
    #[cfg(not(target_arch = "x86_64"))]
    return false;
}

/// Sets `scores` (P, N) to the products of some `rows` of the queries, P of them, with N documents, plus the `offsets`
/// of the documents, (N,), and the `constants` of the queries, (P,).
pub(super) fn write_scores(
    queries: &Scaled,
    rows: Range<usize>,
    documents: &Documents,
    offsets: &[f32],
    constants: &[f32],
    scores: &mut [f32],
) {
    let count = documents.len;
    assert!(queries.groups == documents.groups && rows.end <= queries.scales.len(), "vectors of one dimension");
    assert!(offsets.len() == count && constants.len() == rows.len() && scores.len() == rows.len() * count);
    #[cfg(target_arch = "x86_64")]
    if vnni::is_there() {
        // SAFETY: the processor has the instructions, and sizes are as they should be.
        return unsafe { vnni::write_scores(queries, rows, documents, offsets, constants, scores) };
    }
    write_scores_anywhere(queries, rows, documents, offsets, constants, scores);
}

/// [`write_scores`] for any processor.
fn write_scores_anywhere(
    queries: &Scaled,
    rows: Range<usize>,
    documents: &Documents,
    offsets: &[f32],
    constants: &[f32],
    scores: &mut [f32],
) {
    for ((row, constant), scores) in rows.zip(constants).zip(scores.chunks_exact_mut(documents.len)) {
        for (document, (score, offset)) in scores.iter_mut().zip(offsets).enumerate() {
            let cells = &documents.cells[document / PANEL * documents.groups..][..documents.groups];
            let numbers = cells.iter().flat_map(|cell| cell.0[document % PANEL]);
            let products = numbers.zip(queries.row(row)).map(|(d, &q)| (i32::from(d) - 128) * i32::from(q));
            let scale = queries.scales[row] * documents.scales[document];
            *score = (products.sum::<i32>() as f32).mul_add(scale, offset + constant);
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod vnni {
    use std::arch::x86_64::*;
    use std::ops::Range;

    use super::{Cell, Documents, GROUP, PANEL, Scaled};

    /// Queries whose sums are kept in registers, two for each.
    const TILE: usize = 8;
    /// Numbers in a register.
    const LANES: usize = 16;

    pub fn is_there() -> bool {
        is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vnni")
    }

    /// # Safety
    /// The processor has the instructions, and the sizes are those that [`super::write_scores`] asks for.
    #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
    pub unsafe fn write_scores(
        queries: &Scaled,
        rows: Range<usize>,
        documents: &Documents,
        offsets: &[f32],
        constants: &[f32],
        scores: &mut [f32],
    ) {
        for (panel, cells) in documents.cells.chunks_exact(documents.groups).enumerate() {
            for first in (0..rows.len()).step_by(TILE) {
                let tile = Tile { queries, first: rows.start + first, documents, panel, cells, offsets };
                let constants = &constants[first..];
                // SAFETY: the scores of the tile begin within those of all; the caller answers for the sizes.
                unsafe {
                    let scores = scores.as_mut_ptr().add(first * documents.len + panel * PANEL);
                    match rows.len() - first {
                        1 => tile.write::<1>(constants, scores),
                        2 => tile.write::<2>(constants, scores),
                        3 => tile.write::<3>(constants, scores),
                        4 => tile.write::<4>(constants, scores),
                        5 => tile.write::<5>(constants, scores),
                        6 => tile.write::<6>(constants, scores),
                        7 => tile.write::<7>(constants, scores),
                        _ => tile.write::<TILE>(constants, scores),
                    }
                }
            }
        }
    }

    /// Some queries, from `first` on, and a panel of documents.
    struct Tile<'a> {
        queries: &'a Scaled,
        first: usize,
        documents: &'a Documents,
        panel: usize,
        cells: &'a [Cell],
        offsets: &'a [f32],
    }

    impl Tile<'_> {
        /// Writes the scores of `R` queries.
        ///
        /// # Safety
        /// As [`write_scores`]; there are so many queries, and `scores` points at the first one's score of the panel.
        #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
        unsafe fn write<const R: usize>(&self, constants: &[f32], scores: *mut f32) {
            let Tile { queries, first, documents, panel, cells, offsets } = *self;
            let groups = queries.groups;
            let numbers = queries.numbers[first * groups * GROUP..][..R * groups * GROUP].as_ptr().cast::<i32>();
            let mut sums = [[_mm512_setzero_si512(); 2]; R];
            for (sums, &sum) in sums.iter_mut().zip(&queries.sums[first..first + R]) {
                // What the added 128 comes to.
                *sums = [_mm512_set1_epi32(sum * -128); 2];
            }
            for (group, cell) in cells.iter().enumerate() {
                let bytes: *const __m512i = cell.0.as_ptr().cast();
                // SAFETY: a cell is two registers of bytes, and each of the queries has one more group there.
                unsafe {
                    let documents = [_mm512_load_si512(bytes), _mm512_load_si512(bytes.add(1))];
                    for (row, sums) in sums.iter_mut().enumerate() {
                        let four = _mm512_set1_epi32(numbers.add(row * groups + group).read_unaligned());
                        sums[0] = _mm512_dpbusd_epi32(sums[0], documents[0], four);
                        sums[1] = _mm512_dpbusd_epi32(sums[1], documents[1], four);
                    }
                }
            }
            for half in 0..2 {
                let document = panel * PANEL + half * LANES;
                let left = documents.len.saturating_sub(document).min(LANES);
                let mask = ((1u32 << left) - 1) as u16;
                // SAFETY: scales are padded to full panels, and the mask leaves out what would be behind the last
                // document; the caller answers for the rest.
                unsafe {
                    let scales = _mm512_loadu_ps(documents.scales[document..].as_ptr());
                    let offsets = _mm512_maskz_loadu_ps(mask, offsets.as_ptr().wrapping_add(document));
                    for (row, sums) in sums.iter().enumerate() {
                        let scales = _mm512_mul_ps(_mm512_set1_ps(queries.scales[first + row]), scales);
                        let constants = _mm512_add_ps(offsets, _mm512_set1_ps(constants[row]));
                        let score = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sums[half]), scales, constants);
                        let place = scores.wrapping_add(row * documents.len + half * LANES);
                        _mm512_mask_storeu_ps(place, mask, score);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exact::testing::random;

    #[test]
    fn every_processor_gives_the_same_bits() {
        for (count, dim, documents) in [(1, 1, 1), (7, 33, 31), (20, 384, 512), (9, 50, 100)] {
            let whole = |x: &[f32]| x.iter().map(|x| (x * 127.0) as i8).collect::<Vec<_>>();
            let mut queries = Scaled::new(dim);
            random(count, dim, 1).chunks(dim).for_each(|x| queries.push(&whole(x), x[0]));
            let mut many = Documents::new(documents, dim);
            random(documents, dim, 2).chunks(dim).for_each(|x| many.push(&whole(x), x[0]));
            let (offsets, constants) = (random(1, documents, 3), random(1, count, 4));
            let mut scores = [vec![f32::NAN; count * documents], vec![f32::NAN; count * documents]];
            write_scores(&queries, 0..count, &many, &offsets, &constants, &mut scores[0]);
            write_scores_anywhere(&queries, 0..count, &many, &offsets, &constants, &mut scores[1]);
            assert!(scores[0].iter().zip(&scores[1]).all(|(a, b)| a.to_bits() == b.to_bits()), "{count} {dim}");
        }
    }
}
