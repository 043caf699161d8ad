//! Ranks the documents of an index or an embeddings file for queries: the checks that both belong together, the
//! search in bounded memory, and the run.

use std::sync::Arc;

use arrow::array::{Float32Array, Int32Array, Int64Array, RecordBatch};
use hardmine_files::Input;
use hardmine_records::{Error, IdSpace, Provenance, Result, check_self, provenance, schema};

use crate::blocks::EmbeddingBlocks;
use crate::documents::Documents;
use crate::hit::Hit;
use crate::rerank::Reranker;
use crate::run_batches::RunBatches;
use crate::settings::RankSettings;

/// Fewest and most queries searched for at once.
const QUERIES: (usize, usize) = (16, 1 << 18);
/// Rows of a batch of the run.
pub(crate) const RUN_ROWS: usize = 1 << 16;

/// Queries and documents that belong together, ready to be searched.
pub struct Ranker {
    settings: RankSettings,
    queries: EmbeddingBlocks,
    documents: Documents,
    /// What scores the lists again.
    reranker: Option<Reranker>,
    /// Name of the documents' file.
    name: String,
}

/// What is known of a run once all of it has been written.
pub struct RankSummary {
    /// Which queries, documents and models the run is about.
    pub provenance: Provenance,
    /// Number of documents that were searched.
    pub documents: usize,
    /// Number of queries whose lists have fewer than `top_k` documents.
    pub short: usize,
}

impl Ranker {
    /// Opens the embeddings of queries, and what to search for them: a faiss index or the embeddings of documents, told
    /// apart by content. With embeddings to `rerank` by, the lists are scored again by these.
    ///
    /// # Errors
    /// Unreadable files, other kinds of records, dimensions that differ, vectors of models or spaces that do not belong
    /// together, embeddings of other documents than those of the index, and queries with another prompt than the
    /// documents' encoder asks for (where a file says so before it has been read to its end).
    ///
    /// # Safety
    /// No other thread of this process may be at work, because a faiss index is read and searched in a copy of the
    /// process (fork), in which a damaged one can do no harm. What another thread was changing would be half changed in
    /// the copy. Threads that wait for work or for a signal do no harm.
    pub unsafe fn open(
        queries: &Input,
        index: &Input,
        rerank: Option<&Input>,
        mut settings: RankSettings,
    ) -> Result<Self> {
        // One more is searched for, in place of the one that is left out.
        settings.top_k += usize::from(settings.exclude_self);
        // SAFETY: the caller promises what this needs.
        let mut documents = unsafe { Documents::open(index.reopenable()?, &settings)? };
        let name = index.to_string();
        let queries = EmbeddingBlocks::open(queries, 1)?;
        let of_queries = (queries.name(), queries.provenance());
        check_dimensions(&queries, &name, documents.prepare(of_queries, &name)?)?;
        let of_documents = (name.as_str(), documents.provenance());
        check_vectors(of_queries, of_documents, settings.other_prompt)?;
        let reranker = rerank.map(|input| Reranker::open(input, of_queries, of_documents, documents.rotation()));
        let reranker = reranker.transpose()?;
        if let Some(reranker) = &reranker {
            check_dimensions(&queries, reranker.name(), reranker.dim())?;
            check_vectors(of_queries, (reranker.name(), reranker.provenance()), settings.other_prompt)?;
        }
        let kind = |of: &Provenance| of.get(provenance::TEXT_KIND).map(str::to_owned);
        if let (Some(asking), Some(searched)) = (kind(queries.provenance()), kind(documents.provenance()))
            && (asking != "query" && searched == "query")
        {
            let asking_name = queries.name();
            tracing::warn!("{asking_name}: holds {asking}s, and {name} holds queries; are they swapped?");
        }
        if queries.provenance().get(provenance::SPACE).is_none() && documents.may_be_rotated() {
            let asking_name = queries.name();
            tracing::warn!(
                "{name}: does not say whether its codes are of rotated vectors; those of {asking_name} are not"
            );
        }
        let run = run_provenance(queries.provenance(), documents.provenance());
        // Streams tell their keys at their end.
        if settings.exclude_self && run.get(provenance::QUERIES).is_some() && run.get(provenance::DOCS).is_some() {
            check_self(queries.name(), IdSpace::Internal, &run)?;
        }
        Ok(Ranker { settings, queries, documents, reranker, name })
    }

