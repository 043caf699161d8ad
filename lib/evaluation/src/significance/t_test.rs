//! Student's t-test of pairs.

use statrs::function::beta::beta_reg;

pub(super) struct TTest {
    /// The mean.
    pub(super) difference: f64,
    pub(super) t: f64,
    /// Two-sided.
    pub(super) p: f64,
}

/// Tests whether the mean of two or more differences is 0, as scipy's `ttest_rel` does. Where all differences are 0,
/// scipy has no value; here p is 1, because then nothing speaks against the runs being equal, and a correction over
/// several runs needs a number.
pub(super) fn t_test(differences: &[f64]) -> TTest {
    let number = differences.len() as f64;
    let mean = differences.iter().sum::<f64>() / number;
    let squares: f64 = differences.iter().map(|difference| (difference - mean).powi(2)).sum();
    let freedom = number - 1.0;
    let error = (squares / freedom / number).sqrt();
    let t = match mean == 0.0 {
        true => 0.0,
        false => mean / error,
    };
    TTest { difference: mean, t, p: two_sided(t, freedom) }
}

/// The probability of a t at least as far from 0, I(ν / (ν + t²); ν/2, 1/2) with Abramowitz and Stegun's 26.5.27. For
/// small t, 1 less the integral's other part is more exact.
fn two_sided(t: f64, freedom: f64) -> f64 {
    let square = t * t;
    if square.is_infinite() {
        0.0
    } else if square > 1.0 {
        beta_reg(freedom / 2.0, 0.5, freedom / (freedom + square))
    } else {
        1.0 - beta_reg(0.5, freedom / 2.0, square / (freedom + square))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Figures of scipy 1.17.1: `ttest_1samp(differences, 0)`, which `ttest_rel` of the pairs is.
    #[test]
    fn equals_scipy() {
        let many: Vec<f64> = (0..200).map(|i| f64::from(i * 7919 % 101) / 101.0 - 0.45).collect();
        let far: Vec<f64> = (0..50).map(|i| 1.0 + f64::from(i % 5) / 10.0).collect();
        for (differences, t, p) in [
            (vec![0.1, 0.2], 3.0000000000000004, 0.20483276469913342),
            (vec![0.1, 0.2, 0.0, 0.4], 2.04939015319192, 0.13284184055977563),
            (vec![0.1, -0.2, 0.05, 0.4, -0.3, 0.0, 0.0], 0.08421519210665197, 0.9356249285772071),
            (many, 2.2481478984588215, 0.025663415782537287),
            (far, 59.39696961967, 2.547377454556431e-47),
        ] {
            let found = t_test(&differences);
            assert!((found.t / t - 1.0).abs() < 1e-11, "t {} instead of {t}", found.t);
            assert!((found.p / p - 1.0).abs() < 1e-9, "p {} instead of {p}", found.p);
        }
    }

    #[test]
    fn no_difference_and_always_the_same() {
        let none = t_test(&[0.0, 0.0, 0.0]);
        assert_eq!((none.t, none.p), (0.0, 1.0));
        let same = t_test(&[0.25, 0.25]);
        assert_eq!((same.t, same.p), (f64::INFINITY, 0.0));
        let both = t_test(&[0.25, -0.25]);
        assert_eq!((both.t, both.p), (0.0, 1.0));
    }
}
