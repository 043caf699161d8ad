//! The table, with marks of significance.

use hardmine_evaluation::Metric;
use hardmine_evaluation::significance::{Comparison, Settings, compare, holm};

use crate::folder::Folder;
use crate::metrics::{Metrics, Scores};
use crate::page::{Cell, Header, Table, TableRow};

/// What marks a significant difference, as in the tables of score.
const MARK: &str = "†";

/// Differences are tested as score does it by default, with the t-test of pairs. The page shows nothing of Fisher's
/// test.
fn settings() -> Settings {
    Settings { permutations: 0, ..Settings::default() }
}

/// A comparison with the baseline, and its p after Holm's correction over the rows of the column.
type Tested = Option<(Comparison, f64)>;

/// The table of all rows that have metrics, compared with the row `baseline`.
pub(crate) fn table(folder: &Folder, metrics: &Metrics, baseline: Option<usize>) -> Table {
    let columns = 0..metrics.columns.len();
    let has_values = |row: &usize| metrics.scores[*row].iter().any(Option::is_some);
    let rows: Vec<usize> = (0..folder.rows.len()).filter(has_values).collect();
    let tests: Vec<Vec<Tested>> = columns.clone().map(|column| tests(metrics, column, baseline)).collect();
    let best: Vec<Option<f64>> = columns.clone().map(|column| best(metrics, column)).collect();
    let header = |column: usize| {
        let scores = metrics.scores.iter().find_map(|scores| scores[column].as_ref());
        let queries = scores.map_or(0, |scores| scores.values.len());
        let about = format!("{}, {queries} {}", metrics.columns[column].split, plural(queries, "query", "queries"));
        Header { metric: metrics.columns[column].metric.clone(), about }
    };
    let cell = |row: usize, column: usize| {
        let scores = metrics.get(row, column)?;
        let tested = tests[column][row].as_ref();
        Some(Cell {
            value: format!("{:?}", scores.mean),
            shown: format!("{:.4}", scores.mean),
            is_best: rows.len() > 1 && Some(scores.mean) == best[column],
            mark: if tested.is_some_and(|(_, p)| *p < settings().alpha) { MARK } else { "" },
            about: tested.map_or(String::new(), |(comparison, p)| about(comparison, *p)),
        })
    };
    let row = |&row: &usize| TableRow {
        label: folder.rows[row].label.clone(),
        cells: columns.clone().map(|column| cell(row, column)).collect(),
    };
    let tested = tests.iter().map(|tests| tests.iter().flatten().count()).max().unwrap_or(0);
    Table {
        columns: columns.clone().map(header).collect(),
        rows: rows.iter().map(row).collect(),
        caption: caption(folder, metrics, baseline, rows.len(), tested),
    }
}

/// What is said below the table.
fn caption(folder: &Folder, metrics: &Metrics, baseline: Option<usize>, rows: usize, tested: usize) -> Vec<String> {
    let mut caption = Vec::new();
    if rows > 1 {
        caption.push("The best value of each column is in bold.".to_owned());
    }
    let Some(baseline) = baseline.filter(|_| rows > 1) else { return caption };
    let name = &folder.rows[baseline].label;
    if tested > 0 {
        let corrected = match tested {
            1 => String::new(),
            tested => format!(" after Holm's correction over {tested} rows in each column"),
        };
        caption.push(format!("{MARK} differs from {name}: p < {} by a paired t-test{corrected}.", settings().alpha));
    }
    let untested = |row: &usize| {
        let untested = |column| metrics.get(*row, column).is_some() && pairs(metrics, column, *row, baseline).is_none();
        *row != baseline && (0..metrics.columns.len()).any(untested)
    };
    let untested: Vec<&str> =
        (0..folder.rows.len()).filter(untested).map(|row| folder.rows[row].label.as_str()).collect();
    if !untested.is_empty() {
        caption.push(format!(
            "Not every value of {} was tested: it needs the values of the same two or more queries as {name}.",
            untested.join(", ")
        ));
    }
    caption
}

/// The rows of a column, tested against the baseline.
fn tests(metrics: &Metrics, column: usize, baseline: Option<usize>) -> Vec<Tested> {
    let mut tests: Vec<Tested> = vec![None; metrics.scores.len()];
    let Some(baseline) = baseline.filter(|_| !is_count(&metrics.columns[column].metric)) else { return tests };
    let others = (0..tests.len()).filter(|&row| row != baseline);
    let compared: Vec<(usize, Comparison)> = others
        .filter_map(|row| {
            let (values, others) = pairs(metrics, column, row, baseline)?;
            Some((row, compare(&values, &others, settings())))
        })
        .collect();
    let corrected = holm(&compared.iter().map(|(_, comparison)| comparison.p_t_test).collect::<Vec<_>>());
    for ((row, comparison), p) in compared.into_iter().zip(corrected) {
        tests[row] = Some((comparison, p));
    }
    tests
}

/// The values of a row and of the baseline in the same order; none if they are of other queries, or of fewer than two.
fn pairs(metrics: &Metrics, column: usize, row: usize, baseline: usize) -> Option<(Vec<f64>, Vec<f64>)> {
    same_queries(metrics.get(row, column)?, metrics.get(baseline, column)?)
}

fn same_queries(one: &Scores, other: &Scores) -> Option<(Vec<f64>, Vec<f64>)> {
    let are_same = one.values.len() > 1 && one.values.keys().eq(other.values.keys());
    are_same.then(|| (one.values.values().copied().collect(), other.values.values().copied().collect()))
}

/// Whether a metric counts documents, which are not compared.
fn is_count(metric: &str) -> bool {
    metric.parse().is_ok_and(|metric: Metric| metric.is_count())
}

/// The best value of a column; none where a higher value is not a better one.
fn best(metrics: &Metrics, column: usize) -> Option<f64> {
    let means = metrics.scores.iter().filter_map(|scores| scores[column].as_ref()).map(|scores| scores.mean);
    means.reduce(f64::max).filter(|_| !is_count(&metrics.columns[column].metric))
}

fn about(comparison: &Comparison, p: f64) -> String {
    let Comparison { difference, interval: (low, high), wins, ties, losses, .. } = comparison;
    format!(
        "{difference:+.4} against the baseline, 95 % interval {low:+.4} to {high:+.4}, {}; {wins} wins, {ties} ties, {losses} losses",
        probability(p)
    )
}

/// Whether the difference of two rows may be chance.
pub(crate) fn about_pair(first: &Scores, second: &Scores) -> String {
    let Some((values, others)) = same_queries(second, first) else {
        return "There is no test, because the two rows have values of other queries, or of one query only.".to_owned();
    };
    let comparison = compare(&values, &others, settings());
    let (low, high) = comparison.interval;
    format!(
        "The mean difference is between {low:+.4} and {high:+.4} with 95 % confidence (bootstrap), and {} by a paired t-test of these two rows alone.",
        probability(comparison.p_t_test)
    )
}

fn probability(p: f64) -> String {
    if p < 0.0001 { "p < 0.0001".to_owned() } else { format!("p = {p:.4}") }
}

fn plural<'a>(number: usize, one: &'a str, many: &'a str) -> &'a str {
    if number == 1 { one } else { many }
}
