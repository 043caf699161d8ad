//! Asks anything of any of our files.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use arrow::ipc::reader::StreamReader;
use clap::Parser;
use hardmine_command::{self as command, Common, Report};
use hardmine_evaluation::{NamedTable, ResultFormat, query, write_rows};
use hardmine_files::{Input, check_differs};
use hardmine_records::Error;
use hardmine_units::{Asked, Cluster, Question, ask};

const FORMATS: [(&str, &str, ResultFormat); 6] = [
    ("table", "A table to read", ResultFormat::Table),
    ("csv", "Comma-separated, with a header", ResultFormat::Csv),
    ("tsv", "Separated by tabs, with a header", ResultFormat::Tsv),
    ("json", "A list of objects, one for each row", ResultFormat::Json),
    ("jsonl", "An object on a line for each row, as trainers and BEIR read it", ResultFormat::JsonLines),
    ("parquet", "Parquet, which is not written to a terminal", ResultFormat::Parquet),
];

/// Bytes that a file with a query may have.
const MAX_QUERY: u64 = 16 << 20;

/// Runs an SQL query over files
///
/// A table is a run, qrels, negatives, tokens, embeddings, metrics, a training log, or any Parquet file. It may be
/// Parquet or Arrow; runs and qrels may also be TSV or TREC text. A folder of Parquet files or a glob is one table.
/// schemas/README.md lists the columns. Texts (MS MARCO's TSV, BEIR's JSONL, Parquet with text and id) are a table of id,
/// title and text, and any other JSONL is a table with a column for each field, lists and objects included. The table `provenance` (table_name, name, value) says where each file came from.
/// The dialect is DataFusion's. A query can read files and never changes one.
#[derive(Parser)]
#[command(
    version,
    after_help = "\
Examples:
  The ten hardest queries, by the rank of the first relevant document:
    sql -t run=run.parquet -t qrels=qrels.parquet \"
      SELECT query_id, min(rank) AS first_relevant
      FROM qrels LEFT JOIN run USING (query_id, doc_id)
      WHERE relevance > 0 GROUP BY query_id
      ORDER BY first_relevant DESC NULLS FIRST, query_id LIMIT 10\"
  How many of the first ten two runs share, on average:
    sql -t a=star.parquet -t b=adore.parquet \"
      SELECT avg(shared) AS shared FROM (
        SELECT a.query_id, count(b.doc_id) AS shared
        FROM a LEFT JOIN b ON a.query_id = b.query_id AND a.doc_id = b.doc_id AND b.rank <= 10
        WHERE a.rank <= 10 GROUP BY a.query_id)\"
  Negatives per query:
    sql -t negatives=negatives.parquet \"
      SELECT negatives, count(*) AS queries
      FROM (SELECT count(*) AS negatives FROM negatives GROUP BY query_id)
      GROUP BY negatives ORDER BY negatives\"
  Where a file came from:
    sql -t run=run.parquet \"SELECT name, value FROM provenance ORDER BY name\""
)]
pub(crate) struct Args {
    /// SQL query; --file reads it from a file instead
    #[arg(required_unless_present = "file", conflicts_with = "file", allow_hyphen_values = true, value_parser = is_query)]
    query: Option<String>,

    /// File to read the query from; - reads it from standard input
    #[arg(short, long)]
    file: Option<Input>,

    /// Table to query: its name in the query, and a file (- for standard input), a folder or a glob. Repeat the option
    /// for more tables
    #[arg(short, long = "table", value_name = "NAME=PATH", value_parser = command::os_text(|text| NamedTable::parse(&text)))]
    tables: Vec<NamedTable>,

    /// How to write the rows. By default the ending of the output decides (.parquet, .csv, .tsv, .json, .jsonl); otherwise a
    /// table is printed
    #[arg(long, value_parser = command::one_of(&FORMATS))]
    format: Option<ResultFormat>,

    /// How many cores to use. More cores are faster on large files; rows without ORDER BY then come in any order, and
    /// sums of floats may differ in their last digits
    #[arg(long, value_name = "N", default_value = "1")]
    threads: NonZeroUsize,

    /// Have the workers of the scheduler at df://HOST:PORT read the tables part by part (see worker --help); they must see
    /// the same files under the same paths. With here, this machine does, on all cores. Tables are Parquet or Arrow files,
    /// or folders of shards. There are no table `provenance` and no get_byte, and sha256 gives bytes; rows without ORDER BY
    /// come in any order
    #[arg(long, value_name = "ADDRESS", conflicts_with = "threads")]
    cluster: Option<Cluster>,

    /// File to write the rows to. Without this option, or with -, they go to standard output
    #[arg(short, long, value_name = "FILE", default_value = "-", hide_default_value = true)]
    output: PathBuf,

    #[command(flatten)]
    common: Common,
}

fn main() -> ExitCode {
    command::main(|args: &Args| &args.common, run)
}

fn run(args: Args, report: &mut Report) -> anyhow::Result<()> {
    let inputs: Vec<&Input> = args.tables.iter().map(NamedTable::input).chain(&args.file).collect();
    command::check_inputs::<Args>(&inputs);
    check_differs(&args.output, &inputs)?;
    let sql = match (args.query, args.file) {
        (Some(query), _) => query,
        (None, file) => file.unwrap_or(Input::Stdin).open()?.into_text(MAX_QUERY)?,
    };
    let format = args.format.unwrap_or_else(|| by_ending(&args.output));
    if let Some(cluster) = &args.cluster {
        report.add(ask_cluster(cluster, &args.tables, sql, format, &args.output)?);
        return Ok(());
    }
    report.add(query(&args.tables, &sql, args.threads.get(), format, &args.output)?);
    Ok(())
}

/// Has `cluster` answer the query, and writes the rows; returns their number.
fn ask_cluster(
    cluster: &Cluster,
    tables: &[NamedTable],
    sql: String,
    format: ResultFormat,
    output: &Path,
) -> anyhow::Result<u64> {
    let tables = tables.iter().map(|table| Asked::new(table.name(), table.input())).collect::<Result<_, Error>>()?;
    let mut answer = ask(cluster, &Question { sql, tables })?;
    match answer.bytes().map(|bytes| StreamReader::try_new(bytes, None)) {
        Some(Ok(rows)) => {
            let schema = rows.schema();
            let rows = rows.map(|batch| batch.map_err(Error::at("answer")));
            // Rows that came are not all rows if the process failed after them.
            let ended = std::iter::once_with(|| answer.end().err()).flatten().map(Err);
            Ok(write_rows(schema, rows.chain(ended), format, output)?)
        }
        _ => {
            answer.end()?;
            Err(Error::new(cluster, "gave no rows").into())
        }
    }
}

/// A query may begin with a comment, which looks like an option.
fn is_query(text: &str) -> Result<String, String> {
    match text.starts_with('-') && !text.contains(char::is_whitespace) {
        true => Err("unknown option".into()),
        false => Ok(text.to_owned()),
    }
}

fn by_ending(output: &Path) -> ResultFormat {
    match output.extension().and_then(|ending| ending.to_str()) {
        Some("parquet") => ResultFormat::Parquet,
        Some("csv") => ResultFormat::Csv,
        Some("tsv") => ResultFormat::Tsv,
        Some("json") => ResultFormat::Json,
        Some("jsonl") => ResultFormat::JsonLines,
        _ => ResultFormat::Table,
    }
}
