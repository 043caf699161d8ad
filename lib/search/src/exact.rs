//! Exact search by inner product: a blocked matrix product on the CPU or a GPU, whose scores pick the few documents
//! worth scoring precisely. The lists are the same bits whatever the block size, the number of threads and the device.

use hardmine_records::{Error, Result};
use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};
use tch::kind::Element;
use tch::{Device, Kind, TchError, Tensor};

use crate::dot::{norm, slack};
use crate::narrow::{self, NarrowBlock, NarrowQueries};
use crate::ranking::Hit;
use crate::shortlist::{Block, Shortlist};

/// Documents in a matrix product on the CPU: the scores of a tile stay in the cache until they are looked at.
pub(crate) const TILE: usize = 512;
/// Queries in a matrix product on the CPU.
const TILE_QUERIES: usize = 256;
/// Documents in a matrix product on a GPU.
const DEVICE_TILE: usize = 8192;
/// Scores of a matrix product on a GPU.
const DEVICE_SCORES: usize = 1 << 26;

/// Searches for the `top_k` best documents of every query.
pub struct Searcher {
    dim: usize,
    top_k: usize,
    device: Device,
    workers: ThreadPool,
    /// Whether to take a first look at scores in bfloat16.
    narrow: bool,
}

/// Queries and what was found for them so far.
pub struct Search<'a> {
    searcher: &'a Searcher,
    /// (Q, E)
    queries: &'a [f32],
    /// (Q,)
    norms: Vec<f32>,
    lists: Vec<Shortlist>,
    on_device: Option<Tensor>,
    narrow: Option<NarrowQueries>,
}

impl Searcher {
    /// A searcher for vectors of dimension `dim`.
    pub fn new(dim: usize, top_k: usize, device: Device) -> Result<Self> {
        let threads = usize::try_from(tch::get_num_threads()).unwrap_or(1);
        // Each worker multiplies tiles of its own; threads inside a product would get in the way.
        let workers = ThreadPoolBuilder::new().num_threads(threads).start_handler(|_| tch::set_num_threads(1)).build();
        let workers = workers.map_err(Error::at("exact search"))?;
        Ok(Searcher { dim, top_k, device, workers, narrow: device == Device::Cpu && narrow::is_fast() })
    }

    /// Bytes that a query may take while it is searched for: its vector, rounded too, and its ranked list.
    pub fn bytes_per_query(&self) -> usize {
        let vector = self.dim * (size_of::<f32>() + size_of::<u16>());
        vector + Shortlist::bytes(self.top_k, TILE) + self.top_k * size_of::<Hit>()
    }

    /// Begins a search for `queries`, (Q, E).
    pub fn start<'a>(&'a self, queries: &'a [f32]) -> Result<Search<'a>> {
        let norms = queries.chunks(self.dim).map(norm).collect::<Vec<_>>();
        let lists = norms.iter().map(|_| Shortlist::new()).collect();
        let on_device = match self.device {
            Device::Cpu => None,
            device => Some(upload(queries, self.dim, device).map_err(failed)?),
        };
        let narrow = self.narrow && norms.len() >= narrow::FEWEST_QUERIES;
        let narrow = narrow.then(|| NarrowQueries::new(queries, self.dim));
        Ok(Search { searcher: self, queries, norms, lists, on_device, narrow })
    }
}

