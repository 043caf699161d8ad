//! A fingerprint of the keys of a tokens file, which tells its row numbers from those of another.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};

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
    /// Adds the next key.
    pub fn update(&mut self, key: &str) {
        // The length in front keeps "ab","c" apart from "a","bc".
        self.0.update((key.len() as u64).to_le_bytes());
        self.0.update(key.as_bytes());
    }

    /// The fingerprint of all keys that were added, in their order.
    pub fn finish(self) -> Fingerprint {
        let digest = self.0.finalize();
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest[..16]);
        Fingerprint(bytes)
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
