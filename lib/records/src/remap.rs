//! From one id space to the other: `query_id` and `doc_id` of runs, negatives and qrels.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, StringArray};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{Int64Type, SchemaRef};

use crate::provenance::{DOCS, KEYS, QUERIES};
use crate::{Error, IdSpace, KeyMap, Kind, MappedTokens, Provenance, Result, check_same_space, schema};

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

    /// The schema of mapped batches.
    pub fn schema(&self, kind: Kind) -> SchemaRef {
        let ids = if self.rows.is_some() { IdSpace::Internal } else { IdSpace::Official };
        match kind {
            Kind::Qrels => schema::qrels(ids),
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
            Some((queries, docs)) if self.skip_unknown => known_rows(queries, docs, batch),
            _ => None,
        };
        let known = known.map(|known| filter_record_batch(batch, &known)).transpose().map_err(Error::at(name))?;
        let batch = match &known {
            Some(known) => {
                self.done += batch.num_rows() - known.num_rows();
                self.skipped += batch.num_rows() - known.num_rows();
                known
            }
            None => batch,
        };
        let mut columns = batch.columns().to_vec();
        match &self.rows {
            Some((queries, docs)) => {
                columns[0] = self.to_internal(name, queries, &columns[0])?;
                columns[1] = self.to_internal(name, docs, &columns[1])?;
            }
            None => {
                columns[0] = self.to_official(name, self.queries, &columns[0])?;
                columns[1] = self.to_official(name, self.docs, &columns[1])?;
            }
        }
        self.done += batch.num_rows();
        RecordBatch::try_new(self.schema(kind), columns).map_err(Error::at(name))
    }

    /// Rows left out so far, of how many.
    pub fn skipped(&self) -> (usize, usize) {
        (self.skipped, self.done)
    }

    fn to_internal(&self, name: &str, rows: &KeyMap, ids: &ArrayRef) -> Result<ArrayRef> {
        let keys = ids.as_string::<i32>().iter().flatten().enumerate();
        let ids: Result<Int64Array> = keys.map(|(row, key)| rows.row(key, name, self.done + row)).collect();
        Ok(Arc::new(ids?))
    }

    fn to_official(&self, name: &str, tokens: &MappedTokens, ids: &ArrayRef) -> Result<ArrayRef> {
        let ids = ids.as_primitive::<Int64Type>().values().iter().enumerate();
        let key = |(row, &id): (usize, &i64)| match usize::try_from(id) {
            Ok(id) if id < tokens.len() => Ok(tokens.key(id)),
            _ => {
                let text = format!("id {id} is not a row of {}, which has {}", tokens.name(), tokens.len());
                Err(Error::new(format!("{name}: row {}", self.done + row), text))
            }
        };
        let keys: Vec<&str> = ids.map(key).collect::<Result<_>>()?;
        Ok(Arc::new(StringArray::from(keys)))
    }
}

/// Which rows have a known query and document; none if all of them do.
fn known_rows(queries: &KeyMap, docs: &KeyMap, batch: &RecordBatch) -> Option<BooleanArray> {
    let ids = |column: usize| batch.column(column).as_string::<i32>().iter().flatten();
    let known = ids(0).zip(ids(1)).map(|(query, doc)| queries.get(query).is_some() && docs.get(doc).is_some());
    let known: Vec<bool> = known.collect();
    known.contains(&false).then(|| known.into())
}
