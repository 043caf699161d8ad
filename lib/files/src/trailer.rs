//! Our provenance behind the bytes of a file in another program's format, whose readers stop before it. It is a JSON
//! object, the object's length in 8 bytes (little-endian), and a mark of 8 bytes.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};

use hardmine_records::Provenance;

const MARK: &[u8; 8] = b"hardmine";
/// Bytes of the length and the mark.
const END: usize = 16;

/// The bytes of `provenance`, as they stand behind those of the file.
///
/// # Errors
/// None in practice: text can always be written as JSON.
pub fn trailer(provenance: &Provenance) -> io::Result<Vec<u8>> {
    let entries: BTreeMap<&str, &str> = provenance.iter().collect();
    let mut bytes = serde_json::to_vec(&entries)?;
    let length = bytes.len() as u64;
    bytes.extend(length.to_le_bytes());
    bytes.extend(MARK);
    Ok(bytes)
}

/// Adds `provenance` to the end of `file`.
///
/// # Errors
/// Those of writing.
pub fn append_trailer(file: &mut File, provenance: &Provenance) -> io::Result<()> {
    file.seek(SeekFrom::End(0))?;
    file.write_all(&trailer(provenance)?)
}

/// The provenance at the end of `file`, which is empty if there is none, and where it begins.
///
/// # Errors
/// A file shorter than a trailer, and a trailer that is damaged.
pub fn read_trailer(file: &mut File) -> io::Result<(Provenance, u64)> {
    let length = file.seek(SeekFrom::End(-(END as i64)))?;
    let mut end = [0; END];
    file.read_exact(&mut end)?;
    let (size, mark) = end.split_at(8);
    if mark != MARK {
        return Ok((Provenance::default(), length + END as u64));
    }
    let size = size.try_into().map(u64::from_le_bytes).unwrap_or(u64::MAX);
    let start = length.checked_sub(size).ok_or(io::ErrorKind::UnexpectedEof)?;
    file.seek(SeekFrom::Start(start))?;
    let entries: BTreeMap<String, String> = serde_json::from_reader(file.take(size))?;
    Ok((Provenance::from_metadata(&entries), start))
}
