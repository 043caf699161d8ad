//! Id spaces: internal ids are row numbers of a tokens file, official ids its keys; a fingerprint
//! of the keys tells one tokens file's row numbers from another's.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};

use crate::provenance::{DOCS, QUERIES};
use crate::{Error, MappedTokens, Provenance, Result};

/// What `query_id` and `doc_id` are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum IdSpace {
    // `int64` in our files.
    /// Row numbers of the tokens files
    Internal,
    // `utf8` in our files.
    /// Ids of the collection
    Official,
}

/// The option that says what integers are where a file does not: our own files tell row numbers from ids of the
/// collection by their types, but other programs make integers of all ids that look like some.
#[derive(clap::Args, Clone, Copy, Debug, Default)]
pub struct ForeignIds {
    /// What integer ids are in Arrow and Parquet files of other programs: official (ids of the collection, which
    /// is assumed), or internal (row numbers of the tokens files)
    #[arg(long, value_enum, value_name = "SPACE")]
    pub ids: Option<IdSpace>,
}

impl fmt::Display for IdSpace {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            IdSpace::Internal => "internal",
            IdSpace::Official => "official",
        })
    }
}

/// Identifies the keys of a tokens file, in order: 16 bytes of a SHA-256. Displayed in hexadecimal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 16]);

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for Fingerprint {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let wrong = || format!("'{text}' is not a fingerprint");
        if text.len() != 32 || !text.is_ascii() {
            return Err(wrong());
        }
        let mut bytes = [0; 16];
        for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| wrong())?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| wrong())?;
        }
        Ok(Fingerprint(bytes))
    }
}

/// Makes the [`Fingerprint`] of keys given in order.
#[derive(Default)]
pub struct KeyHasher(Sha256);

impl KeyHasher {
    /// Takes the next key.
    pub fn update(&mut self, key: &str) {
        // The length in front keeps "ab","c" apart from "a","bc".
        self.0.update((key.len() as u64).to_le_bytes());
        self.0.update(key.as_bytes());
    }

    /// The fingerprint of all keys taken.
    pub fn finish(self) -> Fingerprint {
        let digest = self.0.finalize();
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest[..16]);
        Fingerprint(bytes)
    }
}

/// Refuses two files whose internal ids (under `name` of each one's provenance) come from different
/// tokens files. A side without a fingerprint is taken at its word.
///
/// # Errors
/// Names both files and both fingerprints.
pub fn check_same_space(
    (name, place, provenance): (&str, &str, &Provenance),
    (other_name, other_place, other): (&str, &str, &Provenance),
) -> Result<()> {
    match (provenance.fingerprint(name, place)?, other.fingerprint(other_name, other_place)?) {
        (Some(one), Some(two)) if one != two => {
            let what = name.trim_start_matches("hardmine.");
            let text = format!(
                "{what} {one} are not those of {other_place} ({two}): the ids are row numbers of different tokens files"
            );
            Err(Error::new(place, text).hint("use files made from the same tokens, or remap-ids --to official both"))
        }
        _ => Ok(()),
    }
}

/// Refuses to take a document for its query where equal ids don't mean that: official ids do, and row numbers if
/// queries and documents are rows of the same tokens file.
///
/// # Errors
/// Names the file `place`, whose ids are of the space `ids`.
pub fn check_self(place: &str, ids: IdSpace, provenance: &Provenance) -> Result<()> {
    let same = provenance.get(QUERIES).is_some() && provenance.get(QUERIES) == provenance.get(DOCS);
    if ids == IdSpace::Official || same {
        return Ok(());
    }
    let text = "it does not say that its queries and documents are rows of the same tokens file, so that equal row \
                numbers need not be the same text";
    Err(Error::new(place, text)
        .hint("remap-ids --to official first; --exclude-self of score and mine-negatives then compares those ids"))
}

/// Official id → internal id, for the keys of a tokens file.
pub struct KeyMap<'a> {
    rows: HashMap<&'a str, i64>,
    name: &'a str,
}

impl<'a> KeyMap<'a> {
    /// Maps all keys of `tokens`.
    ///
    /// # Errors
    /// A key that occurs twice, with both rows.
    pub fn new(tokens: &'a MappedTokens) -> Result<Self> {
        let mut rows = HashMap::with_capacity(tokens.len());
        for row in 0..tokens.len() {
            if let Some(first) = rows.insert(tokens.key(row), row as i64) {
                let text = format!("key '{}' occurs twice, at rows {first} and {row}", tokens.key(row));
                return Err(Error::new(tokens.name(), text));
            }
        }
        Ok(KeyMap { rows, name: tokens.name() })
    }

    /// The row of `key`, if it is one.
    pub fn get(&self, key: &str) -> Option<i64> {
        self.rows.get(key).copied()
    }

    /// The row of `key`.
    ///
    /// # Errors
    /// An unknown key, said of row `row` in file `place`.
    pub fn row(&self, key: &str, place: &str, row: usize) -> Result<i64> {
        self.get(key).ok_or_else(|| {
            let text = format!("id '{key}' is not a key of {}", self.name);
            Error::new(format!("{place}: row {row}"), text).hint(
                "were the tokens made from the same collection or split? --skip-unknown leaves out what they lack",
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(keys: &[&str]) -> Fingerprint {
        let mut hasher = KeyHasher::default();
        keys.iter().for_each(|key| hasher.update(key));
        hasher.finish()
    }

    #[test]
    fn a_fingerprint_depends_on_keys_and_order() {
        assert_eq!(of(&["a", "b"]), of(&["a", "b"]));
        assert_ne!(of(&["a", "b"]), of(&["b", "a"]));
        assert_ne!(of(&["ab", "c"]), of(&["a", "bc"]));
    }

    #[test]
    fn a_fingerprint_survives_its_text() {
        let fingerprint = of(&["x"]);
        assert_eq!(fingerprint.to_string().parse(), Ok(fingerprint));
        assert!("zz".parse::<Fingerprint>().is_err());
    }
}
