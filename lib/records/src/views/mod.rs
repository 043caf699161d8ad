//! Typed views of record batches: the columns of each kind by name, checked once. Apart from the definitions in
//! `schemas/`, this is the only place that knows which columns a kind has.

mod codes;
mod embeddings;
mod metrics;
mod mining_report;
mod qrels;
mod run;
mod tokens;
mod training_log;

pub use codes::CodesBatch;
pub use embeddings::{EmbeddingsBatch, Numbers, Values};
pub use metrics::MetricsBatch;
pub use mining_report::MiningReportBatch;
pub use qrels::QrelsBatch;
pub use run::{RunBatch, TeacherColumns};
pub use tokens::TokensBatch;
pub use training_log::TrainingLogBatch;

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::datatypes::SchemaRef;

use crate::ids::Ids;
use crate::schema::Kind;
use crate::{Error, Result};

/// The column `name` of a batch of `kind`, which must be of type `T`.
fn column<T: Array + Clone + 'static>(batch: &RecordBatch, kind: Kind, name: &str) -> Result<T> {
    let column = batch.column_by_name(name).and_then(|column| column.as_any().downcast_ref::<T>());
    column.cloned().ok_or_else(|| unfit(batch, kind, name))
}

/// The column `name` of a batch of `kind`, which must hold ids.
fn ids(batch: &RecordBatch, kind: Kind, name: &str) -> Result<Ids> {
    batch.column_by_name(name).and_then(Ids::of).ok_or_else(|| unfit(batch, kind, name))
}

fn unfit(batch: &RecordBatch, kind: Kind, name: &str) -> Error {
    let found = batch.column_by_name(name).map_or("missing".into(), |column| column.data_type().to_string());
    Error::new(kind, format!("column {name} is {found}"))
}

/// The columns as a batch of `schema`; their lengths and types must agree with it.
fn batch(kind: Kind, schema: SchemaRef, columns: Vec<ArrayRef>) -> Result<RecordBatch> {
    RecordBatch::try_new(schema, columns).map_err(Error::at(kind))
}
