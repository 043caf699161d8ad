//! Remembers the keys of a corpus in little memory, to find those that come twice.

use std::collections::HashSet;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher, Hasher};

/// Keys that are numbers below this take a bit each, which is 32 MB at most.
const DENSE: u64 = 1 << 28;

/// Recognizes keys that come twice.
///
/// MS MARCO's passage ids are the numbers 0, 1, 2, … and take a bit each (1.1 MB in all). Of any other key, a 64-bit
/// hash is kept, which takes 9 to 18 bytes. The 3.2 million ids of MS MARCO's documents take 38 MB, and the chance that
/// two different ones among them are taken for the same is under one in a million.
#[derive(Default)]
pub(crate) struct KeySet {
    dense: Vec<u64>,
    hashes: HashSet<u64, BuildHasherDefault<AsIs>>,
}

impl KeySet {
    /// Remembers `key`. Returns false if it was there already.
    pub(crate) fn insert(&mut self, key: &str) -> bool {
        let Some(number) = canonical_number(key) else {
            let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(key);
            return self.hashes.insert(hash);
        };
        let (word, bit) = ((number / 64) as usize, 1 << (number % 64));
        if word >= self.dense.len() {
            self.dense.resize((word + 1).next_power_of_two(), 0);
        }
        let new = self.dense[word] & bit == 0;
        self.dense[word] |= bit;
        new
    }
}

/// The number that `key` is, if it is below [`DENSE`] and written without leading zeros, so that it has one spelling.
fn canonical_number(key: &str) -> Option<u64> {
    let digits = key.as_bytes();
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) || digits.len() > 1 && digits[0] == b'0' {
        return None;
    }
    key.parse().ok().filter(|&number| number < DENSE)
}

/// A hasher for keys that are hashes themselves.
#[derive(Default)]
struct AsIs(u64);

impl Hasher for AsIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&byte| self.0 = self.0 << 8 | u64::from(byte));
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_new_once() {
        let mut keys = KeySet::default();
        let all = ["0", "00", "7", "07", "D7", "", "268435455", "268435456", "99999999999999999999", "é", "-1"];
        assert!(all.iter().all(|key| keys.insert(key)));
        assert!(!all.iter().any(|key| keys.insert(key)));
    }
}
