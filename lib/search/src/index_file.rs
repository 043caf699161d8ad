//! The file of a faiss index: faiss's own bytes, then our provenance, which `faiss.read_index` doesn't look at:
//! JSON, its length in 8 bytes (little-endian), and a mark.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, IsTerminal, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use hardmine_records::{AtomicFile, Error, Input, Provenance, Result};

/// Kind of record, in the provenance.
pub(crate) const KIND: &str = "index";
/// Version of this layout.
pub(crate) const VERSION: u32 = 1;

const MARK: &[u8; 8] = b"hardmine";
const END: usize = 16;
/// Inner product, in faiss's numbering of metrics.
const INNER_PRODUCT: i32 = 0;

/// Where an index goes: a file that appears whole or not at all, or standard output.
pub enum IndexOutput {
    /// A file under its temporary name.
    File(AtomicFile, PathBuf),
    /// A temporary file, copied to standard output when it is whole.
    Stdout(tempfile::NamedTempFile),
}

impl IndexOutput {
    /// Opens `path`; `-` is standard output.
    ///
    /// # Errors
    /// A folder that is not writable, a terminal, an output that is the input.
    pub fn create(path: &Path, input: &Input) -> Result<Self> {
        if path != Path::new("-") {
            hardmine_records::check_differs(path, &[input])?;
            return Ok(IndexOutput::File(AtomicFile::create(path)?, path.into()));
        }
        if io::stdout().is_terminal() {
            return Err(Error::new("standard output", "is a terminal, and an index is binary").hint("-o FILE"));
        }
        tempfile::NamedTempFile::new().map(IndexOutput::Stdout).map_err(Error::io("temporary folder"))
    }

    /// Has `write` write the index to a path, and ends the file with `provenance`.
    pub(crate) fn write(
        mut self,
        provenance: &Provenance,
        write: impl FnOnce(&str) -> std::result::Result<(), String>,
    ) -> Result<()> {
        let (place, temporary) = match &self {
            IndexOutput::File(file, path) => (path.display().to_string(), file.temporary()),
            IndexOutput::Stdout(file) => ("standard output".into(), file.path()),
        };
        let temporary =
            temporary.to_str().ok_or_else(|| Error::new(&place, "faiss takes only names that are UTF-8"))?;
        write(temporary).map_err(Error::at(&place))?;
        let file = match &mut self {
            IndexOutput::File(file, _) => file.file()?,
            IndexOutput::Stdout(file) => file.as_file_mut(),
        };
        append(file, provenance).map_err(Error::io(&place))?;
        match self {
            IndexOutput::File(file, _) => file.commit(),
            IndexOutput::Stdout(mut file) => {
                let file = file.as_file_mut();
                let copied = file.rewind().and_then(|()| io::copy(file, &mut io::stdout().lock()));
                copied.and_then(|_| io::stdout().flush()).map_err(Error::io(&place))
            }
        }
    }
}

fn append(file: &mut File, provenance: &Provenance) -> io::Result<()> {
    let entries: BTreeMap<&str, &str> = provenance.iter().collect();
    let json = serde_json::to_vec(&entries)?;
    file.seek(SeekFrom::End(0))?;
    file.write_all(&json)?;
    file.write_all(&(json.len() as u64).to_le_bytes())?;
    file.write_all(MARK)
}

/// What can be known of an index without loading it.
pub(crate) struct Header {
    /// The file's name.
    pub name: String,
    /// Plain vectors by inner product (faiss's `IndexFlatIP`).
    pub is_flat: bool,
    /// Where the vectors came from; empty if faiss itself wrote the file.
    pub provenance: Provenance,
}

impl Header {
    /// Reads the head that all of faiss's indexes have, and our end if it is there.
    ///
    /// # Errors
    /// A metric other than inner product, a file too short, a broken end.
    pub fn read(path: &Path) -> Result<Header> {
        let name = path.to_str().ok_or_else(|| Error::new(path.display(), "faiss takes only names that are UTF-8"))?;
        let broken = |_| Error::new(name, "is a truncated faiss index");
        let mut file = File::open(path).map_err(Error::io(name))?;
        // Name of the kind (4), dimension (4), number of vectors (8), unused (16), trained (1), metric (4).
        let mut head = [0; 37];
        file.read_exact(&mut head).map_err(broken)?;
        let metric = i32::from_le_bytes([head[33], head[34], head[35], head[36]]);
        if metric != INNER_PRODUCT {
            let metric = if metric == 1 { "L2 distance".into() } else { format!("metric {metric}") };
            return Err(Error::new(name, format!("expected a faiss index by inner product, found one by {metric}")));
        }
        let provenance = read_end(&mut file).map_err(|e| Error::new(name, format!("has a broken end: {e}")))?;
        Ok(Header { name: name.into(), is_flat: head.starts_with(b"IxFI"), provenance })
    }
}

fn read_end(file: &mut File) -> io::Result<Provenance> {
    let length = file.seek(SeekFrom::End(-(END as i64)))?;
    let mut end = [0; END];
    file.read_exact(&mut end)?;
    let (size, mark) = end.split_at(8);
    if mark != MARK {
        return Ok(Provenance::default());
    }
    let size = size.try_into().map(u64::from_le_bytes).unwrap_or(u64::MAX);
    let start = length.checked_sub(size).ok_or(io::ErrorKind::UnexpectedEof)?;
    file.seek(SeekFrom::Start(start))?;
    let entries: BTreeMap<String, String> = serde_json::from_reader(file.take(size))?;
    Ok(Provenance::from_metadata(&entries))
}
