//! How values are shown: a table for people, TSV and JSON in full precision, msmarco_eval's text, and
//! records of every query's values.

use hardmine_files::{Output, Writer};
use hardmine_records::{Error, Kind, MetricsBatch, Provenance, Result, provenance, schema};
use serde_json::json;

use crate::RunScores;

/// The form in which means are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReportFormat {
    /// A row for each run, a column for each metric, four decimals
    Table,
    /// A list of objects: run, metric, value, queries (how many the mean is over)
    Json,
    /// A header, then run, metric and value
    Tsv,
    /// The text of msmarco_eval, for MRR@k
    Msmarco,
}

/// The means of `runs`, all scored with the same metrics, as text.
///
/// # Errors
/// msmarco_eval's form of a metric it doesn't have.
pub fn render(runs: &[RunScores], format: ReportFormat) -> Result<String> {
    Ok(match format {
        ReportFormat::Table => table(runs),
        ReportFormat::Json => json_list(runs) + "\n",
        ReportFormat::Tsv => tsv(runs),
        ReportFormat::Msmarco => return msmarco(runs),
    })
}

fn table(runs: &[RunScores]) -> String {
    let mut rows = vec![vec!["run".to_owned()]];
    rows[0].extend(runs.iter().take(1).flat_map(|run| run.means()).map(|(metric, _)| metric.to_string()));
    for run in runs {
        let mut row = vec![run.run.clone()];
        row.extend(run.means().map(|(_, value)| format!("{value:.4}")));
        rows.push(row);
    }
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..rows[0].len()).map(width).collect();
    let mut text = String::new();
    for row in &rows {
        text += &format!("{:<1$}", row[0], widths[0]);
        for (cell, width) in row.iter().zip(&widths).skip(1) {
            text += &format!("  {cell:>width$}");
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
    text
}

fn json_list(runs: &[RunScores]) -> String {
    let mut lines = Vec::new();
    for run in runs {
        for (metric, value) in run.means() {
            let entry =
                json!({ "run": run.run, "metric": metric.to_string(), "value": value, "queries": run.queries.len() });
            lines.push(format!("  {entry}"));
        }
    }
    format!("[\n{}\n]", lines.join(",\n"))
}

fn tsv(runs: &[RunScores]) -> String {
    let mut text = String::from("run\tmetric\tvalue\n");
    for run in runs {
        for (metric, value) in run.means() {
            text += &format!("{}\t{metric}\t{}\n", run.run.replace(['\t', '\n', '\r'], " "), full(value));
        }
    }
    text
}

fn msmarco(runs: &[RunScores]) -> Result<String> {
    const BAR: &str = "#####################";
    let mut text = String::new();
    for run in runs {
        for (metric, value) in run.means() {
            let cut = metric.reciprocal_rank_cut().ok_or_else(|| {
                Error::new("--format msmarco", format!("expected MRR@k, found {metric}"))
                    .hint("msmarco_eval knows no other metric; choose another format")
            })?;
            let (value, lists) = (full(value), run.lists);
            text += &format!("Eval Started\n{BAR}\nMRR @{cut}: {value}\nQueriesRanked: {lists}\n{BAR}\n");
        }
    }
    Ok(text)
}

/// The shortest digits that give the same number again, in Python's form.
fn full(value: f64) -> String {
    let text = format!("{value:?}");
    match value.abs() {
        // Python changes to exponents one decimal earlier, and gives them two digits.
        small if small > 0.0 && small < 1e-4 => {
            let text = format!("{value:e}");
            let (digits, exponent) = text.split_once("e-").unwrap_or((&text, "0"));
            format!("{digits}e-{exponent:0>2}")
        }
        _ => text,
    }
}

/// Writes the values of every query, and the means with a null as query, as metrics records; returns
/// their number.
pub fn write_per_query(output: &Output, runs: &[RunScores]) -> Result<u64> {
    let Some(first) = runs.first() else { return Err(Error::new(output, "there is no run to write")) };
    let mut about = Provenance::default();
    about.set_some(provenance::QUERIES, first.provenance.get(provenance::QUERIES));
    about.set_some(provenance::DOCS, first.provenance.get(provenance::DOCS));
    let space = first.queries.space();
    let mut writer = Writer::create(output, Kind::Metrics, schema::metrics(space), about)?;
    for run in runs {
        for ((metric, values), (_, mean)) in run.values.iter().zip(run.means()) {
            let (name, metric) = (run.run.as_str(), &metric.to_string());
            let queries = MetricsBatch { run: name, metric, queries: run.queries.clone(), values: values.clone() };
            writer.write(&queries.into_records()?)?;
            writer.write(&MetricsBatch::mean(name, metric, space, mean)?)?;
        }
    }
    writer.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_python_writes_them() {
        for (value, text) in [
            (0.3404237731386721, "0.3404237731386721"),
            (1.0, "1.0"),
            (0.0, "0.0"),
            (0.0001, "0.0001"),
            (0.1 / 6980.0, "1.4326647564469915e-05"),
            (1e-12, "1e-12"),
        ] {
            assert_eq!(full(value), text);
        }
    }
}
