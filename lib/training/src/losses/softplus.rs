//! The paper's loss of Inbatch-Neg, Rand-Neg and STAR: each negative is set against the query's positive, in a pair.

use std::ops::Add;

use tch::{Kind, Tensor};

use super::Negatives;

/// Σᵢⱼ Mᵢⱼ · softplus(s(qᵢ,nⱼ) − s(qᵢ,dᵢ)) / Σ M for `queries` and their positives, both (B, E), and all `negatives`
/// with their masks M; 0 without any pair (SIGIR 2021, §4.1 and §5.1).
///
/// In Inbatch-Neg the positives of the other queries are the negatives, in Rand-Neg random documents are, and STAR has
/// the positives of the other queries and hard negatives.
///
/// ```
/// use hardmine_training::losses::{Negatives, softplus};
/// use tch::Tensor;
///
/// // Two queries, each equal to its positive and orthogonal to that of the other.
/// let vectors = Tensor::from_slice2(&[[4f32, 0.0], [0.0, 4.0]]);
/// let mask = Tensor::from_slice2(&[[0f32, 1.0], [1.0, 0.0]]);
/// let inbatch = Negatives { docs: &vectors, mask: &mask };
/// let loss = softplus::loss(&vectors, &vectors, &[inbatch]).double_value(&[]);
/// assert!((loss - (1.0 + (-16f64).exp()).ln()).abs() < 1e-9);
/// ```
pub fn loss(queries: &Tensor, positives: &Tensor, negatives: &[Negatives]) -> Tensor {
    let pairs = negatives.iter().map(|negatives| Pairs::new(queries, positives, negatives)).reduce(Pairs::add);
    pairs.map_or_else(|| Tensor::from(0f32), Pairs::mean)
}

/// Summed loss and number of pairs, both scalars.
struct Pairs {
    loss: Tensor,
    count: Tensor,
}

impl Pairs {
    fn new(queries: &Tensor, positives: &Tensor, Negatives { docs, mask }: &Negatives) -> Self {
        let positive = (queries * positives).sum_dim_intlist(1, true, Kind::Float); // (B, 1)
        let other = queries.matmul(&docs.tr()); // (B, N)
        Pairs { loss: ((other - positive).softplus() * *mask).sum(Kind::Float), count: mask.sum(Kind::Float) }
    }

    /// Loss of a pair on average; 0 without any pair.
    fn mean(self) -> Tensor {
        self.loss / self.count.clamp_min(1.0)
    }
}

impl Add for Pairs {
    type Output = Pairs;

    fn add(self, more: Pairs) -> Pairs {
        Pairs { loss: self.loss + more.loss, count: self.count + more.count }
    }
}
