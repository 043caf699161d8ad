//! Runs, negatives and qrels as other programs write them: their text, the names of their columns, their ranks.

mod columns;
mod layout;
mod line;
mod positions;
mod reader;
mod write;

pub(crate) use columns::{Columns, Misfit, Role};
pub(crate) use positions::Positions;
pub(crate) use reader::TextReader;
pub(crate) use write::TextWriter;
