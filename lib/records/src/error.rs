//! One error for the whole room: a place, what is wrong there, and often a hint, on one line.

use std::fmt::{self, Display};

/// What went wrong, where. Displayed as `place: message; hint: hint`.
#[derive(Debug)]
pub struct Error {
    place: String,
    message: String,
    hint: Option<String>,
    source: Option<std::io::Error>,
}

/// Result with [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An error at `place` (a file, or a file with its row or line).
    pub fn new(place: impl Display, message: impl Display) -> Self {
        Error { place: place.to_string(), message: one_line(&message.to_string()), hint: None, source: None }
    }

    /// Adds what the user could do about it.
    pub fn hint(mut self, hint: impl Display) -> Self {
        self.hint = Some(hint.to_string());
        self
    }

    /// Where it went wrong.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// Turns an I/O error at `place` into ours; made for `map_err`. The kind stays visible, so that a
    /// closed pipe can be told from a failure.
    pub fn io(place: impl Display) -> impl FnOnce(std::io::Error) -> Error {
        move |error| Error { source: Some(clone(&error)), ..Error::new(place, plain(&error)) }
    }

    /// Turns any error at `place` into ours; made for `map_err`.
    pub fn at<E: Display>(place: impl Display) -> impl FnOnce(E) -> Error {
        move |error| Error::new(place, error)
    }
}

impl Clone for Error {
    fn clone(&self) -> Self {
        let Error { place, message, hint, source } = self;
        let (place, message, hint) = (place.clone(), message.clone(), hint.clone());
        Error { place, message, hint, source: source.as_ref().map(clone) }
    }
}

fn clone(error: &std::io::Error) -> std::io::Error {
    std::io::Error::new(error.kind(), error.to_string())
}

/// The operating system's message without its error number.
fn plain(error: &std::io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error") {
        Some(end) => text[..end].to_lowercase(),
        None => text,
    }
}

/// The lines of `text` as one, with everything that a terminal or a reader of lines would take for more than a letter
/// as Rust writes it.
pub(crate) fn one_line(text: &str) -> String {
    let lines = text.split(['\n', '\r']).map(str::trim).filter(|line| !line.is_empty());
    let is_odd = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
    let mut line = String::new();
    for c in lines.collect::<Vec<_>>().join("; ").chars() {
        if is_odd(c) { line.extend(c.escape_default()) } else { line.push(c) }
    }
    line
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

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        // The message is already in ours; the source is there for its kind only.
        self.source.as_ref().filter(|error| error.kind() == std::io::ErrorKind::BrokenPipe).map(|e| e as _)
    }
}