    /// Searches, and gives the run to `write` in batches. The queries keep their order; each list is ordered by score
    /// descending, then by id ascending.
    ///
    /// # Errors
    /// NaN or infinite numbers in a vector, ids that do not ascend, scores too large for float32, a document without
    /// the embedding to score it again, errors of `write`, and what can only be known at the end of a stream.
    pub fn run(self, mut write: impl FnMut(&RecordBatch) -> Result<()>) -> Result<RankSummary> {
        let Ranker { settings, mut queries, mut documents, reranker, name } = self;
        let per_query = documents.bytes_per_query(&settings) + reranker.as_ref().map_or(0, Reranker::bytes_per_query);
        queries.set_rows((settings.memory / 2 / per_query).clamp(QUERIES.0, QUERIES.1));
        let top_k = settings.top_k - usize::from(settings.exclude_self);
        let (mut short, mut batches) = (0, RunBatches::new(settings.top_k));
        while let Some(block) = queries.next().transpose()? {
            let mut lists = documents.search(&block.vectors, &settings)?;
            check_overflow(queries.name(), &name, &block.ids, &lists)?;
            if settings.exclude_self {
                for (query, hits) in block.ids.iter().zip(&mut lists) {
                    hits.retain(|hit| hit.id != *query);
                    hits.truncate(top_k);
                }
            }
            if let Some(reranker) = &reranker {
                reranker.rerank(&block.vectors, &mut lists)?;
                check_overflow(queries.name(), reranker.name(), &block.ids, &lists)?;
            }
            short += lists.iter().filter(|hits| hits.len() < top_k).count();
            let at_once = (RUN_ROWS / settings.top_k).max(1);
            for (ids, lists) in block.ids.chunks(at_once).zip(lists.chunks(at_once)) {
                batches.push(&run_batch(ids, lists)?, &mut write)?;
            }
        }
        batches.flush(&mut write)?;
        // Streams tell their model and keys at the latest at their end.
        let of_queries = (queries.name(), queries.provenance());
        check_vectors(of_queries, (&name, documents.provenance()), settings.other_prompt)?;
        let run = run_provenance(queries.provenance(), documents.provenance());
        if settings.exclude_self {
            check_self(queries.name(), IdSpace::Internal, &run)?;
        }
        Ok(RankSummary { provenance: run, documents: documents.len(), short })
    }
}

/// What a run says of the embeddings of its queries and documents.
pub(crate) fn run_provenance(queries: &Provenance, documents: &Provenance) -> Provenance {
    let mut run = Provenance::default();
    run.set_some(provenance::QUERIES, queries.get(provenance::KEYS));
    run.set_some(provenance::DOCS, documents.get(provenance::KEYS));
    run.set_some(provenance::MODEL, queries.get(provenance::MODEL));
    run.set_some(provenance::DOCUMENT_MODEL, documents.get(provenance::MODEL));
    run
}

/// Refuses queries whose vectors are longer or shorter than those of the documents in `name`.
pub(crate) fn check_dimensions(queries: &EmbeddingBlocks, name: &str, dim: usize) -> Result<()> {
    if queries.dim() == dim {
        return Ok(());
    }
    let text = format!("has {} dimensions, but {name} has {dim}", queries.dim());
    Err(Error::new(queries.name(), text).hint("encode queries and documents with the same model"))
}

/// Refuses queries and documents, each given by name and provenance, whose vectors do not belong together.
pub(crate) fn check_vectors(
    (name, queries): (&str, &Provenance),
    (documents_name, documents): (&str, &Provenance),
    other_prompt: bool,
) -> Result<()> {
    check_models(name, queries, documents_name, documents)?;
    match other_prompt {
        true => Ok(()),
        false => check_prompts(name, queries, documents_name, documents),
    }
}

/// Refuses queries with another prompt than the documents' encoder asks for. Where it asks for none, or a file does not
/// say, there is nothing to compare. Nor is there for queries with an encoder of their own, as ADORE trains it: `embed`
/// compared their prompt with what that encoder asks for.
fn check_prompts(name: &str, queries: &Provenance, documents_name: &str, documents: &Provenance) -> Result<()> {
    let own_encoder = queries.get(provenance::DOCUMENT_MODEL).is_some();
    match (queries.prompt(), documents.get(provenance::QUERY_PROMPT)) {
        (Some(found), Some(asked)) if found != asked && !asked.is_empty() && !own_encoder => {
            let or_none = |prompt: &str| match prompt {
                "" => "no prompt".to_owned(),
                prompt => format!("the prompt {prompt:?}"),
            };
            let text = format!(
                "its queries have {}, but the encoder of {documents_name} asks for {}",
                or_none(found),
                or_none(asked)
            );
            Err(Error::new(name, text).hint(
                "make them with tokenize --kind query and the model of the documents, or take them as they are with \
                 --other-prompt",
            ))
        }
        _ => Ok(()),
    }
}

/// Refuses vectors of encoders that do not belong together. Where a file names no model, there is nothing to compare.
fn check_models(name: &str, queries: &Provenance, documents_name: &str, documents: &Provenance) -> Result<()> {
    let wanted = queries.get(provenance::DOCUMENT_MODEL).or(queries.get(provenance::MODEL));
    match (wanted, documents.get(provenance::MODEL)) {
        (Some(wanted), Some(found)) if wanted != found => {
            let short = |digest: &str| digest.chars().take(12).collect::<String>();
            let text = format!(
                "its queries are meant for documents of model {}, but those of {documents_name} are of model {}",
                short(wanted),
                short(found)
            );
            Err(Error::new(name, text)
                .hint("encode both with one model, or the queries with an ADORE model trained on these documents"))
        }
        _ => Ok(()),
    }
}

pub(crate) fn check_overflow(name: &str, documents: &str, ids: &[i64], lists: &[Vec<Hit>]) -> Result<()> {
    for (id, hits) in ids.iter().zip(lists) {
        if let Some(hit) = hits.iter().find(|hit| !hit.score.is_finite()) {
            let text = format!("its score with document {} of {documents} is too large for float32", hit.id);
            return Err(Error::new(format!("{name}: id {id}"), text));
        }
    }
    Ok(())
}

pub(crate) fn run_batch(queries: &[i64], lists: &[Vec<Hit>]) -> Result<RecordBatch> {
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
