//! One error for all rooms: a place, what is wrong there, and often a hint, displayed on one line.

use std::fmt::{self, Display};
use std::io;

/// What went wrong, where. Displayed as `place: message; hint: hint`.
#[derive(Clone, Debug)]
pub struct Error {
    place: Place,
    kind: ErrorKind,
    message: String,
    hint: Option<String>,
}

/// Where something is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In a whole: a file by its path, standard input, a model folder, a query.
    Whole(String),
    /// In the row of a table, counted from 0.
    Row(String, usize),
    /// In the line of a text, counted from 1.
    Line(String, usize),
    /// In a record batch of an Arrow file or stream, counted from 0.
    Batch(String, usize),
}

/// What sort of failure it is, for those who treat some of them differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The operating system refused an operation. `BrokenPipe` means that the reader of our output went away.
    Io(io::ErrorKind),
    /// An input, a setting or a combination of them is not what it should be.
    Invalid,
}

/// Result with [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An error of the whole that is called `name`.
    pub fn new(name: impl Display, message: impl Display) -> Self {
        Error::in_place(Place::Whole(name.to_string()), message)
    }

    /// An error in row `row`, counted from 0, of the table `name`.
    pub fn at_row(name: impl Display, row: usize, message: impl Display) -> Self {
        Error::in_place(Place::Row(name.to_string(), row), message)
    }

    /// An error in line `line`, counted from 1, of the text `name`.
    pub fn at_line(name: impl Display, line: usize, message: impl Display) -> Self {
        Error::in_place(Place::Line(name.to_string(), line), message)
    }

    /// An error in `place`.
    pub fn in_place(place: impl Into<Place>, message: impl Display) -> Self {
        Error { place: place.into(), kind: ErrorKind::Invalid, message: one_line(&message.to_string()), hint: None }
    }

    /// Adds what the user could do about it.
    pub fn hint(mut self, hint: impl Display) -> Self {
        self.hint = Some(hint.to_string());
        self
    }

    /// Turns an I/O error of the whole `name` into ours; made for `map_err`.
    pub fn io(name: impl Display) -> impl FnOnce(io::Error) -> Error {
        move |error| Error { kind: ErrorKind::Io(error.kind()), ..Error::new(name, plain(&error)) }
    }

    /// Turns any error of the whole `name` into ours; made for `map_err`.
    pub fn at<E: Display>(name: impl Display) -> impl FnOnce(E) -> Error {
        move |error| Error::new(name, error)
    }

    /// Where it is.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// What sort of failure it is.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }
}

/// The operating system's message without its error number.
fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error") {
        Some(end) => text[..end].to_lowercase(),
        None => text,
    }
}

/// The lines of `text` as one. What a terminal or a reader of lines would take for more than a letter is escaped as
/// Rust writes it.
pub fn one_line(text: &str) -> String {
    let lines = text.split(['\n', '\r']).map(str::trim).filter(|line| !line.is_empty());
    let is_odd = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
    let mut line = String::new();
    for c in lines.collect::<Vec<_>>().join("; ").chars() {
        if is_odd(c) { line.extend(c.escape_default()) } else { line.push(c) }
    }
    line
}

impl From<&str> for Place {
    fn from(name: &str) -> Self {
        Place::Whole(name.to_owned())
    }
}

impl From<&String> for Place {
    fn from(name: &String) -> Self {
        Place::Whole(name.clone())
    }
}

impl From<&Place> for Place {
    fn from(place: &Place) -> Self {
        place.clone()
    }
}

impl Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Place::Whole(name) => f.write_str(name),
            Place::Row(name, row) => write!(f, "{name}: row {row}"),
            Place::Line(name, line) => write!(f, "{name}: line {line}"),
            Place::Batch(name, batch) => write!(f, "{name}: batch {batch}"),
        }
    }
}

impl Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "; hint: {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_one_line() {
        let error = Error::at_row("a: b.tsv", 3, "is\nbroken\u{7}").hint("mend it");
        assert_eq!(error.to_string(), "a: b.tsv: row 3: is; broken\\u{7}; hint: mend it");
        assert_eq!(error.place(), &Place::Row("a: b.tsv".into(), 3));
        let error = Error::io("x")(io::Error::from_raw_os_error(28));
        assert_eq!(
            (error.to_string().as_str(), error.kind()),
            ("x: no space left on device", ErrorKind::Io(io::ErrorKind::StorageFull))
        );
    }
}
