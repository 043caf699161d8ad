//! From one id space to the other: `query_id` and `doc_id` of runs, negatives and qrels.

use arrow::array::{BooleanArray, Int64Array, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{Schema, SchemaRef};
use hardmine_records::provenance::{DOCS, KEYS, QUERIES};
use hardmine_records::{Error, IdSpace, Ids, Kind, Provenance, QrelsBatch, Result, RunBatch, check_same_space, schema};

use crate::{KeyMap, MappedTokens};

/// Maps ids through the keys of two tokens files.
pub struct Remap<'a> {
    queries: &'a MappedTokens,
    docs: &'a MappedTokens,
    /// Official to internal; absent in the other direction.
    rows: Option<(KeyMap<'a>, KeyMap<'a>)>,
    /// Whether rows with an unknown official id are left out, rather than refused.
    skip_unknown: bool,
    done: usize,
    skipped: usize,
}

impl<'a> Remap<'a> {
    /// A mapping to the space `to`. With `skip_unknown`, rows whose query or document is not a key are left out.
    pub fn new(queries: &'a MappedTokens, docs: &'a MappedTokens, to: IdSpace, skip_unknown: bool) -> Result<Self> {
        let rows = match to {
            IdSpace::Internal => Some((KeyMap::new(queries)?, KeyMap::new(docs)?)),
            IdSpace::Official => None,
        };
        Ok(Remap { queries, docs, rows, skip_unknown, done: 0, skipped: 0 })
    }

    /// The schema of mapped batches of a file of `kind` with the schema `from`.
    pub fn schema(&self, kind: Kind, from: &Schema) -> SchemaRef {
        let ids = if self.rows.is_some() { IdSpace::Internal } else { IdSpace::Official };
        match kind {
            Kind::Qrels => schema::qrels(ids),
            Kind::Negatives if from.column_with_name("teacher").is_some() => schema::taught_negatives(ids),
            Kind::Negatives => schema::negatives(ids),
            _ => schema::run(ids),
        }
    }

    /// Refuses internal ids of other tokens files than ours.
    pub fn check(&self, name: &str, provenance: &Provenance) -> Result<()> {
        for (space, tokens) in [(QUERIES, self.queries), (DOCS, self.docs)] {
            check_same_space((space, name, provenance), (KEYS, tokens.name(), tokens.provenance()))?;
        }
        Ok(())
    }

    /// Maps the next rows of the file called `name`.
    ///
    /// # Errors
    /// An id that is not in the tokens file, with its row.
    pub fn apply(&mut self, name: &str, kind: Kind, batch: &RecordBatch) -> Result<RecordBatch> {
        let known = match &self.rows {
            Some((queries, docs)) if self.skip_unknown => known_rows(queries, docs, kind, batch)?,
            _ => None,
        };
        let known = known.map(|known| filter_record_batch(batch, &known)).transpose().map_err(Error::at(name))?;
        let kept = known.as_ref().unwrap_or(batch);
        self.done += batch.num_rows() - kept.num_rows();
        self.skipped += batch.num_rows() - kept.num_rows();
        let mapped = match kind {
            Kind::Qrels => {
                let rows = QrelsBatch::new(kept)?;
                let (queries, docs) = self.map(name, &rows.queries, &rows.docs)?;
                QrelsBatch { queries, docs, ..rows }.into_records()?
            }
            _ => {
                let rows = RunBatch::new(kept)?;
                let (queries, docs) = self.map(name, &rows.queries, &rows.docs)?;
                RunBatch { queries, docs, ..rows }.into_records(kind)?
            }
        };
        self.done += kept.num_rows();
        Ok(mapped)
    }

    /// Rows left out so far, of how many.
    pub fn skipped(&self) -> (usize, usize) {
        (self.skipped, self.done)
    }

    fn map(&self, name: &str, queries: &Ids, docs: &Ids) -> Result<(Ids, Ids)> {
        match &self.rows {
            Some((query_rows, doc_rows)) => {
                Ok((self.to_internal(name, query_rows, queries)?, self.to_internal(name, doc_rows, docs)?))
            }
            None => Ok((self.to_official(name, self.queries, queries)?, self.to_official(name, self.docs, docs)?)),
        }
    }

    fn to_internal(&self, name: &str, rows: &KeyMap, ids: &Ids) -> Result<Ids> {
        let ids: Result<Int64Array> =
            (0..ids.len()).map(|row| rows.row(&ids.text(row), name, self.done + row)).collect();
        Ok(Ids::Internal(ids?))
    }

    fn to_official(&self, name: &str, tokens: &MappedTokens, ids: &Ids) -> Result<Ids> {
        let Ids::Internal(ids) = ids else { return Ok(ids.clone()) };
        let key = |(row, &id): (usize, &i64)| match usize::try_from(id) {
            Ok(id) if id < tokens.len() => Ok(tokens.key(id)),
            _ => {
                let text = format!("id {id} is not a row of {}, which has {}", tokens.name(), tokens.len());
                Err(Error::at_row(name, self.done + row, text))
            }
        };
        let keys: Vec<&str> = ids.values().iter().enumerate().map(key).collect::<Result<_>>()?;
        Ok(Ids::Official(keys.into()))
    }
}

/// Which rows have a known query and document; none if all of them do.
fn known_rows(queries: &KeyMap, docs: &KeyMap, kind: Kind, batch: &RecordBatch) -> Result<Option<BooleanArray>> {
    let (query_ids, doc_ids) = match kind {
        Kind::Qrels => QrelsBatch::new(batch).map(|rows| (rows.queries, rows.docs))?,
        _ => RunBatch::new(batch).map(|rows| (rows.queries, rows.docs))?,
    };
    let is_known = |row| queries.get(&query_ids.text(row)).is_some() && docs.get(&doc_ids.text(row)).is_some();
    let known: Vec<bool> = (0..batch.num_rows()).map(is_known).collect();
    Ok(known.contains(&false).then(|| known.into()))
}
