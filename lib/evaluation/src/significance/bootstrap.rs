//! An interval for a mean difference.

use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64;

use super::Settings;

/// The interval that 1 - alpha of the means of random samples lie in, each of as many queries as there are, drawn with
/// replacement (the percentile method of Efron, as `method="percentile"` of scipy's `bootstrap`).
pub(super) fn interval(differences: &[f64], settings: Settings) -> (f64, f64) {
    let mut random = Pcg64::seed_from_u64(settings.seed);
    let number = differences.len() as u32;
    let mut mean = || {
        let drawn = (0..number).map(|_| differences[random.random_range(0..number) as usize]);
        drawn.sum::<f64>() / f64::from(number)
    };
    let mut means: Vec<f64> = (0..settings.resamples).map(|_| mean()).collect();
    means.sort_by(f64::total_cmp);
    (quantile(&means, settings.alpha / 2.0), quantile(&means, 1.0 - settings.alpha / 2.0))
}

/// Between the two sorted values that the quantile lies between, as numpy has it.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = share * (sorted.len() - 1) as f64;
    let (below, above) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
    below + (above - below) * place.fract()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_as_of_numpy() {
        let sorted = [1.0, 2.0, 4.0, 8.0];
        assert_eq!(
            [0.0, 0.5, 0.9, 1.0].map(|share| (quantile(&sorted, share) * 1e9).round() / 1e9),
            [1.0, 3.0, 6.8, 8.0]
        );
    }

    /// Of many values the interval is that of the normal distribution: the mean ± 1.96 standard errors.
    #[test]
    fn many_values_have_a_normal_mean() {
        let differences: Vec<f64> = (0..1000).map(|i| f64::from(i % 10)).collect();
        let (low, high) = interval(&differences, Settings::default());
        let error = 1.96 * (8.25f64 / 1000.0).sqrt();
        assert!((low - (4.5 - error)).abs() < 0.01 && (high - (4.5 + error)).abs() < 0.01, "{low} to {high}");
    }
}