impl Search<'_> {
    /// Takes the documents with these ids (N,) and vectors (N, E).
    ///
    /// # Errors
    /// No memory on the GPU.
    pub fn add(&mut self, ids: &[i64], vectors: &[f32]) -> Result<()> {
        let Searcher { dim, top_k, .. } = *self.searcher;
        let block = Block { ids, vectors, dim };
        let slacks = match self.on_device.take() {
            Some(queries) => {
                let slacks = self.slacks(&block);
                let scanned = self.scan_on_device(&queries, &block, &slacks);
                self.on_device = Some(queries);
                scanned.map(|()| slacks)
            }
            None => self.scan(&block),
        }
        .map_err(failed)?;
        let part = self.part();
        let lists =
            self.lists.par_chunks_mut(part).zip(self.queries.par_chunks(part * dim)).zip(slacks.par_chunks(part));
        self.searcher.workers.install(|| {
            lists.for_each(|((lists, queries), slacks)| {
                let mut scratch = Vec::new();
                for (list, &slack) in lists.iter_mut().zip(slacks) {
                    list.raise_floor(top_k, slack, &mut scratch);
                }
                // Tile by tile, so that a document comes from memory once for all queries of the part.
                for end in (0..ids.len()).step_by(TILE).map(|first| first + TILE) {
                    for (list, query) in lists.iter_mut().zip(queries.chunks(dim)) {
                        list.score_rows(end, query, &block);
                    }
                }
                lists.iter_mut().for_each(|list| list.settle(top_k));
            });
        });
        Ok(())
    }

    /// Queries that a worker takes at once.
    fn part(&self) -> usize {
        self.norms.len().div_ceil(self.searcher.workers.current_num_threads()).clamp(1, TILE_QUERIES)
    }

    /// How far the scores of float32 products may be off, for each query.
    fn slacks(&self, block: &Block) -> Vec<f32> {
        let norms = || block.vectors.par_chunks(block.dim).map(norm).reduce(|| 0.0, f32::max);
        let longest = self.searcher.workers.install(norms);
        self.norms.iter().map(|&norm| slack(block.dim, norm, longest)).collect()
    }

    /// Scores all documents of a block in tiles, each worker for queries of its own. Returns how far the scores of
    /// each query may be off.
    fn scan(&mut self, block: &Block) -> std::result::Result<Vec<f32>, TchError> {
        let Searcher { dim, top_k, workers, .. } = self.searcher;
        let (dim, top_k) = (*dim, *top_k);
        let part = self.part();
        let round = |queries| (queries, workers.install(|| NarrowBlock::new(queries, self.queries, block.vectors)));
        let narrow = self.narrow.as_ref().map(round);
        let mut slacks = match narrow {
            Some(_) => vec![0.0; self.norms.len()],
            None => self.slacks(block),
        };
        let parts =
            self.lists.par_chunks_mut(part).zip(self.queries.par_chunks(part * dim)).zip(slacks.par_chunks_mut(part));
        workers.install(|| {
            parts.enumerate().try_for_each(|(number, ((lists, queries), slacks))| {
                let mut scratch = Vec::new();
                let mut scores = vec![0.0; lists.len() * TILE];
                for (tile, documents) in block.vectors.chunks(TILE * dim).enumerate() {
                    let count = documents.len() / dim;
                    let scores = &mut scores[..lists.len() * count];
                    match &narrow {
                        Some((all, block)) => block.scan(all, tile, number * part, scores, slacks)?,
                        None => product(queries, documents, dim, scores)?,
                    }
                    for (row, list) in lists.iter_mut().enumerate() {
                        list.scan(&scores[row * count..(row + 1) * count], tile * TILE, slacks[row]);
                        list.tidy(top_k, slacks[row], &queries[row * dim..(row + 1) * dim], block, &mut scratch);
                    }
                }
                Ok::<(), TchError>(())
            })
        })?;
        Ok(slacks)
    }

    /// Scores all documents of a block in tiles on the device; only what passes the lists' bars comes back.
    fn scan_on_device(&mut self, queries: &Tensor, block: &Block, slacks: &[f32]) -> std::result::Result<(), TchError> {
        let Searcher { dim, top_k, device, .. } = *self.searcher;
        let at_once = DEVICE_SCORES / DEVICE_TILE;
        for (tile, documents) in block.vectors.chunks(DEVICE_TILE * dim).enumerate() {
            let documents = upload(documents, dim, device)?; // (N, E)
            for first in (0..self.lists.len()).step_by(at_once) {
                let part = first..self.lists.len().min(first + at_once);
                let lists = &mut self.lists[part.clone()];
                let slacks = &slacks[part.clone()];
                let scores = queries.f_narrow(0, first as i64, part.len() as i64)?.f_matmul(&documents.f_tr()?)?; // (Q, N)
                let bars: Vec<f32> = lists.iter().zip(slacks).map(|(list, &slack)| list.bar(slack)).collect();
                let mut bars = upload(&bars, 1, device)?; // (Q, 1)
                if scores.size()[1] > top_k as i64 {
                    // Without a floor yet, everything would pass; top_k documents of the tile make a floor of its own.
                    let (best, _) = scores.f_topk(top_k as i64, 1, true, false)?;
                    let lowest = best.f_amin(1, true)?;
                    bars = bars.f_maximum(&(lowest - upload(slacks, 1, device)? * 2.0))?;
                }
                let passed = scores.f_less_tensor(&bars)?.f_logical_not()?; // NaN passes
                let places = download::<i64>(&passed.f_nonzero()?)?;
                let values = download::<f32>(&scores.f_masked_select(&passed)?)?;
                for (place, value) in places.chunks(2).zip(values) {
                    lists[place[0] as usize].push(tile * DEVICE_TILE + place[1] as usize, value);
                }
                let mut scratch = Vec::new();
                for (row, list) in lists.iter_mut().enumerate() {
                    let query = &self.queries[(first + row) * dim..(first + row + 1) * dim];
                    list.tidy(top_k, slacks[row], query, block, &mut scratch);
                }
            }
        }
        Ok(())
    }

    /// The ranked lists, in the order of the queries. A score too large for float32 is infinite, and ranks first.
    pub fn finish(self) -> Vec<Vec<Hit>> {
        let top_k = self.searcher.top_k;
        self.searcher.workers.install(|| self.lists.into_par_iter().map(|list| list.finish(top_k)).collect())
    }
}

