//! Evaluation while it trains: how well a model ranks documents for dev queries, before the first step and after every
//! so many steps. A metric is computed by whoever hands it in; this room encodes and searches.

mod curve;
mod search;

use std::collections::HashSet;

use hardmine_encoder::{Encoder, Workers, check_token_ids};
use hardmine_files::MappedTokens;
use hardmine_records::{Provenance, Result};
use tch::Tensor;

use crate::data::Graded;
use crate::document_lists::DocumentLists;
use crate::documents::best;
use crate::method::Method;
use crate::sampler::with_others;
use crate::settings::TrainingSettings;

pub use curve::Measured;
pub(crate) use curve::{Best, Curve, beside_start};
use search::Side;

/// Documents that are found for each query, unless the metric looks at more. As with `rank --top-k 1000`, documents
/// with equal scores are then ordered by id wherever the metric looks.
const DEPTH: usize = 1000;

/// Queries that are searched for at once among embeddings that stay as they are.
const QUERIES: i64 = 256;

/// What ranked lists are worth.
pub trait Metric {
    /// Its name, such as `nDCG@10`.
    fn name(&self) -> String;

    /// How many documents of a list it looks at; none where that is all of them.
    fn depth(&self) -> Option<usize>;

    /// The mean over all judged queries. `queries` are the row numbers of those with a list, and `lists` has the row
    /// numbers of the documents found for each, the best first.
    ///
    /// # Errors
    /// The metric can't be computed.
    fn mean(&self, queries: &[u32], lists: &[Vec<i64>]) -> Result<f64>;
}

/// When a model is measured, and what follows from it.
#[derive(Clone, Copy, Debug)]
pub struct DevPlan {
    /// Number of steps between two measurements, at least 1; none stands for a tenth of the run.
    pub every: Option<u64>,
    /// Training ends after so many measurements without a gain.
    pub patience: Option<u64>,
    /// Which model is written.
    pub keep: Keep,
}

/// Which model is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// The one with the highest value on the dev queries; of several, the earliest.
    Best,
    /// The one after the last step.
    Last,
}

/// Queries with judgements that a model is measured on, and the documents that are searched for them.
pub struct DevSet {
    queries: MappedTokens,
    /// Rows of the queries that are judged, ascending.
    judged: Vec<u32>,
    /// Rows of the documents that are searched, ascending.
    docs: Vec<u32>,
    /// How many of them were drawn at random; none where they are the whole collection.
    others: Option<usize>,
    grades: Graded,
    metric: Box<dyn Metric>,
    plan: DevPlan,
}

impl DevSet {
    /// The judged ones of `queries`, with all documents of `method`, or with those that have a judgement and `others`
    /// more, which are drawn with the seed beside their number.
    ///
    /// # Errors
    /// A text is empty, or has a token that the model does not know.
    pub fn new(
        queries: MappedTokens,
        grades: Graded,
        metric: Box<dyn Metric>,
        plan: DevPlan,
        (encoder, method): (&Encoder, &Method),
        others: Option<(usize, u64)>,
    ) -> Result<DevSet> {
        let judged = distinct(grades.rows.iter().map(|&(query, ..)| query));
        check(&queries, &judged, encoder)?;
        let all = method.number_of_documents();
        let docs = match others {
            Some((number, seed)) => {
                let wanted = distinct(grades.rows.iter().map(|&(_, doc, _)| doc));
                with_others(seed, &wanted, number, all)
            }
            None => (0..all as u32).collect(),
        };
        if let Some(tokens) = method.docs() {
            check(tokens, &docs, encoder)?;
        }
        let others = others.map(|(number, _)| number);
        Ok(DevSet { queries, judged, docs, others, grades, metric, plan })
    }

    /// Warns where dev queries have the ids of queries that are trained on: of `queries` with a list in `relevant`.
    pub fn warn_of_training_queries(&self, queries: &MappedTokens, relevant: &DocumentLists) {
        let trained: HashSet<&str> = relevant.queries().iter().map(|&query| queries.key(query as usize)).collect();
        let is_trained = |&&query: &&u32| trained.contains(self.queries.key(query as usize));
        if let shared @ 1.. = self.judged.iter().filter(is_trained).count() {
            let (name, all) = (self.queries.name(), self.judged.len());
            tracing::warn!(
                "{name}: {shared} of {all} dev queries have the ids of training queries; what is measured on queries that \
                 are trained on is too good"
            );
        }
    }

    /// Number of dev queries.
    pub fn len(&self) -> usize {
        self.judged.len()
    }

