//! Inbatch-Neg: the positives of the other queries of the batch serve as negatives.

use tch::Tensor;

use super::pairs::Pairs;

/// Σᵢⱼ Mᵢⱼ · softplus(s(qᵢ,dⱼ) − s(qᵢ,dᵢ)) / Σ M for `queries` and their `positives`, both (B, E), and the mask
/// M (B, B), 1 unless dⱼ is relevant to qᵢ (SIGIR 2021, §4.1).
///
/// ```
/// use hardmine_training::losses::inbatch;
/// use tch::Tensor;
///
/// // Two queries, each equal to its positive and orthogonal to that of the other.
/// let vectors = Tensor::from_slice2(&[[4f32, 0.0], [0.0, 4.0]]);
/// let mask = Tensor::from_slice2(&[[0f32, 1.0], [1.0, 0.0]]);
/// let loss = inbatch::loss(&vectors, &vectors, &mask).double_value(&[]);
/// assert!((loss - (1.0 + (-16f64).exp()).ln()).abs() < 1e-9);
/// ```
pub fn loss(queries: &Tensor, positives: &Tensor, inbatch_mask: &Tensor) -> Tensor {
    Pairs::new(queries, positives, positives, inbatch_mask).mean()
}
