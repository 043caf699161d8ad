//! Dropout (Srivastava et al. 2014): numbers set to zero at random, the others made larger in return.

use std::cell::Cell;

use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::{RngCore, SeedableRng};
use tch::{Device, Kind, Tensor};

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

/// Numbers whose random bits are drawn before they are looked at, so that looking is done with whole registers.
const BLOCK: usize = 1024;

/// What dropout multiplies with, float32. Sixteen bits decide on a number, so that `p` is met to 1/131,072;
/// 1 − p is that of the bits, which keeps the mean.
fn noise(size: &[i64], p: f64, stream: u64) -> Tensor {
    let below = (p * 65_536.0).round() as u16;
    let kept = (65_536.0 / (65_536.0 - f64::from(below))) as f32;
    let mut random = Pcg64Mcg::seed_from_u64(stream);
    let noise = Tensor::empty(size, (Kind::Float, Device::Cpu));
    if noise.numel() == 0 {
        return noise;
    }
    // SAFETY: the tensor was made here, is contiguous and of float32, and has so many numbers. Nobody else has it yet,
    // and they are written before they are read.
    let numbers = unsafe { std::slice::from_raw_parts_mut(noise.data_ptr().cast::<f32>(), noise.numel()) };
    for numbers in numbers.chunks_mut(BLOCK) {
        let mut bits = [[0; 4]; BLOCK / 4];
        for four in &mut bits[..numbers.len().div_ceil(4)] {
            let random = random.next_u64();
            *four = [0, 16, 32, 48].map(|shift| (random >> shift) as u16);
        }
        for (number, &bits) in numbers.iter_mut().zip(bits.as_flattened()) {
            *number = if bits < below { 0.0 } else { kept };
        }
    }
    noise
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bits_of_a_number_do_not_depend_on_how_they_are_drawn() {
        let mut random = Pcg64Mcg::seed_from_u64(5);
        let size = 2 * BLOCK + 7;
        let drawn: Vec<u64> = (0..size.div_ceil(4)).map(|_| random.next_u64()).collect();
        let expected = |number: usize| match ((drawn[number / 4] >> (16 * (number % 4))) as u16) < 19_661 {
            true => 0.0,
            false => (65_536.0 / 45_875.0) as f32,
        };
        let found = Vec::<f32>::try_from(noise(&[size as i64], 0.3, 5)).unwrap();
        assert_eq!(found, (0..size).map(expected).collect::<Vec<f32>>());
        assert_eq!(noise(&[3, 0], 0.3, 5).size(), [3, 0]);
    }

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
