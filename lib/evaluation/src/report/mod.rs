//! How values are shown: tables for people and papers, TSV and JSON in full precision, msmarco_eval's text, and records
//! of every query's values.

mod cells;
mod markup;
mod per_query;
mod plain;
mod table;

use hardmine_records::Result;

use crate::RunScores;
use crate::significance::Baseline;

pub use per_query::write_per_query;

/// The form in which means are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReportFormat {
    /// A row for each run, a column for each metric, four decimals
    Table,
    /// The same as GitHub's Markdown
    Markdown,
    /// The same as LaTeX with booktabs
    Latex,
    /// A list of objects: run, metric, value, queries (how many the mean is over)
    Json,
    /// A header, then run, metric and value
    Tsv,
    /// The text of msmarco_eval, for MRR@k
    Msmarco,
}

/// The means of `runs`, all scored with the same metrics, as text; with their comparison with a baseline, if there is
/// one.
///
/// # Errors
/// msmarco_eval's form of a metric it doesn't have.
pub fn render(runs: &[RunScores], baseline: Option<&Baseline>, format: ReportFormat) -> Result<String> {
    Ok(match format {
        ReportFormat::Table => table::table(runs, baseline),
        ReportFormat::Markdown => markup::markdown(runs, baseline),
        ReportFormat::Latex => markup::latex(runs, baseline),
        ReportFormat::Json => plain::json_list(runs, baseline),
        ReportFormat::Tsv => plain::tsv(runs, baseline),
        ReportFormat::Msmarco => return plain::msmarco(runs),
    })
}
