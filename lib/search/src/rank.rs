//! Ranks the documents of an index or an embeddings file for queries: the checks that both belong together, the
//! search in bounded memory, and the run.

use std::io::BufRead;
use std::sync::Arc;

use arrow::array::{Float32Array, Int32Array, Int64Array, RecordBatch};
use faiss::Index as _;
use faiss::index::flat::FlatIndex;
use hardmine_records::source::Content;
use hardmine_records::{Error, IdSpace, Input, Provenance, Result, check_self, provenance, schema};
use tch::Device;

use crate::blocks::Blocks;
use crate::exact::ExactSearcher;
use crate::faiss_index::FaissIndex;
use crate::index_file::Header;
use crate::hit::Hit;

#[cfg(feature = "faiss-gpu")]
use crate::faiss_index::FaissIndex as Searched;
/// A faiss index is searched in a process of its own. A GPU can't be used in the copy of a process that has asked for
/// one, so that a faiss built for it is trusted.
#[cfg(not(feature = "faiss-gpu"))]
use crate::index_process::IndexProcess as Searched;

/// How to search.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Documents for each query.
    pub top_k: usize,
    /// Whether a document is left out of its own list, where queries are documents.
    pub exclude_self: bool,
    /// Where exact search multiplies, and where an index is searched if faiss was built for it.
    pub device: Device,
    /// Bytes that blocks of embeddings and ranked lists may take, beside a faiss index.
    pub memory: usize,
    /// Search parameters of a faiss index, such as `nprobe=16`.
    pub parameters: Option<String>,
}

/// Fewest and most queries searched for at once.
const QUERIES: (usize, usize) = (16, 1 << 18);
/// Fewest and most bytes of a block of documents.
const BLOCK_BYTES: (usize, usize) = (1 << 20, 128 << 20);
/// Rows of a batch of the run.
const RUN_ROWS: usize = 1 << 16;

/// What is searched.
enum Documents {
    /// A faiss index.
    Faiss(Searched),
    /// The vectors of a flat faiss index, searched exactly, like an embeddings file and faster than by faiss.
    Flat(FlatIndex, Provenance, ExactSearcher),
    /// An embeddings file, read once for every part of the queries.
    Embeddings(EmbeddingsFile, ExactSearcher),
}

struct EmbeddingsFile {
    input: Input,
    dim: usize,
    /// Complete once the file was read.
    provenance: Provenance,
    /// Known once the file was read.
    rows: usize,
}

/// Queries and documents that belong together, ready to be searched.
pub struct Ranker {
    settings: Settings,
    queries: Blocks,
    documents: Documents,
    /// Name of the documents' file.
    name: String,
}

/// What came of a search, once its run is written.
pub struct Ranked {
    /// Provenance of the run.
    pub provenance: Provenance,
    /// Documents searched.
    pub documents: usize,
    /// Queries with fewer than `top_k` documents.
    pub short: usize,
}

impl Ranker {
    /// Opens query embeddings and what to search: a faiss index or an embeddings file, told apart by content.
    ///
    /// # Errors
    /// Unreadable files, other kinds of records, dimensions that differ, vectors of models that don't belong together
    /// (where a file says so before it was read to its end).
    pub fn open(queries: &Input, index: &Input, mut settings: Settings) -> Result<Self> {
        // One more is searched for, in place of the one that is left out.
        settings.top_k += usize::from(settings.exclude_self);
        let documents = Documents::open(index.reopenable()?, &settings)?;
        let name = index.to_string();
        let queries = Blocks::open(queries, 1)?;
        if queries.dim() != documents.dim() {
            let text = format!("has {} dimensions, but {name} has {}", queries.dim(), documents.dim());
            return Err(Error::new(queries.name(), text).hint("encode queries and documents with the same model"));
        }
        check_models(queries.name(), queries.provenance(), &name, documents.provenance())?;
        let kind = |of: &Provenance| of.get(provenance::TEXT_KIND).map(str::to_owned);
        if let (Some(asking), Some(searched)) = (kind(queries.provenance()), kind(documents.provenance()))
            && (asking != "query" && searched == "query")
        {
            tracing::warn!(
                "{}: holds a {asking} each, to be searched for in queries; are they swapped?",
                queries.name()
            );
        }
        let run = run_provenance(queries.provenance(), documents.provenance());
        // Streams tell their keys at their end.
        if settings.exclude_self && run.get(provenance::QUERIES).is_some() && run.get(provenance::DOCS).is_some() {
            check_self(queries.name(), IdSpace::Internal, &run)?;
        }
        Ok(Ranker { settings, queries, documents, name })
    }

