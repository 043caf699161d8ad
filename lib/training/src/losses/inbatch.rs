//! Inbatch-Neg: the positives of the other queries of the batch serve as negatives.

use tch::Tensor;

use super::pairs::Pairs;

/// Σᵢⱼ Mᵢⱼ · softplus(s(qᵢ,dⱼ) − s(qᵢ,dᵢ)) / Σ M for `queries` and their `positives`, both (B, E), and the mask
/// M (B, B), 1 unless dⱼ is relevant to qᵢ (SIGIR 2021, §4.1).
pub fn loss(queries: &Tensor, positives: &Tensor, inbatch_mask: &Tensor) -> Tensor {
    Pairs::new(queries, positives, positives, inbatch_mask).mean()
}
