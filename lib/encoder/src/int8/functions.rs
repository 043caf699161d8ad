//! The activations over lanes. Their values are rounded to whole numbers afterwards, so that errors of a millionth don't
//! count.

use super::lanes::{LANES, Lanes, Work};
use crate::layers::Activation;

/// exp(x), for x from -87 to 88; what is outside counts as the nearest of these. Off by 2 of the last place.
#[inline(always)]
pub(super) fn exp<L: Lanes>(x: L) -> L {
    // NaN stays NaN.
    let x = L::splat(88.0).smaller(L::splat(-87.0).larger(x));
    // x = n·ln 2 + rest; ln 2 in two parts, of which the first has zeros at its end.
    let n = x.times(L::splat(std::f32::consts::LOG2_E)).round();
    let rest = n.times_plus(L::splat(-0.693_359_4), x);
    let rest = n.times_plus(L::splat(2.121_944_4e-4), rest);
    // The series of exp up to the sixth power.
    let series = [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0];
    polynomial(rest, &series).times_power_of_two(n)
}

/// The polynomial with these coefficients, that of the highest power first.
#[inline(always)]
fn polynomial<L: Lanes, const N: usize>(x: L, coefficients: &[f32; N]) -> L {
    let mut value = L::splat(coefficients[0]);
    for &coefficient in &coefficients[1..] {
        value = value.times_plus(x, L::splat(coefficient));
    }
    value
}

/// x·Φ(x), off by at most 3·10⁻⁶ for |x| up to 12.
#[inline(always)]
fn gelu<L: Lanes>(x: L) -> L {
    // Φ(c) - ½ = c·P(2c²/25 - 1), with P fitted on [-1, 1]. Beyond 5, Φ differs from 0 or 1 by less than 3·10⁻⁷.
    const P: [f32; 13] = [
        0.000_514_296_35,
        -0.001_541_788_3,
        0.001_962_446_4,
        -0.002_858_041_3,
        0.006_188_37,
        -0.011_015_688,
        0.016_493_961,
        -0.023_323_521,
        0.031_425_77,
        -0.040_434_554,
        0.051_521_53,
        -0.070_296_6,
        0.141_363_78,
    ];
    let cut = L::splat(5.0).smaller(L::splat(-5.0).larger(x));
    let square = cut.times(cut).times_plus(L::splat(2.0 / 25.0), L::splat(-1.0));
    x.times(cut.times_plus(polynomial(square, &P), L::splat(0.5)))
}

/// σ(x).
#[inline(always)]
fn sigmoid<L: Lanes>(x: L) -> L {
    let one = L::splat(1.0);
    one.over(one.plus(exp(L::splat(0.0).minus(x))))
}

/// x·σ(2·√(2/π)·(x + 0.044715·x³)), which is the approximation of x·Φ(x) by tanh.
#[inline(always)]
fn gelu_tanh<L: Lanes>(x: L) -> L {
    let cube = x.times(x).times(x);
    let inner = cube.times_plus(L::splat(0.044_715), x).times(L::splat(1.595_769));
    x.times(sigmoid(inner))
}

/// tanh(x) = 2·σ(2x) - 1.
#[inline(always)]
fn tanh<L: Lanes>(x: L) -> L {
    sigmoid(x.plus(x)).times_plus(L::splat(2.0), L::splat(-1.0))
}

/// Applies an activation to numbers in their place.
pub(super) struct Activate<'a> {
    pub activation: Activation,
    pub numbers: &'a mut [f32],
}

impl Work for Activate<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let (registers, rest) = self.numbers.as_chunks_mut::<LANES>();
        for register in registers {
            value(self.activation, L::load(register)).store(register);
        }
        value(self.activation, L::load_some(rest, 0.0)).store_some(rest);
    }
}

#[inline(always)]
fn value<L: Lanes>(activation: Activation, x: L) -> L {
    match activation {
        Activation::Gelu => gelu(x),
        Activation::GeluTanh => gelu_tanh(x),
        Activation::Relu => L::splat(0.0).larger(x),
        Activation::Silu => x.times(sigmoid(x)),
        Activation::Tanh => tanh(x),
        Activation::Identity => x,
    }
}

#[cfg(test)]
mod tests {
    use tch::Tensor;

    use super::super::lanes::{Plain, fastest};
    use super::*;

    const ALL: [Activation; 6] = [
        Activation::Gelu,
        Activation::GeluTanh,
        Activation::Relu,
        Activation::Silu,
        Activation::Tanh,
        Activation::Identity,
    ];

    /// From -12 to 12.
    fn inputs() -> Vec<f32> {
        (-12_003..=12_003).map(|number| number as f32 * 1e-3).collect()
    }

    #[test]
    fn they_are_those_of_libtorch() {
        for activation in ALL {
            let mut found = inputs();
            fastest(Activate { activation, numbers: &mut found });
            let exact = activation.forward(&Tensor::from_slice(&inputs()));
            let off = (Tensor::from_slice(&found) - exact).abs().max().double_value(&[]);
            assert!(off < 4e-6, "{activation:?}: {off}");
        }
    }

    #[test]
    fn every_processor_gives_the_same_bits() {
        for activation in ALL {
            let mut all = inputs();
            all.extend([f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, f32::MIN_POSITIVE, -0.0, 1e30, -1e30]);
            let [mut fast, mut plain] = [all.clone(), all];
            fastest(Activate { activation, numbers: &mut fast });
            Activate { activation, numbers: &mut plain }.run::<Plain>();
            let same = |(a, b): (&f32, &f32)| a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan();
            assert!(fast.iter().zip(&plain).all(same), "{activation:?}");
        }
    }
}
