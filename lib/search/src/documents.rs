//! What is searched: a faiss index, one of product quantization, a flat one, or an embeddings file, told apart by
//! content.

use std::io::BufRead;

use faiss::Index as _;
use faiss::index::flat::FlatIndex;
use hardmine_files::{Content, Input};
use hardmine_quantization::{PqIndex, Rotation};
use hardmine_records::{Error, Provenance, Result, provenance};

use crate::blocks::EmbeddingBlocks;
use crate::compressed::CompressedSearcher;
use crate::exact::ExactSearcher;
use crate::faiss_index::FaissIndex;
use crate::hit::Hit;
use crate::index_file::Header;
use crate::settings::RankSettings;
use crate::turn::Turn;

#[cfg(feature = "faiss-gpu")]
use crate::faiss_index::FaissIndex as SearchedIndex;
/// A faiss index is searched in a process of its own. A GPU can't be used in the copy of a process that has asked for
/// one, so that a faiss built for GPUs searches in ours.
#[cfg(not(feature = "faiss-gpu"))]
use crate::index_process::IndexProcess as SearchedIndex;

/// Fewest and most bytes of a block of documents.
const BLOCK_BYTES: (usize, usize) = (1 << 20, 128 << 20);

/// Documents to be searched.
pub(crate) enum Documents {
    /// A faiss index that faiss searches.
    Faiss(SearchedIndex),
    /// The codes of a faiss index of product quantization, which we search exactly, and faster than faiss does.
    Compressed(CompressedSearcher),
    /// The vectors of a flat faiss index, searched as those of an embeddings file are, and faster than by faiss.
    Flat(FlatIndex, Provenance, ExactSearcher),
    /// An embeddings file, read anew for each part of the queries.
    Embeddings(EmbeddingsFile, ExactSearcher),
}

pub(crate) struct EmbeddingsFile {
    input: Input,
    dim: usize,
    /// Complete once the file has been read.
    provenance: Provenance,
    /// Known once the file has been read.
    rows: usize,
}

impl Documents {
    /// Opens a file that can be read more than once.
    ///
    /// # Errors
    /// A broken file, search parameters that its kind of index does not have.
    ///
    /// # Safety
    /// No other thread of this process may be at work; see [`crate::Ranker::open`].
    #[cfg_attr(feature = "faiss-gpu", expect(unused_unsafe))]
    pub unsafe fn open(input: Input, settings: &RankSettings) -> Result<Self> {
        let searcher = |dim| ExactSearcher::new(dim, settings.top_k, settings.device);
        let header = if is_faiss(&input)? { Some(Header::read(&input)?) } else { None };
        match header {
            Some(header) if !header.is_flat => {
                if let Some(index) = PqIndex::open_if_quantized(&input)? {
                    return Ok(Documents::Compressed(CompressedSearcher::new(index, settings)?));
                }
                // SAFETY: the caller promises what this needs.
                Ok(Documents::Faiss(unsafe { SearchedIndex::open(header, settings)? }))
            }
            Some(header) => {
                refuse_parameters(&input, settings)?;
                let provenance = header.provenance.clone();
                let index = FaissIndex::load(header)?;
                let searcher = searcher(index.dim())?;
                Ok(Documents::Flat(index.into_flat()?, provenance, searcher))
            }
            None => {
                refuse_parameters(&input, settings)?;
                let blocks = EmbeddingBlocks::open(&input, 1)?;
                let (dim, provenance) = (blocks.dim(), blocks.provenance().clone());
                Ok(Documents::Embeddings(EmbeddingsFile { input, dim, provenance, rows: 0 }, searcher(dim)?))
            }
        }
    }

    /// Prepares for these queries, given by name and provenance, and returns the dimension that they must have. The
    /// documents are called `name`.
    ///
    /// # Errors
    /// Queries in another space than the documents.
    pub fn prepare(&mut self, queries: (&str, &Provenance), name: &str) -> Result<usize> {
        if let Documents::Compressed(searcher) = self {
            return searcher.prepare(queries, name);
        }
        Turn::into_vectors(queries, (name, self.provenance()), None)?;
        Ok(self.dim())
    }

    /// Dimension of the vectors.
    fn dim(&self) -> usize {
        match self {
            Documents::Faiss(index) => index.dim(),
            Documents::Compressed(searcher) => searcher.index().dim(),
            Documents::Flat(index, ..) => index.d() as usize,
            Documents::Embeddings(file, _) => file.dim,
        }
    }

