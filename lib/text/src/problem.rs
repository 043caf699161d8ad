//! What is wrong with a line of a corpus, before it is known which line it is.

use hardmine_files::Lines;
use hardmine_records::Error;

/// What is wrong with a line.
pub(crate) struct Problem {
    pub message: String,
    pub hint: Option<&'static str>,
}

impl Problem {
    /// The error at the last of `lines` that was read.
    pub(crate) fn at(self, lines: &Lines) -> Error {
        let error = Error::in_place(lines.place(), self.message);
        match self.hint {
            Some(hint) => error.hint(hint),
            None => error,
        }
    }
}
