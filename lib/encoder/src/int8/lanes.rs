//! Sixteen numbers side by side, for what is computed between two products.
//!
//! What is written once over [`Lanes`] is compiled for each kind of processor, and gives the same bits on all of them:
//! every operation is rounded as IEEE 754 says, and sums are taken in the same order.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

/// Numbers side by side.
pub(super) const LANES: usize = 16;

/// Sixteen numbers of float32, and what can be done with each of them.
pub(super) trait Lanes: Copy {
    /// Whether there are registers for many of them: with AVX-512, a product keeps 24 in registers.
    const MANY: bool;

    fn splat(x: f32) -> Self;
    fn load(x: &[f32; LANES]) -> Self;
    fn store(self, place: &mut [f32; LANES]);
    fn plus(self, other: Self) -> Self;
    fn minus(self, other: Self) -> Self;
    fn times(self, other: Self) -> Self;
    fn over(self, other: Self) -> Self;
    /// self · factor + term, rounded once.
    fn times_plus(self, factor: Self, term: Self) -> Self;
    /// The larger one; `other` where one is NaN.
    fn larger(self, other: Self) -> Self;
    /// The smaller one; `other` where one is NaN.
    fn smaller(self, other: Self) -> Self;
    /// The nearest whole number, the even one of two.
    fn round(self) -> Self;
    /// self · 2ⁿ, for whole numbers n from -126 to 127.
    fn times_power_of_two(self, n: Self) -> Self;

    /// The first numbers, `fill` behind them.
    #[inline(always)]
    fn load_some(x: &[f32], fill: f32) -> Self {
        if x.is_empty() { Self::splat(fill) } else { Self::load(&filled(x, fill)) }
    }

    /// Stores as many numbers as there is room for.
    #[inline(always)]
    fn store_some(self, place: &mut [f32]) {
        if !place.is_empty() {
            copy(&self.numbers(), place);
        }
    }

    #[inline(always)]
    fn numbers(self) -> [f32; LANES] {
        let mut all = [0.0; LANES];
        self.store(&mut all);
        all
    }

    /// The sum of the numbers.
    #[inline(always)]
    fn sum(self) -> f32 {
        folded(self.numbers(), |one, other| one + other)
    }

    /// The largest of the numbers.
    #[inline(always)]
    fn largest(self) -> f32 {
        folded(self.numbers(), |one, other| if one > other { one } else { other })
    }
}

/// The second half is folded onto the first until one number is left.
#[inline(always)]
fn folded(numbers: [f32; LANES], fold: impl Fn(f32, f32) -> f32) -> f32 {
    let eight: [f32; 8] = std::array::from_fn(|place| fold(numbers[place], numbers[place + 8]));
    let four: [f32; 4] = std::array::from_fn(|place| fold(eight[place], eight[place + 4]));
    let two: [f32; 2] = std::array::from_fn(|place| fold(four[place], four[place + 2]));
    fold(two[0], two[1])
}

/// The numbers, `fill` behind them. Most rows end with a full register, and so this is not inlined.
#[inline(never)]
fn filled(x: &[f32], fill: f32) -> [f32; LANES] {
    let mut all = [fill; LANES];
    all[..x.len()].copy_from_slice(x);
    all
}

/// Copies as many numbers as there is room for.
#[inline(never)]
fn copy(numbers: &[f32; LANES], place: &mut [f32]) {
    place.copy_from_slice(&numbers[..place.len()]);
}

/// Something that can be computed with lanes of any kind. `run` and what it calls with lanes must be inlined, always,
/// so that it is compiled for the processor whose lanes they are. No closure may use lanes: it would not be.
pub(super) trait Work {
    type Output;
    fn run<L: Lanes>(self) -> Self::Output;
}

/// Does the work in the fastest way that the processor has.
pub(super) fn fastest<W: Work>(work: W) -> W::Output {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") {
            // SAFETY: the processor has the instructions.
            return unsafe { with_avx512(work) };
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            // SAFETY: the processor has the instructions.
            return unsafe { with_avx2(work) };
        }
    }
    work.run::<Plain>()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn with_avx512<W: Work>(work: W) -> W::Output {
    work.run::<Avx512>()
}

/// The compiler finds the registers for plain lanes by itself.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn with_avx2<W: Work>(work: W) -> W::Output {
    work.run::<Plain>()
}

/// Lanes for any processor.
#[derive(Clone, Copy)]
pub(super) struct Plain([f32; LANES]);

impl Plain {
    #[inline(always)]
    fn each(self, other: Self, f: impl Fn(f32, f32) -> f32) -> Self {
        let mut all = self.0;
        for (one, other) in all.iter_mut().zip(other.0) {
            *one = f(*one, other);
        }
        Plain(all)
    }
}

impl Lanes for Plain {
    const MANY: bool = false;

    #[inline(always)]
    fn splat(x: f32) -> Self {
        Plain([x; LANES])
    }

    #[inline(always)]
    fn load(x: &[f32; LANES]) -> Self {
        Plain(*x)
    }

    #[inline(always)]
    fn store(self, place: &mut [f32; LANES]) {
        *place = self.0;
    }

    #[inline(always)]
    fn plus(self, other: Self) -> Self {
        self.each(other, |one, other| one + other)
    }

    #[inline(always)]
    fn minus(self, other: Self) -> Self {
        self.each(other, |one, other| one - other)
    }

    #[inline(always)]
    fn times(self, other: Self) -> Self {
        self.each(other, |one, other| one * other)
    }

    #[inline(always)]
    fn over(self, other: Self) -> Self {
        self.each(other, |one, other| one / other)
    }

