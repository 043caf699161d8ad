//! DataFusion: metrics as .sql files over a run and its judgements (`score`), and any query over any
//! of our files (`sql`).

mod engine;
mod judgements;
mod lists;
mod metric;
mod names;
mod query;
mod ranking;
mod reading;
mod report;
mod scores;
mod tables;
mod terms;

pub use judgements::Judgements;
pub use metric::Metric;
pub use names::run_names;
pub use query::{ResultFormat, query};
pub use ranking::Ranking;
pub use reading::{Order, Reading};
pub use report::{ReportFormat, render, write_per_query};
pub use scores::{Evaluation, RunScores};
pub use tables::NamedTable;