/// `scores` (Q, N) = `queries` (Q, E) · `documents` (N, E)ᵀ.
fn product(queries: &[f32], documents: &[f32], dim: usize, scores: &mut [f32]) -> std::result::Result<(), TchError> {
    let scores = view(scores, documents.len() / dim);
    view(queries, dim).f_mm_out(&scores, &view(documents, dim).f_tr()?).map(drop)
}

/// A slice as a tensor of rows of `columns` numbers.
fn view(values: &[f32], columns: usize) -> Tensor {
    let size = [(values.len() / columns) as i64, columns as i64];
    // SAFETY: the callers keep the slice alive for longer than the tensor.
    unsafe { Tensor::from_blob(values.as_ptr().cast(), &size, &[size[1], 1], Kind::Float, Device::Cpu) }
}

fn upload(values: &[f32], columns: usize, device: Device) -> std::result::Result<Tensor, TchError> {
    view(values, columns).f_to_device_(device, Kind::Float, false, true)
}

fn download<T: Element + Default + Clone>(tensor: &Tensor) -> std::result::Result<Vec<T>, TchError> {
    let tensor = tensor.f_to(Device::Cpu)?.f_contiguous()?;
    let mut values = vec![T::default(); tensor.numel()];
    tensor.f_copy_data(&mut values, tensor.numel())?;
    Ok(values)
}

