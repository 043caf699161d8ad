//! The four methods: which documents a step draws. The objective turns their vectors into a loss.

use hardmine_encoder::{Encoder, Similarity};
use hardmine_files::MappedTokens;
use hardmine_records::{Provenance, Result};
use tch::{Device, Tensor};

use crate::document_lists::DocumentLists;
use crate::documents::Documents;
use crate::encoding::{Encoded, Encoding, Texts};
use crate::objective::{Contrast, Lists, Taught};
use crate::ranked::RankedLists;
use crate::sampler::{Sampler, dropout_seed};
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
}

/// All that a step looks at, besides the method.
pub struct Batches<'a> {
    /// Token ids of the training queries.
    pub tokens: &'a MappedTokens,
    /// The relevant documents of each training query.
    pub relevant: &'a DocumentLists,
    /// Draws the queries of each step, and random negatives.
    pub sampler: Sampler<'a>,
    /// Turns the drawn texts into vectors, and gradients at the vectors into gradients of the parameters.
    pub encoding: Encoding<'a>,
    /// Settings of the run.
    pub settings: &'a TrainingSettings,
    /// What the encoder's vectors are compared by.
    pub similarity: Similarity,
    /// The device that the parameters are on.
    pub device: Device,
}

/// The documents of a step.
struct Drawn {
    /// One relevant document for each query.
    positives: Vec<u32>,
    /// Negatives of all queries; none where only positives are encoded.
    others: Option<Vec<u32>>,
    /// Whether the other queries' positives are negatives in the paper's method.
    in_batch: bool,
    taught: Option<Taught>,
}

/// The loss of a step, and what was found on the way to it.
pub struct Forward<'a> {
    /// The loss, a scalar. Gradients flow from it to the vectors of the batch.
    pub loss: Tensor,
    /// MRR@10 and Recall@10 of the lists that ADORE retrieved; none for the other methods.
    pub retrieved: Option<(f32, f32)>,
    queries: Encoded<'a>,
    docs: Option<Encoded<'a>>,
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
                let drawn = Drawn { positives: positives(), others: None, in_batch: true, taught: None };
                batches.contrast(step, queries, docs, drawn)
            }
            Method::RandNeg { docs, rand_num } => {
                let random = batches.sampler.random_documents(step, queries, *rand_num, docs.len() as u32);
                let drawn = Drawn { positives: positives(), others: Some(random), in_batch: false, taught: None };
                batches.contrast(step, queries, docs, drawn)
            }
            Method::Star { docs, negatives, hard_num, teacher } => {
                let positives = positives();
                let hard = batches.sampler.hard_negatives(step, queries, *hard_num, negatives);
                let taught = teacher.as_ref().map(|teacher| {
                    let own = queries.iter().map(|&query| negatives.of(query).len().min(*hard_num as usize));
                    batches.taught(teacher, queries, &positives, negatives, &own.collect::<Vec<_>>(), &hard)
                });
                batches.contrast(step, queries, docs, Drawn { positives, others: Some(hard), in_batch: true, taught })
            }
            Method::Adore { documents, top_k, metric_cut } => {
                batches.adore(step, queries, documents, *top_k, *metric_cut)
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
            Method::InBatch { docs } | Method::RandNeg { docs, .. } | Method::Star { docs, .. } => {
                TrainingSettings::check_length("--max-doc-length", settings.max_doc_length, encoder)?;
                TrainingSettings::check_prompt("--max-doc-length", settings.max_doc_length, docs)
            }
        }
    }

    /// Token ids of all documents; none for ADORE, which has their vectors.
    pub fn docs(&self) -> Option<&MappedTokens> {
        match self {
            Method::InBatch { docs } | Method::RandNeg { docs, .. } | Method::Star { docs, .. } => Some(docs),
            Method::Adore { .. } => None,
        }
    }

    /// The provenance of the documents: of their tokens, or for ADORE of their vectors.
    pub fn provenance(&self) -> &Provenance {
        match self {
            Method::InBatch { docs } | Method::RandNeg { docs, .. } | Method::Star { docs, .. } => docs.provenance(),
            Method::Adore { documents, .. } => documents.provenance(),
        }
    }

    /// Number of documents.
    pub fn number_of_documents(&self) -> usize {
        match self {
            Method::InBatch { docs } | Method::RandNeg { docs, .. } | Method::Star { docs, .. } => docs.len(),
            Method::Adore { documents, .. } => documents.rows(),
        }
    }

    /// The method's name on the command line.
    pub fn name(&self) -> &'static str {
        match self {
            Method::InBatch { .. } => "inbatch",
            Method::RandNeg { .. } => "randneg",
            Method::Star { .. } => "star",
            Method::Adore { .. } => "adore",
        }
    }
}

