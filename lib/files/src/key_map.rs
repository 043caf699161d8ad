//! From official ids to row numbers of a tokens file.

use std::collections::HashMap;

use hardmine_records::{Error, Result};

use crate::MappedTokens;

/// Looks up official ids among the keys of a tokens file, and finds their row numbers.
pub struct KeyMap<'a> {
    rows: HashMap<&'a str, i64>,
    name: &'a str,
}

impl<'a> KeyMap<'a> {
    /// Reads all keys of `tokens`, which takes a hash map of as many entries.
    ///
    /// # Errors
    /// A key occurs twice. The message names both rows.
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

    /// The row number of `key`; none if the tokens file lacks it.
    pub fn get(&self, key: &str) -> Option<i64> {
        self.rows.get(key).copied()
    }

    /// The row number of `key`, which stands in row `row` of the file `place`.
    ///
    /// # Errors
    /// The tokens file lacks the key. The message names `place` and `row`.
    pub fn row(&self, key: &str, place: &str, row: usize) -> Result<i64> {
        self.get(key).ok_or_else(|| {
            let text = format!("id '{key}' is not a key of {}", self.name);
            Error::at_row(place, row, text).hint(
                "were the tokens made from the same collection or split? --skip-unknown leaves out what they lack",
            )
        })
    }
}
