//! Files as tables: Parquet through DataFusion's own scan, JSON lines and texts as they are, everything else through
//! the records' reader.

use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::catalog::TableProvider;
use datafusion::datasource::MemTable;
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::listing::{ListingOptions, ListingTableUrl};
use datafusion::prelude::SessionContext;
use hardmine_files::{Content, Input, Mapped, OpenedFile, Table, open_parquet, provenance_in};
use hardmine_records::{Error, Kind, Provenance, Result};

use crate::engine::{failed, wrap};
use crate::json_lines;
use crate::rescan::{Batches, rescanned};
use crate::texts::{self, TextForm, TsvTexts};

/// The kinds a table may be of. What may be any of several, as the columns of negatives are those of a run, is taken
/// for the first.
const KINDS: [Kind; 9] = [
    Kind::Run,
    Kind::Qrels,
    Kind::Negatives,
    Kind::Tokens,
    Kind::Embeddings,
    Kind::Codes,
    Kind::Metrics,
    Kind::TrainingLog,
    Kind::MiningReport,
];

/// The table that holds where the others came from.
const PROVENANCE: &str = "provenance";

/// Characters that make a path a glob, where no file has that name.
const GLOB: [char; 3] = ['*', '?', '['];

/// A table as it is named on the command line: `name=path`.
#[derive(Clone, Debug)]
pub struct NamedTable {
    name: String,
    input: Input,
}

impl NamedTable {
    /// Takes `name=path` apart; the path need not be UTF-8.
    ///
    /// # Errors
    /// What is missing, for the usage message.
    pub fn parse(text: &OsStr) -> std::result::Result<Self, &'static str> {
        let bytes = text.as_bytes();
        let equals = bytes.iter().position(|&byte| byte == b'=').ok_or("expected name=path")?;
        let (name, path) = (&bytes[..equals], &bytes[equals + 1..]);
        let plain = name.first().is_some_and(|&first| first.is_ascii_alphabetic() || first == b'_')
            && name.iter().all(|&byte| byte.is_ascii_alphanumeric() || byte == b'_');
        match plain && !path.is_empty() {
            // SQL's names are in lower case unless they are quoted.
            true => Ok(NamedTable {
                name: String::from_utf8_lossy(name).to_ascii_lowercase(),
                input: OsStr::from_bytes(path).to_owned().into(),
            }),
            false => Err("expected name=path, the name of letters, digits and underscores"),
        }
    }

    /// The table `name` with the rows of a file, folder or glob. Other than on the command line, the name may be
    /// anything that SQL can quote.
    pub fn new(name: &str, path: &Path) -> Self {
        NamedTable { name: name.to_owned(), input: Input::Path(path.to_owned()) }
    }

    /// Its name in a query.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file, folder or glob that has the rows.
    pub fn input(&self) -> &Input {
        &self.input
    }
}

/// Registers `tables`, and one that holds the provenance of those that are single files. Returns inputs that must stay
/// open as long as they are queried.
///
/// # Errors
/// A file that can't be read or is no table, and a name given twice.
pub(crate) async fn register(context: &SessionContext, tables: &[NamedTable]) -> Result<Vec<Input>> {
    let mut known: Vec<(&str, Provenance)> = Vec::new();
    let mut open = Vec::new();
    for (index, NamedTable { name, input }) in tables.iter().enumerate() {
        if tables[..index].iter().any(|table| table.name == *name) {
            return Err(Error::new(format!("-t {name}={input}"), "the name is given twice"));
        }
        match input {
            Input::Path(path) if is_glob(path) => {
                register_parquet(context, name, &input.to_string(), path, "").await?;
                continue;
            }
            _ if input.is_dataset() => {
                known.push((name, register_records(context, name, input)?));
                continue;
            }
            Input::Path(path) if path.is_dir() => {
                check_folder(path)?;
                register_parquet(context, name, &input.to_string(), path, ".parquet").await?;
                continue;
            }
            _ => {}
        }
        // Each scan opens its table anew.
        let input = input.reopenable()?;
        let content = input.open()?.content;
        if content == Content::Parquet {
            let input = plainly_named(input)?;
            known.push((name, parquet_provenance(&input)?));
            register_parquet(context, name, &input.to_string(), input.path(), "").await?;
            open.push(input);
        } else if let Some(table) = foreign_text(&input, content)? {
            known.push((name, Provenance::default()));
            context.register_table(name, table).map_err(failed(name))?;
        } else {
            known.push((name, register_records(context, name, &input)?));
        }
    }
    for NamedTable { name, .. } in tables {
        texts::present(context, name).await?;
    }
    if tables.iter().all(|table| table.name != PROVENANCE) {
        context.register_batch(PROVENANCE, provenance_rows(&known)?).map_err(failed(PROVENANCE))?;
    }
    Ok(open)
}

