//! Rand-Neg: documents drawn at random from the whole collection serve as negatives.

use tch::Tensor;

use super::pairs::Pairs;

/// Σᵢₖ Hᵢₖ · softplus(s(qᵢ,oₖ) − s(qᵢ,dᵢ)) / Σ H for `queries` and `positives` (B, E), the random documents of
/// all queries `random` (B·r, E), and the mask H (B, B·r), 1 unless oₖ is relevant to qᵢ (SIGIR 2021, §4.1).
pub fn loss(queries: &Tensor, positives: &Tensor, random: &Tensor, random_mask: &Tensor) -> Tensor {
    Pairs::new(queries, positives, random, random_mask).mean()
}
