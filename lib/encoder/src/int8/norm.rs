//! A residual and the LayerNorm after it, in one pass over each row.

use tch::Tensor;

use super::lanes::{LANES, Lanes, Work};
use super::numbers;

/// Replaces each row x by LayerNorm(x + residual).
pub(super) struct AddAndNormalize<'a> {
    /// (rows, D)
    pub x: &'a mut [f32],
    /// (rows, D)
    pub residual: &'a [f32],
    pub norm: &'a Norm,
}

/// The parameters of a LayerNorm over D numbers.
pub(crate) struct Norm {
    /// (D,)
    weight: Vec<f32>,
    /// (D,)
    bias: Vec<f32>,
    /// What is added to the variance.
    eps: f32,
}

impl Norm {
    /// Of tensors of any device; no `bias` is one of 0.
    pub fn new(weight: &Tensor, bias: Option<&Tensor>, eps: f64) -> Norm {
        let weight = numbers(weight);
        Norm { bias: bias.map_or_else(|| vec![0.0; weight.len()], numbers), weight, eps: eps as f32 }
    }
}

impl Work for AddAndNormalize<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let Norm { weight, bias, eps } = self.norm;
        let size = weight.len();
        let (weights, last_weights) = weight.as_chunks::<LANES>();
        let (biases, last_biases) = bias.as_chunks::<LANES>();
        for (row, residual) in self.x.chunks_exact_mut(size).zip(self.residual.chunks_exact(size)) {
            let (row, rest) = row.as_chunks_mut::<LANES>();
            let (residual, last_residual) = residual.as_chunks::<LANES>();
            let last = L::load_some(rest, 0.0).plus(L::load_some(last_residual, 0.0));
            let mut sums = last;
            for (x, residual) in row.iter_mut().zip(residual) {
                let sum = L::load(x).plus(L::load(residual));
                sum.store(x);
                sums = sums.plus(sum);
            }
            let mean = L::splat(sums.sum() / size as f32);
            let last = last.minus(mean);
            // What is behind the row must not count.
            let mut squares = L::load_some(&last.times(last).numbers()[..rest.len()], 0.0);
            for x in row.iter() {
                let off = L::load(x).minus(mean);
                squares = off.times_plus(off, squares);
            }
            let scale = L::splat(1.0 / (squares.sum() / size as f32 + eps).sqrt());
            for ((x, weight), bias) in row.iter_mut().zip(weights).zip(biases) {
                let normalized = L::load(x).minus(mean).times(scale);
                normalized.times_plus(L::load(weight), L::load(bias)).store(x);
            }
            let normalized = last.times(scale);
            let (weight, bias) = (L::load_some(last_weights, 0.0), L::load_some(last_biases, 0.0));
            normalized.times_plus(weight, bias).store_some(rest);
        }
    }
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind};

    use super::super::lanes::{Plain, fastest};
    use super::*;

    #[test]
    fn it_is_that_of_libtorch_and_the_same_on_every_processor() {
        for size in [1, 5, 16, 40, 384] {
            tch::manual_seed(size);
            let random = |rows| Tensor::randn([rows, size], (Kind::Float, Device::Cpu)) * 3.0 + 1.0;
            let (x, residual, weight, bias) = (random(7), random(7), random(1).get(0), random(1).get(0));
            let norm = Norm::new(&weight, Some(&bias), 1e-5);
            let [mut fast, mut plain] = [numbers(&x), numbers(&x)];
            let residuals = numbers(&residual);
            fastest(AddAndNormalize { x: &mut fast, residual: &residuals, norm: &norm });
            AddAndNormalize { x: &mut plain, residual: &residuals, norm: &norm }.run::<Plain>();
            assert!(fast.iter().zip(&plain).all(|(a, b)| a.to_bits() == b.to_bits()), "{size}");
            let exact = (x + residual).layer_norm([size], Some(&weight), Some(&bias), 1e-5, false);
            let off = (Tensor::from_slice(&fast).view([7, size]) - exact).abs().max().double_value(&[]);
            assert!(off < 1e-5, "{size}: {off}");
        }
    }
}
