//! Records in a memory map, for access at random without loading the file.

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int32Type;

use crate::conform::Conform;
use crate::ipc::MappedFile;
use crate::source::Content;
use crate::{Error, Input, Kind, Output, Provenance, Result, Table, Writer};

/// All batches of an `.arrow` file, pointing into its memory map. Anything else (Parquet, a stream)
/// is copied to a temporary `.arrow` file first.
pub struct Mapped {
    name: String,
    provenance: Provenance,
    batches: Vec<RecordBatch>,
    /// Row number of each batch's first row, and at the end the number of rows.
    starts: Vec<usize>,
}

impl Mapped {
    /// Maps the records of `kind` in `input`.
    pub fn open(input: &Input, kind: Kind) -> Result<Mapped> {
        let is_arrow_file = match input {
            Input::Stdin => false,
            Input::Path(_) => input.open()?.content == Content::ArrowFile,
        };
        match is_arrow_file {
            true => Mapped::map(input, input.to_string(), kind),
            false => {
                let folder = tempfile::tempdir().map_err(Error::io("temporary folder"))?;
                let path = folder.path().join("spooled.arrow");
                let mut table = Table::open(input, &[kind])?;
                let output = Output::Path(path.clone(), crate::Format::File);
                let mut writer = Writer::create(&output, kind, table.schema(), Provenance::default())?;
                for batch in &mut table {
                    writer.write(&batch?)?;
                }
                writer.provenance_mut().merge(table.provenance());
                writer.finish()?;
                // The map keeps the file's blocks when the folder is removed.
                Mapped::map(&Input::Path(path), input.to_string(), kind)
            }
        }
    }

    fn map(input: &Input, name: String, kind: Kind) -> Result<Mapped> {
        // Table checks the kind; its batches would be decoded a second time, so it is dropped here.
        drop(Table::open(input, &[kind])?);
        let file = MappedFile::new(name.clone(), &input.open()?.into_file()?)?;
        let schema = file.schema();
        let mut conform = Conform::new(&name, kind, &schema)?;
        let (mut batches, mut starts) = (Vec::with_capacity(file.batches()), vec![0]);
        for index in 0..file.batches() {
            let batch = conform.apply(&file.batch(index)?)?;
            starts.push(starts[index] + batch.num_rows());
            batches.push(batch);
        }
        let provenance = Provenance::from_metadata(schema.metadata());
        Ok(Mapped { name, provenance, batches, starts })
    }

    /// The batches, in order.
    pub fn batches(&self) -> &[RecordBatch] {
        &self.batches
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        *self.starts.last().unwrap_or(&0)
    }

    /// The batch that holds `row`, and the row's number in it. `row` must be less than [`Mapped::rows`].
    pub fn locate(&self, row: usize) -> (&RecordBatch, usize) {
        let batch = self.starts.partition_point(|&start| start <= row) - 1;
        (&self.batches[batch], row - self.starts[batch])
    }

    /// Where the records came from.
    pub fn provenance(&self) -> &Provenance {
        &self.provenance
    }

    /// The name used in errors.
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// Tokens by row number.
pub struct MappedTokens(Mapped);

impl MappedTokens {
    /// Maps a tokens file.
    ///
    /// # Errors
    /// As [`Table::open`], and ids that are not the row numbers.
    pub fn open(input: &Input) -> Result<MappedTokens> {
        let mapped = Mapped::open(input, Kind::Tokens)?;
        let mut expected = 0;
        for batch in mapped.batches() {
            for &id in batch.column(0).as_primitive::<arrow::datatypes::Int64Type>().values() {
                if id != expected {
                    let text = format!("row {expected} has id {id}; ids of tokens are row numbers");
                    return Err(Error::new(mapped.name(), text));
                }
                expected += 1;
            }
        }
        Ok(MappedTokens(mapped))
    }

    /// Number of texts.
    pub fn len(&self) -> usize {
        self.0.rows()
    }

    /// Whether there is no text.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Token ids of text `row`.
    pub fn token_ids(&self, row: usize) -> &[i32] {
        let (batch, row) = self.0.locate(row);
        let lists = batch.column(2).as_list::<i32>();
        let offsets = lists.value_offsets();
        let values = lists.values().as_primitive::<Int32Type>().values();
        &values[offsets[row] as usize..offsets[row + 1] as usize]
    }

    /// Official id of text `row`.
    pub fn key(&self, row: usize) -> &str {
        let (batch, row) = self.0.locate(row);
        batch.column(1).as_string::<i32>().value(row)
    }

    /// Where the tokens came from.
    pub fn provenance(&self) -> &Provenance {
        self.0.provenance()
    }

    /// The name used in errors.
    pub fn name(&self) -> &str {
        self.0.name()
    }
}