fn failed(error: TchError) -> Error {
    Error::new("exact search", error.to_string().lines().next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};
    use rand_pcg::Pcg64Mcg;

    use super::*;
    use crate::dot::dot;
    use crate::ranking::rank_best;

    /// Searches documents given in blocks of `rows`, in float32 and with a first look in bfloat16.
    fn search(queries: &[f32], documents: &[f32], dim: usize, top_k: usize, rows: usize) -> Vec<Vec<Hit>> {
        let [wide, narrow] = [false, true].map(|narrow| {
            let searcher = Searcher::new(dim, top_k, Device::Cpu).unwrap();
            let mut search = searcher.start(queries).unwrap();
            search.narrow = narrow.then(|| NarrowQueries::new(queries, dim));
            let ids: Vec<i64> = (0..(documents.len() / dim) as i64).map(|row| 3 * row).collect();
            for (ids, vectors) in ids.chunks(rows).zip(documents.chunks(rows * dim)) {
                search.add(ids, vectors).unwrap();
            }
            search.finish()
        });
        assert_eq!(wide, narrow, "a first look in bfloat16 changes the lists");
        wide
    }

    /// What the search must give: every document scored, all of them sorted.
    fn by_sorting(queries: &[f32], documents: &[f32], dim: usize, top_k: usize) -> Vec<Vec<Hit>> {
        let ranked = queries.chunks(dim).map(|query| {
            let scored = documents.chunks(dim).enumerate();
            let mut hits = scored.map(|(row, vector)| Hit { id: 3 * row as i64, score: dot(query, vector) }).collect();
            rank_best(&mut hits, top_k);
            hits
        });
        ranked.collect()
    }

    fn random(rows: usize, dim: usize, seed: u64) -> Vec<f32> {
        let mut random = Pcg64Mcg::seed_from_u64(seed);
        (0..rows * dim).map(|_| random.random_range(-1.0..1.0)).collect()
    }

    #[test]
    fn any_block_size_gives_what_sorting_gives() {
        let (queries, documents) = (random(70, 40, 1), random(3000, 40, 2));
        let expected = by_sorting(&queries, &documents, 40, 25);
        for rows in [1, 7, 512, 600, 2999, 5000] {
            assert_eq!(search(&queries, &documents, 40, 25, rows), expected, "blocks of {rows}");
        }
    }

    #[test]
    fn ties_go_by_id_across_blocks_and_at_the_end_of_the_list() {
        // Few different vectors, so that most scores occur hundreds of times.
        let mut random = Pcg64Mcg::seed_from_u64(3);
        let few: Vec<Vec<f32>> = (0..5).map(|seed| self::random(1, 33, 10 + seed)).collect();
        let documents: Vec<f32> = (0..2500).flat_map(|_| few[random.random_range(0..5)].clone()).collect();
        let queries = self::random(9, 33, 4);
        for top_k in [1, 2, 100, 2499] {
            let expected = by_sorting(&queries, &documents, 33, top_k);
            for rows in [1, 100, 513, 2500] {
                assert_eq!(search(&queries, &documents, 33, top_k, rows), expected, "top {top_k}, blocks of {rows}");
            }
        }
    }

    #[test]
    fn lengths_far_apart_hide_no_document() {
        let queries = random(5, 16, 5);
        let mut documents = random(2000, 16, 6);
        for (row, vector) in documents.chunks_mut(16).enumerate() {
            let scale = [1e-25, 1e-6, 1.0, 1e6][row % 4];
            vector.iter_mut().for_each(|x| *x *= scale);
        }
        let expected = by_sorting(&queries, &documents, 16, 900);
        for rows in [64, 1000, 2000] {
            assert_eq!(search(&queries, &documents, 16, 900, rows), expected);
        }
    }

    #[test]
    fn vectors_that_share_most_of_their_length_are_told_apart() {
        // As of a trained RobertaDot: inner products near 700 that differ in the units.
        let shared = |mut values: Vec<f32>| {
            values.iter_mut().enumerate().for_each(|(place, x)| *x = *x * 0.1 + [3.0, -2.0, 1.0][place % 48 % 3]);
            values
        };
        let (queries, documents) = (shared(random(60, 48, 11)), shared(random(4000, 48, 12)));
        let expected = by_sorting(&queries, &documents, 48, 30);
        assert_eq!(search(&queries, &documents, 48, 30, 1500), expected);
    }

    #[test]
    fn the_device_path_gives_the_same_lists() {
        let (queries, documents) = (random(20, 24, 7), random(20_000, 24, 8));
        let searcher = Searcher::new(24, 50, Device::Cpu).unwrap();
        let mut search = searcher.start(&queries).unwrap();
        search.on_device = Some(upload(&queries, 24, Device::Cpu).unwrap());
        let ids: Vec<i64> = (0..20_000).map(|row| 3 * row).collect();
        for (ids, vectors) in ids.chunks(12_000).zip(documents.chunks(12_000 * 24)) {
            search.add(ids, vectors).unwrap();
        }
        assert_eq!(search.finish(), by_sorting(&queries, &documents, 24, 50));
    }

    #[test]
    fn fewer_documents_than_asked_for_are_all_ranked() {
        let (queries, documents) = (random(3, 8, 9), random(10, 8, 10));
        let lists = search(&queries, &documents, 8, 100, 4);
        assert!(lists.iter().all(|hits| hits.len() == 10));
        assert_eq!(lists, by_sorting(&queries, &documents, 8, 100));
    }

    #[test]
    fn an_overflow_is_first_in_the_list() {
        let documents = [vec![1.0; 8], vec![3e38; 8], vec![-3e38; 8]].concat();
        let lists = search(&[3e38; 8], &documents, 8, 2, 3);
        assert!(lists[0][0].score.is_infinite());
    }
}
