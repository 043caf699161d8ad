//! MarginMSE: the student's margins between a positive and its negatives become the teacher's (Hofstätter et al. 2020,
//! *Improving Efficient Neural Ranking Models with Cross-Architecture Knowledge Distillation*).

use tch::{Kind, Tensor};

/// Mean over the pairs (i, k) that count of ((sᵢ₀ − sᵢₖ) − (tᵢ₀ − tᵢₖ))² for the `scores` s and the `teacher`'s scores
/// t, both (B, 1 + K): a query's positive first, then its own K negatives. `mask` (B, K) is 1 where there is such a
/// negative. 0 without any.
pub fn loss(scores: &Tensor, teacher: &Tensor, mask: &Tensor) -> Tensor {
    let negatives = mask.size()[1];
    let margins = |scores: &Tensor| scores.narrow(1, 0, 1) - scores.narrow(1, 1, negatives); // (B, K)
    let off = (margins(scores) - margins(teacher)).square();
    (off * mask).sum(Kind::Float) / mask.sum(Kind::Float).clamp_min(1.0)
}
