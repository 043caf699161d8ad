//! Reads records: one reader for every kind, format and origin.

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};

use crate::conform::{Conform, with_fixed_size};
use crate::ipc::{MappedFile, StreamReader};
use crate::judgements::TextReader;
use crate::source::Content;
use crate::{Error, IdSpace, Input, Kind, Provenance, Result};

/// Batches of records of one kind, in the schema of that kind whoever wrote them.
pub struct Table {
    name: String,
    kind: Kind,
    conform: Conform,
    provenance: Provenance,
    first: Option<RecordBatch>,
    batches: Batches,
}

enum Batches {
    Stream(Box<StreamReader>),
    Mapped(MappedFile, usize),
    Parquet(ParquetRecordBatchReader),
    Text(Box<TextReader>),
}

impl Table {
    /// Opens `input`, which must hold one of the `accepted` kinds (a text is taken for the one it looks like).
    ///
    /// # Errors
    /// A missing, empty, truncated or unreadable file, and one that holds something else.
    pub fn open(input: &Input, accepted: &[Kind]) -> Result<Table> {
        let source = input.open()?;
        let name = source.name.clone();
        match source.content {
            Content::Text if accepted.iter().any(|kind| kind.has_text_form()) => {
                let text = TextReader::new(source.into_lines(), accepted)?;
                let (kind, schema) = (text.kind(), text.schema());
                Table::new(name, accepted, &schema, Batches::Text(Box::new(text)), Provenance::default(), Some(kind))
            }
            Content::Text => {
                let text = format!("expected {} (Arrow or Parquet), found text", names(accepted));
                Err(Error::new(name, text).hint(hint_for(accepted[0])))
            }
            Content::ArrowStream => {
                let stream = StreamReader::new(name.clone(), source.reader)?;
                let schema = stream.schema();
                let provenance = Provenance::from_metadata(schema.metadata());
                Table::new(name, accepted, &schema, Batches::Stream(Box::new(stream)), provenance, None)
            }
            Content::ArrowFile => {
                let file = MappedFile::new(name.clone(), &source.into_file()?)?;
                let schema = file.schema();
                let provenance = Provenance::from_metadata(schema.metadata());
                Table::new(name, accepted, &schema, Batches::Mapped(file, 0), provenance, None)
            }
            Content::Parquet => {
                let file = source.into_file()?;
                let builder = ParquetRecordBatchReaderBuilder::try_new(file)
                    .map_err(|e| Error::new(&name, format!("is a truncated or broken Parquet file: {e}")))?;
                let schema = builder.schema().clone();
                let mut provenance = Provenance::from_metadata(schema.metadata());
                for entry in builder.metadata().file_metadata().key_value_metadata().into_iter().flatten() {
                    if let (true, Some(value)) = (entry.key.starts_with("hardmine."), &entry.value) {
                        provenance.set(&entry.key, value);
                    }
                }
                let batches = builder.with_batch_size(8192).build().map_err(Error::at(&name))?;
                Table::new(name, accepted, &schema, Batches::Parquet(batches), provenance, None)
            }
        }
    }

    fn new(
        name: String,
        accepted: &[Kind],
        schema: &Schema,
        mut batches: Batches,
        provenance: Provenance,
        known: Option<Kind>,
    ) -> Result<Table> {
        let first = batches.next(&name)?;
        let sized = with_fixed_size(schema, first.as_ref());
        let schema = sized.as_ref().unwrap_or(schema);
        let kind = match known.or(provenance.kind(&name)?) {
            Some(kind) if accepted.contains(&kind) => kind,
            Some(kind) => {
                let text = format!("expected {}, found {kind}", names(accepted));
                return Err(Error::new(name, text).hint(hint_for(accepted[0])));
            }
            None => match accepted.iter().find(|&&kind| Conform::new(&name, kind, schema).is_ok()) {
                Some(&kind) => kind,
                None => accepted[0],
            },
        };
        let conform = Conform::new(&name, kind, schema)?;
        Ok(Table { name, kind, conform, provenance, first, batches })
    }

    /// The kind of the records.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The schema of the batches, without metadata.
    pub fn schema(&self) -> SchemaRef {
        self.conform.schema()
    }

    /// The space of `query_id` and `doc_id`; internal for kinds that have neither.
    pub fn ids(&self) -> IdSpace {
        self.conform.ids()
    }

    /// The name used in errors.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where the records came from. That of a stream is complete only after its last batch.
    pub fn provenance(&self) -> &Provenance {
        &self.provenance
    }
}

impl Iterator for Table {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Result<RecordBatch>> {
        let next = match self.first.take() {
            Some(batch) => Ok(Some(batch)),
            None => self.batches.next(&self.name),
        };
        match next {
            Ok(Some(batch)) => Some(self.conform.apply(&batch)),
            Ok(None) => {
                if let Batches::Stream(stream) = &self.batches {
                    self.provenance.merge(stream.trailer());
                }
                None
            }
            Err(error) => Some(Err(error)),
        }
    }
}

impl Batches {
    fn next(&mut self, name: &str) -> Result<Option<RecordBatch>> {
        match self {
            Batches::Stream(stream) => stream.next(),
            Batches::Text(text) => text.next(),
            Batches::Parquet(reader) => reader.next().transpose().map_err(Error::at(name)),
            Batches::Mapped(file, next) if *next < file.batches() => {
                *next += 1;
                file.batch(*next - 1).map(Some)
            }
            Batches::Mapped(..) => Ok(None),
        }
    }
}

fn names(kinds: &[Kind]) -> String {
    kinds.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(" or ")
}

/// The command that makes a kind.
fn hint_for(kind: Kind) -> &'static str {
    match kind {
        Kind::Tokens => "make tokens with: tokenize --tokenizer MODEL collection.tsv -o docs.tokens.arrow",
        Kind::Embeddings => "make embeddings with: embed --model MODEL docs.tokens.arrow -o docs.arrow",
        Kind::Qrels => "qrels are four columns: query 0 document relevance",
        Kind::Run => "make a run with: rank --index docs.arrow queries.arrow -o run.parquet",
        Kind::Negatives => "make negatives with: mine-negatives --qrels qrels.parquet run.parquet -o negatives.parquet",
        Kind::Metrics => "make metrics with: score --qrels qrels.tsv --per-query metrics.parquet run.parquet",
        Kind::TrainingLog => "train writes training-log.parquet into its model folder",
    }
}
