//! faiss indexes of any factory string, by inner product: building one from a stream of embeddings, searching it, and
//! files that `faiss.read_index` opens, too.

use faiss::index::autotune::ParameterSpace;
use faiss::index::flat::FlatIndex;
use faiss::index::io::{read_index, write_index};
use faiss::index::{Idx, IndexImpl, SearchResult};
use faiss::{Index, MetricType, index_factory};
use hardmine_files::{Input, OutputFile};
use hardmine_records::{Error, Provenance, Result, provenance};
use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;
use tch::Device;

use crate::blocks::{EmbeddingBlock, EmbeddingBlocks};
use crate::hit::{Hit, rank_best};
use crate::index_file::{self, Header};
use crate::settings::RankSettings;

/// Key of the provenance under which an index has its factory string.
const FACTORY: &str = "hardmine.factory";

/// Vectors added at once.
const ADD_ROWS: usize = 8192;
/// Training vectors that suffice for product quantizers: 256 for each of 256 centroids.
const TRAIN_ROWS: usize = 65_536;
/// Training vectors for each inverted list; with fewer, faiss warns.
const TRAIN_ROWS_PER_LIST: usize = 39;
/// Seed for drawing the training vectors.
const SEED: u64 = 1234;

/// A faiss index and where its vectors came from.
pub struct FaissIndex {
    index: IndexImpl,
    /// A copy on a GPU, which is searched instead.
    #[cfg(feature = "faiss-gpu")]
    on_gpu: Option<faiss::GpuIndexImpl<'static, IndexImpl>>,
    provenance: Provenance,
}

