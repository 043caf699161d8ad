//! The score itself: an inner product in float32, summed in one fixed order, so that every machine, block size and
//! device gives the same bits; and how far a sum in any other order can be from it.

/// Number of partial sums: a multiple of what a vector register holds on any processor.
const LANES: usize = 32;

/// Inner product of two vectors of the same dimension E. Lane l sums the products l, l+32, l+64, … in that order, then
/// the lanes are summed pairwise. There is no fused multiply-add, because not every processor has it.
pub(crate) fn inner_product(a: &[f32], b: &[f32]) -> f32 {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") {
            // SAFETY: the processor has the instructions that the function is compiled for.
            return unsafe { with_avx512(a, b) };
        }
        if is_x86_feature_detected!("avx2") {
            // SAFETY: as above.
            return unsafe { with_avx2(a, b) };
        }
    }
    in_lanes(a, b)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn with_avx512(a: &[f32], b: &[f32]) -> f32 {
    in_lanes(a, b)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn with_avx2(a: &[f32], b: &[f32]) -> f32 {
    in_lanes(a, b)
}

#[inline(always)]
fn in_lanes(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0; LANES];
    let (a_lanes, a_rest) = a.as_chunks::<LANES>();
    let (b_lanes, b_rest) = b.as_chunks::<LANES>();
    for (a, b) in a_lanes.iter().zip(b_lanes) {
        for lane in 0..LANES {
            sums[lane] += a[lane] * b[lane];
        }
    }
    for (sum, (a, b)) in sums.iter_mut().zip(a_rest.iter().zip(b_rest)) {
        *sum += a * b;
    }
    let mut width = LANES;
    while width > 1 {
        width /= 2;
        for lane in 0..width {
            sums[lane] += sums[lane + width];
        }
    }
    sums[0]
}

/// Euclidean length of a vector, to the precision of float32.
pub(super) fn norm(vector: &[f32]) -> f32 {
    let squared = inner_product(vector, vector);
    if squared > 1e-20 {
        return squared.sqrt();
    }
    // Squares of small numbers vanish in float32, and the length is part of a bound.
    let squared: f64 = vector.iter().map(|x| f64::from(*x) * f64::from(*x)).sum();
    squared.sqrt() as f32 + f32::MIN_POSITIVE
}

/// How far two float32 inner products of dimension `dim`, each summed in an order of its own, can be apart, for
/// vectors with the given [`norm`]s.
///
/// Each is within n·u/(1−n·u)·Σ|aᵢbᵢ| of the true value, u = 2⁻²⁴ (Higham, *Accuracy and Stability of Numerical
/// Algorithms*, 2002, §3.1), and Σ|aᵢbᵢ| ≤ ‖a‖‖b‖. One percent more covers 1−n·u and the rounding of the norms, eight
/// terms more the rounding where the bound is added or subtracted; the last term is for products too small for a normal
/// float32, which some libraries flush to zero.
pub(super) fn error_bound(dim: usize, norm: f32, other_norm: f32) -> f32 {
    let longest = f64::from(norm) * f64::from(other_norm);
    if longest > f64::from(f32::MAX) / 2.0 {
        return f32::INFINITY; // where a partial sum may overflow, nothing is known
    }
    let unit = f64::from(f32::EPSILON) / 2.0;
    let relative = 2.0 * 1.01 * (dim + 8) as f64 * unit;
    let tiny = 2.0 * dim as f64 * f64::from(f32::MIN_POSITIVE);
    (relative * longest + tiny) as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exact::testing::random;

    #[test]
    fn every_instruction_set_gives_the_same_bits_near_the_true_value() {
        for dim in [1, 5, 31, 32, 33, 384, 768, 1000] {
            let (a, b) = (random(1, dim, 1), random(1, dim, 2));
            let exact: f64 = a.iter().zip(&b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
            assert_eq!(inner_product(&a, &b).to_bits(), in_lanes(&a, &b).to_bits());
            assert!(
                (f64::from(inner_product(&a, &b)) - exact).abs() <= f64::from(error_bound(dim, norm(&a), norm(&b)))
            );
        }
    }

    #[test]
    fn the_error_bound_covers_other_orders_of_summing() {
        for seed in 0..200 {
            let (a, b) = (random(1, 768, seed), random(1, 768, seed + 1000));
            let backwards = a.iter().zip(&b).rev().fold(0.0, |sum, (a, b)| sum + a * b);
            assert!((inner_product(&a, &b) - backwards).abs() <= error_bound(768, norm(&a), norm(&b)));
        }
    }
}
