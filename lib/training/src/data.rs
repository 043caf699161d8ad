//! Judgements and negatives as lists of rows, whatever id space their file is in.

use arrow::array::{Array, RecordBatch};
use hardmine_files::{Input, KeyMap, MappedTokens, Table};
use hardmine_records::provenance::{DOCS, KEYS, QUERIES};
use hardmine_records::{
    Error, IdSpace, Ids, Kind, Provenance, QrelsBatch, Result, RunBatch, TeacherColumns, check_same_space,
};

use crate::document_lists::DocumentLists;
use crate::teacher::ScoredPair;

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

    /// The documents of a file of embeddings or codes, by its name, their number and its provenance. Their official ids
    /// are known only with their `tokens`.
    ///
    /// # Errors
    /// The tokens are of other documents.
    pub fn of_vectors(
        (name, rows, provenance): (&'a str, usize, &'a Provenance),
        tokens: Option<&'a MappedTokens>,
    ) -> Result<Self> {
        if let Some(tokens) = tokens {
            check_same_space((KEYS, name, provenance), (KEYS, tokens.name(), tokens.provenance()))?;
            if tokens.len() != rows {
                let text = format!("{rows} documents, expected {}, one for each text", tokens.len());
                return Err(Error::new(name, text).hint(format!("embed the whole of {}", tokens.name())));
            }
        }
        Ok(TextRows { name, rows, provenance, keys: tokens })
    }

    /// What the text in `row` is called: by its official id where that is known.
    pub(crate) fn text_of(&self, row: u32) -> String {
        self.keys.map_or_else(|| row.to_string(), |tokens| tokens.key(row as usize).to_owned())
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
    let mut pairs = Vec::new();
    let notes = read(input, Kind::Qrels, queries, docs, reading, |batch, rows| {
        let QrelsBatch { relevance, .. } = QrelsBatch::new(batch)?;
        let is_relevant = |row: &&Row| relevance.value(row.index) > 0;
        pairs.extend(rows.iter().filter(is_relevant).map(|row| (row.query, row.doc)));
        Ok(())
    })?;
    if pairs.is_empty() {
        return Err(Error::new(input, "no relevant document for any query"));
    }
    Ok(Judged { lists: DocumentLists::new(queries.rows, docs.rows, &pairs), notes })
}

/// All judgements with their grades, for a metric.
///
/// # Errors
/// As [`read_qrels`].
pub fn read_grades(input: &Input, queries: &TextRows, docs: &TextRows, reading: IdOptions) -> Result<Graded> {
    let mut rows = Vec::new();
    let notes = read(input, Kind::Qrels, queries, docs, reading, |batch, found| {
        let QrelsBatch { relevance, .. } = QrelsBatch::new(batch)?;
        rows.extend(found.iter().map(|row| (row.query, row.doc, relevance.value(row.index))));
        Ok(())
    })?;
    match rows.iter().any(|&(.., grade)| grade > 0) {
        true => Ok(Graded { name: input.to_string(), rows, notes }),
        false => Err(Error::new(input, "no relevant document for any query")),
    }
}

/// The hard negatives of each query, and a teacher's scores of them if the file has any.
///
/// # Errors
/// As [`read_qrels`].
pub fn read_negatives(
    input: &Input,
    queries: &TextRows,
    docs: &TextRows,
    reading: IdOptions,
) -> Result<(Judged, Option<Vec<ScoredPair>>)> {
    let (mut pairs, mut scored) = (Vec::new(), None);
    let notes = read(input, Kind::Negatives, queries, docs, reading, |batch, rows| {
        pairs.extend(rows.iter().map(|row| (row.query, row.doc)));
        if let Some(TeacherColumns { docs, positives }) = RunBatch::new(batch)?.teacher {
            scored.get_or_insert_with(Vec::new).extend(rows.iter().map(|&Row { query, doc, index }| ScoredPair {
                query,
                doc,
                score: docs.value(index),
                positive: positives.is_valid(index).then(|| positives.value(index)),
            }));
        }
        Ok(())
    })?;
    if pairs.is_empty() {
        return Err(Error::new(input, "no negatives"));
    }
    Ok((Judged { lists: DocumentLists::new(queries.rows, docs.rows, &pairs), notes }, scored))
}

/// Hands every pair of a run, with its score, to `take`. Returns what the user should know of how the file was read.
///
/// # Errors
/// As [`read_qrels`].
pub(crate) fn read_scores(
    input: &Input,
    queries: &TextRows,
    docs: &TextRows,
    reading: IdOptions,
    mut take: impl FnMut(u32, u32, f32),
) -> Result<Vec<String>> {
    read(input, Kind::Run, queries, docs, reading, |batch, rows| {
        let RunBatch { scores, .. } = RunBatch::new(batch)?;
        rows.iter().for_each(|row| take(row.query, row.doc, scores.value(row.index)));
        Ok(())
    })
}

/// A pair of row numbers, and where it stands in its batch.
struct Row {
    query: u32,
    doc: u32,
    index: usize,
}

/// Reads a file of pairs, batch by batch. `take` is given a batch with the pairs of its rows, except those that are
/// left out because they are unknown. Returns what the user should know of how the file was read.
fn read(
    input: &Input,
    kind: Kind,
    queries: &TextRows,
    docs: &TextRows,
    reading: IdOptions,
    mut take: impl FnMut(&RecordBatch, &[Row]) -> Result<()>,
) -> Result<Vec<String>> {
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
    let (mut rows, mut skipped, mut first) = (Vec::new(), 0, 0);
    for batch in table.by_ref() {
        let batch = batch?;
        let (queries, docs) = ids(&batch, kind)?;
        rows.clear();
        for index in 0..queries.len() {
            let is_unknown = || query_rows.is_unknown(&queries, index) || doc_rows.is_unknown(&docs, index);
            if reading.skip_unknown && is_unknown() {
                skipped += 1;
                continue;
            }
            let query = query_rows.row(&queries, index, "query_id", &name, first + index)?;
            let doc = doc_rows.row(&docs, index, "doc_id", &name, first + index)?;
            rows.push(Row { query, doc, index });
        }
        take(&batch, &rows)?;
        first += queries.len();
    }
    check(&table)?;
    let mut notes = table.notes();
    if skipped > 0 {
        notes.push(format!("{name}: {skipped} rows with an unknown query or document left out"));
    }
    Ok(notes)
}

fn ids(batch: &RecordBatch, kind: Kind) -> Result<(Ids, Ids)> {
    match kind {
        Kind::Qrels => QrelsBatch::new(batch).map(|rows| (rows.queries, rows.docs)),
        _ => RunBatch::new(batch).map(|rows| (rows.queries, rows.docs)),
    }
}

fn check_spaces(table: &Table, queries: &TextRows, docs: &TextRows) -> Result<()> {
    let (name, provenance) = (table.name(), table.provenance());
    check_same_space((QUERIES, name, provenance), (KEYS, queries.name, queries.provenance))?;
    check_same_space((DOCS, name, provenance), (KEYS, docs.name, docs.provenance))
}
