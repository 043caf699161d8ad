//! Judgements and negatives as lists of rows, whatever id space their file is in.

use arrow::array::{Int32Array, RecordBatch};
use hardmine_files::{Input, KeyMap, MappedTokens, Table};
use hardmine_records::provenance::{DOCS, KEYS, QUERIES};
use hardmine_records::{Error, IdSpace, Ids, Kind, Provenance, QrelsBatch, Result, RunBatch, check_same_space};

use crate::document_lists::DocumentLists;
use crate::documents::Documents;

/// The texts that a column of ids refers to, by row number.
pub struct TextRows<'a> {
    name: &'a str,
    rows: usize,
    provenance: &'a Provenance,
    keys: Option<&'a MappedTokens>,
}

impl<'a> TextRows<'a> {
    /// The texts of a tokens file.
    pub fn of_tokens(tokens: &'a MappedTokens) -> Self {
        TextRows { name: tokens.name(), rows: tokens.len(), provenance: tokens.provenance(), keys: Some(tokens) }
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
        Ok(TextRows { name, rows: documents.rows(), provenance, keys: tokens })
    }

    /// How ids of `space` are looked up among these texts; `place` is the file they stand in.
    fn lookup(&self, space: IdSpace, place: &str) -> Result<Lookup<'_>> {
        match (space, self.keys) {
            (IdSpace::Internal, _) => Ok(Lookup::Rows { name: self.name, rows: self.rows }),
            (IdSpace::Official, Some(tokens)) => Ok(Lookup::Keys(KeyMap::new(tokens)?)),
            (IdSpace::Official, None) => {
                Err(Error::new(place, format!("official ids, which {} does not tell", self.name))
                    .hint("name the documents' tokens with --docs; or --ids internal, if they are row numbers"))
            }
        }
    }
}

/// From ids to row numbers.
enum Lookup<'a> {
    /// Ids are row numbers already, of a file that has so many.
    Rows { name: &'a str, rows: usize },
    /// Ids are keys of a tokens file.
    Keys(KeyMap<'a>),
}

impl Lookup<'_> {
    /// Whether the id at `index` is a key that the tokens lack.
    fn is_unknown(&self, ids: &Ids, index: usize) -> bool {
        matches!(self, Lookup::Keys(keys) if keys.get(&ids.text(index)).is_none())
    }

    /// The row number that the id at `index` stands for. The id is in column `column`, row `row`, of the file `place`.
    fn row(&self, ids: &Ids, index: usize, column: &str, place: &str, row: usize) -> Result<u32> {
        match (self, ids) {
            (Lookup::Rows { name, rows }, Ids::Internal(ids)) => {
                let id = ids.value(index);
                let found = usize::try_from(id).ok().filter(|id| id < rows).map(|id| id as u32);
                found.ok_or_else(|| {
                    Error::at_row(place, row, format!("{column} {id} is not a row of {name}, which has {rows}"))
                })
            }
            (Lookup::Keys(keys), ids) => keys.row(&ids.text(index), place, row).map(|id| id as u32),
            (Lookup::Rows { .. }, Ids::Official(_)) => Err(Error::at_row(place, row, "expected row numbers")),
        }
    }
}

/// How the ids of a file are read.
#[derive(Clone, Copy, Debug, Default)]
pub struct IdOptions {
    /// What integer ids of other programs' files are.
    pub ids: Option<IdSpace>,
    /// Whether rows whose query or document is not among the tokens are left out, rather than refused.
    pub skip_unknown: bool,
}

/// The documents that a file of judgements or negatives names for each query.
pub struct Judged {
    /// The documents of each query.
    pub lists: DocumentLists,
    /// What the user should know of how the file was read.
    pub notes: Vec<String>,
}

/// The judgements of a file with their grades.
pub struct Graded {
    /// The name of the file in errors.
    pub name: String,
    /// Row numbers of query and document, and the grade.
    pub rows: Vec<(u32, u32, i32)>,
    /// What the user should know of how the file was read.
    pub notes: Vec<String>,
}

/// The relevant documents (relevance above 0) of each query.
///
/// # Errors
/// A file that is not qrels or belongs to other queries or documents; an id that is not there, with its row.
pub fn read_qrels(input: &Input, queries: &TextRows, docs: &TextRows, reading: IdOptions) -> Result<Judged> {
    read_lists(input, Kind::Qrels, queries, docs, reading)
}

