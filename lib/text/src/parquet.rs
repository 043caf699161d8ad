//! Reads texts from Parquet: columns `id` (or `_id`), `text`, and perhaps `title`.

use arrow::array::{Array, AsArray, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Schema};
use hardmine_files::{Source, foreign, next_batch, open_parquet};
use hardmine_records::{Error, Place, Result};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReader;

use crate::{Fields, Text};

/// Rows decoded at once.
const BATCH: usize = 1024;

pub(crate) struct ParquetTexts {
    name: String,
    reader: ParquetRecordBatchReader,
    batch: Option<Columns>,
    /// Row of the file that comes next, and of the batch.
    row: usize,
    next: usize,
}

struct Columns {
    ids: StringArray,
    titles: Option<StringArray>,
    texts: StringArray,
}

impl ParquetTexts {
    /// # Errors
    /// Not a whole Parquet file, a column missing or of another type.
    pub(crate) fn open(source: Source) -> Result<Self> {
        let name = source.name.clone();
        let builder = open_parquet(&name, source.into_file()?)?;
        let columns = find_columns(&name, builder.schema())?;
        let mask = ProjectionMask::roots(builder.parquet_schema(), columns);
        let reader = builder.with_projection(mask).with_batch_size(BATCH);
        let reader = foreign(&name, || reader.build())?.map_err(Error::at(&name))?;
        Ok(ParquetTexts { name, reader, batch: None, row: 0, next: 0 })
    }

    pub(crate) fn next_text(&mut self) -> Result<Option<Text>> {
        while self.batch.as_ref().is_none_or(|batch| self.next == batch.ids.len()) {
            let Some(batch) = next_batch(&self.name, &mut self.reader)? else { return Ok(None) };
            self.batch = Some(Columns::new(&batch).map_err(Error::at(&self.name))?);
            self.next = 0;
        }
        let Some(batch) = &self.batch else { return Ok(None) };
        let row = self.next;
        self.next += 1;
        self.row += 1;
        for (column, values) in [("id", &batch.ids), ("text", &batch.texts)] {
            if values.is_null(row) {
                return Err(Error::in_place(self.place(), format!("column {column} is null")));
            }
        }
        let title = batch.titles.as_ref().filter(|titles| titles.is_valid(row)).map(|titles| titles.value(row));
        let fields = Fields::titled(title, batch.texts.value(row).to_owned());
        Ok(Some(Text { key: batch.ids.value(row).to_owned(), fields }))
    }

    /// `file: row N` of the last text, counted from 0 as in all our tables.
    pub(crate) fn place(&self) -> Place {
        Place::Row(self.name.clone(), self.row.saturating_sub(1))
    }
}

/// Places of the columns, which must be of a type that can be read as text.
fn find_columns(name: &str, schema: &Schema) -> Result<Vec<usize>> {
    let mut found = Vec::new();
    for (names, numbers_too) in [(&["id", "_id"][..], true), (&["text"], false), (&["title"], false)] {
        let Some((index, field)) = names.iter().find_map(|name| schema.column_with_name(name)) else {
            if names == ["title"] {
                continue;
            }
            let columns: Vec<_> = schema.fields().iter().map(|field| field.name().as_str()).collect();
            return Err(Error::new(name, format!("expected columns id and text, found {}", columns.join(", ")))
                .hint("name the file with the texts themselves, not one that tokenize or embed made of them"));
        };
        let plain = match field.data_type() {
            DataType::Dictionary(_, values) => values,
            other => other,
        };
        let fits = matches!(plain, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
        if !(fits || numbers_too && plain.is_integer()) {
            let expected = if numbers_too { "integers or strings" } else { "strings" };
            let message = format!("column {} is {}, expected {expected}", field.name(), field.data_type());
            return Err(Error::new(name, message));
        }
        found.push(index);
    }
    Ok(found)
}

impl Columns {
    fn new(batch: &RecordBatch) -> std::result::Result<Self, arrow::error::ArrowError> {
        let column = |names: &[&str]| {
            let column = names.iter().find_map(|name| batch.column_by_name(name));
            column.map(|column| cast(column, &DataType::Utf8).map(|text| text.as_string::<i32>().clone())).transpose()
        };
        let missing = || arrow::error::ArrowError::SchemaError("a column is missing".into());
        Ok(Columns {
            ids: column(&["id", "_id"])?.ok_or_else(missing)?,
            titles: column(&["title"])?,
            texts: column(&["text"])?.ok_or_else(missing)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Float64Array, Int32Array, LargeStringArray};
    use hardmine_files::Input;
    use parquet::arrow::ArrowWriter;

    use super::*;
    use crate::{Corpus, TextKind};

    fn read(columns: Vec<(&str, ArrayRef)>) -> std::result::Result<Vec<Text>, String> {
        let batch = RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, c)| (n, c, true))).unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut writer = ArrowWriter::try_new(file.reopen().unwrap(), batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        let corpus = Corpus::open(&Input::Path(file.path().into()), TextKind::Passage);
        let texts = corpus.and_then(|corpus| corpus.collect());
        texts.map_err(|e| e.to_string().replace(&file.path().display().to_string(), "FILE"))
    }

    fn strings(values: &[Option<&str>]) -> ArrayRef {
        Arc::new(LargeStringArray::from(values.to_vec()))
    }

    #[test]
    fn ids_may_be_numbers_and_titles_null() {
        let texts = read(vec![
            ("other", Arc::new(Float64Array::from(vec![0.5, 0.5]))),
            ("text", strings(&[Some("a"), Some("b")])),
            ("id", Arc::new(Int32Array::from(vec![10, -2]))),
            ("title", strings(&[Some("T"), None])),
        ]);
        let text = |key: &str, title, text: &str| Text { key: key.into(), fields: Fields::titled(title, text.into()) };
        assert_eq!(texts, Ok(vec![text("10", Some("T"), "a"), text("-2", None, "b")]));
    }

    #[test]
    fn more_rows_than_are_decoded_at_once() {
        let count = 2 * BATCH as i32 + 1;
        let texts = read(vec![
            ("id", Arc::new(Int32Array::from_iter_values(0..count))),
            ("text", strings(&vec![Some("x"); count as usize])),
        ]);
        let keys: Vec<String> = texts.unwrap().into_iter().map(|text| text.key).collect();
        assert_eq!(keys, (0..count).map(|i| i.to_string()).collect::<Vec<_>>());
    }

    #[test]
    fn what_is_wrong_is_named() {
        let a = || strings(&[Some("a"), Some("b")]);
        let number = || Arc::new(Float64Array::from(vec![1.0, 2.0])) as ArrayRef;
        let cases = [
            (vec![("id", a())], "FILE: expected columns id and text, found id"),
            (vec![("id", number()), ("text", a())], "FILE: column id is Float64, expected integers or strings"),
            (vec![("id", a()), ("text", number())], "FILE: column text is Float64, expected strings"),
            (vec![("id", a()), ("text", strings(&[Some("a"), None]))], "FILE: row 1: column text is null"),
            (vec![("id", strings(&[Some("a"), Some("a")])), ("text", a())], "FILE: row 1: duplicate key 'a'"),
        ];
        for (columns, expected) in cases {
            let found = read(columns).unwrap_err();
            assert!(found.starts_with(expected), "{found}\nexpected {expected}");
        }
    }
}
