//! Dropout (Srivastava et al. 2014): numbers set to zero at random, the others made larger in return.

use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::{RngCore, SeedableRng};
use rayon::prelude::*;
use tch::{Device, Kind, Tensor};

/// Numbers that one stream of random bits decides on.
const STREAM: usize = 16_384;

/// When training, each number of `x` becomes 0 with probability `p` (less than 1) and is divided by 1 − p otherwise;
/// else `x` itself. The same seed of libtorch's generator (`tch::manual_seed`) gives the same zeros, whatever the
/// number of threads.
pub(crate) fn dropout(x: Tensor, p: f64, train: bool) -> Tensor {
    if !train || p == 0.0 {
        return x;
    }
    // libtorch draws one double after the other on one thread of a CPU, while the others wait.
    if x.device() != Device::Cpu {
        return x.dropout(p, true);
    }
    let seed = Tensor::randint(i64::MAX, [1], (Kind::Int64, Device::Cpu)).int64_value(&[0]);
    &x * noise(&x.size(), p, seed as u64).to_kind(x.kind())
}

/// What dropout multiplies with, float32. Sixteen bits decide on a number, so that `p` is met to 1/131,072;
/// 1 − p is that of the bits, which keeps the mean.
fn noise(size: &[i64], p: f64, seed: u64) -> Tensor {
    let below = (p * 65_536.0).round() as u16;
    let kept = (65_536.0 / (65_536.0 - f64::from(below))) as f32;
    let noise = Tensor::empty(size, (Kind::Float, Device::Cpu));
    // SAFETY: the new tensor is contiguous, has as many float32, and nobody else knows it yet.
    let numbers = unsafe { std::slice::from_raw_parts_mut(noise.data_ptr().cast::<f32>(), noise.numel()) };
    numbers.par_chunks_mut(STREAM).enumerate().for_each(|(stream, numbers)| {
        let mut random = Pcg64Mcg::seed_from_u64(seed.wrapping_add(stream as u64));
        for four in numbers.chunks_mut(4) {
            let bits = random.next_u64();
            for (place, number) in four.iter_mut().enumerate() {
                *number = if ((bits >> (16 * place)) as u16) < below { 0.0 } else { kept };
            }
        }
    });
    noise
}

#[cfg(test)]
mod tests {
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
    fn a_seed_gives_the_same_zeros_and_another_one_others() {
        let draw = |seed| noise(&[50_000], 0.3, seed);
        assert_eq!(draw(7), draw(7));
        let differ = |a: Tensor, b: Tensor| a.ne_tensor(&b).to_kind(Kind::Float).mean(Kind::Float).double_value(&[]);
        // Two independent draws differ in 2·0.3·0.7 of all places; so do streams of one draw.
        let stream = |number| draw(7).narrow(0, number * STREAM as i64, STREAM as i64);
        for (a, b) in [(draw(7), draw(8)), (stream(0), stream(1)), (stream(1), stream(2))] {
            assert!((differ(a, b) - 0.42).abs() < 0.02);
        }
    }
}