    /// Searches, and gives the run to `write` in batches, queries in their order.
    ///
    /// # Errors
    /// NaN or infinite numbers in a vector, ids that don't ascend, and what can only be known at the end of a stream.
    pub fn run(self, mut write: impl FnMut(&RecordBatch) -> Result<()>) -> Result<Ranked> {
        let Ranker { settings, mut queries, mut documents, name } = self;
        let per_query = documents.bytes_per_query(&settings, queries.dim());
        queries.set_rows((settings.memory / 2 / per_query).clamp(QUERIES.0, QUERIES.1));
        let top_k = settings.top_k - usize::from(settings.exclude_self);
        let mut short = 0;
        while let Some(block) = queries.next().transpose()? {
            let mut lists = documents.search(&block.vectors, &settings)?;
            check_overflow(queries.name(), &name, &block.ids, &lists)?;
            if settings.exclude_self {
                for (query, hits) in block.ids.iter().zip(&mut lists) {
                    hits.retain(|hit| hit.id != *query);
                    hits.truncate(top_k);
                }
            }
            short += lists.iter().filter(|hits| hits.len() < top_k).count();
            let at_once = (RUN_ROWS / settings.top_k).max(1);
            for (ids, lists) in block.ids.chunks(at_once).zip(lists.chunks(at_once)) {
                write(&run_batch(ids, lists)?)?;
            }
        }
        // Streams tell their model and keys at the latest at their end.
        check_models(queries.name(), queries.provenance(), &name, documents.provenance())?;
        let run = run_provenance(queries.provenance(), documents.provenance());
        if settings.exclude_self {
            check_self(queries.name(), IdSpace::Internal, &run)?;
        }
        Ok(Ranked { provenance: run, documents: documents.len(), short })
    }
}

impl Documents {
    fn open(input: Input, settings: &Settings) -> Result<Self> {
        let searcher = |dim| ExactSearcher::new(dim, settings.top_k, settings.device);
        let name = input.to_string();
        let documents = if is_faiss(&input)? {
            let header = Header::read(&input)?;
            match header.is_flat {
                true => {
                    let index = FaissIndex::read(&input)?;
                    let searcher = searcher(index.dim())?;
                    Documents::Flat(index.into_flat()?, header.provenance, searcher)
                }
                false => Documents::Faiss(Searched::open(&input, settings)?),
            }
        } else {
            let blocks = Blocks::open(&input, 1)?;
            let (dim, provenance) = (blocks.dim(), blocks.provenance().clone());
            Documents::Embeddings(EmbeddingsFile { input, dim, provenance, rows: 0 }, searcher(dim)?)
        };
        match (documents, &settings.parameters) {
            (documents @ Documents::Faiss(_), _) | (documents, None) => Ok(documents),
            (_, Some(parameters)) => {
                let text = format!("{name} is searched exactly, which has no parameters");
                Err(Error::new(format!("--search-parameters {parameters}"), text))
            }
        }
    }

    fn dim(&self) -> usize {
        match self {
            Documents::Faiss(index) => index.dim(),
            Documents::Flat(index, ..) => index.d() as usize,
            Documents::Embeddings(file, _) => file.dim,
        }
    }

    /// Number of documents; that of a file is known once it was read.
    fn len(&self) -> usize {
        match self {
            Documents::Faiss(index) => index.len(),
            Documents::Flat(index, ..) => index.ntotal() as usize,
            Documents::Embeddings(file, _) => file.rows,
        }
    }

    fn provenance(&self) -> &Provenance {
        match self {
            Documents::Faiss(index) => index.provenance(),
            Documents::Flat(_, provenance, _) => provenance,
            Documents::Embeddings(file, _) => &file.provenance,
        }
    }

