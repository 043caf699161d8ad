//! Opens Parquet files for every reader of them. What the parquet crate takes at its word is checked before it sees
//! it: how deep the schema is nested, over which it recurses, and how large the pages claim to be, which it allocates.

use std::fs::File;

use hardmine_records::{Error, Provenance, Result};
use memmap2::Mmap;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::file::metadata::ParquetMetaData;

use crate::foreign::foreign;
use crate::thrift::Thrift;

/// How deep a schema may be nested.
const DEPTH: usize = 64;
/// What a page may become when it is unpacked, where that is not within [`RATIO`].
const UNPACKED: u64 = 256 << 20;
/// How many times larger than its bytes a page may become in any case.
const RATIO: u64 = 16;

/// Opens a Parquet file after its footer and the headers of its pages have been checked, so that nothing in it can make
/// the reader run out of stack or memory.
///
/// # Errors
/// The file is cut off or damaged.
pub fn open_parquet(name: &str, file: File) -> Result<ParquetRecordBatchReaderBuilder<File>> {
    let broken = |what: String| Error::new(name, format!("is a truncated or broken Parquet file: {what}"));
    // SAFETY: the map is read right here; see MappedFile.
    let map = unsafe { Mmap::map(&file) }.map_err(Error::io(name))?;
    check_schema(&map).map_err(broken)?;
    let builder =
        foreign(name, || ParquetRecordBatchReaderBuilder::try_new(file))?.map_err(|e| broken(e.to_string()))?;
    foreign(name, || check_pages(&map, builder.metadata()))?.map_err(broken)?;
    Ok(builder)
}

/// Where a Parquet file came from, as its metadata says.
pub fn provenance_in(builder: &ParquetRecordBatchReaderBuilder<File>) -> Provenance {
    let mut provenance = Provenance::from_metadata(builder.schema().metadata());
    for entry in builder.metadata().file_metadata().key_value_metadata().into_iter().flatten() {
        if let (true, Some(value)) = (entry.key.starts_with("hardmine."), &entry.value) {
            provenance.set(&entry.key, value);
        }
    }
    provenance
}

/// The next batch of a reader that [`open_parquet`] has opened; none at the end.
///
/// # Errors
/// A page is damaged.
pub fn next_batch(name: &str, reader: &mut ParquetRecordBatchReader) -> Result<Option<arrow::array::RecordBatch>> {
    foreign(name, || reader.next())?.transpose().map_err(Error::at(name))
}

/// The schema, which the footer has as a list in depth-first order, each element with the number of its children.
fn check_schema(file: &[u8]) -> std::result::Result<(), String> {
    let cut_off = || "its footer is missing".to_owned();
    let (rest, end) = file.split_last_chunk::<8>().ok_or_else(cut_off)?;
    let [length @ .., b'P', b'A', b'R', b'1'] = end else { return Err(cut_off()) };
    let length = u32::from_le_bytes(*length) as usize;
    let mut footer = Thrift::new(&rest[rest.len().checked_sub(length).ok_or_else(cut_off)?..]);
    while let Some(field) = footer.field()? {
        if field.id != 2 {
            footer.skip(field.kind)?;
            continue;
        }
        // The elements around the present one that have children to come, and how many.
        let mut open: Vec<i64> = Vec::new();
        for _ in 0..footer.list()? {
            let mut children = 0;
            footer.enter();
            while let Some(field) = footer.field()? {
                match field.id {
                    5 => children = footer.integer()?,
                    _ => footer.skip(field.kind)?,
                }
            }
            while open.last() == Some(&0) {
                open.pop();
            }
            if let Some(left) = open.last_mut() {
                *left -= 1;
            }
            if children > 0 {
                open.push(children);
            }
            if open.len() > DEPTH {
                return Err(format!("its schema is nested more than {DEPTH} deep"));
            }
        }
        return Ok(());
    }
    Err("it has no schema".into())
}

/// The headers of all pages.
fn check_pages(file: &[u8], metadata: &ParquetMetaData) -> std::result::Result<(), String> {
    for (group, columns) in metadata.row_groups().iter().enumerate() {
        for column in columns.columns() {
            let damaged = |what: &str| format!("row group {group}, column {}: {what}", column.column_path());
            let (start, length) = column.byte_range();
            let bytes = usize::try_from(start).ok().zip(usize::try_from(length).ok());
            let bytes = bytes.and_then(|(start, length)| file.get(start..start.checked_add(length)?));
            let mut rest = bytes.ok_or_else(|| damaged("lies outside of the file"))?;
            let mut values = 0;
            while !rest.is_empty() && values < column.num_values() {
                let mut header = Thrift::new(rest);
                let page = PageHeader::read(&mut header).map_err(|what| damaged(&what))?;
                let packed = usize::try_from(page.packed).unwrap_or(usize::MAX);
                rest = header.rest().get(packed..).ok_or_else(|| damaged("a page is longer than its column"))?;
                if u64::try_from(page.unpacked).is_ok_and(|bytes| bytes > UNPACKED.max(RATIO * packed as u64)) {
                    let text =
                        format!("a page of {packed} bytes would become {}; it may become 256 MiB", page.unpacked);
                    return Err(damaged(&text));
                }
                values += page.values;
            }
        }
    }
    Ok(())
}

/// What a page says of itself.
#[derive(Default)]
struct PageHeader {
    /// Bytes in the file and in memory.
    packed: i64,
    unpacked: i64,
    /// Values of a column; none in a page of dictionary values.
    values: i64,
}

impl PageHeader {
    fn read(header: &mut Thrift) -> std::result::Result<PageHeader, String> {
        let mut page = PageHeader::default();
        while let Some(field) = header.field()? {
            match field.id {
                2 => page.unpacked = header.integer()?,
                3 => page.packed = header.integer()?,
                // The header of a data page, version 1 or 2, begins with the number of values.
                5 | 8 => {
                    header.enter();
                    while let Some(field) = header.field()? {
                        match field.id {
                            1 => page.values = header.integer()?,
                            _ => header.skip(field.kind)?,
                        }
                    }
                }
                _ => header.skip(field.kind)?,
            }
        }
        Ok(page)
    }
}