/// All judgements with their grades, for a metric.
///
/// # Errors
/// As [`read_qrels`].
pub fn read_grades(input: &Input, queries: &TextRows, docs: &TextRows, reading: IdOptions) -> Result<Graded> {
    let mut rows = Vec::new();
    let (name, notes) = read(input, Kind::Qrels, queries, docs, reading, |query, doc, grade| {
        rows.push((query, doc, grade));
    })?;
    match rows.iter().any(|&(.., grade)| grade > 0) {
        true => Ok(Graded { name, rows, notes }),
        false => Err(nothing_in(&name, Kind::Qrels)),
    }
}

/// The hard negatives of each query.
///
/// # Errors
/// As [`read_qrels`].
pub fn read_negatives(input: &Input, queries: &TextRows, docs: &TextRows, reading: IdOptions) -> Result<Judged> {
    read_lists(input, Kind::Negatives, queries, docs, reading)
}

fn read_lists(input: &Input, kind: Kind, queries: &TextRows, docs: &TextRows, reading: IdOptions) -> Result<Judged> {
    let mut pairs = Vec::new();
    let (name, notes) = read(input, kind, queries, docs, reading, |query, doc, grade| {
        if grade > 0 {
            pairs.push((query, doc));
        }
    })?;
    match pairs.is_empty() {
        true => Err(nothing_in(&name, kind)),
        false => Ok(Judged { lists: DocumentLists::new(queries.rows, docs.rows, &pairs), notes }),
    }
}

fn nothing_in(name: &str, kind: Kind) -> Error {
    Error::new(name, if kind == Kind::Qrels { "no relevant document for any query" } else { "no negatives" })
}

/// Gives the rows of a file to `take`: query, document and grade, which is 1 for negatives. Returns the file's name, and
/// what the user should know.
fn read(
    input: &Input,
    kind: Kind,
    queries: &TextRows,
    docs: &TextRows,
    reading: IdOptions,
    mut take: impl FnMut(u32, u32, i32),
) -> Result<(String, Vec<String>)> {
    let mut table = Table::open_with_ids(input, &[kind], reading.ids)?.without_ranks();
    let name = table.name().to_owned();
    let space = table.ids();
    // A stream tells its fingerprints only at its end, so that they are compared before and after.
    let check = |table: &Table| match space {
        IdSpace::Internal => check_spaces(table, queries, docs),
        IdSpace::Official => Ok(()),
    };
    check(&table)?;
    let (query_rows, doc_rows) = (queries.lookup(space, &name)?, docs.lookup(space, &name)?);
    let (mut skipped, mut first) = (0, 0);
    for batch in table.by_ref() {
        let Pairs { queries, docs, relevance } = Pairs::of(&batch?, kind)?;
        for index in 0..queries.len() {
            let is_unknown = || query_rows.is_unknown(&queries, index) || doc_rows.is_unknown(&docs, index);
            if reading.skip_unknown && is_unknown() {
                skipped += 1;
                continue;
            }
            let query = query_rows.row(&queries, index, "query_id", &name, first + index)?;
            let doc = doc_rows.row(&docs, index, "doc_id", &name, first + index)?;
            take(query, doc, relevance.as_ref().map_or(1, |relevance| relevance.value(index)));
        }
        first += queries.len();
    }
    check(&table)?;
    let mut notes = table.notes();
    if skipped > 0 {
        notes.push(format!("{name}: {skipped} rows with an unknown query or document left out"));
    }
    Ok((name, notes))
}

/// Queries with documents: what judgements and negatives have in common.
struct Pairs {
    queries: Ids,
    docs: Ids,
    /// Of judgements; those above 0 say relevant.
    relevance: Option<Int32Array>,
}

impl Pairs {
    fn of(batch: &RecordBatch, kind: Kind) -> Result<Self> {
        match kind {
            Kind::Qrels => {
                let QrelsBatch { queries, docs, relevance } = QrelsBatch::new(batch)?;
                Ok(Pairs { queries, docs, relevance: Some(relevance) })
            }
            _ => {
                let RunBatch { queries, docs, .. } = RunBatch::new(batch)?;
                Ok(Pairs { queries, docs, relevance: None })
            }
        }
    }
}

fn check_spaces(table: &Table, queries: &TextRows, docs: &TextRows) -> Result<()> {
    let (name, provenance) = (table.name(), table.provenance());
    check_same_space((QUERIES, name, provenance), (KEYS, queries.name, queries.provenance))?;
    check_same_space((DOCS, name, provenance), (KEYS, docs.name, docs.provenance))
}