fn is_glob(path: &Path) -> bool {
    path.to_string_lossy().contains(GLOB) && !path.exists()
}

fn check_folder(path: &Path) -> Result<()> {
    let place = path.display();
    let entries = path.read_dir().map_err(Error::io(&place))?;
    match entries.flatten().any(|entry| entry.path().extension().is_some_and(|ending| ending == "parquet")) {
        true => Ok(()),
        false => Err(Error::new(place, "is a folder without a .parquet file")),
    }
}

/// The input under a path that DataFusion takes for what it is: UTF-8, and no glob.
fn plainly_named(input: Input) -> Result<Input> {
    match input.path().to_str() {
        Some(path) if !path.contains(GLOB) => Ok(input),
        _ => {
            let file = File::open(input.path()).map_err(Error::io(&input))?;
            Ok(Input::Opened(OpenedFile::new(&input, file)))
        }
    }
}

/// Registers the Parquet at `path`, called `place` in errors.
async fn register_parquet(context: &SessionContext, name: &str, place: &str, path: &Path, ending: &str) -> Result<()> {
    let absolute = std::path::absolute(path).map_err(Error::io(place))?;
    let mut url = absolute.to_string_lossy().into_owned();
    if path.is_dir() {
        url.push('/');
    }
    check_files(context, &url, ending).await.map_err(failed(place))?;
    let format = ParquetFormat::default().with_options(context.copied_table_options().parquet);
    let options = ListingOptions::new(Arc::new(format)).with_file_extension(ending);
    context.register_listing_table(name, url, options, None, None).await.map_err(|error| {
        match error.strip_backtrace().contains("No files found") {
            true => Error::new(place, "matches no file"),
            false => failed(place)(error),
        }
    })
}

/// Checks each file of a table before DataFusion reads it.
async fn check_files(context: &SessionContext, url: &str, ending: &str) -> datafusion::error::Result<()> {
    let (url, state) = (ListingTableUrl::parse(url)?, context.state());
    let store = context.runtime_env().object_store(&url)?;
    let mut files = url.list_all_files(&state, store.as_ref(), ending).await?;
    while let Some(found) = std::future::poll_fn(|context| files.as_mut().poll_next(context)).await {
        let path = Path::new("/").join(found?.location.as_ref());
        // A name that the store writes differently is left to DataFusion.
        if let Ok(file) = File::open(&path) {
            open_parquet(&path.display().to_string(), file).map_err(wrap)?;
        }
    }
    Ok(())
}

fn parquet_provenance(input: &Input) -> Result<Provenance> {
    let file = File::open(input.path()).map_err(Error::io(input))?;
    Ok(provenance_in(&open_parquet(&input.to_string(), file)?))
}

/// JSON lines or texts; none if the input is neither.
fn foreign_text(input: &Input, content: Content) -> Result<Option<Arc<dyn TableProvider>>> {
    let form = if content == Content::Text { TextForm::find(input)? } else { None };
    let (place, input) = (input.to_string(), input.clone());
    match form {
        Some(TextForm::JsonLines) => {
            let schema = json_lines::schema(&input)?;
            let columns = schema.clone();
            let open = move || Ok(Box::new(json_lines::read(&input, schema.clone())?) as Batches);
            rescanned(&place, columns, open).map(Some)
        }
        Some(TextForm::Columns(names)) => {
            let schema = texts::schema(names);
            let columns = schema.clone();
            let open = move || Ok(Box::new(TsvTexts::open(&input, schema.clone())?) as Batches);
            rescanned(&place, columns, open).map(Some)
        }
        None => Ok(None),
    }
}

/// An `.arrow` file, or a dataset of such files, stays where it is, in memory maps; anything else is read anew by every
/// scan.
fn register_records(context: &SessionContext, name: &str, input: &Input) -> Result<Provenance> {
    let table = Table::open(input, &KINDS)?;
    let (kind, schema, place) = (table.kind(), table.schema(), table.name().to_owned());
    let (provider, provenance): (Arc<dyn TableProvider>, _) = match table.is_mapped() {
        true => {
            let mapped = Mapped::open(input, kind)?;
            let provenance = mapped.provenance().clone();
            let memory = MemTable::try_new(schema, vec![mapped.batches().to_vec()]).map_err(failed(&place))?;
            (Arc::new(memory), provenance)
        }
        false => {
            let input = input.clone();
            let open = move || Ok(Box::new(Table::open(&input, &[kind])?) as Batches);
            (rescanned(&place, schema, open)?, table.provenance().clone())
        }
    };
    context.register_table(name, provider).map_err(failed(&place))?;
    Ok(provenance)
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
