//! Records: what kinds of files there are, how they are read and written, which id space they
//! belong to and where they came from, and how a command that handles them behaves.

mod ahead;
mod behind;
pub mod command;
mod conform;
mod error;
mod ids;
mod ipc;
mod judgements;
mod mapped;
mod output;
pub mod provenance;
mod remap;
pub mod schema;
pub mod source;
mod table;
mod writer;

pub use ahead::read_ahead;
pub use conform::check_finite;
pub use error::{Error, Result};
pub use ids::{Fingerprint, IdSpace, KeyHasher, KeyMap, check_same_space};
pub use mapped::{Mapped, MappedTokens};
pub use output::{AtomicFile, Format, Output, check_differs};
pub use provenance::Provenance;
pub use remap::Remap;
pub use schema::Kind;
pub use source::Input;
pub use table::Table;
pub use writer::Writer;
