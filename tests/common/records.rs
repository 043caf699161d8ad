//! Records as any other program reads them: arrow and parquet, and none of our own code.

use std::collections::HashMap;
use std::fs::File;
use std::io::Cursor;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, FixedSizeListArray, Int32Builder, Int64Array, ListBuilder, RecordBatch, StringArray,
};
use arrow::compute::concat_batches;
use arrow::datatypes::{ArrowPrimitiveType, DataType, Field, Float32Type, Float64Type, Int32Type, Int64Type, Schema};
use arrow::ipc::reader::{FileReader, StreamReader};
use arrow::ipc::root_as_message;
use arrow::ipc::writer::{FileWriter, StreamWriter};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::{Folder, fixture};

/// All rows of a file, and its metadata.
pub struct Records {
    pub rows: RecordBatch,
    pub metadata: HashMap<String, String>,
}

impl Records {
    /// From an Arrow file or a Parquet file.
    pub fn open(path: &Path) -> Records {
        let file = File::open(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        if path.extension().is_some_and(|ending| ending == "parquet") {
            let builder = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
            let mut metadata = HashMap::new();
            for entry in builder.metadata().file_metadata().key_value_metadata().into_iter().flatten() {
                metadata.insert(entry.key.clone(), entry.value.clone().unwrap_or_default());
            }
            let schema = builder.schema().clone();
            let batches: Vec<_> = builder.build().unwrap().map(|batch| batch.unwrap()).collect();
            Records { rows: together(&schema, &batches), metadata }
        } else {
            let reader = FileReader::try_new(file, None).unwrap();
            let schema = reader.schema();
            let batches: Vec<_> = reader.map(|batch| batch.unwrap()).collect();
            Records { rows: together(&schema, &batches), metadata: schema.metadata().clone() }
        }
    }

    /// From a stream; the metadata is that of its last message.
    pub fn stream(bytes: &[u8]) -> Records {
        let reader = StreamReader::try_new(Cursor::new(bytes), None).unwrap();
        let schema = reader.schema();
        let batches: Vec<_> = reader.map(|batch| batch.unwrap()).collect();
        let mut metadata = schema.metadata().clone();
        for range in messages(bytes) {
            let message = root_as_message(&bytes[range.start + 8..]).unwrap();
            for entry in message.custom_metadata().iter().flatten() {
                metadata.insert(entry.key().unwrap().into(), entry.value().unwrap().into());
            }
        }
        Records { rows: together(&schema, &batches), metadata }
    }

    pub fn len(&self) -> usize {
        self.rows.num_rows()
    }

    fn column(&self, name: &str) -> &ArrayRef {
        self.rows.column_by_name(name).unwrap_or_else(|| panic!("no column {name} in {}", self.rows.schema()))
    }

    fn numbers<T: ArrowPrimitiveType>(&self, name: &str) -> Vec<T::Native> {
        let column = self.column(name);
        assert_eq!(column.null_count(), 0, "{name}");
        column.as_primitive::<T>().values().to_vec()
    }

    pub fn i64s(&self, name: &str) -> Vec<i64> {
        self.numbers::<Int64Type>(name)
    }

    pub fn i32s(&self, name: &str) -> Vec<i32> {
        self.numbers::<Int32Type>(name)
    }

    pub fn f32s(&self, name: &str) -> Vec<f32> {
        self.numbers::<Float32Type>(name)
    }

    pub fn f64s(&self, name: &str) -> Vec<f64> {
        self.numbers::<Float64Type>(name)
    }

    pub fn texts(&self, name: &str) -> Vec<String> {
        self.column(name).as_string::<i32>().iter().map(|text| text.unwrap().to_owned()).collect()
    }

    /// The lists of tokens.
    pub fn token_ids(&self) -> Vec<Vec<i32>> {
        let lists = self.column("token_ids").as_list::<i32>();
        lists.iter().map(|list| list.unwrap().as_primitive::<Int32Type>().values().to_vec()).collect()
    }

    /// The vectors of embeddings.
    pub fn vectors(&self) -> Vec<Vec<f32>> {
        let lists = self.column("embedding").as_fixed_size_list();
        let values = lists.values().as_primitive::<Float32Type>().values();
        values.chunks(lists.value_length() as usize).map(<[f32]>::to_vec).collect()
    }

    pub fn kind(&self) -> &str {
        &self.metadata["hardmine.kind"]
    }
}

/// All rows in one batch, without metadata, so that rows can be compared.
fn together(schema: &Schema, batches: &[RecordBatch]) -> RecordBatch {
    concat_batches(&Arc::new(Schema::new(schema.fields().clone())), batches).unwrap()
}

/// A column with its name, for [`save`].
pub fn column(name: &str, values: impl Array + 'static) -> (&str, ArrayRef) {
    (name, Arc::new(values))
}

/// A column of embeddings.
pub fn vectors(vectors: &[Vec<f32>]) -> FixedSizeListArray {
    let dim = vectors.first().map_or(1, Vec::len) as i32;
    let values = arrow::array::Float32Array::from(vectors.concat());
    let item = Arc::new(Field::new("item", DataType::Float32, false));
    FixedSizeListArray::new(item, dim, Arc::new(values), None)
}

/// Writes columns as another program would, without our metadata; the ending of `path` says how.
pub fn save(path: &Path, columns: Vec<(&str, ArrayRef)>) {
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    drop(std::fs::remove_file(path));
    let file = File::create(path).unwrap();
    match path.extension().and_then(|ending| ending.to_str()) {
        Some("parquet") => {
            let mut writer = ArrowWriter::try_new(file, batch.schema(), None).unwrap();
            writer.write(&batch).unwrap();
            writer.close().unwrap();
        }
        _ => {
            let mut writer = FileWriter::try_new(file, &batch.schema()).unwrap();
            writer.write(&batch).unwrap();
            writer.finish().unwrap();
        }
    }
}

/// The reference's texts (`docs` or `queries`) as tokens in a Parquet file that some other program wrote.
pub fn save_tokens(folder: &Folder, name: &str) {
    save_tokens_of(folder, "training", name);
}

/// [`save_tokens`] of another set of fixtures.
pub fn save_tokens_of(folder: &Folder, fixtures: &str, name: &str) {
    let text = std::fs::read_to_string(fixture(fixtures).join(format!("{name}.tokens.jsonl"))).unwrap();
    let mut lists = ListBuilder::new(Int32Builder::new());
    for line in text.lines() {
        let row: serde_json::Value = serde_json::from_str(line).unwrap();
        let ids: Vec<i32> = serde_json::from_value(row["token_ids"].clone()).unwrap();
        lists.append_value(ids.into_iter().map(Some));
    }
    let rows = 0..text.lines().count() as i64;
    let columns = vec![
        column("id", Int64Array::from_iter_values(rows.clone())),
        column("key", StringArray::from_iter_values(rows.map(|row| row.to_string()))),
        column("token_ids", lists.finish()),
    ];
    save(&folder.path(&format!("{name}.parquet")), columns);
}

/// The rows as a stream of batches of `size` rows, with `metadata` in its schema.
pub fn save_stream(rows: &RecordBatch, size: usize, metadata: HashMap<String, String>) -> Vec<u8> {
    let schema = Schema::new_with_metadata(rows.schema().fields().clone(), metadata);
    let mut writer = StreamWriter::try_new(Vec::new(), &schema).unwrap();
    for start in (0..rows.num_rows()).step_by(size) {
        writer.write(&rows.slice(start, size.min(rows.num_rows() - start))).unwrap();
    }
    writer.into_inner().unwrap()
}

/// Where the messages of a stream lie, its end marker left out.
pub fn messages(bytes: &[u8]) -> Vec<Range<usize>> {
    let mut ranges = Vec::new();
    let mut start = 0;
    loop {
        let length = i32::from_le_bytes(bytes[start + 4..start + 8].try_into().unwrap()) as usize;
        if length == 0 {
            return ranges;
        }
        let message = root_as_message(&bytes[start + 8..]).unwrap();
        let end = start + 8 + length + message.bodyLength() as usize;
        ranges.push(start..end);
        start = end;
    }
}
