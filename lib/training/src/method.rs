//! The methods: which documents a step draws. The objective turns their vectors into a loss.

use hardmine_encoder::{Encoder, Similarity};
use hardmine_files::MappedTokens;
use hardmine_records::provenance::MODEL;
use hardmine_records::{Provenance, Result};
use tch::{Device, Tensor};

use crate::clustering::Clustering;
use crate::compressed::Compressed;
use crate::document_lists::DocumentLists;
use crate::documents::Documents;
use crate::encoding::{Encoded, Encoding, Texts};
use crate::gradients::Gradients;
use crate::log::Clustered;
use crate::objective::{Contrast, Lists, Taught};
use crate::quantizer::Quantizer;
use crate::ranked::{Beside, RankedLists};
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
    /// JPQ: as ADORE, among documents that are kept as codes, and with their centroids trained beside the query encoder.
    /// With a loss that draws one relevant document, it is the second stage of RepCONC.
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
    /// MRR@10 and Recall@10 of the retrieved lists; none for the methods that retrieve nothing.
    pub retrieved: Option<(f32, f32)>,
    /// How documents became codes; none for the methods that choose no codes.
    pub clustered: Option<Clustered>,
    queries: Encoded<'a>,
    docs: Option<Encoded<'a>>,
    /// A leaf over the centroids that gathers their gradient; none for the methods that train none.
    centroids: Option<Tensor>,
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
                batches.contrast(step, queries, docs, drawn, None)
            }
            Method::RandNeg { docs, rand_num } => {
                let random = batches.sampler.random_documents(step, queries, *rand_num, docs.len() as u32);
                let drawn = Drawn { positives: positives(), others: Some(random), in_batch: false, taught: None };
                batches.contrast(step, queries, docs, drawn, None)
            }
            Method::Star { docs, negatives, hard_num, teacher } => {
                let positives = positives();
                let hard = batches.sampler.hard_negatives(step, queries, *hard_num, negatives);
                let taught = teacher.as_ref().map(|teacher| {
                    let own = queries.iter().map(|&query| negatives.of(query).len().min(*hard_num as usize));
                    batches.taught(teacher, queries, &positives, negatives, &own.collect::<Vec<_>>(), &hard)
                });
                let drawn = Drawn { positives, others: Some(hard), in_batch: true, taught };
                batches.contrast(step, queries, docs, drawn, None)
            }
            Method::Adore { documents, top_k, metric_cut } => {
                batches.adore(step, queries, documents, *top_k, *metric_cut)
            }
            Method::Jpq { documents, top_k, lambda_cut } => batches.jpq(step, queries, documents, *top_k, *lambda_cut),
            Method::RepConc { docs, negatives, hard_num, clustering } => {
                let hard = batches.sampler.hard_negatives(step, queries, *hard_num, negatives);
                let drawn = Drawn { positives: positives(), others: Some(hard), in_batch: true, taught: None };
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

    /// What the trained encoder can't do for its documents, because they stay as another model encoded them: that model's
    /// digest, where the documents tell it. None if the trained encoder encodes documents itself.
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

impl<'a> Batches<'a> {
    /// With `clustering`, documents have the values of what their codes stand for.
    fn contrast(
        &self,
        step: u64,
        queries: &[u32],
        docs: &'a MappedTokens,
        drawn: Drawn,
        clustering: Option<&Clustering>,
    ) -> Result<Forward<'a>> {
        let Drawn { positives, others, in_batch, taught } = drawn;
        let all = [&positives[..], others.as_deref().unwrap_or_default()].concat();
        // (B, E) and (B + N, E)
        let [q, d] = self.encoding.encode([self.queries(step, queries), self.docs(step, docs, all)])?;
        let centroids = clustering.map(|clustering| clustering.quantizer.leaf());
        let (q_vectors, d_vectors, error, clustered) = match clustering.zip(centroids.as_ref()) {
            None => (q.embeddings.shallow_clone(), d.embeddings.shallow_clone(), None, None),
            Some((clustering, centroids)) => {
                let (vectors, error, clustered) = clustering.of(&d.embeddings, centroids, self.encoding.workers());
                (clustering.quantizer.rotate(&q.embeddings), vectors, Some(error), Some(clustered))
            }
        };
        let (d_positive, d_other) = split(&d_vectors, positives.len());
        let batch = Contrast {
            queries: q_vectors,
            positives: d_positive,
            positives_mask: self.mask(queries, &positives),
            in_batch,
            drawn: others.map(|others| (d_other, self.mask(queries, &others))),
            taught,
        };
        let loss = self.settings.objective.of_contrast(&batch, self.similarity);
        let loss = error.into_iter().fold(loss, |loss, error| loss + error);
        Ok(Forward { loss, retrieved: None, clustered, queries: q, docs: Some(d), centroids })
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
        let lists = RankedLists::new(&found, queries, self.relevant, &Beside::RelevantIfNoneFound, self.device);
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
        let retrieved = Some((lists.mrr_10, lists.recall_10));
        Ok(Forward { loss, retrieved, clustered: None, queries: q, docs: None, centroids: None })
    }

    fn jpq(
        &self,
        step: u64,
        queries: &[u32],
        documents: &Compressed,
        top_k: i64,
        lambda_cut: Option<i64>,
    ) -> Result<Forward<'a>> {
        let [q] = self.encoding.encode([self.queries(step, queries)])?; // (B, E)
        let rotated = documents.quantizer().rotate(&q.embeddings);
        let found = documents.search(&rotated.detach(), top_k, self.encoding.workers()); // (B, top_k)
        let drawn = self.settings.objective.loss.draws_one().then(|| self.sampler.positives(step, queries));
        let beside = drawn.as_deref().map_or(Beside::RelevantNotFound, Beside::InFront);
        let lists = RankedLists::new(&found, queries, self.relevant, &beside, self.device);
        let size = lists.relevant.size(); // (B, L)
        let centroids = documents.quantizer().leaf();
        let batch = Lists {
            docs: documents.decoded(&centroids, &lists.ids).view([size[0], size[1], rotated.size()[1]]),
            queries: rotated,
            relevant: &lists.relevant,
            irrelevant: &lists.irrelevant,
            metric_cut: lambda_cut,
            batch_size: queries.len(),
        };
        let loss = self.settings.objective.of_lists(&batch, self.similarity);
        let retrieved = Some((lists.mrr_10, lists.recall_10));
        Ok(Forward { loss, retrieved, clustered: None, queries: q, docs: None, centroids: Some(centroids) })
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

    /// The gradient of `loss · scale` at all that is trained.
    pub fn gradients(&self, forward: Forward, scale: f64) -> Gradients {
        (forward.loss * scale).backward();
        Gradients {
            encoder: self.encoding.gradients([forward.queries].into_iter().chain(forward.docs)),
            centroids: forward.centroids.map(|centroids| centroids.grad()),
        }
    }
}

/// The first `positives` rows, and the rest.
fn split(docs: &Tensor, positives: usize) -> (Tensor, Tensor) {
    let (positives, all) = (positives as i64, docs.size()[0]);
    (docs.narrow(0, 0, positives), docs.narrow(0, positives, all - positives))
}
