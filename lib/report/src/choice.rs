//! Which rows, and which column, the page compares: as asked for, or else what most people would want to see.

use hardmine_records::{Error, Result};

use crate::Options;
use crate::folder::Folder;
use crate::metrics::Metrics;

/// What is compared with what.
pub(crate) struct Choice {
    /// The row that the others are tested against; none without metrics.
    pub(crate) baseline: Option<usize>,
    /// The column that two rows are compared by.
    pub(crate) column: usize,
    /// Its split.
    pub(crate) split: String,
    /// The rows that are compared query by query.
    pub(crate) pair: Option<[usize; 2]>,
}

impl Choice {
    /// Follows the options; where they say nothing, the baseline is the first row, and it is compared with the best.
    ///
    /// # Errors
    /// A row or a metric that is not there.
    pub(crate) fn new(folder: &Folder, metrics: &Metrics, options: &Options) -> Result<Choice> {
        let named = |option: &str, name: &Option<String>| {
            name.as_ref().map(|name| find(folder, metrics, option, name)).transpose()
        };
        let column = match &options.metric {
            None => 0,
            Some(metric) => metrics.columns.iter().position(|column| column.metric == *metric).ok_or_else(|| {
                let known: Vec<&str> = metrics.columns.iter().map(|column| column.metric.as_str()).collect();
                Error::new(format!("--metric {metric}"), "is not among the metrics of the folder").hint(list(&known))
            })?,
        };
        let (first, second) = options.compare.clone().unzip();
        let scored: Vec<usize> = (0..folder.rows.len()).filter(|&row| metrics.get(row, column).is_some()).collect();
        let baseline = named("--baseline", &options.baseline)?.or(scored.first().copied());
        let first = named("--compare", &first)?.or(baseline);
        let value = |row: usize| metrics.get(row, column).map_or(f64::NEG_INFINITY, |scores| scores.mean);
        let others = scored.into_iter().filter(|&row| Some(row) != first);
        // Of equal rows the first.
        let best = others.rev().max_by(|&one, &two| value(one).total_cmp(&value(two)));
        let second = named("--compare", &second)?.or(best);
        let split = metrics.columns.get(column).map(|column| column.split.clone());
        Ok(Choice {
            baseline,
            column,
            split: split.or_else(|| folder.splits.first().cloned()).unwrap_or_else(|| "dev".to_owned()),
            pair: first.zip(second).map(|(first, second)| [first, second]),
        })
    }
}

/// The row of this name or label.
fn find(folder: &Folder, metrics: &Metrics, option: &str, name: &str) -> Result<usize> {
    let has_metrics = |row: usize| (0..metrics.columns.len()).any(|column| metrics.get(row, column).is_some());
    let known: Vec<usize> = (0..folder.rows.len()).filter(|&row| has_metrics(row)).collect();
    let found = known.iter().find(|&&row| folder.rows[row].name == name || folder.rows[row].label == name);
    found.copied().ok_or_else(|| {
        let names: Vec<&str> = known.iter().map(|&row| folder.rows[row].name.as_str()).collect();
        Error::new(format!("{option} {name}"), "is no row with metrics").hint(list(&names))
    })
}

fn list(names: &[&str]) -> String {
    match names {
        [] => "there are no metrics yet".to_owned(),
        names => format!("there are {}", names.join(", ")),
    }
}
