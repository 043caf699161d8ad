//! The codes of documents with their ids, in lists that stay in their file.

use std::fs::File;
use std::io::{BufWriter, Write};

use hardmine_files::MappedBytes;
use hardmine_records::{Error, Result};

/// What errors call the file that codes are collected in.
const TEMPORARY: &str = "temporary file";

/// Lists of codes and ids in a memory map.
#[derive(Clone)]
pub struct CodeLists {
    map: MappedBytes,
    code_size: usize,
    lists: Vec<Placed>,
    /// Whether there is one list, whose ids are 0, 1, 2, …
    ids_are_rows: bool,
}

/// Where a list is in the map.
#[derive(Clone)]
pub(crate) struct Placed {
    pub rows: usize,
    pub codes: usize,
    /// Ids are row numbers where there are none.
    pub ids: Option<usize>,
}

/// The codes of some documents and their ids.
#[derive(Clone, Copy)]
pub struct List<'a> {
    codes: &'a [u8],
    /// Little-endian, 8 bytes each; row numbers where there are none.
    ids: Option<&'a [u8]>,
    rows: usize,
}

impl CodeLists {
    /// Takes lists at places that are within `map`.
    pub(crate) fn new(map: MappedBytes, code_size: usize, lists: Vec<Placed>) -> Self {
        let mut lists = CodeLists { map, code_size, lists, ids_are_rows: false };
        lists.ids_are_rows = lists.lists.len() == 1 && {
            let list = lists.list(0);
            list.ids.is_none() || (0..list.len()).all(|row| list.id(row) == row as i64)
        };
        lists
    }

    /// Number of lists.
    pub fn len(&self) -> usize {
        self.lists.len()
    }

    /// Whether there is no list.
    pub fn is_empty(&self) -> bool {
        self.lists.is_empty()
    }

    /// Number of documents in all lists.
    pub fn documents(&self) -> usize {
        self.lists.iter().map(|list| list.rows).sum()
    }

    /// Number of bytes M of a code.
    pub fn code_size(&self) -> usize {
        self.code_size
    }

    /// Whether there is one list, in which the ids are 0, 1, 2, … in this order.
    pub fn ids_are_rows(&self) -> bool {
        self.ids_are_rows
    }

    /// The list of this number, which must be less than [`CodeLists::len`].
    pub fn list(&self, number: usize) -> List<'_> {
        let Placed { rows, codes, ids } = self.lists[number];
        List {
            codes: &self.map[codes..codes + rows * self.code_size],
            ids: ids.map(|ids| &self.map[ids..ids + rows * size_of::<i64>()]),
            rows,
        }
    }

    /// All lists in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = List<'_>> {
        (0..self.len()).map(|number| self.list(number))
    }
}

impl<'a> List<'a> {
    /// Number of documents.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Whether the list has no document.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// The codes, (N, M) row by row.
    pub fn codes(&self) -> &'a [u8] {
        self.codes
    }

    /// The code, (M,), of the document in row `row`, which must be less than [`List::len`].
    pub fn code(&self, row: usize) -> &'a [u8] {
        let size = self.codes.len() / self.rows;
        &self.codes[row * size..(row + 1) * size]
    }

    /// The id of the document in row `row`, which must be less than [`List::len`].
    pub fn id(&self, row: usize) -> i64 {
        self.ids.map_or(row as i64, |ids| i64::from_le_bytes(ids.as_chunks().0[row]))
    }

    /// The ids as they are in a file: little-endian, 8 bytes each. None where they are row numbers.
    pub(crate) fn id_bytes(&self) -> Option<&'a [u8]> {
        self.ids
    }
}

/// Collects lists of codes in a temporary file that has no name and so is gone with the program.
pub struct CodeListsBuilder {
    writer: BufWriter<File>,
    code_size: usize,
    place: usize,
    lists: Vec<Placed>,
    /// Ids of the last list, which stand behind its codes.
    ids: Vec<i64>,
}

impl CodeListsBuilder {
    /// Begins with the first list, of codes of `code_size` bytes.
    ///
    /// # Errors
    /// There can be no temporary file.
    pub fn new(code_size: usize) -> Result<Self> {
        let file = tempfile::tempfile().map_err(Error::io(TEMPORARY))?;
        let writer = BufWriter::with_capacity(1 << 20, file);
        Ok(CodeListsBuilder { writer, code_size, place: 0, lists: Vec::new(), ids: Vec::new() })
    }

    /// Adds documents with `ids` and `codes`, (N, M), to the list that was begun last.
    ///
    /// # Errors
    /// Those of writing.
    pub fn push(&mut self, ids: impl IntoIterator<Item = i64>, codes: &[u8]) -> Result<()> {
        self.ids.extend(ids);
        self.write(codes)
    }

    /// Ends a list; the next one begins.
    ///
    /// # Errors
    /// Those of writing.
    pub fn end_list(&mut self) -> Result<()> {
        let ids = std::mem::take(&mut self.ids);
        let placed = Placed { rows: ids.len(), codes: self.place - ids.len() * self.code_size, ids: Some(self.place) };
        self.lists.push(placed);
        ids.iter().try_for_each(|id| self.write(&id.to_le_bytes()))
    }

    /// The lists that were ended.
    ///
    /// # Errors
    /// Those of writing, and of mapping the temporary file.
    pub fn finish(self) -> Result<CodeLists> {
        let mut writer = self.writer;
        // An empty file can't be mapped.
        writer.write_all(&[0]).map_err(Error::io(TEMPORARY))?;
        let file = writer.into_inner().map_err(|e| Error::io(TEMPORARY)(e.into_error()))?;
        Ok(CodeLists::new(MappedBytes::new(TEMPORARY, &file)?, self.code_size, self.lists))
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.place += bytes.len();
        self.writer.write_all(bytes).map_err(Error::io(TEMPORARY))
    }
}
