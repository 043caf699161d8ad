//! From an SQL text to a DataFusion query.
//!
//! An async function is compiled into the crate that awaits it. Behind these two lies DataFusion's whole planner, which
//! is minutes of work for the compiler: awaited here, behind a pointer, it is compiled once, and not with every change
//! of the evaluation.

use std::pin::Pin;

use datafusion::error::Result;
use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::{DataFrame, SessionContext};

/// A future whose type tells nothing of what it awaits.
pub type Planned<'a, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 'a>>;

/// The logical plan of a query, before it is optimized.
pub fn plan<'a>(context: &'a SessionContext, sql: &'a str) -> Planned<'a, LogicalPlan> {
    Box::pin(async move { context.state().create_logical_plan(sql).await })
}

/// A plan that is ready to run in `context`.
pub fn prepare(context: &SessionContext, plan: LogicalPlan) -> Planned<'_, DataFrame> {
    Box::pin(context.execute_logical_plan(plan))
}
