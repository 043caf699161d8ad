//! The values of metrics, as `score --per-query` wrote them.

use std::collections::BTreeMap;
use std::path::Path;

use hardmine_evaluation::{NamedTable, Session};
use hardmine_records::Result;

use crate::columns::{numbers, present, texts};
use crate::folder::Folder;

/// A column of the table.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Column {
    pub(crate) split: String,
    pub(crate) metric: String,
}

/// The values of one metric for one run.
#[derive(Clone, Debug)]
pub(crate) struct Scores {
    /// As the run's mean was written, which is what the table has.
    pub(crate) mean: f64,
    /// By query.
    pub(crate) values: BTreeMap<String, f64>,
}

/// The values of all rows and columns.
#[derive(Default)]
pub(crate) struct Metrics {
    pub(crate) columns: Vec<Column>,
    /// For each row of the folder, and each column.
    pub(crate) scores: Vec<Vec<Option<Scores>>>,
}

impl Metrics {
    /// Reads the metrics of all rows.
    ///
    /// # Errors
    /// A file that can't be read.
    pub(crate) fn read(folder: &Folder) -> Result<Metrics> {
        let mut metrics = Metrics { columns: Vec::new(), scores: vec![Vec::new(); folder.rows.len()] };
        for split in &folder.splits {
            for (row, scores) in folder.rows.iter().zip(0..) {
                let Some(path) = folder.existing("metrics", &format!("{}.{split}.parquet", row.name)) else { continue };
                for (metric, found) in scores_in(&path)? {
                    let column = Column { split: split.clone(), metric };
                    let place = metrics.columns.iter().position(|known| *known == column).unwrap_or_else(|| {
                        metrics.columns.push(column);
                        metrics.columns.len() - 1
                    });
                    let of_row: &mut Vec<Option<Scores>> = &mut metrics.scores[scores];
                    of_row.resize(of_row.len().max(place + 1), None);
                    of_row[place] = Some(found);
                }
            }
        }
        metrics.scores.iter_mut().for_each(|scores| scores.resize(metrics.columns.len(), None));
        Ok(metrics)
    }

    pub(crate) fn get(&self, row: usize, column: usize) -> Option<&Scores> {
        self.scores.get(row)?.get(column)?.as_ref()
    }
}

/// The metrics of a file in their order, those that have a mean.
fn scores_in(path: &Path) -> Result<Vec<(String, Scores)>> {
    let session = Session::open(&[NamedTable::new("metrics", path)])?;
    let rows = session.rows("SELECT metric, query_id, value FROM metrics")?;
    let (metrics, queries, values) = (texts(&rows, "metric")?, texts(&rows, "query_id")?, numbers(&rows, "value")?);
    let is_of_query = present(&rows, "query_id")?;
    let mut found: Vec<(String, Option<f64>, BTreeMap<String, f64>)> = Vec::new();
    for (((metric, query), value), is_of_query) in metrics.into_iter().zip(queries).zip(values).zip(is_of_query) {
        let place = found.iter().position(|(known, ..)| *known == metric).unwrap_or_else(|| {
            found.push((metric, None, BTreeMap::new()));
            found.len() - 1
        });
        match is_of_query {
            true => drop(found[place].2.insert(query, value)),
            false => found[place].1 = Some(value),
        }
    }
    let with_mean = |(metric, mean, values): (String, Option<f64>, _)| Some((metric, Scores { mean: mean?, values }));
    Ok(found.into_iter().filter_map(with_mean).collect())
}
