//! What stands in a table's cells, whatever it is written in.

use crate::significance::Baseline;
use crate::{Metric, RunScores};

/// The sign of a significant difference.
pub(super) const MARK: char = '†';

/// The value of a run by a metric.
pub(super) struct Cell {
    /// With four decimals; of counts, without.
    pub(super) text: String,
    /// Whether no other run shows a higher value. Never for counts, or where there is one run only.
    pub(super) is_best: bool,
    /// Whether it differs from the baseline.
    pub(super) is_marked: bool,
}

/// The names of the columns, without that of the runs.
pub(super) fn header(runs: &[RunScores]) -> Vec<String> {
    runs.iter().take(1).flat_map(|run| run.means()).map(|(metric, _)| metric.to_string()).collect()
}

/// A row for each run.
pub(super) fn cells(runs: &[RunScores], baseline: Option<&Baseline>) -> Vec<Vec<Cell>> {
    let shown: Vec<Vec<String>> =
        runs.iter().map(|run| run.means().map(|(metric, value)| show(metric, value)).collect()).collect();
    // Values that look the same are equally good.
    let best = |column: usize| {
        let values = shown.iter().filter_map(|row| row[column].parse::<f64>().ok());
        values.max_by(f64::total_cmp)
    };
    let row = |row: usize, run: &RunScores| {
        let cell = |(column, (metric, _)): (usize, &(Metric, Vec<f64>))| {
            let text = shown[row][column].clone();
            let is_best = runs.len() > 1 && !metric.is_count() && text.parse().ok() == best(column);
            let is_marked = baseline.is_some_and(|baseline| baseline.is_marked(row, column));
            Cell { text, is_best, is_marked }
        };
        run.values.iter().enumerate().map(cell).collect()
    };
    runs.iter().enumerate().map(|(number, run)| row(number, run)).collect()
}

fn show(metric: &Metric, value: f64) -> String {
    match metric.is_count() {
        true => format!("{value:.0}"),
        false => format!("{value:.4}"),
    }
}
