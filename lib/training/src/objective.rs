//! What training minimizes: a loss and its settings, of whatever a method has drawn.

use hardmine_encoder::{Encoder, Similarity};
use hardmine_records::{Error, Result};
use serde::Serialize;
use tch::Tensor;

use crate::losses::{Negatives, adore, infonce, kl, margin_mse, matryoshka, repconc, softplus};

/// A loss, and how scores are made for it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Objective {
    /// The loss.
    pub loss: Loss,
    /// Inner products are divided by it before the loss sees them, above 0.
    pub temperature: f64,
    /// The loss is the sum of those of vectors cut to these numbers of dimensions. Empty where vectors stay whole.
    pub dimensions: Vec<i64>,
}

/// What is made of the scores.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub enum Loss {
    /// Softplus of the difference of two scores, the paper's; with ADORE weighted by what the pair costs the metric.
    Softplus,
    /// Cross-entropy of the positive among all candidates.
    InfoNce {
        /// Whether the positive's query is to be found among the batch's queries, too.
        symmetric: bool,
    },
    /// Cross-entropy of the positive among itself and the negatives of highest score.
    InfoNceOfHardest {
        /// How many negatives, at least 1.
        count: i64,
    },
    /// Squared difference of the student's and the teacher's margins.
    MarginMse,
    /// Kullback–Leibler divergence of the student's from the teacher's distribution.
    Kl {
        /// The teacher's scores are divided by it.
        teacher_temperature: f64,
    },
    /// JPQ's: the paper's, weighted by what the pair costs the metric.
    Weighted,
    /// RepCONC's second stage: cross-entropy of a drawn relevant document among what was retrieved.
    List,
    /// As [`Loss::List`], but all that was retrieved counts as irrelevant: the loss of RepCONC's second release.
    UnmaskedList,
    /// As [`Loss::List`], but the mean of the softplus of each pair.
    Pair,
    /// As [`Loss::Pair`], weighted by what the pair costs the metric.
    Lambda,
}

impl Loss {
    /// Whether one relevant document of each query is drawn, and set against what was retrieved.
    pub fn draws_one(self) -> bool {
        matches!(self, Loss::List | Loss::UnmaskedList | Loss::Pair | Loss::Lambda)
    }

    /// What share of a run its warm-up is, where the authors give it as a share.
    pub fn warmup_share(self) -> Option<f64> {
        matches!(self, Loss::List | Loss::Pair | Loss::Lambda).then_some(0.05)
    }
}

/// Vectors of a batch of queries and of the documents that were drawn for them.
pub(crate) struct Contrast {
    /// (B, E)
    pub queries: Tensor,
    /// (B, E), one for each query.
    pub positives: Tensor,
    /// (B, B), 1 unless the positive of one query is relevant to the other, as it is to its own.
    pub positives_mask: Tensor,
    /// Whether the softplus loss takes the other queries' positives for negatives. InfoNCE always does.
    pub in_batch: bool,
    /// (N, E) and (B, N); none where nothing is drawn but positives.
    pub drawn: Option<(Tensor, Tensor)>,
    /// What a teacher thinks of each query's own documents; none without a teacher.
    pub taught: Option<Taught>,
}

/// A teacher's scores of what was drawn, and where that stands among the documents of the batch.
pub(crate) struct Taught {
    /// (B, K), places in the drawn documents of each query's own negatives; 0 where it has fewer than K.
    pub places: Tensor,
    /// (B, K), 1 where there is a negative and it is not relevant.
    pub mask: Tensor,
    /// (B, 1 + K), first that of the positive.
    pub scores: Tensor,
}

/// Vectors of a batch of queries and of the list that was retrieved for each.
pub(crate) struct Lists<'a> {
    /// (B, E)
    pub queries: Tensor,
    /// (B, L, E)
    pub docs: Tensor,
    /// (B, L), 1 where the document is relevant.
    pub relevant: &'a Tensor,
    /// (B, L), 1 where the document is not; both are 0 where the list has ended.
    pub irrelevant: &'a Tensor,
    /// The last position that counts in the metric.
    pub metric_cut: Option<i64>,
    /// What the sum over the lists is divided by.
    pub batch_size: usize,
}

impl Default for Objective {
    /// The paper's.
    fn default() -> Self {
        Objective { loss: Loss::Softplus, temperature: 1.0, dimensions: Vec::new() }
    }
}

