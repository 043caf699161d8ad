//! Tables that any number of queries are asked of, for programs that need the rows and not a file of them.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use datafusion::prelude::SessionConfig;
use hardmine_files::{Input, foreign};
use hardmine_records::{Error, Result};

use crate::NamedTable;
use crate::engine::{Engine, failed};
use crate::tables::register;

/// Tables to ask.
pub struct Session {
    engine: Engine,
    /// Inputs that the tables are read from as long as they are asked.
    _open: Vec<Input>,
}

impl Session {
    /// Opens `tables` as `sql` does, the table `provenance` included.
    ///
    /// # Errors
    /// A file that can't be read or is no table, and a name given twice.
    pub fn open(tables: &[NamedTable]) -> Result<Session> {
        // One partition: sums of floats are added up in the same order every time.
        let engine = Engine::new(SessionConfig::new().with_target_partitions(1))?;
        let open = foreign("tables", || engine.run(register(&engine.context, tables)))??;
        Ok(Session { engine, _open: open })
    }

    /// All rows of the answer to `sql`, which are held in memory.
    ///
    /// # Errors
    /// A query that is wrong, and rows that can't be read.
    pub fn rows(&self, sql: &str) -> Result<RecordBatch> {
        let context = &self.engine.context;
        let rows = self.engine.run(async {
            let plan = hardmine_planning::plan(context, sql).await?;
            let frame = hardmine_planning::prepare(context, plan).await?;
            let schema = Arc::new(frame.schema().as_arrow().clone());
            Ok((schema, frame.collect().await?))
        });
        let (schema, batches) = rows.map_err(failed("query"))?;
        concat_batches(&schema, &batches).map_err(Error::at("query"))
    }
}
