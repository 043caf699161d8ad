//! Writes records: one writer for every kind and format.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::ipc::writer::{FileWriter, StreamWriter};
use hardmine_records::{Error, Kind, Provenance, Result};
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::arrow::{ARROW_SCHEMA_META_KEY, ArrowWriter, encode_arrow_schema};
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder};
use parquet::schema::types::ColumnPath;

use crate::behind::WriteBehind;
use crate::dataset_writer::DatasetWriter;
use crate::lists::TextWriter;
use crate::{Format, Output, OutputFile, ipc};

/// Writes batches of one kind to an output, which appears with [`Writer::finish`] or not at all.
pub struct Writer {
    place: String,
    schema: SchemaRef,
    provenance: Provenance,
    sink: Sink,
    rows: u64,
}

enum Sink {
    Stream(Box<StreamWriter<OutputFile>>),
    File(Box<FileWriter<OutputFile>>),
    Parquet(WriteBehind),
    Text(TextWriter<OutputFile>),
    Dataset(Box<DatasetWriter>),
}

impl Writer {
    /// Opens `output` for records of `kind`. `provenance` is what is known before the first row.
    ///
    /// # Errors
    /// A folder that is not writable, a terminal, a text format for a kind that has none.
    pub fn create(output: &Output, kind: Kind, schema: SchemaRef, mut provenance: Provenance) -> Result<Self> {
        output.check_kind(kind)?;
        provenance.stamp(kind);
        let place = output.to_string();
        if matches!(output.format(), Format::Tsv | Format::Trec) && schema.column_with_name("teacher").is_some() {
            let text = format!("{} has no place for a teacher's scores", output.format());
            return Err(Error::new(place, text).hint("write Parquet or Arrow"));
        }
        let stamped = Arc::new(Schema::new_with_metadata(schema.fields().clone(), provenance.to_metadata()));
        let create = || {
            let file = OutputFile::create(output.path())?;
            file.refuse_terminal("records are")?;
            Ok(file)
        };
        if let Output::Folder(path, sharding) = output {
            let Some(sharding) = sharding.clone() else {
                return Err(Error::new(place, "is a folder, and this program writes no folders of shards")
                    .hint("name a file: .parquet, .arrow or .arrows"));
            };
            let writer = DatasetWriter::create(path, sharding, kind, schema.clone(), &provenance)?;
            return Ok(Writer { place, schema, provenance, sink: Sink::Dataset(Box::new(writer)), rows: 0 });
        }
        let sink = match output.format() {
            Format::Stream => {
                Sink::Stream(Box::new(StreamWriter::try_new(create()?, &stamped).map_err(arrow(&place))?))
            }
            Format::File => {
                let file = OutputFile::create_seekable(output.path())?;
                file.refuse_terminal("records are")?;
                Sink::File(Box::new(FileWriter::try_new(file, &stamped).map_err(arrow(&place))?))
            }
            Format::Parquet => {
                // The Arrow schema is written at the end, with the whole provenance.
                let options = ArrowWriterOptions::new()
                    .with_properties(parquet_properties(kind, &schema))
                    .with_skip_arrow_metadata(true);
                let writer = ArrowWriter::try_new_with_options(create()?, schema.clone(), options);
                Sink::Parquet(WriteBehind::new(writer.map_err(Error::at(&place))?, &place))
            }
            format @ (Format::Tsv | Format::Trec) => {
                Sink::Text(TextWriter::new(OutputFile::create(output.path())?, &place, kind, format))
            }
        };
        Ok(Writer { place, schema, provenance, sink, rows: 0 })
    }

