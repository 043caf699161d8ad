//! Records in a memory map, for access at random without loading the file.

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int32Type;

use crate::{Error, Input, Kind, Provenance, Result, Table};

/// All batches of an `.arrow` file, pointing into its memory map. Anything else (Parquet, a stream, a pipe)
/// is copied to a temporary file first.
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
        let mut table = Table::open(input, &[kind])?;
        if !table.is_mapped() {
            table = Table::open(&table.spool()?, &[kind])?;
        }
        let (mut batches, mut starts) = (Vec::new(), vec![0]);
        for batch in &mut table {
            let batch = batch?;
            starts.push(starts[batches.len()] + batch.num_rows());
            batches.push(batch);
        }
        Ok(Mapped { name: table.name().to_owned(), provenance: table.provenance().clone(), batches, starts })
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
