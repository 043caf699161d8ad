//! DataFusion: metrics as .sql files over a run and its judgements (`score`), and any query over any
//! of our files (`sql`).

mod depth;
mod engine;
mod functions;
mod json_lines;
mod judgements;
mod metric;
mod names;
mod query;
mod ranked_lists;
mod ranking;
mod report;
mod rescan;
mod run_options;
mod scores;
mod session;
pub mod significance;
mod swapped;
mod tables;
mod terms;
mod texts;

pub use judgements::Judgements;
pub use metric::{METRICS, Metric, MetricList};
pub use names::run_names;
pub use query::{ResultFormat, query, write_rows};
pub use ranking::Ranking;
pub use report::{ReportFormat, render, write_per_query};
pub use run_options::{Order, RunOptions};
pub use scores::{Evaluation, RunScores};
pub use session::Session;
pub use tables::NamedTable;
