//! The methods: which documents a step draws. The objective turns their vectors into a loss.

use hardmine_encoder::Encoder;
use hardmine_files::MappedTokens;
use hardmine_records::provenance::MODEL;
use hardmine_records::{Provenance, Result};

use crate::batches::{Batches, Drawn, Forward};
use crate::clustering::Clustering;
use crate::compressed::Compressed;
use crate::document_lists::DocumentLists;
use crate::documents::Documents;
use crate::quantizer::Quantizer;
use crate::settings::TrainingSettings;
use crate::teacher::Teacher;

/// A method, with the documents it trains on.
pub enum Method {
    /// Inbatch-Neg: the positives of the other queries of the batch are the negatives.
    InBatch {
        /// Token ids of all documents.
        docs: MappedTokens,
    },
    /// Negatives drawn at random from the whole collection.
    RandNeg {
        /// Token ids of all documents.
        docs: MappedTokens,
        /// How many random documents are drawn for each query.
        rand_num: u32,
    },
    /// Static hard negatives and in-batch negatives.
    Star {
        /// Token ids of all documents.
        docs: MappedTokens,
        /// What hard negatives are drawn from.
        negatives: DocumentLists,
        /// How many hard negatives are drawn for each query.
        hard_num: u32,
        /// What another ranker thinks of the positives and the negatives, for losses that learn from it.
        teacher: Option<Teacher>,
    },
    /// ADORE: the negatives are what the query encoder retrieves at every step.
    Adore {
        /// The vectors of all documents, which stay as they are.
        documents: Documents,
        /// How many documents are retrieved for each query at every step.
        top_k: i64,
        /// The last position that counts in the metric that is optimized.
        metric_cut: Option<i64>,
    },
    /// JPQ: as ADORE, among documents that are kept as codes, and with their centroids trained beside the query
    /// encoder. With a loss that draws one relevant document, it is the second stage of RepCONC.
    Jpq {
        /// The codes of all documents, which stay as they are, and the centroids.
        documents: Compressed,
        /// How many documents are retrieved for each query at every step.
        top_k: i64,
        /// The last position that counts in the metric that is optimized.
        lambda_cut: Option<i64>,
    },
    /// The first stage of RepCONC: as STAR, with codes of the documents that are chosen anew at every step, and their
    /// centroids trained beside the encoder.
    RepConc {
        /// Token ids of all documents.
        docs: MappedTokens,
        /// What hard negatives are drawn from.
        negatives: DocumentLists,
        /// How many hard negatives are drawn for each query.
        hard_num: u32,
        /// How documents become codes.
        clustering: Clustering,
    },
}

impl Method {
    /// Encodes the batch `queries` (row numbers, (B,)) of step `step`, and computes its loss.
    ///
    /// # Errors
    /// A text is empty or has a token that the model does not know.
    pub fn forward<'a>(&'a self, batches: &Batches<'a>, step: u64, queries: &[u32]) -> Result<Forward<'a>> {
        let positives = || batches.sampler.positives(step, queries);
        match self {
            Method::InBatch { docs } => {
                let drawn = Drawn { positives: positives(), others: None, in_batch: true, once: false, taught: None };
                batches.contrast(step, queries, docs, drawn, None)
            }
            Method::RandNeg { docs, rand_num } => {
                let random = batches.sampler.random_documents(step, queries, *rand_num, docs.len() as u32);
                let drawn =
                    Drawn { positives: positives(), others: Some(random), in_batch: false, once: false, taught: None };
                batches.contrast(step, queries, docs, drawn, None)
            }
            Method::Star { docs, negatives, hard_num, teacher } => {
                let positives = positives();
                let hard = batches.sampler.hard_negatives(step, queries, *hard_num, negatives);
                let taught = teacher.as_ref().map(|teacher| {
                    let own = queries.iter().map(|&query| negatives.of(query).len().min(*hard_num as usize));
                    batches.taught(teacher, queries, &positives, negatives, &own.collect::<Vec<_>>(), &hard)
                });
                let drawn = Drawn { positives, others: Some(hard), in_batch: true, once: false, taught };
                batches.contrast(step, queries, docs, drawn, None)
            }
            Method::Adore { documents, top_k, metric_cut } => {
                batches.adore(step, queries, documents, *top_k, *metric_cut)
            }
            Method::Jpq { documents, top_k, lambda_cut } => batches.jpq(step, queries, documents, *top_k, *lambda_cut),
            Method::RepConc { docs, negatives, hard_num, clustering } => {
                let hard = batches.sampler.hard_negatives(step, queries, *hard_num, negatives);
                let drawn = Drawn {
                    positives: positives(),
                    others: Some(hard),
                    in_batch: true,
                    once: clustering.once,
                    taught: None,
                };
                batches.contrast(step, queries, docs, drawn, Some(clustering))
            }
        }
    }

