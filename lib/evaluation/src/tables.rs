//! Files as tables: Parquet through DataFusion's own scan, everything else through the records' reader.

use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use arrow::array::{RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::catalog::streaming::StreamingTable;
use datafusion::datasource::MemTable;
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::listing::ListingOptions;
use datafusion::execution::TaskContext;
use datafusion::physical_plan::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchReceiverStreamBuilder;
use datafusion::physical_plan::streaming::PartitionStream;
use datafusion::prelude::SessionContext;
use hardmine_records::source::Content;
use hardmine_records::{Error, Input, Kind, Mapped, Provenance, Result, Table};

use crate::engine::{TableError, failed};

/// The table that holds where the others came from.
const PROVENANCE: &str = "provenance";

/// A table as it is named on the command line: `name=path`.
#[derive(Clone, Debug)]
pub struct NamedTable {
    name: String,
    input: Input,
}

impl FromStr for NamedTable {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let (name, path) = text.split_once('=').ok_or("expected name=path")?;
        let plain = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        match plain && !path.is_empty() {
            // SQL's names are in lower case unless they are quoted.
            true => Ok(NamedTable { name: name.to_ascii_lowercase(), input: path.parse().map_err(|_| "")? }),
            false => Err("expected name=path, the name of letters, digits and underscores".into()),
        }
    }
}

impl NamedTable {
    /// Where its rows are.
    pub fn input(&self) -> &Input {
        &self.input
    }
}

/// Registers `tables`, and one that holds the provenance of those that are single files.
///
/// # Errors
/// A file that can't be read or is no table, and a name given twice.
pub(crate) async fn register(context: &SessionContext, tables: &[NamedTable]) -> Result<()> {
    let mut known: Vec<(&str, Provenance)> = Vec::new();
    for (index, NamedTable { name, input }) in tables.iter().enumerate() {
        if tables[..index].iter().any(|table| table.name == *name) {
            return Err(Error::new(format!("-t {name}={input}"), "the name is given twice"));
        }
        match input {
            Input::Path(path) if is_glob(path) => register_parquet(context, name, path, "").await?,
            Input::Path(path) if path.is_dir() => {
                check_folder(path)?;
                register_parquet(context, name, path, ".parquet").await?;
            }
            Input::Path(path) if input.open()?.content == Content::Parquet && !has_glob_characters(path) => {
                known.push((name, parquet_provenance(path)?));
                register_parquet(context, name, path, "").await?;
            }
            _ => known.push((name, register_records(context, name, input)?)),
        }
    }
    if tables.iter().all(|table| table.name != PROVENANCE) {
        context.register_batch(PROVENANCE, provenance_rows(&known)?).map_err(failed(PROVENANCE))?;
    }
    Ok(())
}

fn has_glob_characters(path: &Path) -> bool {
    path.to_string_lossy().contains(['*', '?', '['])
}

fn is_glob(path: &Path) -> bool {
    has_glob_characters(path) && !path.exists()
}

fn check_folder(path: &Path) -> Result<()> {
    let place = path.display();
    let entries = path.read_dir().map_err(Error::io(&place))?;
    match entries.flatten().any(|entry| entry.path().extension().is_some_and(|ending| ending == "parquet")) {
        true => Ok(()),
        false => Err(Error::new(place, "is a folder without a .parquet file")),
    }
}

async fn register_parquet(context: &SessionContext, name: &str, path: &Path, ending: &str) -> Result<()> {
    let place = path.display().to_string();
    let absolute = std::path::absolute(path).map_err(Error::io(&place))?;
    let mut url = absolute.to_string_lossy().into_owned();
    if path.is_dir() {
        url.push('/');
    }
    let format = ParquetFormat::default().with_options(context.copied_table_options().parquet);
    let options = ListingOptions::new(Arc::new(format)).with_file_extension(ending);
    context.register_listing_table(name, url, options, None, None).await.map_err(|error| {
        match error.strip_backtrace().contains("No files found") {
            true => Error::new(&place, "matches no file"),
            false => failed(&place)(error),
        }
    })
}

fn parquet_provenance(path: &Path) -> Result<Provenance> {
    use datafusion::parquet::file::reader::{FileReader, SerializedFileReader};
    let place = path.display();
    let file = std::fs::File::open(path).map_err(Error::io(&place))?;
    let reader = SerializedFileReader::new(file)
        .map_err(|e| Error::new(&place, format!("is a truncated or broken Parquet file: {e}")))?;
    let entries = reader.metadata().file_metadata().key_value_metadata();
    let mut provenance = Provenance::default();
    for entry in entries.into_iter().flatten().filter(|entry| entry.key.starts_with("hardmine.")) {
        provenance.set_some(&entry.key, entry.value.as_ref());
    }
    Ok(provenance)
}