    /// Number of documents; that of an embeddings file is known once it has been read.
    pub fn len(&self) -> usize {
        match self {
            Documents::Faiss(index) => index.len(),
            Documents::Compressed(searcher) => searcher.index().len(),
            Documents::Flat(index, ..) => index.ntotal() as usize,
            Documents::Embeddings(file, _) => file.rows,
        }
    }

    /// Where the vectors came from; that of an embeddings file is complete once it has been read.
    pub fn provenance(&self) -> &Provenance {
        match self {
            Documents::Faiss(index) => index.provenance(),
            Documents::Compressed(searcher) => searcher.index().provenance(),
            Documents::Flat(_, provenance, _) => provenance,
            Documents::Embeddings(file, _) => &file.provenance,
        }
    }

    /// Whether the documents' vectors may be rotated without anything saying so: another program that keeps the
    /// rotation in the model writes such an index.
    pub fn may_be_rotated(&self) -> bool {
        let says_nothing = self.rotation().is_none() && self.provenance().get(provenance::KIND).is_none();
        says_nothing && matches!(self, Documents::Compressed(_))
    }

    /// The rotation that an index has of its own.
    pub fn rotation(&self) -> Option<&Rotation> {
        match self {
            Documents::Compressed(searcher) => searcher.index().rotation(),
            _ => None,
        }
    }

    /// Bytes that each query may take while it is searched for.
    pub fn bytes_per_query(&self, settings: &RankSettings) -> usize {
        match self {
            Documents::Faiss(index) => index.dim() * size_of::<f32>() + 3 * settings.top_k * size_of::<Hit>(),
            Documents::Compressed(searcher) => searcher.bytes_per_query(),
            Documents::Flat(_, _, searcher) | Documents::Embeddings(_, searcher) => searcher.bytes_per_query(),
        }
    }

    /// The ranked lists of `queries`, (Q, E), which this was [prepared](Documents::prepare) for.
    pub fn search(&mut self, queries: &[f32], settings: &RankSettings) -> Result<Vec<Vec<Hit>>> {
        let dim = self.dim();
        let rows = block_rows(settings.memory, dim);
        match self {
            Documents::Faiss(index) => index.search(queries, settings.top_k),
            Documents::Compressed(searcher) => Ok(searcher.search(queries)),
            Documents::Flat(index, _, searcher) => {
                let mut search = searcher.start(queries)?;
                let mut first = 0;
                for vectors in index.xb().chunks(rows * dim) {
                    let ids: Vec<i64> = (first..).take(vectors.len() / dim).collect();
                    search.add(&ids, vectors)?;
                    first += ids.len() as i64;
                }
                Ok(search.finish())
            }
            Documents::Embeddings(file, searcher) => {
                let mut search = searcher.start(queries)?;
                let blocks = EmbeddingBlocks::open(&file.input, rows)?;
                let mut seen = 0;
                file.provenance = blocks.for_each_ahead(|block| {
                    seen += block.ids.len();
                    search.add(&block.ids, &block.vectors)
                })?;
                file.rows = seen;
                Ok(search.finish())
            }
        }
    }
}

/// Refuses search parameters where the search is exact.
fn refuse_parameters(input: &Input, settings: &RankSettings) -> Result<()> {
    let Some(parameters) = &settings.parameters else { return Ok(()) };
    let text = format!("{input} is searched exactly, and an exact search has no parameters");
    Err(Error::new(format!("--search-parameters {parameters}"), text))
}

/// How many vectors a block of documents has, where blocks and lists may take `memory` bytes.
pub(crate) fn block_rows(memory: usize, dim: usize) -> usize {
    ((memory / 8).clamp(BLOCK_BYTES.0, BLOCK_BYTES.1) / (dim * size_of::<f32>())).max(1)
}

/// Whether faiss wrote the file: the bytes of all its kinds of index start with an I.
pub(crate) fn is_faiss(input: &Input) -> Result<bool> {
    if input.is_dataset() {
        return Ok(false);
    }
    let mut source = input.open()?;
    let head = source.reader.fill_buf().map_err(Error::io(input))?;
    Ok(source.content == Content::Text && head.starts_with(b"I"))
}