impl Objective {
    /// The loss of queries with drawn documents, a scalar.
    pub(crate) fn of_contrast(&self, batch: &Contrast, similarity: Similarity) -> Tensor {
        matryoshka::loss(&self.dimensions, similarity, |cut| {
            let (queries, positives) = (cut(&batch.queries) / self.temperature, cut(&batch.positives));
            let drawn = batch.drawn.as_ref().map(|(docs, mask)| (cut(docs), mask));
            let mut negatives: Vec<Negatives> = drawn.iter().map(|(docs, mask)| Negatives { docs, mask }).collect();
            let mask = &batch.positives_mask;
            let own = || {
                let (docs, _) = drawn.as_ref().expect("a teacher's scores are of drawn documents");
                let taught = batch.taught.as_ref().expect("a run without a teacher's scores is refused at its start");
                (taught.scores_of(&queries, &positives, docs), taught)
            };
            match self.loss {
                Loss::Softplus => {
                    if batch.in_batch {
                        negatives.insert(0, Negatives { docs: &positives, mask });
                    }
                    softplus::loss(&queries, &positives, &negatives)
                }
                Loss::InfoNce { symmetric: false } => infonce::loss(&queries, &positives, mask, &negatives),
                Loss::InfoNce { symmetric: true } => infonce::symmetric(&queries, &positives, mask, &negatives),
                Loss::InfoNceOfHardest { count } => infonce::of_hardest(&queries, &positives, mask, &negatives, count),
                Loss::MarginMse => {
                    let (scores, taught) = own();
                    margin_mse::loss(&scores, &taught.scores, &taught.mask)
                }
                Loss::Kl { teacher_temperature } => {
                    let (scores, taught) = own();
                    kl::loss(&scores, &taught.scores, &taught.mask, self.temperature, teacher_temperature)
                }
                Loss::Weighted | Loss::List | Loss::UnmaskedList | Loss::Pair | Loss::Lambda => {
                    unreachable!("refused at the start of the run")
                }
            }
        })
    }

    /// The loss of retrieved lists, a scalar.
    pub(crate) fn of_lists(&self, lists: &Lists, similarity: Similarity) -> Tensor {
        let Lists { relevant, irrelevant, metric_cut, batch_size, .. } = *lists;
        matryoshka::loss(&self.dimensions, similarity, |cut| {
            let queries = cut(&lists.queries) / self.temperature;
            let scores = cut(&lists.docs).bmm(&queries.unsqueeze(2)).squeeze_dim(2); // (B, L)
            match self.loss {
                Loss::InfoNce { .. } | Loss::List | Loss::UnmaskedList => {
                    infonce::of_lists(&scores, relevant, irrelevant, batch_size)
                }
                Loss::Pair => repconc::pair(&scores, irrelevant),
                Loss::Lambda => repconc::lambda(&scores, irrelevant),
                Loss::Softplus | Loss::Weighted => adore::loss(&scores, relevant, irrelevant, metric_cut, batch_size),
                Loss::MarginMse | Loss::Kl { .. } | Loss::InfoNceOfHardest { .. } => {
                    unreachable!("refused at the start of the run")
                }
            }
        })
    }

    /// Refuses a loss that retrieved lists can't have.
    pub(crate) fn check_lists(&self) -> Result<()> {
        match self.loss {
            Loss::MarginMse | Loss::Kl { .. } => Err(Error::new("--loss", "adore learns from no teacher")),
            Loss::InfoNceOfHardest { .. } => Err(Error::new("--hardest", "adore takes all of what it retrieves")),
            _ => Ok(()),
        }
    }

    /// Refuses more dimensions than the vectors of `encoder` have.
    pub(crate) fn check(&self, encoder: &Encoder) -> Result<()> {
        match self.dimensions.iter().find(|&&dimension| dimension > encoder.dimension() as i64) {
            Some(more) => {
                let text = format!("{more} is more than the {} dimensions of the model's vectors", encoder.dimension());
                Err(Error::new("--dimensions", text))
            }
            None => Ok(()),
        }
    }
}

impl Taught {
    /// Scores (B, 1 + K) of each query's positive and own negatives, which stand in `drawn` (N, E).
    fn scores_of(&self, queries: &Tensor, positives: &Tensor, drawn: &Tensor) -> Tensor {
        let (batch, most) = (self.places.size()[0], self.places.size()[1]); // B, K
        let own = drawn.index_select(0, &self.places.flatten(0, -1)).view([batch, most, drawn.size()[1]]);
        let docs = Tensor::cat(&[positives.unsqueeze(1), own], 1); // (B, 1 + K, E)
        docs.bmm(&queries.unsqueeze(2)).squeeze_dim(2)
    }
}

#[cfg(test)]
mod tests;