    /// Whether there are no dev queries, which never happens.
    pub fn is_empty(&self) -> bool {
        self.judged.is_empty()
    }

    /// The provenance of the dev queries.
    pub fn provenance(&self) -> &Provenance {
        self.queries.provenance()
    }

    /// How many queries and documents a value stands for.
    pub(crate) fn extent(&self, method: &Method) -> String {
        let (queries, all) = (self.judged.len(), method.number_of_documents());
        match self.others {
            None => format!("{queries} queries among {all} documents"),
            Some(_) => {
                let found = self.docs.len();
                format!("{queries} queries among {found} of {all} documents, the judged ones and some drawn at random")
            }
        }
    }

    /// When the model is measured, and what follows from it.
    pub fn plan(&self) -> &DevPlan {
        &self.plan
    }

    /// The name of the metric.
    pub fn metric(&self) -> String {
        self.metric.name()
    }

    /// What decides what is measured, besides the texts and the seed: a text that differs where that does.
    pub(crate) fn identity(&self) -> String {
        let DevSet { others, grades, plan, .. } = self;
        format!("{} {plan:?} {others:?} {:?}", self.metric(), grades.rows)
    }

    /// The value of the metric for `encoder` as it is now, without dropout. Texts are cut as in training, and the
    /// search is by inner product.
    ///
    /// # Errors
    /// Vectors that are not finite, and errors of the metric.
    pub fn evaluate(
        &self,
        encoder: &Encoder,
        method: &Method,
        settings: &TrainingSettings,
        workers: &Workers,
    ) -> Result<f64> {
        let depth = self.metric.depth().unwrap_or(DEPTH);
        let top_k = depth.max(DEPTH) as i64;
        let TrainingSettings { max_query_length, max_doc_length, .. } = *settings;
        let side = |tokens, rows, max_length| Side { encoder, workers, tokens, rows, max_length };
        let queries = side(&self.queries, &self.judged, max_query_length).vectors()?; // (Q, E)
        let queries = method.quantizer().map_or(queries.shallow_clone(), |quantizer| quantizer.rotate(&queries));
        let in_parts = |search: &dyn Fn(&Tensor) -> Tensor| {
            Tensor::cat(&queries.split(QUERIES, 0).iter().map(search).collect::<Vec<_>>(), 0)
        };
        let rows: Vec<i64> = self.docs.iter().map(|&row| row.into()).collect();
        let among = |docs: Tensor| {
            let (docs, rows) = (docs.tr(), Tensor::from_slice(&rows).to_device(docs.device())); // (E, n)
            in_parts(&|part| {
                let scores = part.matmul(&docs);
                best(&scores, &rows.expand_as(&scores), top_k).1
            })
        };
        let found = match method {
            Method::InBatch { docs } | Method::RandNeg { docs, .. } | Method::Star { docs, .. } => {
                side(docs, &self.docs, max_doc_length).search(&queries, top_k, |docs| docs)?
            }
            Method::RepConc { docs, clustering, .. } => {
                side(docs, &self.docs, max_doc_length)
                    .search(&queries, top_k, |docs| clustering.quantizer.quantized(&docs, workers))?
            }
            Method::Adore { documents, .. } if self.others.is_some() => among(documents.embeddings(&rows)),
            Method::Adore { documents, .. } => in_parts(&|part| documents.search(part, top_k, workers)),
            Method::Jpq { documents, .. } if self.others.is_some() => {
                among(documents.decoded(&documents.quantizer().centroids().detach(), &rows))
            }
            Method::Jpq { documents, .. } => in_parts(&|part| documents.search(part, top_k, workers)),
        }; // (Q, top_k)
        let width = found.size()[1] as usize;
        let found: Vec<i64> = Vec::try_from(found.flatten(0, -1)).expect("ids are 64-bit integers");
        let lists: Vec<Vec<i64>> = found.chunks(width).map(|list| list[..depth.min(width)].to_vec()).collect();
        self.metric.mean(&self.judged, &lists)
    }
}

/// The rows, ascending, each once.
fn distinct(rows: impl Iterator<Item = u32>) -> Vec<u32> {
    let mut rows: Vec<u32> = rows.collect();
    rows.sort_unstable();
    rows.dedup();
    rows
}

fn check(tokens: &MappedTokens, rows: &[u32], encoder: &Encoder) -> Result<()> {
    rows.iter()
        .map(|&row| row as usize)
        .try_for_each(|row| check_token_ids(tokens.token_ids(row), encoder.vocabulary(), tokens.name(), row))
}
