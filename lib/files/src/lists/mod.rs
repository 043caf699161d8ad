//! Runs, negatives and qrels as text: how other programs write them, and the ranks of lists that have none.

mod layout;
mod line;
mod positions;
mod reader;
mod write;

pub(crate) use positions::Positions;
pub(crate) use reader::TextReader;
pub(crate) use write::TextWriter;
