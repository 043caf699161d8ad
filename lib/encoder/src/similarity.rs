//! By what the vectors of a model are compared.

use std::fmt;
use std::str::FromStr;

/// By what the vectors of a model are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Similarity {
    /// The inner product of vectors of any length.
    Dot,
    /// The cosine of the angle between vectors, which is the inner product of vectors of length 1.
    Cosine,
}

impl Similarity {
    /// The names, as on the command line and in `config_sentence_transformers.json`.
    pub const NAMES: [&str; 2] = ["dot", "cosine"];
}

impl FromStr for Similarity {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "dot" => Ok(Similarity::Dot),
            "cosine" => Ok(Similarity::Cosine),
            _ => Err("expected dot or cosine".into()),
        }
    }
}

impl fmt::Display for Similarity {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(Self::NAMES[*self as usize])
    }
}
