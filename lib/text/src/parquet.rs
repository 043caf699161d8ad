//! Reads texts from Parquet: columns `id` (or `_id`), `text`, and perhaps `title`, or those that are named.

use arrow::array::{Array, AsArray, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field};
use arrow::error::ArrowError;
use hardmine_files::{Source, foreign, next_batch, open_parquet};
use hardmine_records::{Error, Place, Result};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReader;

use crate::columns::Places;
use crate::{Columns, Fields, Text};

/// Rows decoded at once.
const BATCH: usize = 1024;

pub(crate) struct ParquetTexts {
    name: String,
    reader: ParquetRecordBatchReader,
    /// The column of the ids, and those of the texts.
    columns: Vec<String>,
    /// Their values in the rows that were decoded last.
    batch: Vec<StringArray>,
    /// Row of the file that comes next, and of the batch.
    row: usize,
    next: usize,
}

impl ParquetTexts {
    /// # Errors
    /// Not a whole Parquet file, a column missing or of another type.
    pub(crate) fn open(source: Source, columns: &Columns) -> Result<Self> {
        let name = source.name.clone();
        let builder = open_parquet(&name, source.into_file()?)?;
        let schema = builder.schema();
        let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        let Places { id, text, .. } = columns.find(&names).map_err(|text| Error::new(&name, text))?;
        check_type(&name, schema.field(id), true)?;
        text.iter().try_for_each(|&place| check_type(&name, schema.field(place), false))?;
        let columns = [&[id], &text[..]].concat();
        let names = columns.iter().map(|&place| names[place].to_owned()).collect();
        let mask = ProjectionMask::roots(builder.parquet_schema(), columns);
        let reader = builder.with_projection(mask).with_batch_size(BATCH);
        let reader = foreign(&name, || reader.build())?.map_err(Error::at(&name))?;
        Ok(ParquetTexts { name, reader, columns: names, batch: Vec::new(), row: 0, next: 0 })
    }

    pub(crate) fn next_text(&mut self) -> Result<Option<Text>> {
        while self.batch.first().is_none_or(|ids| self.next == ids.len()) {
            let Some(batch) = next_batch(&self.name, &mut self.reader)? else { return Ok(None) };
            self.batch = values(&batch, &self.columns).map_err(Error::at(&self.name))?;
            self.next = 0;
        }
        let [ids, others @ .., texts] = &self.batch[..] else { return Ok(None) };
        let row = self.next;
        self.next += 1;
        self.row += 1;
        for (column, values) in [(self.columns.first(), ids), (self.columns.last(), texts)] {
            if values.is_null(row) {
                let column = column.map_or("", String::as_str);
                return Err(Error::in_place(self.place(), format!("column {column} is null")));
            }
        }
        let others = others.iter().filter(|values| values.is_valid(row)).map(|values| values.value(row));
        let fields = Fields::of_columns(others, texts.value(row).to_owned());
        Ok(Some(Text { key: ids.value(row).to_owned(), fields }))
    }

    /// `file: row N` of the last text, counted from 0 as in all our tables.
    pub(crate) fn place(&self) -> Place {
        Place::Row(self.name.clone(), self.row.saturating_sub(1))
    }
}

/// Makes sure that a column can be read as text.
fn check_type(name: &str, field: &Field, numbers_too: bool) -> Result<()> {
    let plain = match field.data_type() {
        DataType::Dictionary(_, values) => values,
        other => other,
    };
    let fits = matches!(plain, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
    if fits || numbers_too && plain.is_integer() {
        return Ok(());
    }
    let expected = if numbers_too { "integers or strings" } else { "strings" };
    Err(Error::new(name, format!("column {} is {}, expected {expected}", field.name(), field.data_type())))
}

/// The values of the columns with these `names`.
fn values(batch: &RecordBatch, names: &[String]) -> std::result::Result<Vec<StringArray>, ArrowError> {
    let column = |name: &String| {
        let place = batch.schema_ref().index_of(name)?;
        Ok(cast(batch.column(place), &DataType::Utf8)?.as_string::<i32>().clone())
    };
    names.iter().map(column).collect()
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