/// An `.arrow` file stays where it is, in a memory map; standard input is kept in memory; anything
/// else is read anew by every scan.
fn register_records(context: &SessionContext, name: &str, input: &Input) -> Result<Provenance> {
    let kinds = kinds(input)?;
    let mut table = Table::open(input, &kinds)?;
    let (kind, schema, place) = (table.kind(), table.schema(), table.name().to_owned());
    let is_arrow_file = matches!(input, Input::Path(_)) && input.open()?.content == Content::ArrowFile;
    let (provider, provenance): (Arc<dyn datafusion::catalog::TableProvider>, _) = match input {
        Input::Path(_) if is_arrow_file => {
            let mapped = Mapped::open(input, kind)?;
            let provenance = mapped.provenance().clone();
            let memory = MemTable::try_new(schema, vec![mapped.batches().to_vec()]).map_err(failed(&place))?;
            (Arc::new(memory), provenance)
        }
        Input::Path(_) => {
            let partition = Rescanned { input: input.clone(), kind, schema: schema.clone() };
            let streaming = StreamingTable::try_new(schema, vec![Arc::new(partition)]).map_err(failed(&place))?;
            (Arc::new(streaming), table.provenance().clone())
        }
        Input::Stdin => {
            let batches = table.by_ref().collect::<Result<Vec<_>>>()?;
            let memory = MemTable::try_new(schema, vec![batches]).map_err(failed(&place))?;
            (Arc::new(memory), table.provenance().clone())
        }
    };
    context.register_table(name, provider).map_err(failed(&place))?;
    Ok(provenance)
}

/// The kinds an input may be of, the one that text is taken for in front. On standard input that is a run.
fn kinds(input: &Input) -> Result<Vec<Kind>> {
    let mut kinds = vec![Kind::Run];
    if let Input::Path(_) = input {
        let source = input.open()?;
        if source.content == Content::Text {
            let mut lines = source.into_lines();
            let mut line = lines.next_line()?;
            while line.is_some_and(str::is_empty) {
                line = lines.next_line()?;
            }
            if line.is_some_and(is_judgement) {
                kinds[0] = Kind::Qrels;
            }
        }
    }
    kinds.extend(Kind::ALL.iter().filter(|kind| !kinds.contains(kind)).collect::<Vec<_>>());
    Ok(kinds)
}

/// Qrels are `query 0 document grade`, with a whole number at the end, or have BEIR's header.
fn is_judgement(line: &str) -> bool {
    let fields: Vec<&str> = match line.contains('\t') {
        true => line.split('\t').collect(),
        false => line.split_ascii_whitespace().collect(),
    };
    match fields.len() {
        3 => line.contains("corpus-id"),
        4 => fields[3].trim().parse::<i64>().is_ok(),
        _ => false,
    }
}

/// A file whose records are read again by every scan, so that they need not fit in memory.
#[derive(Debug)]
struct Rescanned {
    input: Input,
    kind: Kind,
    schema: SchemaRef,
}

impl PartitionStream for Rescanned {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let mut stream = RecordBatchReceiverStreamBuilder::new(self.schema.clone(), 2);
        let (sender, input, kind) = (stream.tx(), self.input.clone(), self.kind);
        stream.spawn_blocking(move || {
            for batch in Table::open(&input, &[kind]).map_err(TableError::wrap)? {
                let batch = batch.map_err(TableError::wrap)?;
                // Nobody listens once the query has all it wants.
                if sender.blocking_send(Ok(batch)).is_err() {
                    break;
                }
            }
            Ok(())
        });
        stream.build()
    }
}

fn provenance_rows(known: &[(&str, Provenance)]) -> Result<RecordBatch> {
    let entries = known.iter().flat_map(|(table, provenance)| {
        provenance.iter().map(move |(name, value)| (*table, name.trim_start_matches("hardmine."), value))
    });
    let entries: Vec<_> = entries.collect();
    let column = |values: Vec<&str>| Arc::new(StringArray::from(values)) as arrow::array::ArrayRef;
    let columns = vec![
        column(entries.iter().map(|entry| entry.0).collect()),
        column(entries.iter().map(|entry| entry.1).collect()),
        column(entries.iter().map(|entry| entry.2).collect()),
    ];
    let fields = ["table_name", "name", "value"].map(|name| Field::new(name, DataType::Utf8, false));
    RecordBatch::try_new(Arc::new(Schema::new(fields.to_vec())), columns).map_err(Error::at(PROVENANCE))
}
