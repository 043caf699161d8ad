//! Tokens in a memory map, by row number.

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use hardmine_records::{Error, Kind, Provenance, Result, TokensBatch};

use crate::{Input, Mapped};

/// Most texts that are copied at once.
const TAKEN: usize = 4_096;

/// The texts of a tokens file, by row number.
pub struct MappedTokens {
    mapped: Mapped,
    batches: Vec<TokensBatch>,
}

impl MappedTokens {
    /// Maps a tokens file. Anything but an `.arrow` file is first copied into a temporary one.
    ///
    /// # Errors
    /// As [`Table::open`](crate::Table::open), and ids that are not the row numbers.
    pub fn open(input: &Input) -> Result<MappedTokens> {
        let mapped = Mapped::open(input, Kind::Tokens)?;
        let batches: Vec<TokensBatch> = mapped.batches().iter().map(TokensBatch::new).collect::<Result<_>>()?;
        for (row, &id) in batches.iter().flat_map(|batch| batch.ids.values()).enumerate() {
            if id != row as i64 {
                let text = format!("row {row} has id {id}; ids of tokens are row numbers");
                return Err(Error::new(mapped.name(), text));
            }
        }
        Ok(MappedTokens { mapped, batches })
    }

    /// Number of texts.
    pub fn len(&self) -> usize {
        self.mapped.rows()
    }

    /// Whether there is no text.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Token ids of text `row`, special tokens included. `row` must be less than [`MappedTokens::len`].
    pub fn token_ids(&self, row: usize) -> &[i32] {
        let (batch, row) = self.mapped.locate(row);
        self.batches[batch].token_ids(row)
    }

    /// The records of the texts `rows`, which must be ascending, in several batches.
    pub fn take(&self, rows: &[u32]) -> impl Iterator<Item = Result<RecordBatch>> {
        let batch_of = |row: u32| self.mapped.locate(row as usize).0;
        let batches = rows.chunk_by(move |&one, &next| batch_of(one) == batch_of(next));
        batches.flat_map(|rows| rows.chunks(TAKEN)).map(move |rows| {
            let places = rows.iter().map(|&row| self.mapped.locate(row as usize).1 as u32);
            let places = UInt32Array::from_iter_values(places);
            take_record_batch(&self.mapped.batches()[batch_of(rows[0])], &places).map_err(Error::at(self.name()))
        })
    }

    /// Official id of text `row`, which must be less than [`MappedTokens::len`].
    pub fn key(&self, row: usize) -> &str {
        let (batch, row) = self.mapped.locate(row);
        self.batches[batch].keys.value(row)
    }

    /// Where the tokens came from.
    pub fn provenance(&self) -> &Provenance {
        self.mapped.provenance()
    }

    /// The name used in errors.
    pub fn name(&self) -> &str {
        self.mapped.name()
    }
}
