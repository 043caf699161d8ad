//! Answers queries over files, which workers read part by part.

use std::io::{Read, Write};

use arrow::ipc::writer::StreamWriter;
use datafusion::datasource::file_format::options::{ArrowReadOptions, ParquetReadOptions};
use datafusion::error::Result as Planned;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::context::SQLOptions;
use datafusion::prelude::SessionContext;
use futures::StreamExt;
use hardmine_records::{Error, Result};
use hardmine_units::{Asked, Cluster, Question};

use crate::client::{plain, runtime};
use crate::merge::context;

/// Reads a [`Question`] as JSON, and writes the rows that answer it to `output`, as an Arrow stream.
///
/// # Errors
/// What is wrong with the query, a table, or the cluster; an output that can't be written.
pub fn answer(cluster: &Cluster, question: impl Read, output: impl Write) -> Result<()> {
    let question: Question = serde_json::from_reader(question).map_err(Error::at("question"))?;
    runtime()?.block_on(async {
        let mut rows = rows(cluster, &question).await.map_err(|error| plain(&error))?;
        let mut writer = StreamWriter::try_new(output, &rows.schema()).map_err(Error::at("answer"))?;
        while let Some(batch) = rows.next().await {
            writer.write(&batch.map_err(|error| plain(&error))?).map_err(Error::at("answer"))?;
        }
        writer.finish().map_err(Error::at("answer"))
    })
}

async fn rows(cluster: &Cluster, question: &Question) -> Planned<SendableRecordBatchStream> {
    let context = context(cluster)?;
    for table in &question.tables {
        register(&context, table).await?;
    }
    let options = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
    context.sql_with_options(&question.sql, options).await?.execute_stream().await
}

async fn register(context: &SessionContext, table: &Asked) -> Planned<()> {
    let files = table.files.clone();
    let rows = match table.is_parquet {
        true => context.read_parquet(files, ParquetReadOptions::default()).await?,
        false => context.read_arrow(files, ArrowReadOptions::default()).await?,
    };
    context.register_table(table.name.as_str(), rows.into_view()).map(drop)
}
