//! One text of a corpus, before it is tokenized.

use crate::Fields;

/// A text with its official id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    /// The official id.
    pub key: String,
    /// Its words, in the fields that the corpus has them in.
    pub fields: Fields,
}
