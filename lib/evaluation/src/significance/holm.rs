//! Holm's correction for several tests.

/// Each p after Holm's correction (1979) over all of them, as statsmodels' `multipletests(method="holm")` and R's
/// `p.adjust` give it: the smallest is multiplied by their number, the next by one less, and so on, none falling below
/// the one before.
///
/// ```
/// assert_eq!(hardmine_evaluation::significance::holm(&[0.02, 0.01, 0.5]), [0.04, 0.03, 0.5]);
/// ```
pub fn holm(ps: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..ps.len()).collect();
    order.sort_by(|&one, &two| ps[one].total_cmp(&ps[two]));
    let mut corrected = vec![0.0; ps.len()];
    let mut least: f64 = 0.0;
    for (tests, index) in (1..=ps.len()).rev().zip(order) {
        least = least.max(ps[index] * tests as f64).min(1.0);
        corrected[index] = least;
    }
    corrected
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_r_gives() {
        // p.adjust(c(0.01, 0.04, 0.03, 0.005, 0.6), "holm")
        let expected = [0.04, 0.09, 0.09, 0.025, 0.6];
        for (found, expected) in holm(&[0.01, 0.04, 0.03, 0.005, 0.6]).iter().zip(expected) {
            assert!((found - expected).abs() < 1e-15);
        }
        assert_eq!(holm(&[0.9, 0.8]), [1.0, 1.0]);
        assert_eq!(holm(&[0.3]), [0.3]);
        assert!(holm(&[]).is_empty());
    }
}
