//! faiss indexes of any factory string, by inner product: searching them, and files that `faiss.read_index` opens, too.
//! `faiss_build.rs` makes them.

use faiss::Index;
use faiss::index::autotune::ParameterSpace;
use faiss::index::flat::FlatIndex;
use faiss::index::io::{read_index, write_index};
use faiss::index::{IndexImpl, SearchResult};
use hardmine_files::{Input, OutputFile};
use hardmine_records::{Error, Provenance, Result};
use tch::Device;

use crate::hit::{Hit, rank_best};
use crate::index_file::{self, Header};
use crate::settings::RankSettings;

/// A faiss index and where its vectors came from.
pub struct FaissIndex {
    index: IndexImpl,
    /// A copy on a GPU, which is searched instead.
    #[cfg(feature = "faiss-gpu")]
    on_gpu: Option<faiss::GpuIndexImpl<'static, IndexImpl>>,
    provenance: Provenance,
}

impl FaissIndex {
    pub(crate) fn new(index: IndexImpl, provenance: Provenance) -> Self {
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

    /// The best `top_k` documents, at least 1, that faiss finds for each of `queries`, (Q, E) row by row; fewer where
    /// it finds fewer. Each list is ordered by score descending, then by id ascending. Which of several documents with
    /// the same score is the last in the list is faiss's choice.
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

/// faiss's message without its source file, function and condition.
pub(crate) fn plain(error: &faiss::error::Error) -> String {
    let text = error.to_string();
    let text =
        text.split_once(".cpp:").and_then(|(_, rest)| rest.split_once(": ")).map_or(text.as_str(), |(_, rest)| rest);
    text.split_once("failed: ").map_or(text, |(_, rest)| rest).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use faiss::{MetricType, index_factory};

    use super::*;

    #[test]
    fn an_empty_index_gives_empty_lists() {
        let index = index_factory(2, "HNSW4", MetricType::InnerProduct).unwrap();
        let mut index = FaissIndex::new(index, Provenance::default());
        assert_eq!(index.search(&[1.0, 0.0, 0.0, 1.0], 5).unwrap(), [[], []]);
    }
}
