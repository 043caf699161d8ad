//! faiss indexes of any factory string, by inner product: building from a stream of embeddings, searching, and files
//! that `faiss.read_index` opens, too.

use faiss::index::autotune::ParameterSpace;
use faiss::index::flat::FlatIndex;
use faiss::index::io::{read_index, write_index};
use faiss::index::{Idx, IndexImpl, SearchResult};
use faiss::{Index, MetricType, index_factory};
use hardmine_records::{Error, Input, OutputFile, Provenance, Result, provenance};
use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;
use tch::Device;

use crate::blocks::{Blocks, Rows};
use crate::index_file::{self, Header};
use crate::rank::Settings;
use crate::hit::{Hit, rank_best};

/// Provenance of an index: its factory string.
pub const FACTORY: &str = "hardmine.factory";

/// Vectors added at once.
const ADD_ROWS: usize = 8192;
/// Training vectors that suffice for product quantizers: 256 for each of 256 centroids.
const TRAIN_ROWS: usize = 65_536;
/// Training vectors a centroid below which faiss warns.
const TRAIN_ROWS_PER_LIST: usize = 39;
/// Draws the training vectors.
const SEED: u64 = 1234;

/// A faiss index and where its vectors came from.
pub struct FaissIndex {
    index: IndexImpl,
    /// A copy that is searched instead.
    #[cfg(feature = "faiss-gpu")]
    on_gpu: Option<faiss::GpuIndexImpl<'static, IndexImpl>>,
    provenance: Provenance,
}

