//! The score itself: a float32 inner product summed in one fixed order, so that every machine, block size
//! and device gives the same bits, and how far any other order of summing can be from it.

/// Partial sums, one a lane; a multiple of every vector register's width.
const LANES: usize = 32;

/// Inner product of two vectors of the same length E. Lane l sums the products l, l+32, l+64, … in that order,
/// then the lanes are summed pairwise. No fused multiply-add, which not every processor has.
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") {
            // SAFETY: the processor has AVX-512.
            return unsafe { dot_avx512(a, b) };
        }
        if is_x86_feature_detected!("avx2") {
            // SAFETY: the processor has AVX2.
            return unsafe { dot_avx2(a, b) };
        }
    }
    dot_lanes(a, b)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn dot_avx512(a: &[f32], b: &[f32]) -> f32 {
    dot_lanes(a, b)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn dot_avx2(a: &[f32], b: &[f32]) -> f32 {
    dot_lanes(a, b)
}

#[inline(always)]
fn dot_lanes(a: &[f32], b: &[f32]) -> f32 {
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

/// Euclidean length of a vector, to float32 precision.
pub(crate) fn norm(vector: &[f32]) -> f32 {
    let squared = dot(vector, vector);
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
/// terms more the rounding where the slack is added or subtracted; the last term is for products too small for
/// a normal float32, which some libraries flush to zero.
pub(crate) fn slack(dim: usize, norm: f32, other: f32) -> f32 {
    let longest = f64::from(norm) * f64::from(other);
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

    fn vector(dim: usize, seed: u32) -> Vec<f32> {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 23) as f32 - 1.0
        };
        (0..dim).map(|_| next()).collect()
    }

    #[test]
    fn every_instruction_set_gives_the_same_bits_near_the_true_value() {
        for dim in [1, 5, 31, 32, 33, 384, 768, 1000] {
            let (a, b) = (vector(dim, 1), vector(dim, 2));
            let exact: f64 = a.iter().zip(&b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
            assert_eq!(dot(&a, &b).to_bits(), dot_lanes(&a, &b).to_bits());
            assert!((f64::from(dot(&a, &b)) - exact).abs() <= f64::from(slack(dim, norm(&a), norm(&b))));
        }
    }

    #[test]
    fn slack_covers_other_orders_of_summing() {
        for seed in 0..200 {
            let (a, b) = (vector(768, seed), vector(768, seed + 1000));
            let backwards = a.iter().zip(&b).rev().fold(0.0, |sum, (a, b)| sum + a * b);
            assert!((dot(&a, &b) - backwards).abs() <= slack(768, norm(&a), norm(&b)));
        }
    }
}
