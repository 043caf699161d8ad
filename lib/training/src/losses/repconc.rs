//! RepCONC (WSDM 2022): how far documents are from what their codes stand for, and the losses of its second stage,
//! which set one relevant document of each query against what was retrieved. The second stage's loss `list` is that of
//! [`super::infonce::of_lists`].
//!
//! Lists of the second stage are (B, 1 + k): first the drawn relevant document g, then the k documents n₁…n_k that were
//! retrieved, the best first.

use tch::{Kind, Tensor};

/// Vectors with the values of `decoded` and the gradient of both: it flows to the centroids and, past the codes, to
/// `vectors`. Both are (N, E).
pub fn straight_through(decoded: &Tensor, vectors: &Tensor) -> Tensor {
    decoded + vectors - vectors.detach()
}

/// The mean over all documents of ‖decoded − vector‖², both (N, E).
pub fn error(decoded: &Tensor, vectors: &Tensor) -> Tensor {
    let each: &[i64] = &[1];
    (decoded - vectors).square().sum_dim_intlist(each, false, Kind::Float).mean(Kind::Float)
}

/// The mean over all B·k places of softplus(sₙ − s_g), where documents that are not `irrelevant` count 0.
///
/// `scores` and `irrelevant` are (B, 1 + k); `irrelevant` is 0 or 1.
pub fn pair(scores: &Tensor, irrelevant: &Tensor) -> Tensor {
    pairs(scores, irrelevant).mean(Kind::Float)
}

/// As [`pair`], with the weight |1/ρ − 1/j| at each place: j is the place of n in the list, from 1, and
/// ρ = k + 1 − |{n: s_g ≥ sₙ}| is what the place of g would be. Documents that don't count in the loss count in ρ.
pub fn lambda(scores: &Tensor, irrelevant: &Tensor) -> Tensor {
    let (own, found) = split(scores);
    let k = found.size()[1];
    let each: &[i64] = &[1];
    let behind = own.ge_tensor(&found).sum_dim_intlist(each, true, Kind::Float); // (B, 1)
    let own_gain = (-behind + (k + 1) as f64).reciprocal();
    let gains = Tensor::arange_start(1, k + 1, (Kind::Float, scores.device())).reciprocal();
    (pairs(scores, irrelevant) * (own_gain - gains).abs()).mean(Kind::Float)
}

/// (B, k): softplus(sₙ − s_g), or 0.
fn pairs(scores: &Tensor, irrelevant: &Tensor) -> Tensor {
    let (own, found) = split(scores);
    (found - own).softplus() * split(irrelevant).1
}

/// The first column, (B, 1), and the others, (B, k).
fn split(lists: &Tensor) -> (Tensor, Tensor) {
    (lists.narrow(1, 0, 1), lists.narrow(1, 1, lists.size()[1] - 1))
}