impl FaissIndex {
    /// Builds an index from embeddings, with `train_rows` of them drawn at random where its kind needs training (by
    /// default 65,536, or 39 for each inverted list if that is more). The index, the training vectors and a few thousand
    /// vectors more are in memory; a pipe is copied to a temporary file if it has to be read twice. `added` is called
    /// with the number of vectors of each block that has been added.
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
        let index = index_factory(blocks.dim() as u32, factory, MetricType::InnerProduct);
        let mut index = index.map_err(|e| {
            Error::new(place(), plain(&e))
                .hint("such as Flat, HNSW32, IVF256,Flat or IVF256,PQ48; faiss's wiki lists more")
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
            index.train(&sample.vectors).map_err(|e| {
                let text = format!("faiss can't train {factory} on {} of its vectors: {}", sample.ids.len(), plain(&e));
                Error::new(&name, text).hint("a smaller --factory, such as fewer inverted lists, or more --train-rows")
            })?;
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

    /// Writes the index, and where its vectors came from, to what [`crate::create_index`] has opened.
    ///
    /// # Errors
    /// Those of writing.
    pub fn write(&self, output: OutputFile) -> Result<()> {
        index_file::write(output, &self.provenance, |path| write_index(&self.index, path).map_err(|e| plain(&e)))
    }

    /// Loads the index of a file to search it with `settings`.
    ///
    /// # Errors
    /// A broken file, and search parameters that this kind of index does not have.
    pub(crate) fn open(header: Header, settings: &RankSettings) -> Result<Self> {
        let mut index = FaissIndex::load(header)?;
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
        FaissIndex::load(Header::read(input)?)
    }

    /// Loads the index of a file.
    ///
    /// # Errors
    /// A broken file.
    pub(crate) fn load(header: Header) -> Result<Self> {
        let Header { file, provenance, .. } = header;
        let path = file.path().to_string_lossy().into_owned();
        let index = read_index(&path).map_err(|e| {
            let reason = plain(&e).replace(&path, &file.to_string());
            Error::new(&file, format!("is a truncated or broken faiss index: {reason}"))
        })?;
        Ok(FaissIndex::new(index, provenance))
    }

    /// Sets search parameters, written as faiss writes them: `nprobe=16`, or several as
    /// `efSearch=64,quantizer_efSearch=32`.
    ///
    /// # Errors
    /// A parameter that this kind of index does not have, or a text that is not of that form.
    pub fn set_parameters(&mut self, parameters: &str) -> Result<()> {
        let wrong = |message: String| {
            Error::new(format!("--search-parameters {parameters}"), message).hint("such as nprobe=16 or efSearch=64")
        };
        let space = ParameterSpace::new().map_err(|e| wrong(plain(&e)))?;
        for parameter in parameters.split(',') {
            let (name, value) =
                parameter.split_once('=').ok_or_else(|| wrong(format!("'{parameter}' is not NAME=VALUE")))?;
            let value: f64 = value.trim().parse().map_err(|_| wrong(format!("'{value}' is not a number")))?;
            let unknown = |_| wrong(format!("this kind of index has no parameter '{}'", name.trim()));
            space.set_index_parameter(&self.index, name.trim(), value).map_err(unknown)?;
        }
        Ok(())
    }

    /// Has a copy on `device` searched from now on, if that is a GPU and faiss has this kind of index there; else warns
    /// that the CPU searches. Search parameters must be set before.
    #[cfg(feature = "faiss-gpu")]
    fn copy_to(&mut self, device: Device) {
        let Device::Cuda(number) = device else { return };
        // The copy wants them for as long as it lives, and that is as long as the program.
        let copied = faiss::StandardGpuResources::new()
            .and_then(|resources| self.index.to_gpu(Box::leak(Box::new(resources)), number as i32));
        match copied {
            Ok(copy) => self.on_gpu = Some(copy),
            Err(error) => tracing::warn!("the index is searched on the CPU: {}", plain(&error)),
        }
    }

    /// Tells the log that the CPU searches, if `device` is another: faiss was built without its GPU side.
    #[cfg(not(feature = "faiss-gpu"))]
    fn copy_to(&mut self, device: Device) {
        if device != Device::Cpu {
            tracing::info!("the index is searched on the CPU: faiss was built without its GPU side (faiss-gpu)");
        }
    }

    fn search_copy_or_index(
        &mut self,
        queries: &[f32],
        top_k: usize,
    ) -> std::result::Result<SearchResult, faiss::error::Error> {
        #[cfg(feature = "faiss-gpu")]
        if let Some(copy) = &mut self.on_gpu {
            match copy.search(queries, top_k) {
                Ok(found) => return Ok(found),
                // faiss finds at most 2,048 documents for a query on a GPU.
                Err(error) => tracing::warn!("the index is searched on the CPU: {}", plain(&error)),
            }
            self.on_gpu = None;
        }
        self.index.search(queries, top_k)
    }

    /// The best `top_k` documents, at least 1, that faiss finds for each of `queries`, (Q, E) row by row; fewer where it
    /// finds fewer. Each list is ordered by score descending, then by id ascending. Which of several documents with the
    /// same score is the last in the list is faiss's choice.
    ///
    /// # Errors
    /// Those of faiss.
    pub fn search(&mut self, queries: &[f32], top_k: usize) -> Result<Vec<Vec<Hit>>> {
        let top_k = top_k.min(self.len()).max(1);
        let found = self.search_copy_or_index(queries, top_k).map_err(|e| Error::new("faiss", plain(&e)))?;
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
    pub(crate) fn len(&self) -> usize {
        self.index.ntotal() as usize
    }

    /// Dimension of the vectors.
    pub(crate) fn dim(&self) -> usize {
        self.index.d() as usize
    }

    /// Where the vectors came from.
    #[cfg(feature = "faiss-gpu")]
    pub(crate) fn provenance(&self) -> &Provenance {
        &self.provenance
    }

    /// The index as a flat one, if it is one.
    pub(crate) fn into_flat(self) -> Result<FlatIndex> {
        self.index.into_flat().map_err(|e| Error::new("faiss", plain(&e)))
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
    fn an_empty_index_gives_empty_lists() {
        let index = index_factory(2, "HNSW4", MetricType::InnerProduct).unwrap();
        let mut index = FaissIndex::new(index, Provenance::default());
        assert_eq!(index.search(&[1.0, 0.0, 0.0, 1.0], 5).unwrap(), [[], []]);
    }

    #[test]
    fn inverted_lists_are_read_from_the_factory_string() {
        assert_eq!(inverted_lists("OPQ16_64,IVF65536_HNSW32,PQ16"), 65_536);
        assert_eq!(inverted_lists("IVF256,Flat"), 256);
        assert_eq!(inverted_lists("Flat"), 0);
    }
}