    /// Refuses documents of another dimension than the encoder's, and lengths that it has no positions for.
    pub(crate) fn check(&self, encoder: &Encoder, settings: &TrainingSettings, queries: &MappedTokens) -> Result<()> {
        TrainingSettings::check_length("--max-query-length", settings.max_query_length, encoder)?;
        TrainingSettings::check_prompt("--max-query-length", settings.max_query_length, queries)?;
        settings.objective.check(encoder)?;
        match self {
            Method::Adore { documents, .. } => {
                settings.objective.check_lists()?;
                documents.check(encoder)
            }
            Method::Jpq { .. } => settings.objective.check_lists(),
            Method::InBatch { docs }
            | Method::RandNeg { docs, .. }
            | Method::Star { docs, .. }
            | Method::RepConc { docs, .. } => {
                TrainingSettings::check_length("--max-doc-length", settings.max_doc_length, encoder)?;
                TrainingSettings::check_prompt("--max-doc-length", settings.max_doc_length, docs)
            }
        }
    }

    /// Token ids of all documents; none for ADORE and JPQ, which have their vectors and codes.
    pub fn docs(&self) -> Option<&MappedTokens> {
        match self {
            Method::InBatch { docs }
            | Method::RandNeg { docs, .. }
            | Method::Star { docs, .. }
            | Method::RepConc { docs, .. } => Some(docs),
            Method::Adore { .. } | Method::Jpq { .. } => None,
        }
    }

    /// The rotation and the centroids, where centroids are trained.
    pub fn quantizer(&self) -> Option<&Quantizer> {
        match self {
            Method::Jpq { documents, .. } => Some(documents.quantizer()),
            Method::RepConc { clustering, .. } => Some(&clustering.quantizer),
            _ => None,
        }
    }

    /// What the trained encoder can't do for its documents, because they stay as another model encoded them: that
    /// model's digest, where the documents tell it. None if the trained encoder encodes documents itself.
    pub fn document_model(&self) -> Option<&str> {
        match self {
            Method::Adore { .. } | Method::Jpq { .. } => self.provenance().get(MODEL),
            _ => None,
        }
    }

    /// The provenance of the documents: of their tokens, or of their vectors or codes.
    pub fn provenance(&self) -> &Provenance {
        match self {
            Method::InBatch { docs }
            | Method::RandNeg { docs, .. }
            | Method::Star { docs, .. }
            | Method::RepConc { docs, .. } => docs.provenance(),
            Method::Adore { documents, .. } => documents.provenance(),
            Method::Jpq { documents, .. } => documents.provenance(),
        }
    }

    /// Number of documents.
    pub fn number_of_documents(&self) -> usize {
        match self {
            Method::InBatch { docs }
            | Method::RandNeg { docs, .. }
            | Method::Star { docs, .. }
            | Method::RepConc { docs, .. } => docs.len(),
            Method::Adore { documents, .. } => documents.rows(),
            Method::Jpq { documents, .. } => documents.rows(),
        }
    }

    /// The method's name on the command line.
    pub fn name(&self) -> &'static str {
        match self {
            Method::InBatch { .. } => "inbatch",
            Method::RandNeg { .. } => "randneg",
            Method::Star { .. } => "star",
            Method::Adore { .. } => "adore",
            Method::Jpq { .. } => "jpq",
            Method::RepConc { .. } => "repconc",
        }
    }
}
