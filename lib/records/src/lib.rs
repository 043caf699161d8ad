//! Records: what kinds of files there are, how they are read and written, which id space they
//! belong to and where they came from, and how a command that handles them behaves.

mod ahead;
mod behind;
pub mod command;
mod conform;
mod error;
mod foreign;
mod ids;
mod ipc;
mod ipc_check;
mod lists;
mod mapped;
mod output;
mod output_file;
mod parquet;
mod paths;
pub mod provenance;
mod remap;
pub mod schema;
pub mod source;
mod streams;
mod table;
mod temporary;
mod thrift;
mod writer;

pub use ahead::read_ahead;
pub use conform::check_finite;
pub use error::{Error, Result};
pub use foreign::foreign;
pub use ids::{Fingerprint, ForeignIds, IdSpace, KeyHasher, KeyMap, check_same_space, check_self};
pub use mapped::{Mapped, MappedTokens};
pub use output::{Format, Output, check_differs, is_same_output};
pub use output_file::OutputFile;
pub use parquet::{next_batch, open_parquet, provenance_in};
pub use paths::resolve;
pub use provenance::Provenance;
pub use remap::Remap;
pub use schema::Kind;
pub use source::Input;
pub use table::Table;
pub use temporary::{Temporary, left_by_others, sync_folder};
pub use writer::Writer;
