//! Pairs of a query's positive with other documents: their losses summed, and how many they are.

use std::ops::Add;

use tch::{Kind, Tensor};

/// Summed loss and number of pairs, both scalars; sums of different pairs add up before the mean is taken.
pub struct Pairs {
    loss: Tensor,
    count: Tensor,
}

impl Pairs {
    /// Every document of `others` (N, E) against the positive (B, E) of every query (B, E); `mask` (B, N) is 1
    /// where the pair counts and 0 where the document is relevant to the query.
    pub fn new(queries: &Tensor, positives: &Tensor, others: &Tensor, mask: &Tensor) -> Self {
        let positive = (queries * positives).sum_dim_intlist(1, true, Kind::Float); // (B, 1)
        let other = queries.matmul(&others.tr()); // (B, N)
        Pairs { loss: ((other - positive).softplus() * mask).sum(Kind::Float), count: mask.sum(Kind::Float) }
    }

    /// Loss of a pair on average; 0 without any pair.
    pub fn mean(self) -> Tensor {
        self.loss / self.count.clamp_min(1.0)
    }
}

impl Add for Pairs {
    type Output = Pairs;

    fn add(self, more: Pairs) -> Pairs {
        Pairs { loss: self.loss + more.loss, count: self.count + more.count }
    }
}
