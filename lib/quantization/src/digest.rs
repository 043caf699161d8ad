//! What identifies a rotation or centroids in the provenance of files.

use sha2::{Digest, Sha256};

/// 16 bytes, in hexadecimal, of the SHA-256 of `numbers` as little-endian bytes.
pub fn digest(numbers: &[f32]) -> String {
    let mut hash = Sha256::new();
    for part in numbers.chunks(4096) {
        let bytes: Vec<u8> = part.iter().flat_map(|number| number.to_le_bytes()).collect();
        hash.update(bytes);
    }
    hash.finalize()[..16].iter().map(|byte| format!("{byte:02x}")).collect()
}
