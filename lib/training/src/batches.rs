//! What a step looks at, and how it goes from the documents that a method has drawn or retrieved to a loss and to
//! gradients.

use std::collections::HashSet;

use hardmine_encoder::Similarity;
use hardmine_files::MappedTokens;
use hardmine_records::Result;
use tch::{Device, Tensor};

use crate::clustering::Clustering;
use crate::compressed::Compressed;
use crate::document_lists::DocumentLists;
use crate::documents::Documents;
use crate::encoding::{Encoded, Encoding, Texts};
use crate::gradients::Gradients;
use crate::log::Clustered;
use crate::objective::{Contrast, Lists, Loss, Taught};
use crate::ranked::{Beside, RankedLists};
use crate::sampler::{Sampler, dropout_seed};
use crate::settings::TrainingSettings;
use crate::teacher::Teacher;

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
pub(crate) struct Drawn {
    /// One relevant document for each query.
    pub positives: Vec<u32>,
    /// Negatives of all queries; none where only positives are encoded.
    pub others: Option<Vec<u32>>,
    /// Whether the other queries' positives are negatives in the paper's method.
    pub in_batch: bool,
    /// Whether a document that was drawn several times for the batch is a negative only once.
    pub once: bool,
    pub taught: Option<Taught>,
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

impl<'a> Batches<'a> {
    /// With `clustering`, documents have the values of what their codes stand for.
    pub(crate) fn contrast(
        &self,
        step: u64,
        queries: &[u32],
        docs: &'a MappedTokens,
        drawn: Drawn,
        clustering: Option<&Clustering>,
    ) -> Result<Forward<'a>> {
        let Drawn { positives, others, in_batch, once, taught } = drawn;
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
        let mut seen = HashSet::new();
        let mut mask = |docs: &[u32]| {
            let counts: Vec<bool> = docs.iter().map(|doc| seen.insert(*doc) || !once).collect();
            self.mask(queries, docs, &counts)
        };
        let batch = Contrast {
            queries: q_vectors,
            positives: d_positive,
            positives_mask: mask(&positives),
            in_batch,
            drawn: others.map(|others| (d_other, mask(&others))),
            taught,
        };
        let loss = self.settings.objective.of_contrast(&batch, self.similarity);
        let loss = error.into_iter().fold(loss, |loss, error| loss + error);
        Ok(Forward { loss, retrieved: None, clustered, queries: q, docs: Some(d), centroids })
    }

    /// What the `teacher` thinks of the `positives` and of the `hard` negatives, `own` of them for each query.
    pub(crate) fn taught(
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

    pub(crate) fn adore(
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

    pub(crate) fn jpq(
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
        let beside = match (&drawn, self.settings.objective.loss) {
            (None, _) => Beside::RelevantNotFound,
            (Some(drawn), Loss::UnmaskedList) => Beside::InFrontOfIrrelevant(drawn),
            (Some(drawn), _) => Beside::InFront(drawn),
        };
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

    /// (B, N), 1 where a document counts and is not relevant to the query.
    fn mask(&self, queries: &[u32], docs: &[u32], counts: &[bool]) -> Tensor {
        let of_query = |&query: &u32| {
            let docs = docs.iter().zip(counts);
            docs.map(move |(&doc, &counts)| f32::from(counts && !self.relevant.contains(query, doc)))
        };
        let mask: Vec<f32> = queries.iter().flat_map(of_query).collect();
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

#[cfg(test)]
mod tests;
