//! What a text is used as, and how the fields of a corpus become the one text that is tokenized.

use std::fmt;
use std::str::FromStr;

use crate::python;

/// What a text is used as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextKind {
    /// A passage: one text.
    Passage,
    /// A document: URL, title and body.
    Document,
    /// A query: one short text.
    Query,
}

impl TextKind {
    /// The names, as on the command line.
    pub const NAMES: [&str; 3] = ["passage", "document", "query"];

    /// Token ids kept unless told otherwise, special tokens included: 64 for queries, else 512.
    pub fn default_length(self) -> usize {
        match self {
            TextKind::Query => 64,
            TextKind::Passage | TextKind::Document => 512,
        }
    }
}

impl fmt::Display for TextKind {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(Self::NAMES[*self as usize])
    }
}

impl FromStr for TextKind {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let kinds = [TextKind::Passage, TextKind::Document, TextKind::Query];
        kinds.into_iter().find(|kind| kind.to_string() == name).ok_or_else(|| format!("no kind of text '{name}'"))
    }
}

/// The fields of one text, as the corpus has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fields {
    /// A text in one piece.
    Text(String),
    /// An MS MARCO document.
    Document {
        /// Its address.
        url: String,
        /// Its title.
        title: String,
        /// Its text.
        body: String,
    },
}

impl Fields {
    /// The text that encoders in sentence-transformers layout expect: fields stripped, empty ones left
    /// out, the others joined with one space.
    pub fn joined(&self) -> String {
        match self {
            Fields::Text(text) => python::strip(text).to_owned(),
            Fields::Document { url, title, body } => {
                let fields = [url, title, body].map(|field| python::strip(field));
                fields.into_iter().filter(|field| !field.is_empty()).collect::<Vec<_>>().join(" ")
            }
        }
    }

    /// The text that the encoders of Zhan et al. (SIGIR 2021) were trained on: fields stripped at their
    /// end only, joined with a literal `<sep>`, cut to 10,000 characters.
    pub fn joined_for_transformers2(&self) -> String {
        let mut text = match self {
            Fields::Text(text) => python::strip_end(text).to_owned(),
            Fields::Document { url, title, body } => [url, title, body].map(|f| python::strip_end(f)).join("<sep>"),
        };
        if let Some((end, _)) = text.char_indices().nth(10_000) {
            text.truncate(end);
        }
        text
    }

    /// A text with a title in front, joined as BEIR does; an empty title is left out.
    pub(crate) fn titled(title: Option<&str>, text: String) -> Self {
        match title {
            Some(title) if !title.is_empty() => Fields::Text(format!("{title} {text}")),
            _ => Fields::Text(text),
        }
    }

    /// Bytes of text held.
    pub(crate) fn len(&self) -> usize {
        match self {
            Fields::Text(text) => text.len(),
            Fields::Document { url, title, body } => url.len() + title.len() + body.len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(url: &str, title: &str, body: &str) -> Fields {
        Fields::Document { url: url.into(), title: title.into(), body: body.into() }
    }

    #[test]
    fn a_document_is_joined_with_spaces_without_empty_fields() {
        assert_eq!(document("u ", " t", "b").joined(), "u t b");
        assert_eq!(document("u", " ", "b").joined(), "u b");
        assert_eq!(document("", "", " ").joined(), "");
    }

    #[test]
    fn for_transformers_2_a_document_keeps_empty_fields_and_leading_space() {
        assert_eq!(document(" u ", "", " b\x1c").joined_for_transformers2(), " u<sep><sep> b");
        assert_eq!(Fields::Text("  a \u{a0}".into()).joined_for_transformers2(), "  a");
    }

    #[test]
    fn the_cut_counts_characters() {
        let text = Fields::Text("é".repeat(10_001));
        assert_eq!(text.joined_for_transformers2(), "é".repeat(10_000));
        assert_eq!(text.joined().len(), 20_002);
    }

    #[test]
    fn kinds_have_names() {
        for name in TextKind::NAMES {
            assert_eq!(name.parse::<TextKind>().unwrap().to_string(), name);
        }
        assert!("Query".parse::<TextKind>().is_err());
    }
}
