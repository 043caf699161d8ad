//! The rows of relevance judgements.

use std::sync::Arc;

use arrow::array::{Int32Array, RecordBatch};

use super::{batch, column, ids};
use crate::Result;
use crate::ids::Ids;
use crate::schema::{Kind, qrels};

/// The rows of relevance judgements.
#[derive(Clone, Debug)]
pub struct QrelsBatch {
    /// Query of each row.
    pub queries: Ids,
    /// Document of each row, of the same id space.
    pub docs: Ids,
    /// Grade of the document; above 0 it is relevant.
    pub relevance: Int32Array,
}

impl QrelsBatch {
    /// The rows of `batch`.
    ///
    /// # Errors
    /// A column that is missing or has another type, which never happens with a batch that a table was read from.
    pub fn new(batch: &RecordBatch) -> Result<Self> {
        let kind = Kind::Qrels;
        Ok(QrelsBatch {
            queries: ids(batch, kind, "query_id")?,
            docs: ids(batch, kind, "doc_id")?,
            relevance: column(batch, kind, "relevance")?,
        })
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.relevance.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The rows as records.
    ///
    /// # Errors
    /// Columns of different lengths, or queries and documents of different id spaces.
    pub fn into_records(self) -> Result<RecordBatch> {
        let schema = qrels(self.queries.space());
        batch(Kind::Qrels, schema, vec![self.queries.into_column(), self.docs.into_column(), Arc::new(self.relevance)])
    }
}
