//! Dropout (Srivastava et al. 2014): numbers set to zero at random, the others made larger in return.

use std::cell::Cell;

use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::{RngCore, SeedableRng};
use tch::{Device, Tensor};

/// The dropout of one pass through a model: each use draws from the next stream of random bits, so that the same seed
/// gives the same zeros, whatever other passes draw meanwhile.
pub(crate) struct Dropout {
    next_stream: Cell<u64>,
}

impl Dropout {
    /// On a GPU, `seed` is that of libtorch's own generator.
    pub fn new(seed: u64, device: Device) -> Self {
        if device != Device::Cpu {
            tch::manual_seed(seed as i64);
        }
        Dropout { next_stream: Cell::new(seed) }
    }

    /// Each number of `x` becomes 0 with probability `p` (less than 1) and is divided by 1 − p otherwise.
    pub fn apply(&self, x: Tensor, p: f64) -> Tensor {
        if p == 0.0 {
            return x;
        }
        // libtorch draws one double after the other on a CPU, which takes several times as long.
        if x.device() != Device::Cpu {
            return x.dropout(p, true);
        }
        let stream = self.next_stream.get();
        self.next_stream.set(stream.wrapping_add(1));
        &x * noise(&x.size(), p, stream).to_kind(x.kind())
    }
}

/// What dropout multiplies with, float32. Sixteen bits decide on a number, so that `p` is met to 1/131,072;
/// 1 − p is that of the bits, which keeps the mean.
fn noise(size: &[i64], p: f64, stream: u64) -> Tensor {
    let below = (p * 65_536.0).round() as u16;
    let kept = (65_536.0 / (65_536.0 - f64::from(below))) as f32;
    let mut random = Pcg64Mcg::seed_from_u64(stream);
    let mut numbers = vec![kept; size.iter().product::<i64>() as usize];
    for four in numbers.chunks_mut(4) {
        let bits = random.next_u64();
        for (place, number) in four.iter_mut().enumerate() {
            if ((bits >> (16 * place)) as u16) < below {
                *number = 0.0;
            }
        }
    }
    Tensor::from_slice(&numbers).view(size)
}

#[cfg(test)]
mod tests {
    use tch::Kind;

    use super::*;

    #[test]
    fn as_many_are_zero_as_should_be_and_the_mean_stays() {
        for p in [0.1, 0.5, 0.9999] {
            let noise = noise(&[1000, 1001], p, 1);
            let zeros = noise.eq(0.0).to_kind(Kind::Float).mean(Kind::Float).double_value(&[]);
            let deviation = (p * (1.0 - p) / 1_001_000.0).sqrt();
            assert!((zeros - p).abs() < 5.0 * deviation + 1e-5, "{zeros} of {p}");
            let mean = noise.mean(Kind::Double).double_value(&[]);
            assert!((mean - 1.0).abs() < 5.0 * deviation / (1.0 - p), "mean {mean}");
        }
    }

    #[test]
    fn a_seed_gives_the_same_zeros_and_another_use_others() {
        let drop = |dropout: &Dropout| dropout.apply(Tensor::ones([50_000], (Kind::Float, Device::Cpu)), 0.3);
        let (dropout, again) = (Dropout::new(7, Device::Cpu), Dropout::new(7, Device::Cpu));
        let (first, second) = (drop(&dropout), drop(&dropout));
        assert_eq!(first, drop(&again));
        // Two independent draws differ in 2·0.3·0.7 of all places.
        let differ = first.ne_tensor(&second).to_kind(Kind::Float).mean(Kind::Float).double_value(&[]);
        assert!((differ - 0.42).abs() < 0.02, "{differ}");
    }
}
