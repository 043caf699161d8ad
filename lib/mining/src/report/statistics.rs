//! Quartiles and histograms.

/// The values of a distribution that a report has, by name.
pub(crate) fn statistics(mut values: Vec<f32>) -> Vec<(&'static str, f64)> {
    values.sort_unstable_by(f32::total_cmp);
    let mut found = vec![("count", values.len() as f64)];
    if !values.is_empty() {
        let mean = values.iter().copied().map(f64::from).sum::<f64>() / values.len() as f64;
        let quartiles = [("min", 0.0), ("q1", 0.25), ("median", 0.5), ("q3", 0.75), ("max", 1.0)];
        found.push(("mean", mean));
        found.extend(quartiles.map(|(name, share)| (name, quantile(&values, share))));
    }
    found
}

/// The value below which a `share` of the ascending `sorted` values lies. Between two of them it is interpolated, as
/// numpy and R do by default (Hyndman and Fan 1996, definition 7).
fn quantile(sorted: &[f32], share: f64) -> f64 {
    let place = share * (sorted.len() - 1) as f64;
    let (low, high) = (f64::from(sorted[place.floor() as usize]), f64::from(sorted[place.ceil() as usize]));
    low + (high - low) * place.fract()
}

/// Number of bars of a histogram.
const BARS: usize = 40;

/// How many of `values` are in each of equal intervals from `low` to `high`, with the lower ends.
pub(crate) fn histogram(values: &[f32], low: f32, high: f32) -> Vec<(f64, usize)> {
    let width = ((f64::from(high) - f64::from(low)) / BARS as f64).max(f64::MIN_POSITIVE);
    let mut counts = [0; BARS];
    for value in values {
        let bar = (f64::from(*value) - f64::from(low)) / width;
        counts[(bar as usize).min(BARS - 1)] += 1;
    }
    counts.into_iter().enumerate().map(|(bar, count)| (f64::from(low) + bar as f64 * width, count)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quartiles_are_numpys() {
        // numpy.quantile([1, 2, 4, 8], [0, .25, .5, .75, 1])
        let expected = [("count", 4.0), ("mean", 3.75), ("min", 1.0), ("q1", 1.75), ("median", 3.0), ("q3", 5.0)];
        assert_eq!(statistics(vec![8.0, 1.0, 4.0, 2.0])[..6], expected);
        assert_eq!(statistics(vec![]), [("count", 0.0)]);
        assert!(statistics(vec![0.5])[1..].iter().all(|(_, value)| *value == 0.5));
    }

    #[test]
    fn every_value_is_in_a_bar() {
        let bars = histogram(&[0.0, 0.5, 1.0, 1.0], 0.0, 1.0);
        assert_eq!(bars.iter().map(|bar| bar.1).sum::<usize>(), 4);
        assert_eq!((bars[0].1, bars[20].1, bars[39].1), (1, 1, 2));
        assert_eq!(histogram(&[3.0], 3.0, 3.0)[0], (3.0, 1));
    }
}
