//! Records: which kinds there are and which columns they have, where a file of them came from, and what its ids mean.
//! Nothing here reads or writes: `hardmine-files` does.

pub mod columns;
pub mod conform;
mod error;
mod fingerprint;
mod ids;
pub mod provenance;
#[cfg(test)]
mod readme;
pub mod schema;
mod spaces;
mod views;

pub use conform::check_finite;
pub use error::{Error, ErrorKind, Place, Result, one_line};
pub use fingerprint::{Fingerprint, KeyHasher};
pub use ids::{Id, IdSpace, Ids, KeptId};
pub use provenance::Provenance;
pub use schema::Kind;
pub use spaces::{check_same_space, check_self};
pub use views::{
    CodesBatch, EmbeddingsBatch, MetricsBatch, MiningReportBatch, Numbers, QrelsBatch, RunBatch, TeacherColumns,
    TokensBatch, TrainingLogBatch, Values,
};