    fn bytes_per_query(&self, settings: &Settings, dim: usize) -> usize {
        match self {
            Documents::Faiss(_) => dim * size_of::<f32>() + 3 * settings.top_k * size_of::<Hit>(),
            Documents::Flat(_, _, searcher) | Documents::Embeddings(_, searcher) => searcher.bytes_per_query(),
        }
    }

    /// Ranked lists of `queries`, (Q, E).
    fn search(&mut self, queries: &[f32], settings: &Settings) -> Result<Vec<Vec<Hit>>> {
        let dim = self.dim();
        let rows = (settings.memory / 8).clamp(BLOCK_BYTES.0, BLOCK_BYTES.1) / (dim * size_of::<f32>());
        let rows = rows.max(1);
        match self {
            Documents::Faiss(index) => index.search(queries, settings.top_k),
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
                let blocks = Blocks::open(&file.input, rows)?;
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

/// What a run says of the embeddings of its queries and documents.
fn run_provenance(queries: &Provenance, documents: &Provenance) -> Provenance {
    let mut run = Provenance::default();
    run.set_some(provenance::QUERIES, queries.get(provenance::KEYS));
    run.set_some(provenance::DOCS, documents.get(provenance::KEYS));
    run.set_some(provenance::MODEL, queries.get(provenance::MODEL));
    run.set_some(provenance::DOCUMENT_MODEL, documents.get(provenance::MODEL));
    run
}

/// Whether the file is faiss's; all of its kinds of index begin with an I.
fn is_faiss(input: &Input) -> Result<bool> {
    let mut source = input.open()?;
    let head = source.reader.fill_buf().map_err(Error::io(input))?;
    Ok(source.content == Content::Text && head.starts_with(b"I"))
}

/// Refuses vectors of encoders that don't belong together. A side that doesn't say is taken at its word.
fn check_models(name: &str, queries: &Provenance, documents_name: &str, documents: &Provenance) -> Result<()> {
    let wanted = queries.get(provenance::DOCUMENT_MODEL).or(queries.get(provenance::MODEL));
    match (wanted, documents.get(provenance::MODEL)) {
        (Some(wanted), Some(found)) if wanted != found => {
            let short = |digest: &str| digest.chars().take(12).collect::<String>();
            let text = format!(
                "made to search vectors of model {}, but those of {documents_name} are of model {}",
                short(wanted),
                short(found)
            );
            Err(Error::new(name, text)
                .hint("encode both with one model, or the queries with an ADORE model trained on these documents"))
        }
        _ => Ok(()),
    }
}

fn check_overflow(name: &str, documents: &str, ids: &[i64], lists: &[Vec<Hit>]) -> Result<()> {
    for (id, hits) in ids.iter().zip(lists) {
        if let Some(hit) = hits.iter().find(|hit| !hit.score.is_finite()) {
            let text = format!("its score with document {} of {documents} is too large for float32", hit.id);
            return Err(Error::new(format!("{name}: id {id}"), text));
        }
    }
    Ok(())
}

fn run_batch(queries: &[i64], lists: &[Vec<Hit>]) -> Result<RecordBatch> {
    let rows = lists.iter().map(Vec::len).sum();
    let (mut query_ids, mut doc_ids) = (Vec::with_capacity(rows), Vec::with_capacity(rows));
    let (mut ranks, mut scores) = (Vec::with_capacity(rows), Vec::with_capacity(rows));
    for (&query, hits) in queries.iter().zip(lists) {
        for (rank, hit) in (1..).zip(hits) {
            query_ids.push(query);
            doc_ids.push(hit.id);
            ranks.push(rank);
            scores.push(hit.score);
        }
    }
    RecordBatch::try_new(
        schema::run(IdSpace::Internal),
        vec![
            Arc::new(Int64Array::from(query_ids)),
            Arc::new(Int64Array::from(doc_ids)),
            Arc::new(Int32Array::from(ranks)),
            Arc::new(Float32Array::from(scores)),
        ],
    )
    .map_err(Error::at("run"))
}
