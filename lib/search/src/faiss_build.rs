//! Builds faiss indexes of any factory string from a stream of embeddings.

use faiss::index::{Idx, IndexImpl};
use faiss::{Index, MetricType, index_factory};
use hardmine_files::Input;
use hardmine_records::{Error, Provenance, Result, provenance};
use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;

use crate::blocks::{EmbeddingBlock, EmbeddingBlocks};
use crate::faiss_index::{FaissIndex, plain};
use crate::faiss_stderr::with_few_warnings;

/// Key of the provenance under which an index has its factory string.
const FACTORY: &str = "hardmine.factory";

/// What faiss says of a factory string whose product quantizer does not divide the dimension.
const UNDIVIDED: &str = "multiple of the number of subquantizers";

/// Vectors added at once.
const ADD_ROWS: usize = 8192;
/// Training vectors that suffice for product quantizers: 256 for each of 256 centroids.
pub(crate) const TRAIN_ROWS: usize = 65_536;
/// Training vectors for each inverted list; with fewer, faiss warns.
pub(crate) const TRAIN_ROWS_PER_LIST: usize = 39;
/// Seed for drawing the training vectors. It is also the one that faiss has for all that it draws itself.
pub(crate) const SEED: u64 = 1234;

impl FaissIndex {
    /// Builds an index from embeddings, with `train_rows` of them drawn at random where its kind needs training (by
    /// default 65,536, or 39 for each inverted list if that is more). The index, the training vectors and a few
    /// thousand vectors more are in memory; a pipe is copied to a temporary file if it has to be read twice. `added` is
    /// called with the number of vectors of each block that has been added.
    ///
    /// # Errors
    /// Input that is not embeddings, a factory string that faiss does not know, too few vectors to train on, ids that
    /// the index cannot keep.
    pub fn build(
        input: &Input,
        factory: &str,
        train_rows: Option<usize>,
        mut added: impl FnMut(usize),
    ) -> Result<Self> {
        let place = || format!("--factory {factory}");
        let mut blocks = EmbeddingBlocks::open(input, ADD_ROWS)?;
        let dim = blocks.dim();
        let index = index_factory(dim as u32, factory, MetricType::InnerProduct);
        let mut provenance = Provenance::default();
        let mut index = index.map_err(|e| match plain(&e) {
            message if message.contains(UNDIVIDED) => {
                let text = format!("its number of subvectors does not divide the {dim} dimensions of {input}");
                Error::new(place(), text).hint(format!("one of the numbers that divide {dim}"))
            }
            message => Error::new(place(), message)
                .hint("such as Flat, HNSW32, IVF256,Flat or IVF256,PQ48; faiss's wiki lists more"),
        })?;
        if !index.is_trained() {
            // Only a file can be read twice.
            let mut file = input.clone();
            if !input.is_reopenable() {
                file = blocks.into_table().spool()?;
                blocks = EmbeddingBlocks::open(&file, ADD_ROWS)?;
            }
            let rows = train_rows.unwrap_or_else(|| TRAIN_ROWS.max(TRAIN_ROWS_PER_LIST * inverted_lists(factory)));
            let name = blocks.name().to_owned();
            let sample = sample(blocks, rows)?;
            tracing::info!("training on {} vectors", sample.ids.len());
            check_rotation(&name, factory, dim, sample.ids.len())?;
            with_few_warnings(|| index.train(&sample.vectors)).map_err(|e| {
                let (rows, message) = (sample.ids.len(), plain(&e));
                let text = match centroids_in(&message) {
                    Some(centroids) => {
                        format!("has {rows} vectors to train {factory} on, which has {centroids} centroids")
                    }
                    None => format!("faiss can't train {factory} on {rows} of its vectors: {message}"),
                };
                Error::new(&name, text).hint("a smaller --factory, such as fewer inverted lists, or more --train-rows")
            })?;
            provenance.set(provenance::SEED, SEED);
            blocks = EmbeddingBlocks::open(&file, ADD_ROWS)?;
        }
        let name = blocks.name().to_owned();
        let keeps_ids = factory.contains("IDMap");
        let embeddings = blocks.for_each_ahead(|rows| {
            add(&mut index, rows, keeps_ids).map_err(|e| {
                Error::new(&name, format!("{factory} can't take ids that are not row numbers ({})", plain(&e)))
                    .hint(format!("--factory IDMap,{factory}"))
            })?;
            added(rows.ids.len());
            Ok(())
        })?;
        if index.ntotal() == 0 {
            return Err(Error::new(name, "has no embeddings"));
        }
        provenance.merge(&embeddings);
        provenance.stamp_index();
        provenance.set(FACTORY, factory);
        Ok(FaissIndex::new(index, provenance))
    }
}

