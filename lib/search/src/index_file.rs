//! The file of a faiss index: faiss's own bytes, then our provenance, which `faiss.read_index` does not read.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use hardmine_files::{Input, OpenedFile, OutputFile, append_trailer, read_trailer};
use hardmine_records::{Error, Provenance, Result};

/// Inner product, in faiss's numbering of metrics.
const INNER_PRODUCT: i32 = 0;

/// Opens what an index, made from `input`, is written to, at `path`; `-` is standard output, which gets the index once
/// all of it is there.
///
/// # Errors
/// A folder that is not writable, a terminal, an output that is the input.
pub fn create_index(path: &Path, input: &Input) -> Result<OutputFile> {
    hardmine_files::check_differs(path, &[input])?;
    let output = OutputFile::create_seekable(path)?;
    output.refuse_terminal("an index is")?;
    Ok(output)
}

/// Has `write` write faiss's bytes to the path that it is given, and then adds `provenance`.
pub(crate) fn write(
    mut output: OutputFile,
    provenance: &Provenance,
    write: impl FnOnce(&str) -> std::result::Result<(), String>,
) -> Result<()> {
    let place = output.place().to_owned();
    write(&output.path_for_libraries()).map_err(Error::at(&place))?;
    append_trailer(output.file()?, provenance).map_err(Error::io(&place))?;
    output.commit()
}

/// What can be known of an index without loading it.
pub(crate) struct Header {
    /// The file, under a path that is UTF-8, because faiss takes no other.
    pub file: Input,
    /// Plain vectors by inner product (faiss's `IndexFlatIP`).
    pub is_flat: bool,
    /// Where the vectors came from; empty if faiss itself wrote the file.
    pub provenance: Provenance,
}

impl Header {
    /// Reads the head that all of faiss's indexes have, and the provenance if it is there.
    ///
    /// # Errors
    /// A metric other than inner product, a file that is too short, broken provenance.
    pub fn read(input: &Input) -> Result<Header> {
        let name = &input.to_string();
        let broken = |_| Error::new(name, "is a truncated faiss index");
        let mut file = File::open(input.path()).map_err(Error::io(name))?;
        // Name of the kind (4), dimension (4), number of vectors (8), unused (16), trained (1), metric (4).
        let mut head = [0; 37];
        file.read_exact(&mut head).map_err(broken)?;
        let metric = i32::from_le_bytes([head[33], head[34], head[35], head[36]]);
        if metric != INNER_PRODUCT {
            let metric = if metric == 1 { "L2 distance".into() } else { format!("metric {metric}") };
            return Err(Error::new(name, format!("expected a faiss index by inner product, found one by {metric}")));
        }
        let is_flat = head.starts_with(b"IxFI");
        if is_flat {
            check_flat(&head, &mut file).map_err(broken)?;
        }
        let (provenance, _) = read_trailer(&mut file)
            .map_err(|e| Error::new(name, format!("the provenance at its end is broken: {e}")))?;
        let file = Input::Opened(OpenedFile::new(name, file));
        Ok(Header { file, is_flat, provenance })
    }
}

/// Checks that the vectors which the head of a flat index announces are there, before faiss allocates them.
fn check_flat(head: &[u8; 37], file: &mut File) -> io::Result<()> {
    let mut count = [0; 8];
    file.read_exact(&mut count)?;
    let number = |bytes: &[u8]| bytes.iter().rev().fold(0, |number, &byte| number << 8 | u128::from(byte));
    let (dim, rows, count) = (number(&head[4..8]), number(&head[8..16]), number(&count));
    let whole = count == dim * rows && 4 * count <= u128::from(file.metadata()?.len());
    if whole { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}