impl FaissIndex {
    /// Builds an index from embeddings, with `train_rows` of them drawn at random where its kind needs training (by
    /// default 65,536, or 39 for each inverted list if that is more). Holds the index, the training vectors and a
    /// few thousand vectors more in memory; a pipe is copied to a temporary file if it has to be read twice.
    /// Calls `added` with numbers of vectors.
    ///
    /// # Errors
    /// Input that is not embeddings, a factory string faiss doesn't know, too few vectors to train on, ids that the
    /// index can't keep.
    pub fn build(
        input: &Input,
        factory: &str,
        train_rows: Option<usize>,
        mut added: impl FnMut(usize),
    ) -> Result<Self> {
        let place = || format!("--factory {factory}");
        let mut blocks = Blocks::open(input, ADD_ROWS)?;
        let index = index_factory(blocks.dim() as u32, factory, MetricType::InnerProduct);
        let mut index = index.map_err(|e| {
            Error::new(place(), plain(&e))
                .hint("such as Flat, HNSW32, IVF256,Flat or IVF256,PQ48; faiss's wiki lists more")
        })?;
        if !index.is_trained() {
            // What is read twice is a file.
            let mut file = input.clone();
            if !input.is_reopenable() {
                file = blocks.into_table().spool()?;
                blocks = Blocks::open(&file, ADD_ROWS)?;
            }
            let rows = train_rows.unwrap_or_else(|| TRAIN_ROWS.max(TRAIN_ROWS_PER_LIST * inverted_lists(factory)));
            let name = blocks.name().to_owned();
            let sample = sample(blocks, rows)?;
            tracing::info!("training on {} vectors", sample.ids.len());
            index.train(&sample.vectors).map_err(|e| {
                Error::new(&name, format!("too little to train {factory} on? {}", plain(&e)))
                    .hint("a smaller factory, such as fewer inverted lists, or more --train-rows")
            })?;
            blocks = Blocks::open(&file, ADD_ROWS)?;
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
        let mut provenance = Provenance::default();
        provenance.merge(&embeddings);
        provenance.set(provenance::KIND, index_file::KIND);
        provenance.set(provenance::SCHEMA_VERSION, index_file::VERSION);
        provenance.stamp_program();
        provenance.set(FACTORY, factory);
        Ok(FaissIndex::new(index, provenance))
    }

    fn new(index: IndexImpl, provenance: Provenance) -> Self {
        FaissIndex {
            index,
            #[cfg(feature = "faiss-gpu")]
            on_gpu: None,
            provenance,
        }
    }

    /// Writes the index.
    pub fn write(&self, output: OutputFile) -> Result<()> {
        index_file::write(output, &self.provenance, |path| write_index(&self.index, path).map_err(|e| plain(&e)))
    }

    /// Reads an index to be searched with `settings`.
    ///
    /// # Errors
    /// As [`FaissIndex::read`], and search parameters that this kind of index doesn't have.
    pub(crate) fn open(input: &Input, settings: &Settings) -> Result<Self> {
        let mut index = FaissIndex::read(input)?;
        if let Some(parameters) = &settings.parameters {
            index.set_parameters(parameters)?;
        }
        index.copy_to(settings.device);
        Ok(index)
    }

    /// Reads an index that `index` or faiss wrote.
    ///
    /// # Errors
    /// A broken file, and a metric other than inner product.
    pub fn read(input: &Input) -> Result<Self> {
        let Header { file, provenance, .. } = Header::read(input)?;
        let index = read_index(file.path().to_string_lossy())
            .map_err(|e| Error::new(input, format!("is a truncated or broken faiss index ({})", plain(&e))))?;
        Ok(FaissIndex::new(index, provenance))
    }

    /// Sets search parameters written as faiss does, such as `nprobe=16` or `efSearch=64,quantizer_efSearch=32`.
    ///
    /// # Errors
    /// One that this kind of index doesn't have.
    pub fn set_parameters(&mut self, parameters: &str) -> Result<()> {
        let wrong = |message: String| {
            Error::new(format!("--search-parameters {parameters}"), message).hint("such as nprobe=16 or efSearch=64")
        };
        let space = ParameterSpace::new().map_err(|e| wrong(plain(&e)))?;
        for parameter in parameters.split(',') {
            let (name, value) =
                parameter.split_once('=').ok_or_else(|| wrong(format!("'{parameter}' is not NAME=VALUE")))?;
            let value: f64 = value.trim().parse().map_err(|_| wrong(format!("'{value}' is not a number")))?;
            space.set_index_parameter(&self.index, name.trim(), value).map_err(|e| wrong(plain(&e)))?;
        }
        Ok(())
    }

    /// Searches a copy on `device` from now on, where that is a GPU, faiss was built for it (feature `faiss-gpu`) and
    /// has this kind of index there; else says that it searches on the CPU. Search parameters come first.
    #[cfg(feature = "faiss-gpu")]
    pub fn copy_to(&mut self, device: Device) {
        let Device::Cuda(number) = device else { return };
        // The copy wants them for as long as it lives, and that is as long as the program.
        let copied = faiss::StandardGpuResources::new()
            .and_then(|resources| self.index.to_gpu(Box::leak(Box::new(resources)), number as i32));
        match copied {
            Ok(copy) => self.on_gpu = Some(copy),
            Err(error) => tracing::warn!("the index is searched on the CPU: {}", plain(&error)),
        }
    }

    /// Says that the index is searched on the CPU if `device` is another.
    #[cfg(not(feature = "faiss-gpu"))]
    pub fn copy_to(&mut self, device: Device) {
        if device != Device::Cpu {
            tracing::info!("the index is searched on the CPU: faiss was built without its GPU side (faiss-gpu)");
        }
    }

    #[cfg(feature = "faiss-gpu")]
    fn found(&mut self, queries: &[f32], top_k: usize) -> std::result::Result<SearchResult, faiss::error::Error> {
        if let Some(copy) = &mut self.on_gpu {
            match copy.search(queries, top_k) {
                Ok(found) => return Ok(found),
                // Its GPU side finds 2,048 documents a query at most.
                Err(error) => tracing::warn!("the index is searched on the CPU: {}", plain(&error)),
            }
            self.on_gpu = None;
        }
        self.index.search(queries, top_k)
    }

    #[cfg(not(feature = "faiss-gpu"))]
    fn found(&mut self, queries: &[f32], top_k: usize) -> std::result::Result<SearchResult, faiss::error::Error> {
        self.index.search(queries, top_k)
    }

    /// The best `top_k` documents of every query, (Q, E), that faiss finds, in our order; fewer where it finds fewer.
    ///
    /// Among equal scores at the end of the list, faiss chooses.
    pub fn search(&mut self, queries: &[f32], top_k: usize) -> Result<Vec<Vec<Hit>>> {
        let top_k = top_k.min(self.len());
        let found = self.found(queries, top_k).map_err(|e| Error::new("faiss", plain(&e)))?;
        let lists = found.labels.chunks(top_k).zip(found.distances.chunks(top_k)).map(|(ids, scores)| {
            let hits = ids.iter().zip(scores).filter(|(id, _)| id.is_some());
            // Adding 0 turns −0 into 0.
            let mut hits: Vec<Hit> = hits.map(|(id, score)| Hit { id: id.to_native(), score: score + 0.0 }).collect();
            rank_best(&mut hits, top_k);
            hits
        });
        Ok(lists.collect())
    }

    /// Number of documents.
    pub fn len(&self) -> usize {
        self.index.ntotal() as usize
    }

    /// Whether there is no document.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Dimension of the vectors.
    pub fn dim(&self) -> usize {
        self.index.d() as usize
    }

    /// Where the vectors came from.
    pub fn provenance(&self) -> &Provenance {
        &self.provenance
    }

    /// The index as one of plain vectors, which its file says it is.
    pub(crate) fn into_flat(self) -> Result<FlatIndex> {
        self.index.into_flat().map_err(|e| Error::new("faiss", plain(&e)))
    }
}

fn add(index: &mut IndexImpl, rows: &Rows, keeps_ids: bool) -> std::result::Result<(), faiss::error::Error> {
    let numbers = index.ntotal() as i64..;
    if !keeps_ids && numbers.zip(&rows.ids).all(|(number, &id)| number == id) {
        return index.add(&rows.vectors);
    }
    let ids: Vec<Idx> = rows.ids.iter().map(|&id| id.into()).collect();
    index.add_with_ids(&rows.vectors, &ids)
}

/// A uniform sample of `rows` vectors, drawn in one pass (Vitter's algorithm R, 1985).
fn sample(blocks: Blocks, rows: usize) -> Result<Rows> {
    let dim = blocks.dim();
    let mut random = Pcg64Mcg::seed_from_u64(SEED);
    let mut sample = Rows::default();
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

/// The number after `IVF` in a factory string.
fn inverted_lists(factory: &str) -> usize {
    let digits = factory.split_once("IVF").map_or("", |(_, rest)| rest);
    digits.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default().parse().unwrap_or(0)
}

/// faiss's message without its source file, function and condition.
fn plain(error: &faiss::error::Error) -> String {
    let text = error.to_string();
    let text =
        text.split_once(".cpp:").and_then(|(_, rest)| rest.split_once(": ")).map_or(text.as_str(), |(_, rest)| rest);
    text.split_once("failed: ").map_or(text, |(_, rest)| rest).trim().to_owned()
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
}