fn add(index: &mut IndexImpl, rows: &EmbeddingBlock, keeps_ids: bool) -> std::result::Result<(), faiss::error::Error> {
    let numbers = index.ntotal() as i64..;
    if !keeps_ids && numbers.zip(&rows.ids).all(|(number, &id)| number == id) {
        return index.add(&rows.vectors);
    }
    let ids: Vec<Idx> = rows.ids.iter().map(|&id| id.into()).collect();
    index.add_with_ids(&rows.vectors, &ids)
}

/// A uniform sample of `rows` vectors, drawn in one pass (Vitter's algorithm R, 1985).
fn sample(blocks: EmbeddingBlocks, rows: usize) -> Result<EmbeddingBlock> {
    let dim = blocks.dim();
    let mut random = Pcg64Mcg::seed_from_u64(SEED);
    let mut sample = EmbeddingBlock::default();
    let mut seen = 0;
    blocks.for_each_ahead(|block| {
        for (&id, vector) in block.ids.iter().zip(block.vectors.chunks(dim)) {
            if sample.ids.len() < rows {
                sample.ids.push(id);
                sample.vectors.extend_from_slice(vector);
            } else {
                let place = random.random_range(0..=seen);
                if place < rows {
                    sample.ids[place] = id;
                    sample.vectors[place * dim..(place + 1) * dim].copy_from_slice(vector);
                }
            }
            seen += 1;
        }
        Ok(())
    })?;
    Ok(sample)
}

/// Refuses fewer training vectors than a rotation has dimensions: where they are fewer, faiss writes behind the end of
/// its memory (`OPQMatrix::train` has d·n numbers for a matrix of d·d).
fn check_rotation(name: &str, factory: &str, dim: usize, rows: usize) -> Result<()> {
    match rotated_dim(factory, dim) {
        Some(rotated) if rows < rotated => {
            let text =
                format!("has {rows} vectors to train a rotation of {rotated} dimensions on, fewer than dimensions");
            Err(Error::new(name, text).hint("a --factory without OPQ, or embed --dimensions"))
        }
        _ => Ok(()),
    }
}

/// The dimension of vectors that `OPQ` in a factory string has rotated: the number behind its `_`, or else `dim`.
fn rotated_dim(factory: &str, dim: usize) -> Option<usize> {
    let (_, rest) = factory.split_once("OPQ")?;
    let own = rest.trim_start_matches(|c: char| c.is_ascii_digit()).strip_prefix('_').map(number);
    Some(own.filter(|&own| own > 0).unwrap_or(dim))
}

/// The number of centroids that faiss names when it has fewer vectors to train on.
fn centroids_in(message: &str) -> Option<usize> {
    let (_, number) = message.rsplit_once("number of clusters (")?;
    number.strip_suffix(')')?.parse().ok()
}

/// The number after `IVF` in a factory string.
fn inverted_lists(factory: &str) -> usize {
    factory.split_once("IVF").map_or(0, |(_, rest)| number(rest))
}

/// The number that `text` begins with; 0 if it begins with none.
fn number(text: &str) -> usize {
    text.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default().parse().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inverted_lists_are_read_from_the_factory_string() {
        assert_eq!(inverted_lists("OPQ16_64,IVF65536_HNSW32,PQ16"), 65_536);
        assert_eq!(inverted_lists("IVF256,Flat"), 256);
        assert_eq!(inverted_lists("Flat"), 0);
    }

    #[test]
    fn the_dimension_of_a_rotation_is_read_from_the_factory_string() {
        assert_eq!(rotated_dim("OPQ16_64,IVF1,PQ16", 96), Some(64));
        assert_eq!(rotated_dim("OPQ16,IVF1,PQ16", 96), Some(96));
        assert_eq!(rotated_dim("IVF1,PQ16", 96), None);
    }
}
