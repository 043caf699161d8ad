//! InfoNCE: the cross-entropy of picking the query's positive out of all documents that are not relevant to it
//! (van den Oord et al. 2018, *Representation Learning with Contrastive Predictive Coding*; with in-batch negatives,
//! Henderson et al. 2017, and with hard negatives, Karpukhin et al. 2020).

use tch::{Kind, Tensor};

use super::{LEFT_OUT, Negatives};

/// meanᵢ(log Σ_c exp s(qᵢ,c) − s(qᵢ,dᵢ)) for `queries` and their `positives`, both (B, E). The candidates c of query i
/// are its own positive dᵢ, the other queries' positives where `positives_mask` (B, B) is 1, and the `negatives` where
/// their masks are 1.
pub fn loss(queries: &Tensor, positives: &Tensor, positives_mask: &Tensor, negatives: &[Negatives]) -> Tensor {
    let (scores, own) = scores(queries, positives, positives_mask, negatives);
    (scores.logsumexp(1, false) - own).mean(Kind::Float)
}

/// As [`loss`], but the candidates of query i are its own positive and the `count` negatives of highest score.
pub fn of_hardest(
    queries: &Tensor,
    positives: &Tensor,
    positives_mask: &Tensor,
    negatives: &[Negatives],
    count: i64,
) -> Tensor {
    let (scores, own) = scores(queries, positives, positives_mask, negatives);
    let (rows, columns) = (scores.size()[0], scores.size()[1]);
    let is_own = Tensor::eye_m(rows, columns, (Kind::Bool, scores.device()));
    let (hardest, _) = scores.masked_fill(&is_own, LEFT_OUT).topk(count.min(columns), 1, true, false);
    (Tensor::cat(&[&own.unsqueeze(1), &hardest], 1).logsumexp(1, false) - own).mean(Kind::Float)
}

/// Scores of all documents of the batch, (B, B + N), those that are no candidates of a query with the score
/// [`LEFT_OUT`], and of each query's own positive, (B).
fn scores(queries: &Tensor, positives: &Tensor, positives_mask: &Tensor, negatives: &[Negatives]) -> (Tensor, Tensor) {
    // A query's own positive is relevant to it, so that the mask has 0 there.
    let positives_mask = positives_mask + Tensor::eye(queries.size()[0], (Kind::Float, queries.device()));
    let docs = [positives].into_iter().chain(negatives.iter().map(|n| n.docs)).collect::<Vec<_>>();
    let masks = [&positives_mask].into_iter().chain(negatives.iter().map(|n| n.mask)).collect::<Vec<_>>();
    let scores = queries.matmul(&Tensor::cat(&docs, 0).tr());
    let own = scores.diagonal(0, 0, 1);
    (scores.masked_fill(&Tensor::cat(&masks, 1).eq(0.0), LEFT_OUT), own)
}

/// Half of [`loss`] and half of the way back, which picks for each positive its query among the queries of the batch.
/// The way back leaves out other queries that the document is relevant to, too, and sees no negatives.
pub fn symmetric(queries: &Tensor, positives: &Tensor, positives_mask: &Tensor, negatives: &[Negatives]) -> Tensor {
    let back = loss(positives, queries, &positives_mask.tr(), &[]);
    (loss(queries, positives, positives_mask, negatives) + back) / 2.0
}

/// The loss of retrieved lists, as ADORE has them: the mean over the relevant documents i of each list of
/// log(exp sᵢ + Σⱼ exp sⱼ) − sᵢ, where j goes over the irrelevant documents of the same list; summed over the lists and
/// divided by `batch_size`. Other relevant documents of the list are left out. A list without irrelevant documents has
/// loss 0.
///
/// `scores`, `relevant`, `irrelevant` (B, L) and `batch_size` are those of [`super::adore::loss`].
pub fn of_lists(scores: &Tensor, relevant: &Tensor, irrelevant: &Tensor, batch_size: usize) -> Tensor {
    let others = scores.masked_fill(&irrelevant.eq(0.0), LEFT_OUT).logsumexp(1, true); // (B, 1)
    let each: &[i64] = &[1];
    // log(exp s + exp o) − s is softplus(o − s).
    let sum = ((others - scores).softplus() * relevant).sum_dim_intlist(each, false, Kind::Float); // (B)
    let count = relevant.sum_dim_intlist(each, false, Kind::Float).clamp_min(1.0);
    (sum / count).sum(Kind::Float) / batch_size as f64
}
