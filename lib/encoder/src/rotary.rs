//! Rotary position embeddings (Su et al. 2021, arXiv 2104.09864): queries and keys are turned by their position.

use tch::{Kind, Tensor};

use crate::batch::Batch;
use crate::pass::Look;

/// How fast each pair of numbers of a head turns.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rotary {
    /// θ: pair i of a head turns by position · θ^(−2i/size).
    pub theta: f64,
    /// Width of a head, an even number.
    pub size: i64,
}

/// How far the pairs of each token are turned: cosines and sines (T, 1, size).
pub(crate) struct Turns {
    cosine: Tensor,
    sine: Tensor,
}

impl Rotary {
    /// The turns of all tokens of a batch, computed in float32 and given in `kind`.
    pub fn turns(&self, batch: &Batch, kind: Kind) -> Turns {
        self.turns_at(&batch.positions, kind)
    }

    /// The turns at these positions (T,).
    fn turns_at(&self, positions: &Tensor, kind: Kind) -> Turns {
        let float = (Kind::Float, positions.device());
        let exponents = Tensor::arange_start_step(0, self.size, 2, float) / self.size as f64;
        let frequencies = Tensor::pow_scalar(self.theta, &exponents).reciprocal(); // (size / 2)
        let angles = positions.to_kind(Kind::Float).unsqueeze(1) * frequencies; // (T, size / 2)
        let angles = Tensor::cat(&[&angles, &angles], 1).unsqueeze(1);
        Turns { cosine: angles.cos().to_kind(kind), sine: angles.sin().to_kind(kind) }
    }
}

impl Turns {
    /// Turns each head of `x` (T, H·size). Number i of a head makes a pair with number i + size/2.
    pub fn apply(&self, x: &Tensor) -> Tensor {
        let size = self.cosine.size()[2];
        let heads = x.view([x.size()[0], -1, size]);
        let halves = heads.chunk(2, 2);
        let across = Tensor::cat(&[&-&halves[1], &halves[0]], 2);
        (heads * &self.cosine + across * &self.sine).view_as(x)
    }

    /// The turns of the tokens that look.
    pub fn pick(&self, look: &Look) -> Turns {
        Turns { cosine: look.pick(&self.cosine), sine: look.pick(&self.sine) }
    }
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;

    #[test]
    fn products_depend_on_the_distance_of_positions_only() {
        let rotary = Rotary { theta: 100.0, size: 6 };
        let turned =
            |x: &Tensor, position: i64| rotary.turns_at(&Tensor::from_slice(&[position]), Kind::Float).apply(x);
        let [x, y] = [1, 2].map(|seed| {
            tch::manual_seed(seed);
            Tensor::randn([1, 12], (Kind::Float, Device::Cpu))
        });
        let product = |one, other| (turned(&x, one) * turned(&y, other)).sum(Kind::Float).double_value(&[]);
        assert!((product(3, 10) - product(23, 30)).abs() < 1e-5);
        assert!((product(3, 10) - product(10, 3)).abs() > 1e-3);
        assert_eq!(turned(&x, 0), x);
    }
}