impl<'a> Batches<'a> {
    fn contrast(&self, step: u64, queries: &[u32], docs: &'a MappedTokens, drawn: Drawn) -> Result<Forward<'a>> {
        let Drawn { positives, others, in_batch, taught } = drawn;
        let all = [&positives[..], others.as_deref().unwrap_or_default()].concat();
        // (B, E) and (B + N, E)
        let [q, d] = self.encoding.encode([self.queries(step, queries), self.docs(step, docs, all)])?;
        let (d_positive, d_other) = split(&d.embeddings, positives.len());
        let batch = Contrast {
            queries: q.embeddings.shallow_clone(),
            positives: d_positive,
            positives_mask: self.mask(queries, &positives),
            in_batch,
            drawn: others.map(|others| (d_other, self.mask(queries, &others))),
            taught,
        };
        let loss = self.settings.objective.of_contrast(&batch, self.similarity);
        Ok(Forward { loss, retrieved: None, queries: q, docs: Some(d) })
    }

    /// What the `teacher` thinks of the `positives` and of the `hard` negatives, `own` of them for each query.
    fn taught(
        &self,
        teacher: &Teacher,
        queries: &[u32],
        positives: &[u32],
        negatives: &DocumentLists,
        own: &[usize],
        hard: &[u32],
    ) -> Taught {
        let (batch, most) = (queries.len(), own.iter().copied().max().unwrap_or(0));
        let (mut places, mut mask) = (vec![0i64; batch * most], vec![0f32; batch * most]);
        let mut scores = vec![0f32; batch * (1 + most)];
        let mut first = 0;
        for (row, (&query, &positive)) in queries.iter().zip(positives).enumerate() {
            scores[row * (1 + most)] = teacher.of_positive(self.relevant, query, positive);
            for (number, &doc) in hard[first..first + own[row]].iter().enumerate() {
                let cell = row * most + number;
                places[cell] = (first + number) as i64;
                mask[cell] = f32::from(!self.relevant.contains(query, doc));
                scores[row * (1 + most) + 1 + number] = teacher.of_negative(negatives, query, doc);
            }
            first += own[row];
        }
        let shape = |columns: usize| [batch as i64, columns as i64];
        Taught {
            places: Tensor::from_slice(&places).view(shape(most)).to_device(self.device),
            mask: Tensor::from_slice(&mask).view(shape(most)).to_device(self.device),
            scores: Tensor::from_slice(&scores).view(shape(1 + most)).to_device(self.device),
        }
    }

    fn adore(
        &self,
        step: u64,
        queries: &[u32],
        documents: &Documents,
        top_k: i64,
        metric_cut: Option<i64>,
    ) -> Result<Forward<'a>> {
        let [q] = self.encoding.encode([self.queries(step, queries)])?; // (B, E)
        let found = documents.search(&q.embeddings.detach(), top_k, self.encoding.workers()); // (B, top_k)
        let lists = RankedLists::new(&found, queries, self.relevant, self.device);
        let size = lists.relevant.size(); // (B, L)
        let batch = Lists {
            queries: q.embeddings.shallow_clone(),
            docs: documents.embeddings(&lists.ids).view([size[0], size[1], documents.dimension()]),
            relevant: &lists.relevant,
            irrelevant: &lists.irrelevant,
            metric_cut,
            batch_size: self.sampler.batch_size(),
        };
        let loss = self.settings.objective.of_lists(&batch, self.similarity);
        Ok(Forward { loss, retrieved: Some((lists.mrr_10, lists.recall_10)), queries: q, docs: None })
    }

    fn queries(&self, step: u64, queries: &[u32]) -> Texts<'a> {
        let TrainingSettings { seed, max_query_length, .. } = *self.settings;
        let seed = Box::new(move |part| dropout_seed(seed, step, 2 * part));
        Texts { tokens: self.tokens, ids: queries.to_vec(), max_length: max_query_length, seed }
    }

    fn docs(&self, step: u64, tokens: &'a MappedTokens, docs: Vec<u32>) -> Texts<'a> {
        let TrainingSettings { seed, max_doc_length, .. } = *self.settings;
        let seed = Box::new(move |part| dropout_seed(seed, step, 2 * part + 1));
        Texts { tokens, ids: docs, max_length: max_doc_length, seed }
    }

    /// (B, N), 1 unless the document is relevant to the query.
    fn mask(&self, queries: &[u32], docs: &[u32]) -> Tensor {
        let mask: Vec<f32> = queries
            .iter()
            .flat_map(|&query| docs.iter().map(move |&doc| f32::from(!self.relevant.contains(query, doc))))
            .collect();
        Tensor::from_slice(&mask).view([queries.len() as i64, docs.len() as i64]).to_device(self.device)
    }

    /// The gradient of `loss · scale` at each parameter.
    pub fn gradients(&self, forward: Forward, scale: f64) -> Vec<Tensor> {
        (forward.loss * scale).backward();
        self.encoding.gradients([forward.queries].into_iter().chain(forward.docs))
    }
}

/// The first `positives` rows, and the rest.
fn split(docs: &Tensor, positives: usize) -> (Tensor, Tensor) {
    let (positives, all) = (positives as i64, docs.size()[0]);
    (docs.narrow(0, 0, positives), docs.narrow(0, positives, all - positives))
}
