//! Texts of documents: which of them are the same, and those that the report shows.

use std::hash::{DefaultHasher, Hash, Hasher};

use foldhash::{HashMap, HashMapExt};
use hardmine_records::KeptId;

/// An id of a text in a collection.
pub(crate) trait TextId: KeptId {
    /// The id of the text in `row`, whose official id is `key`.
    fn of(row: usize, key: &str) -> Self;
}

impl TextId for i64 {
    fn of(row: usize, _: &str) -> i64 {
        row as i64
    }
}

impl TextId for String {
    fn of(_: usize, key: &str) -> String {
        key.to_owned()
    }
}

/// Hashes of texts, for whether two are the same but for white space.
pub(crate) struct TextHashes<K>(HashMap<K, u64>);

impl<K> Default for TextHashes<K> {
    fn default() -> Self {
        TextHashes(HashMap::new())
    }
}

impl<K: TextId> TextHashes<K> {
    pub fn add(&mut self, row: usize, key: &str, text: &str) {
        let mut hasher = DefaultHasher::new();
        text.split_whitespace().for_each(|word| word.hash(&mut hasher));
        self.0.insert(K::of(row, key), hasher.finish());
    }
}

impl<K: KeptId> TextHashes<K> {
    /// Whether `doc` has the text of one of the `others`.
    pub fn is_one_of(&self, doc: &K, others: &[K]) -> bool {
        let hash = self.0.get(doc);
        hash.is_some() && others.iter().any(|other| self.0.get(other) == hash)
    }
}
