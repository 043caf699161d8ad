//! Vectors rounded to bfloat16, and what the rounding lost.

use tch::Kind;

use super::centred::Centred;
use super::tensors::Number;

/// The upper half of the bits of a float32.
#[derive(Clone, Copy, Default)]
#[repr(transparent)]
pub(super) struct Bfloat16(u16);

// SAFETY: libtorch's bfloat16 is the upper half of a float32, too, in 16 bits, all of whose patterns are valid.
unsafe impl Number for Bfloat16 {
    const KIND: Kind = Kind::BFloat16;
}

impl Bfloat16 {
    pub const ZERO: Bfloat16 = Bfloat16(0);

    /// The nearest number, ties to even. What is too large becomes infinite, and its error with it; what is too small
    /// for a normal number becomes 0, which the processor would take it for anyway.
    #[inline(always)]
    fn nearest(x: f32) -> Self {
        let bits = x.to_bits();
        let rounded = ((bits + 0x7fff + ((bits >> 16) & 1)) >> 16) as u16;
        Bfloat16(if rounded & 0x7f80 == 0 { 0 } else { rounded })
    }

    #[inline(always)]
    pub fn to_f32(self) -> f32 {
        f32::from_bits(u32::from(self.0) << 16)
    }

    /// The larger of this number, which is not negative, and the magnitude of another.
    #[inline(always)]
    pub fn or_magnitude(self, other: Self) -> Self {
        // Without a sign, the bits are in the order of the numbers, infinity and NaN last.
        Bfloat16(self.0.max(other.0 & 0x7fff))
    }
}

/// Vectors x relative to a mean, x′, and rounded, x̃.
pub(super) struct Rounded {
    /// x̃, (N, E), row by row.
    pub bits: Vec<Bfloat16>,
    /// What is known of them.
    pub about: Centred,
}

impl Rounded {
    /// Rounds `vectors` (N, E) relative to `mean` (E,), and multiplies them with `y` (E,) before.
    pub fn new(vectors: &[f32], mean: &[f32], y: &[f32]) -> Rounded {
        let dim = mean.len();
        let mut rounded = Rounded { bits: vec![Bfloat16::ZERO; vectors.len()], about: Centred::default() };
        let (mut centred, mut error) = (vec![0.0; dim], vec![0.0; dim]);
        for (vector, bits) in vectors.chunks(dim).zip(rounded.bits.chunks_mut(dim)) {
            let numbers = vector.iter().zip(mean).zip(centred.iter_mut().zip(error.iter_mut())).zip(bits);
            for (((&x, &mean), (centred, error)), bits) in numbers {
                *centred = x - mean;
                *bits = Bfloat16::nearest(*centred);
                *error = *centred - bits.to_f32();
            }
            rounded.about.push(&centred, &error, y);
        }
        rounded
    }
}