    #[inline(always)]
    fn times_plus(self, factor: Self, term: Self) -> Self {
        let mut all = self.0;
        for ((one, factor), term) in all.iter_mut().zip(factor.0).zip(term.0) {
            *one = one.mul_add(factor, term);
        }
        Plain(all)
    }

    #[inline(always)]
    fn larger(self, other: Self) -> Self {
        self.each(other, |one, other| if one > other { one } else { other })
    }

    #[inline(always)]
    fn smaller(self, other: Self) -> Self {
        self.each(other, |one, other| if one < other { one } else { other })
    }

    #[inline(always)]
    fn round(self) -> Self {
        self.each(self, |x, _| x.round_ties_even())
    }

    #[inline(always)]
    fn times_power_of_two(self, n: Self) -> Self {
        self.each(n, |x, n| x * f32::from_bits(((n as i32 + 127) << 23) as u32))
    }
}

/// A register of AVX-512. There is one only inside of [`with_avx512`], where the processor has the instructions.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy)]
struct Avx512(__m512);

#[cfg(target_arch = "x86_64")]
impl Lanes for Avx512 {
    const MANY: bool = true;

    #[inline(always)]
    fn splat(x: f32) -> Self {
        // SAFETY: see `Avx512`; so it is below.
        Avx512(unsafe { _mm512_set1_ps(x) })
    }

    #[inline(always)]
    fn load(x: &[f32; LANES]) -> Self {
        // SAFETY: a register holds as many numbers.
        Avx512(unsafe { _mm512_loadu_ps(x.as_ptr()) })
    }

    #[inline(always)]
    fn store(self, place: &mut [f32; LANES]) {
        // SAFETY: a register holds as many numbers.
        unsafe { _mm512_storeu_ps(place.as_mut_ptr(), self.0) }
    }

    #[inline(always)]
    fn plus(self, other: Self) -> Self {
        // SAFETY: see `Avx512`.
        Avx512(unsafe { _mm512_add_ps(self.0, other.0) })
    }

    #[inline(always)]
    fn minus(self, other: Self) -> Self {
        // SAFETY: see `Avx512`.
        Avx512(unsafe { _mm512_sub_ps(self.0, other.0) })
    }

    #[inline(always)]
    fn times(self, other: Self) -> Self {
        // SAFETY: see `Avx512`.
        Avx512(unsafe { _mm512_mul_ps(self.0, other.0) })
    }

    #[inline(always)]
    fn over(self, other: Self) -> Self {
        // SAFETY: see `Avx512`.
        Avx512(unsafe { _mm512_div_ps(self.0, other.0) })
    }

    #[inline(always)]
    fn times_plus(self, factor: Self, term: Self) -> Self {
        // SAFETY: see `Avx512`.
        Avx512(unsafe { _mm512_fmadd_ps(self.0, factor.0, term.0) })
    }

    #[inline(always)]
    fn larger(self, other: Self) -> Self {
        // SAFETY: see `Avx512`.
        Avx512(unsafe { _mm512_max_ps(self.0, other.0) })
    }

    #[inline(always)]
    fn smaller(self, other: Self) -> Self {
        // SAFETY: see `Avx512`.
        Avx512(unsafe { _mm512_min_ps(self.0, other.0) })
    }

    #[inline(always)]
    fn round(self) -> Self {
        // SAFETY: see `Avx512`.
        Avx512(unsafe { _mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(self.0) })
    }

    #[inline(always)]
    fn times_power_of_two(self, n: Self) -> Self {
        // SAFETY: see `Avx512`.
        Avx512(unsafe { _mm512_scalef_ps(self.0, n.0) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each operation once.
    #[derive(Clone, Copy)]
    struct Operations {
        x: [f32; LANES],
        y: [f32; LANES],
    }

    impl Work for Operations {
        type Output = Vec<[u32; LANES]>;

        #[inline(always)]
        fn run<L: Lanes>(self) -> Self::Output {
            let (x, y) = (L::load(&self.x), L::load(&self.y));
            // Of NaN this makes -90.
            let n = y.round().larger(L::splat(-90.0)).smaller(L::splat(90.0));
            let all = [
                x.plus(y),
                x.minus(y),
                x.times(y),
                x.over(y),
                x.times_plus(y, x),
                x.larger(y),
                x.smaller(y),
                x.round(),
                x.times_power_of_two(n),
                L::splat(x.sum()),
                L::splat(x.largest()),
                L::load_some(&self.x[..5], 2.0),
            ];
            let mut found = Vec::new();
            for lanes in all {
                // One NaN is as good as another.
                found.push(lanes.numbers().map(|x| if x.is_nan() { u32::MAX } else { x.to_bits() }));
            }
            found
        }
    }

    #[test]
    fn every_operation_gives_the_same_bits_on_every_processor() {
        let numbers = |factor: f32| std::array::from_fn(|place| (place as f32 - 7.3) * factor);
        let special = [0.0, -0.0, 0.5, -1.5, 2.5, 1e30, -1e30, f32::MAX, f32::MIN_POSITIVE, f32::INFINITY];
        let mut odd = [f32::NAN; LANES];
        odd[..special.len()].copy_from_slice(&special);
        for (x, y) in [(numbers(0.37), numbers(-1.1)), (odd, numbers(3.0)), (numbers(1e-3), odd), (odd, odd)] {
            let work = Operations { x, y };
            let plain = work.run::<Plain>();
            assert_eq!(fastest(work), plain);
            #[cfg(target_arch = "x86_64")]
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                // SAFETY: the processor has the instructions.
                assert_eq!(unsafe { with_avx2(work) }, plain);
            }
        }
    }
}