    /// Writes the next rows.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let place = &self.place;
        match &mut self.sink {
            Sink::Stream(writer) => writer.write(batch).map_err(arrow(place))?,
            Sink::File(writer) => writer.write(batch).map_err(arrow(place))?,
            Sink::Parquet(writer) => writer.write(batch)?,
            Sink::Text(writer) => writer.write(batch)?,
            Sink::Dataset(writer) => writer.write(batch)?,
        }
        self.rows += batch.num_rows() as u64;
        Ok(())
    }

    /// Provenance still to be written; what is only known at the end may be set until then.
    pub fn provenance_mut(&mut self) -> &mut Provenance {
        &mut self.provenance
    }

    /// What the user should know of how the rows were written, for the closing line.
    pub fn notes(&self) -> Vec<String> {
        match &self.sink {
            Sink::Text(writer) => writer.notes(),
            _ => Vec::new(),
        }
    }

    /// Ends the output; returns its number of rows.
    pub fn finish(self) -> Result<u64> {
        let place = &self.place;
        match self.sink {
            Sink::Stream(mut writer) => {
                ipc::finish_stream(&mut writer, &self.schema, &self.provenance).map_err(arrow(place))?;
                writer.into_inner().map_err(arrow(place))?.commit()?;
            }
            Sink::File(mut writer) => {
                writer.finish().map_err(arrow(place))?;
                let mut file = writer.into_inner().map_err(arrow(place))?;
                let schema = Schema::new_with_metadata(self.schema.fields().clone(), self.provenance.to_metadata());
                ipc::replace_footer(file.file()?, &schema).map_err(arrow(place))?;
                file.commit()?;
            }
            Sink::Parquet(writer) => {
                let mut writer = writer.finish()?;
                for (name, value) in self.provenance.iter() {
                    writer.append_key_value_metadata(KeyValue::new(name.to_owned(), value.to_owned()));
                }
                // pyarrow takes a schema's metadata from here, and from nowhere else.
                let schema = Schema::new_with_metadata(self.schema.fields().clone(), self.provenance.to_metadata());
                let encoded = encode_arrow_schema(&schema);
                writer.append_key_value_metadata(KeyValue::new(ARROW_SCHEMA_META_KEY.to_owned(), encoded));
                writer.into_inner().map_err(Error::at(place))?.commit()?;
            }
            Sink::Text(writer) => writer.into_inner().commit()?,
            Sink::Dataset(writer) => writer.finish(&self.provenance)?,
        }
        Ok(self.rows)
    }
}

/// An error of a writer; a closed pipe stays recognizable.
fn arrow(place: &str) -> impl FnOnce(arrow::error::ArrowError) -> Error {
    move |error| match error {
        arrow::error::ArrowError::IoError(_, error) => Error::io(place)(error),
        error => Error::new(place, error),
    }
}

fn parquet_properties(kind: Kind, schema: &Schema) -> WriterProperties {
    let packed = WriterProperties::builder().set_compression(Compression::ZSTD(ZstdLevel::default()));
    match kind {
        // Vectors and codes neither repeat nor compress.
        Kind::Embeddings | Kind::Codes => {
            packed.set_dictionary_enabled(false).set_compression(Compression::UNCOMPRESSED)
        }
        Kind::Run | Kind::Negatives | Kind::Qrels => schema.fields().iter().fold(packed, lists_column),
        _ => packed,
    }
    .build()
}

/// Lists have too many different numbers for a dictionary: ids and ranks are stored as differences, and of scores,
/// which descend, the bytes that hardly change stand together. The differences of documents are too random to become
/// smaller still. Only queries keep their least and greatest values, because lists of other columns have all of them.
fn lists_column(properties: WriterPropertiesBuilder, field: &Arc<Field>) -> WriterPropertiesBuilder {
    let encoding = match field.data_type() {
        DataType::Int64 | DataType::Int32 => Encoding::DELTA_BINARY_PACKED,
        DataType::Float32 => Encoding::BYTE_STREAM_SPLIT,
        _ => return properties,
    };
    let column = ColumnPath::from(field.name().as_str());
    let mut properties =
        properties.set_column_dictionary_enabled(column.clone(), false).set_column_encoding(column.clone(), encoding);
    if field.name() == "doc_id" {
        properties = properties.set_column_compression(column.clone(), Compression::UNCOMPRESSED);
    }
    if field.name() != "query_id" {
        properties = properties.set_column_statistics_enabled(column, EnabledStatistics::None);
    }
    properties
}
