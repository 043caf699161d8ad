//! A text of a corpus.

use crate::Fields;

/// A text with its official id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    /// The official id.
    pub key: String,
    /// What it says.
    pub fields: Fields,
}
