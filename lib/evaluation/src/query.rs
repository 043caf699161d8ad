//! Any query over any of our files: `sql`.

use std::io::{self, Write};
use std::path::Path;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::util::pretty::pretty_format_batches_with_schema;
use datafusion::execution::context::SQLOptions;
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::basic::{Compression, ZstdLevel};
use datafusion::parquet::errors::ParquetError;
use datafusion::parquet::file::properties::WriterProperties;
use datafusion::physical_plan::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::prelude::SessionConfig;
use hardmine_files::{OutputFile, foreign};
use hardmine_records::{Error, Result};

use crate::NamedTable;
use crate::engine::{Engine, STACK, failed, wrap};
use crate::functions;
use crate::tables::register;
use crate::terms::check_length;

/// The form in which the rows of a result are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResultFormat {
    /// A table to read.
    Table,
    /// Comma-separated values below a header.
    Csv,
    /// Values between tabs, below a header.
    Tsv,
    /// A JSON list with an object for each row.
    Json,
    /// A JSON object on a line for each row.
    JsonLines,
    /// Parquet, which is not written to a terminal.
    Parquet,
}

/// Runs `sql` over `tables` on `threads` cores and writes its rows to `output` (`-` is standard output); returns
/// their number. With one thread the result is the same each time, to the byte.
///
/// # Errors
/// A table that can't be read, a query that is wrong or would change something, an output that can't be written.
pub fn query(tables: &[NamedTable], sql: &str, threads: usize, format: ResultFormat, output: &Path) -> Result<u64> {
    check_length(sql)?;
    let output = OutputFile::create(output)?;
    if format == ResultFormat::Parquet {
        output.refuse_terminal("Parquet is")?;
    }
    std::thread::scope(|scope| {
        let work = || foreign("query", || run(tables, sql, threads, format, output))?;
        let thread = std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, work);
        let ended = thread.map_err(Error::io("query"))?.join();
        ended.unwrap_or_else(|_| Err(Error::new("query", "ended too early")))
    })
}

fn run(tables: &[NamedTable], sql: &str, threads: usize, format: ResultFormat, output: OutputFile) -> Result<u64> {
    let mut config = SessionConfig::new().with_information_schema(true).with_target_partitions(threads);
    // So that an error in the query knows its place.
    config.options_mut().sql_parser.collect_spans = true;
    let engine = Engine::new(config)?;
    engine.context.register_udf(functions::sha256());
    engine.context.register_udf(functions::get_byte());
    engine.run(async {
        let _open = register(&engine.context, tables).await?;
        let options = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
        let plan = hardmine_planning::plan(&engine.context, sql).await.map_err(failed("query"))?;
        options
            .verify_plan(&plan)
            .map_err(|error| failed("query")(error).hint("a query can read, and change nothing"))?;
        let frame = hardmine_planning::prepare(&engine.context, plan).await.map_err(failed("query"))?;
        write(output, Rows { stream: frame.execute_stream().await.map_err(failed("query"))?, count: 0 }, format).await
    })
}

/// Writes `rows`, which come from elsewhere, to `output` as [`query`] does; returns their number.
///
/// # Errors
/// Those of the rows; an output that can't be written.
pub fn write_rows(
    schema: SchemaRef,
    rows: impl Iterator<Item = Result<RecordBatch>> + Send + 'static,
    format: ResultFormat,
    output: &Path,
) -> Result<u64> {
    let output = OutputFile::create(output)?;
    if format == ResultFormat::Parquet {
        output.refuse_terminal("Parquet is")?;
    }
    let rows = rows.map(|batch| batch.map_err(wrap));
    let stream = Box::pin(RecordBatchStreamAdapter::new(schema, futures::stream::iter(rows)));
    Engine::new(SessionConfig::new())?.run(write(output, Rows { stream, count: 0 }, format))
}

/// The rows of a result, batch by batch.
struct Rows {
    stream: SendableRecordBatchStream,
    count: u64,
}

impl Rows {
    async fn next(&mut self) -> Result<Option<RecordBatch>> {
        let batch = std::future::poll_fn(|context| self.stream.as_mut().poll_next(context)).await;
        let batch = batch.transpose().map_err(failed("query"))?;
        self.count += batch.as_ref().map_or(0, |batch| batch.num_rows() as u64);
        Ok(batch)
    }
}

/// Writes the rows, and returns their number.
async fn write(mut output: OutputFile, mut rows: Rows, format: ResultFormat) -> Result<u64> {
    let place = output.place().to_owned();
    let schema = rows.stream.schema();
    match format {
        ResultFormat::Table => {
            let mut batches = Vec::new();
            while let Some(batch) = rows.next().await? {
                batches.push(batch);
            }
            let table = pretty_format_batches_with_schema(schema, &batches).map_err(unwritten(&place))?;
            writeln!(output, "{table}").map_err(Error::io(&place))?;
        }
        ResultFormat::Csv | ResultFormat::Tsv => {
            let delimiter = if format == ResultFormat::Tsv { b'\t' } else { b',' };
            let mut writer = arrow::csv::WriterBuilder::new().with_delimiter(delimiter).build(&mut output);
            // The header, also of a result without rows.
            writer.write(&RecordBatch::new_empty(schema)).map_err(unwritten(&place))?;
            while let Some(batch) = rows.next().await? {
                writer.write(&batch).map_err(unwritten(&place))?;
            }
        }
        ResultFormat::Json => {
            let mut writer = arrow::json::ArrayWriter::new(&mut output);
            while let Some(batch) = rows.next().await? {
                writer.write(&batch).map_err(unwritten(&place))?;
            }
            writer.finish().map_err(unwritten(&place))?;
            drop(writer);
            writeln!(output).map_err(Error::io(&place))?;
        }
        ResultFormat::JsonLines => {
            let mut writer = arrow::json::LineDelimitedWriter::new(&mut output);
            while let Some(batch) = rows.next().await? {
                writer.write(&batch).map_err(unwritten(&place))?;
            }
            writer.finish().map_err(unwritten(&place))?;
        }
        ResultFormat::Parquet => {
            let zstd = Compression::ZSTD(ZstdLevel::default());
            let properties = WriterProperties::builder().set_compression(zstd).build();
            let mut writer =
                ArrowWriter::try_new(&mut output, schema, Some(properties)).map_err(unwritten_parquet(&place))?;
            while let Some(batch) = rows.next().await? {
                writer.write(&batch).map_err(unwritten_parquet(&place))?;
            }
            writer.close().map_err(unwritten_parquet(&place))?;
        }
    }
    output.commit()?;
    Ok(rows.count)
}

/// An error of a writer; a closed pipe stays recognizable.
fn unwritten(place: &str) -> impl FnOnce(ArrowError) -> Error {
    let place = place.to_owned();
    move |error| match error {
        ArrowError::IoError(_, error) => Error::io(place)(error),
        error => Error::new(place, error).hint("lists and structs can be written with --format json, jsonl or parquet"),
    }
}

fn unwritten_parquet(place: &str) -> impl FnOnce(ParquetError) -> Error {
    let place = place.to_owned();
    move |error| match error {
        ParquetError::External(error) => match error.downcast::<io::Error>() {
            Ok(error) => Error::io(place)(*error),
            Err(error) => Error::new(place, error),
        },
        error => Error::new(place, error),
    }
}
