//! The SQL engine: a DataFusion session, the runtime it runs in, and its errors on one line.

use std::future::Future;

use datafusion::error::DataFusionError;
use datafusion::prelude::{SessionConfig, SessionContext};
use hardmine_records::{Error, Result};
use tokio::runtime::{Builder, Runtime};

/// Stack of the threads that queries are planned and run on, in bytes: expressions of thousands of terms are walked
/// through by recursion. Only what is used of it takes memory.
pub(crate) const STACK: usize = 128 << 20;

/// A session with its runtime.
pub(crate) struct Engine {
    pub(crate) context: SessionContext,
    runtime: Runtime,
}

impl Engine {
    /// A session with the settings of `config`.
    pub(crate) fn new(config: SessionConfig) -> Result<Self> {
        let runtime = Builder::new_multi_thread()
            .enable_all()
            .thread_stack_size(STACK)
            .build()
            .map_err(Error::at("SQL engine"))?;
        Ok(Engine { context: SessionContext::new_with_config(config), runtime })
    }

    /// Runs `work` to its end.
    pub(crate) fn run<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }
}

/// Turns an error of DataFusion at `place` into ours, with the position in the query where it is known.
pub(crate) fn failed(place: &str) -> impl FnOnce(DataFusionError) -> Error {
    let place = place.to_owned();
    move |error| {
        let span = error.diagnostic().and_then(|found| found.span);
        let place = match span {
            Some(span) => format!("{place}: line {}, column {}", span.start.line, span.start.column),
            None => place,
        };
        // The root says what happened; what is wrapped around it says through which layers it came.
        let message = match error.find_root() {
            DataFusionError::SQL(error, _) => error.to_string(),
            DataFusionError::Plan(text) | DataFusionError::Execution(text) | DataFusionError::NotImplemented(text) => {
                text.clone()
            }
            DataFusionError::SchemaError(error, _) => error.to_string(),
            DataFusionError::External(error) => return external(&place, error.as_ref()),
            root => root.strip_backtrace(),
        };
        Error::new(place, plain(&message))
    }
}

/// Without the names of layers, of the one schema there is, and the position that stands in front.
fn plain(message: &str) -> String {
    let message = message.trim_start_matches("sql parser error: ").trim_start_matches("Arrow error: ");
    let message = message.replace("datafusion.public.", "");
    match message.rfind(" at Line: ") {
        Some(end) => message[..end].to_owned(),
        None => message,
    }
}

/// An error of ours that went through DataFusion, such as a malformed line of a table, names its place itself.
fn external(place: &str, error: &(dyn std::error::Error + Send + Sync + 'static)) -> Error {
    error.downcast_ref::<Error>().cloned().unwrap_or_else(|| Error::new(place, error))
}

/// An error met while a table is read, on its way through DataFusion.
pub(crate) fn wrap(error: Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}
