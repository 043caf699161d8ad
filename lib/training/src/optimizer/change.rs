//! What an update does to each number, in one pass over parameter, gradient and moments. By operations on whole
//! tensors it would be ten passes.

use tch::{Device, Kind, Tensor};

use super::{BETA_1, BETA_2, EPSILON, Piece};

/// How a number of a parameter changes, of the running averages of its gradient and of its square.
#[derive(Clone, Copy)]
pub(super) enum Change {
    /// p ← (p − step · m/(√v + ε)) · kept
    AdamW { step: f32, kept: f32 },
    /// p ← p · kept − step · m/(√v/correction + ε)
    TorchAdamW { step: f32, kept: f32, correction: f32 },
}

/// The numbers of a piece.
struct Numbers<'a> {
    parameter: &'a mut [f32],
    gradient: &'a [f32],
    mean: &'a mut [f32],
    square: &'a mut [f32],
}

impl Piece {
    /// Takes the gradient, multiplied by `factor`, into the moments, and then changes the parameter.
    pub(super) fn change(&mut self, factor: f64, change: Change) {
        match self.numbers() {
            Some(numbers) => fastest(numbers, factor as f32, change),
            None => self.change_by_tensors(factor, change),
        }
    }

    /// The same by operations of libtorch, on any device.
    fn change_by_tensors(&mut self, factor: f64, change: Change) {
        let [step, kept] = match change {
            Change::AdamW { step, kept } | Change::TorchAdamW { step, kept, .. } => [step, kept].map(f64::from),
        };
        match change {
            Change::AdamW { .. } => {
                let direction = self.direction(factor);
                self.parameter -= direction * step;
                let _ = self.parameter.g_mul_scalar_(kept);
            }
            Change::TorchAdamW { correction, .. } => {
                self.add_gradient(factor);
                let _ = self.parameter.g_mul_scalar_(kept);
                self.parameter -= &self.mean / (self.square.sqrt() / f64::from(correction) + EPSILON) * step;
            }
        }
    }

    /// Its numbers, if there are any and they lie on the CPU as float32 and without gaps.
    fn numbers(&mut self) -> Option<Numbers<'_>> {
        let Piece { parameter, gradient, mean, square } = self;
        let all = [&*parameter, &*gradient, &*mean, &*square];
        let plain = |x: &&Tensor| x.device() == Device::Cpu && x.kind() == Kind::Float && x.is_contiguous();
        let length = parameter.numel();
        if length == 0 || !all.iter().all(plain) || all.iter().any(|x| x.numel() != length) {
            return None;
        }
        let place = |x: &Tensor| x.data_ptr().cast::<f32>();
        // SAFETY: the tensors are contiguous and of float32, lie on the CPU, and have so many numbers. They are four
        // tensors of memory of their own, and a piece is the only one that looks at its part of them.
        unsafe {
            Some(Numbers {
                parameter: std::slice::from_raw_parts_mut(place(parameter), length),
                gradient: std::slice::from_raw_parts(place(gradient), length),
                mean: std::slice::from_raw_parts_mut(place(mean), length),
                square: std::slice::from_raw_parts_mut(place(square), length),
            })
        }
    }
}

/// Changes the numbers with the widest registers that the processor has. Each operation is rounded by itself, so that
/// the width does not show in the bits.
fn fastest(numbers: Numbers, factor: f32, change: Change) {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") {
            // SAFETY: the processor has the instructions.
            return unsafe { with_avx512(numbers, factor, change) };
        }
        if is_x86_feature_detected!("avx2") {
            // SAFETY: the processor has the instructions.
            return unsafe { with_avx2(numbers, factor, change) };
        }
    }
    plain(numbers, factor, change);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn with_avx512(numbers: Numbers, factor: f32, change: Change) {
    plain(numbers, factor, change);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn with_avx2(numbers: Numbers, factor: f32, change: Change) {
    plain(numbers, factor, change);
}

#[inline(always)]
fn plain(numbers: Numbers, factor: f32, change: Change) {
    let epsilon = EPSILON as f32;
    match change {
        Change::AdamW { step, kept } => {
            each(numbers, factor, |p, mean, square| (p - mean / (square.sqrt() + epsilon) * step) * kept);
        }
        Change::TorchAdamW { step, kept, correction } => {
            each(numbers, factor, |p, mean, square| p * kept - mean / (square.sqrt() / correction + epsilon) * step);
        }
    }
}

#[inline(always)]
fn each(numbers: Numbers, factor: f32, change: impl Fn(f32, f32, f32) -> f32) {
    let Numbers { parameter, gradient, mean, square } = numbers;
    let (of_mean, of_square) = ((1.0 - BETA_1) as f32, (1.0 - BETA_2) as f32);
    let moments = mean.iter_mut().zip(square);
    for ((parameter, gradient), (mean, square)) in parameter.iter_mut().zip(gradient).zip(moments) {
        let gradient = gradient * factor;
        *mean += (gradient - *mean) * of_mean;
        *square += (gradient * gradient - *square) * of_square;
        *parameter = change(*parameter, *mean, *square);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(size: i64) -> Piece {
        tch::manual_seed(size);
        let random = || Tensor::randn([size], (Kind::Float, Device::Cpu));
        Piece {
            parameter: random(),
            gradient: random() * 1e-3,
            mean: random() * 1e-3,
            square: random().square() * 1e-6,
        }
    }

    fn bits(piece: &Piece) -> Vec<Vec<u32>> {
        let bits = |x: &Tensor| Vec::<f32>::try_from(x).unwrap().into_iter().map(f32::to_bits).collect();
        [&piece.parameter, &piece.mean, &piece.square].map(bits).to_vec()
    }

    #[test]
    fn the_change_is_that_of_libtorch_and_the_same_on_every_processor() {
        for change in [
            Change::AdamW { step: 0.01, kept: 0.999 },
            Change::AdamW { step: 0.01, kept: 1.0 },
            Change::TorchAdamW { step: 0.01, kept: 0.999, correction: 0.3 },
        ] {
            for factor in [1.0, 0.3] {
                let [mut fast, mut slow, mut tensors] = [piece(1003), piece(1003), piece(1003)];
                fast.change(factor, change);
                plain(slow.numbers().unwrap(), factor as f32, change);
                assert_eq!(bits(&fast), bits(&slow));
                tensors.change_by_tensors(factor, change);
                let off = |a: &Tensor, b: &Tensor| ((a - b).abs() / b.abs().max()).max().double_value(&[]);
                assert!(off(&fast.parameter, &tensors.parameter) < 1e-6);
                assert!(off(&fast.mean, &tensors.mean) < 1e-6);
                assert!(off(&fast.square, &tensors.square) < 1e-6);
            }
        }
    }
}
