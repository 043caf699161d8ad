//! What mining did, one fact a row.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray};

use super::batch;
use crate::Result;
use crate::ids::Ids;
use crate::schema::{Kind, mining_report};

/// Facts about mining.
#[derive(Clone, Debug)]
pub struct MiningReportBatch {
    /// What each fact is about, such as `rules`.
    pub sections: StringArray,
    /// What its value is, within the section.
    pub names: StringArray,
    /// The query of each fact; null where it is about all of them.
    pub queries: Ids,
    /// The document of each fact, or null.
    pub docs: Ids,
    /// The values.
    pub values: Float64Array,
    /// The text of the document, or of the query where there is no document; null where it is not known.
    pub texts: StringArray,
}

impl MiningReportBatch {
    /// The facts as records.
    ///
    /// # Errors
    /// Columns of different lengths, or queries and documents of different id spaces.
    pub fn into_records(self) -> Result<RecordBatch> {
        let schema = mining_report(self.queries.space());
        let columns: [ArrayRef; 6] = [
            Arc::new(self.sections),
            Arc::new(self.names),
            self.queries.into_column(),
            self.docs.into_column(),
            Arc::new(self.values),
            Arc::new(self.texts),
        ];
        batch(Kind::MiningReport, schema, columns.to_vec())
    }
}
