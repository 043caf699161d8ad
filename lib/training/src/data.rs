//! Judgements and negatives as lists of rows, whatever id space their file is in.

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{Int32Type, Int64Type};
use hardmine_files::{Input, KeyMap, MappedTokens, Table};
use hardmine_records::provenance::{DOCS, KEYS, QUERIES};
use hardmine_records::{Error, IdSpace, Kind, Provenance, Result, check_same_space};

use crate::documents::Documents;
use crate::lists::Lists;

/// The rows that one column of ids refers to.
pub struct Side<'a> {
    name: &'a str,
    rows: usize,
    provenance: &'a Provenance,
    keys: Option<&'a MappedTokens>,
}

impl<'a> Side<'a> {
    /// The texts of a tokens file.
    pub fn of_tokens(tokens: &'a MappedTokens) -> Self {
        Side { name: tokens.name(), rows: tokens.len(), provenance: tokens.provenance(), keys: Some(tokens) }
    }

    /// The documents of an embeddings file. Their official ids are known only with their `tokens`.
    ///
    /// # Errors
    /// The tokens are of other documents.
    pub fn of_embeddings(documents: &'a Documents, tokens: Option<&'a MappedTokens>) -> Result<Self> {
        let (name, provenance) = (documents.name(), documents.provenance());
        if let Some(tokens) = tokens {
            check_same_space((KEYS, name, provenance), (KEYS, tokens.name(), tokens.provenance()))?;
            if tokens.len() != documents.rows() {
                let text = format!("{} embeddings, expected {}, one for each text", documents.rows(), tokens.len());
                return Err(Error::new(name, text).hint(format!("embed the whole of {}", tokens.name())));
            }
        }
        Ok(Side { name, rows: documents.rows(), provenance, keys: tokens })
    }

    fn key_map(&self, place: &str) -> Result<KeyMap<'a>> {
        match self.keys {
            Some(tokens) => KeyMap::new(tokens),
            None => Err(Error::new(place, format!("official ids, which {} does not tell", self.name))
                .hint("name the documents' tokens with --docs; or --ids internal, if they are row numbers")),
        }
    }
}

/// How the ids of a file are read.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reading {
    /// What integer ids of other programs' files are.
    pub ids: Option<IdSpace>,
    /// Whether rows whose query or document is not among the tokens are left out, rather than refused.
    pub skip_unknown: bool,
}

/// What was read.
pub struct Judged {
    /// The documents of each query.
    pub lists: Lists,
    /// What the user should know of how the file was read.
    pub notes: Vec<String>,
}

/// The relevant documents (relevance above 0) of each query.
///
/// # Errors
/// A file that is not qrels or belongs to other queries or documents; an id that is not there, with its row.
pub fn read_qrels(input: &Input, queries: &Side, docs: &Side, reading: Reading) -> Result<Judged> {
    read(input, Kind::Qrels, queries, docs, reading)
}

/// The hard negatives of each query.
///
/// # Errors
/// As [`read_qrels`].
pub fn read_negatives(input: &Input, queries: &Side, docs: &Side, reading: Reading) -> Result<Judged> {
    read(input, Kind::Negatives, queries, docs, reading)
}

fn read(input: &Input, kind: Kind, queries: &Side, docs: &Side, reading: Reading) -> Result<Judged> {
    let mut table = Table::open_with_ids(input, &[kind], reading.ids)?.without_ranks();
    let name = table.name().to_owned();
    let (mut pairs, mut skipped) = (Vec::new(), 0);
    match table.ids() {
        IdSpace::Internal => {
            // A stream tells its fingerprints only at its end.
            check_spaces(&table, queries, docs)?;
            let row_of = |side: &Side, column: &str, id: i64, row: usize| match usize::try_from(id) {
                Ok(id) if id < side.rows => Ok(id as u32),
                _ => Err(Error::new(
                    format!("{name}: row {row}"),
                    format!("{column} {id} is not a row of {}, which has {}", side.name, side.rows),
                )),
            };
            let mut row = 0;
            for batch in table.by_ref() {
                let batch = batch?;
                let ids = [0, 1].map(|column| batch.column(column).as_primitive::<Int64Type>());
                for (place, counts) in counting(&batch, kind).enumerate() {
                    let query = row_of(queries, "query_id", ids[0].value(place), row + place)?;
                    let doc = row_of(docs, "doc_id", ids[1].value(place), row + place)?;
                    pairs.extend(counts.then_some((query, doc)));
                }
                row += batch.num_rows();
            }
            check_spaces(&table, queries, docs)?;
        }
        IdSpace::Official => {
            let (queries, docs) = (queries.key_map(&name)?, docs.key_map(&name)?);
            let mut row = 0;
            for batch in table.by_ref() {
                let batch = batch?;
                let ids = [0, 1].map(|column| batch.column(column).as_string::<i32>());
                for (place, counts) in counting(&batch, kind).enumerate() {
                    let (query, doc) = (ids[0].value(place), ids[1].value(place));
                    if reading.skip_unknown && (queries.get(query).is_none() || docs.get(doc).is_none()) {
                        skipped += 1;
                        continue;
                    }
                    let query = queries.row(query, &name, row + place)?;
                    let doc = docs.row(doc, &name, row + place)?;
                    pairs.extend(counts.then_some((query as u32, doc as u32)));
                }
                row += batch.num_rows();
            }
        }
    }
    let mut notes = table.notes();
    if skipped > 0 {
        notes.push(format!("{name}: {skipped} rows with an unknown query or document left out"));
    }
    if pairs.is_empty() {
        let what = if kind == Kind::Qrels { "no relevant document for any query" } else { "no negatives" };
        return Err(Error::new(name, what));
    }
    Ok(Judged { lists: Lists::new(queries.rows, docs.rows, &pairs), notes })
}

/// Which rows of `batch` count: of judgements, those that say relevant.
fn counting(batch: &RecordBatch, kind: Kind) -> impl Iterator<Item = bool> {
    let relevance = (kind == Kind::Qrels).then(|| batch.column(2).as_primitive::<Int32Type>().clone());
    (0..batch.num_rows()).map(move |row| relevance.as_ref().is_none_or(|relevance| relevance.value(row) > 0))
}

fn check_spaces(table: &Table, queries: &Side, docs: &Side) -> Result<()> {
    let (name, provenance) = (table.name(), table.provenance());
    check_same_space((QUERIES, name, provenance), (KEYS, queries.name, queries.provenance))?;
    check_same_space((DOCS, name, provenance), (KEYS, docs.name, docs.provenance))
}
