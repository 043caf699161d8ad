//! Two rows query by query: for how many the one is better, and by how much.

use hardmine_records::Result;
use plotters::prelude::*;

use crate::metrics::Scores;
use crate::plot::{Axes, BLUE, INK, ORANGE, WIDE};

/// How a metric differs between two rows, query by query.
pub(crate) struct Differences {
    /// Ids of the queries and their differences, the second row's value less the first's, largest first.
    pub(crate) sorted: Vec<(String, f64)>,
    pub(crate) wins: usize,
    pub(crate) ties: usize,
    pub(crate) losses: usize,
}

impl Differences {
    /// Over the queries that both have.
    pub(crate) fn new(first: &Scores, second: &Scores) -> Differences {
        let difference = |(query, value): (&String, &f64)| Some((query.clone(), value - first.values.get(query)?));
        let mut sorted: Vec<(String, f64)> = second.values.iter().filter_map(difference).collect();
        sorted.sort_by(|one, two| two.1.total_cmp(&one.1).then_with(|| one.0.cmp(&two.0)));
        let count = |which: fn(f64) -> bool| sorted.iter().filter(|(_, difference)| which(*difference)).count();
        let (wins, ties, losses) = (count(|d| d > 0.0), count(|d| d == 0.0), count(|d| d < 0.0));
        Differences { sorted, wins, ties, losses }
    }

    /// The mean of all differences.
    pub(crate) fn mean(&self) -> f64 {
        self.sorted.iter().map(|(_, difference)| difference).sum::<f64>() / self.sorted.len().max(1) as f64
    }

    /// The queries that differ most, in either direction.
    pub(crate) fn largest(&self, number: usize) -> Vec<(String, f64)> {
        let mut largest: Vec<(String, f64)> =
            self.sorted.iter().filter(|(_, difference)| *difference != 0.0).cloned().collect();
        largest.sort_by(|one, two| two.1.abs().total_cmp(&one.1.abs()).then_with(|| one.0.cmp(&two.0)));
        largest.truncate(number);
        largest
    }

    /// A bar for each query; neighbours of the same height are drawn as one.
    pub(crate) fn plot(&self, y_label: &str) -> Result<String> {
        let mut bars: Vec<(usize, usize, f64)> = Vec::new();
        for (place, &(_, difference)) in self.sorted.iter().enumerate() {
            match bars.last_mut() {
                Some((_, end, height)) if *height == difference => *end = place + 1,
                _ => bars.push((place, place + 1, difference)),
            }
        }
        let number = self.sorted.len().max(1) as f64;
        let furthest = bars.iter().map(|bar| bar.2.abs()).fold(0.1, f64::max) * 1.06;
        let axes = Axes { size: WIDE, x: 0.0..number, y: -furthest..furthest, x_label: "queries, sorted", y_label };
        axes.draw(|chart| {
            chart.draw_series(bars.iter().filter(|bar| bar.2 != 0.0).map(|&(start, end, height)| {
                let color = if height > 0.0 { BLUE } else { ORANGE };
                Rectangle::new([(start as f64, 0.0), (end as f64, height)], color.filled())
            }))?;
            chart.draw_series(LineSeries::new([(0.0, 0.0), (number, 0.0)], INK)).map(drop)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scores(values: &[(&str, f64)]) -> Scores {
        Scores { mean: 0.0, values: values.iter().map(|(query, value)| (query.to_string(), *value)).collect() }
    }

    #[test]
    fn queries_that_both_have_are_compared() {
        let first = scores(&[("a", 0.5), ("b", 0.5), ("c", 1.0), ("only first", 0.1)]);
        let second = scores(&[("a", 1.0), ("b", 0.5), ("c", 0.0), ("only second", 0.1)]);
        let differences = Differences::new(&first, &second);
        assert_eq!(differences.sorted, [("a".to_owned(), 0.5), ("b".to_owned(), 0.0), ("c".to_owned(), -1.0)]);
        assert_eq!((differences.wins, differences.ties, differences.losses), (1, 1, 1));
        assert_eq!(differences.largest(2), [("c".to_owned(), -1.0), ("a".to_owned(), 0.5)]);
        assert!(differences.plot("difference").unwrap().starts_with("<svg"));
    }
}
