//! DataFusion: metrics as .sql files over a run and its judgements (`score`), and any query over any
//! of our files (`sql`).

mod engine;
mod judgements;
mod metric;
mod names;
mod query;
mod ranked_lists;
mod ranking;
mod report;
mod run_options;
mod scores;
mod session;
mod tables;
mod terms;

pub use judgements::Judgements;
pub use metric::Metric;
pub use names::run_names;
pub use query::{ResultFormat, query};
pub use ranking::Ranking;
pub use report::{ReportFormat, render, write_per_query};
pub use run_options::{Order, RunOptions};
pub use scores::{Evaluation, RunScores};
pub use session::Session;
pub use tables::NamedTable;
