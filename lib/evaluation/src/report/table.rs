//! Tables for a terminal: the means, and below them how each run differs from the baseline.

use super::cells::{Cell, MARK, cells, header};
use crate::RunScores;
use crate::significance::{Baseline, Compared};

pub(super) fn table(runs: &[RunScores], baseline: Option<&Baseline>) -> String {
    let cells = cells(runs, baseline);
    let is_any_marked = |column: usize| cells.iter().any(|row| row[column].is_marked);
    // Digits stand below digits, and the name of the metric above them.
    let blank = |column: usize| if is_any_marked(column) { " " } else { "" };
    let names = header(runs).into_iter().enumerate().map(|(column, name)| name + blank(column));
    let mut rows: Vec<Vec<String>> = vec![["run".to_owned()].into_iter().chain(names).collect()];
    for (run, row) in runs.iter().zip(&cells) {
        let text = |(column, cell): (usize, &Cell)| match cell.is_marked {
            true => format!("{}{MARK}", cell.text),
            false => cell.text.clone() + blank(column),
        };
        rows.push([run.run.clone()].into_iter().chain(row.iter().enumerate().map(text)).collect());
    }
    let mut text = aligned(&rows, 1);
    if let Some(baseline) = baseline {
        let name = &runs[baseline.place].run;
        if (0..rows[0].len() - 1).any(is_any_marked) {
            text += &format!("\n{MARK} {}\n", baseline.legend(name));
        }
        text += &differences(runs, baseline);
    }
    text
}

/// A row for each run and metric that is compared.
fn differences(runs: &[RunScores], baseline: &Baseline) -> String {
    let share = 100.0 * (1.0 - baseline.settings.alpha);
    let interval = format!("{}% interval", (share * 1e6).round() / 1e6);
    let names = ["run", "metric", "difference", &interval, "p (t)", "p (Fisher)", "wins", "ties", "losses"];
    let mut rows = vec![names.map(str::to_owned).to_vec()];
    for (run, compared) in runs.iter().zip(&baseline.compared) {
        for ((metric, _), compared) in run.values.iter().zip(compared) {
            let Some(Compared { alone, p_t_test_holm, p_fisher_holm, .. }) = compared else { continue };
            let (low, high) = alone.interval;
            rows.push(vec![
                run.run.clone(),
                metric.to_string(),
                format!("{:+.4}", alone.difference),
                format!("{low:+.4} to {high:+.4}"),
                probability(*p_t_test_holm),
                probability(*p_fisher_holm),
                alone.wins.to_string(),
                alone.ties.to_string(),
                alone.losses.to_string(),
            ]);
        }
    }
    let of = format!("\nDifferences from {} over {} queries", runs[baseline.place].run, baseline.queries);
    let corrected = if runs.len() > 2 { ", p after Holm's correction" } else { "" };
    format!("{of}{corrected}\n{}", aligned(&rows, 2))
}

fn probability(p: f64) -> String {
    match p < 0.0001 {
        true => "<0.0001".to_owned(),
        false => format!("{p:.4}"),
    }
}

/// Columns two blanks apart: the first ones begin below each other, the others end below each other.
fn aligned(rows: &[Vec<String>], left: usize) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..rows[0].len()).map(width).collect();
    let mut text = String::new();
    for row in rows {
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let gap = if column > 0 { "  " } else { "" };
            text += &match column < left {
                true => format!("{gap}{cell:<width$}"),
                false => format!("{gap}{cell:>width$}"),
            };
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
    text
}
