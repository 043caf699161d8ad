//! What a text is used as, and how the fields of a corpus become the one text that is tokenized.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use hardmine_records::{Provenance, provenance};

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
    /// The names that the command line takes.
    pub const NAMES: [&str; 3] = ["passage", "document", "query"];

    /// How many token ids are kept by default, special tokens included: 64 for queries, and 512 for other texts.
    pub fn default_length(self) -> usize {
        match self {
            TextKind::Query => 64,
            TextKind::Passage | TextKind::Document => 512,
        }
    }

    /// What the texts with the provenance `about` are; none if another program made the tokens.
    pub fn of(about: &Provenance) -> Option<Self> {
        about.get(provenance::TEXT_KIND)?.parse().ok()
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
    /// A text with a title, as BEIR has it.
    Titled {
        /// Its title, which is not empty.
        title: String,
        /// Its text.
        text: String,
    },
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
    /// The text that encoders in sentence-transformers layout expect. A text in one piece is taken as it is, white
    /// space included. A title and its text are joined with a space and stripped, as BEIR does. Of a document the
    /// fields are stripped, empty ones are left out, and the others are joined with a space.
    pub fn joined(&self) -> Cow<'_, str> {
        match self {
            Fields::Text(text) => Cow::Borrowed(text),
            Fields::Titled { title, text } => Cow::Owned(python::strip(&format!("{title} {text}")).to_owned()),
            Fields::Document { url, title, body } => {
                let fields = [url, title, body].map(|field| python::strip(field));
                Cow::Owned(fields.into_iter().filter(|field| !field.is_empty()).collect::<Vec<_>>().join(" "))
            }
        }
    }

    /// The text that the encoders of Zhan et al. (SIGIR 2021) were trained on. The fields are stripped at their end
    /// only and joined with a literal `<sep>`, and the whole is cut to 10,000 characters.
    pub fn joined_for_transformers2(&self) -> String {
        let mut text = match self {
            Fields::Text(text) => python::strip_end(text).to_owned(),
            Fields::Titled { title, text } => python::strip_end(&format!("{title} {text}")).to_owned(),
            Fields::Document { url, title, body } => [url, title, body].map(|f| python::strip_end(f)).join("<sep>"),
        };
        if let Some((end, _)) = text.char_indices().nth(10_000) {
            text.truncate(end);
        }
        text
    }

    /// Whether there is nothing but white space.
    pub(crate) fn is_blank(&self) -> bool {
        let blank = |text: &String| text.chars().all(python::is_space);
        match self {
            Fields::Text(text) => blank(text),
            Fields::Titled { title, text } => blank(title) && blank(text),
            Fields::Document { url, title, body } => blank(url) && blank(title) && blank(body),
        }
    }

    /// A text that may have a title. An empty title is none.
    pub(crate) fn titled(title: Option<&str>, text: String) -> Self {
        match title {
            Some(title) if !title.is_empty() => Fields::Titled { title: title.to_owned(), text },
            _ => Fields::Text(text),
        }
    }

    /// A text of several columns: those before the last, of which empty ones are left out, are its title.
    pub(crate) fn of_columns<'a>(others: impl Iterator<Item = &'a str>, last: String) -> Self {
        let others: Vec<&str> = others.filter(|text| !text.is_empty()).collect();
        Fields::titled(Some(&others.join(" ")), last)
    }

    /// How many bytes of text the fields have.
    pub(crate) fn len(&self) -> usize {
        match self {
            Fields::Text(text) => text.len(),
            Fields::Titled { title, text } => title.len() + text.len(),
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
        assert!(document("", "", " ").is_blank());
    }

    #[test]
    fn a_text_in_one_piece_is_taken_as_it_is_and_one_with_a_title_is_stripped() {
        assert_eq!(Fields::titled(None, " a \n".into()).joined(), " a \n");
        assert_eq!(Fields::titled(Some(""), " a ".into()).joined(), " a ");
        assert_eq!(Fields::titled(Some(" t"), " a ".into()).joined(), "t  a");
        assert_eq!(Fields::titled(Some(" t"), " a ".into()).joined_for_transformers2(), " t  a");
        assert!(Fields::Text(" \x1c\u{a0}".into()).is_blank());
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
