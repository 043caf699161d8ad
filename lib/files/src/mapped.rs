//! Records in a memory map, for access at random without loading the file.

use arrow::array::RecordBatch;
use hardmine_records::{Kind, Provenance, Result};

use crate::{Input, Table};

/// All batches of an `.arrow` file, or of all shards of a dataset of such files, pointing into memory maps. Anything
/// else (Parquet, a stream, a pipe) is copied to a temporary file first.
pub struct Mapped {
    name: String,
    provenance: Provenance,
    batches: Vec<RecordBatch>,
    /// Row number of each batch's first row, and at the end the number of rows.
    starts: Vec<usize>,
}

impl Mapped {
    /// Maps the records in `input`, which must be of `kind`.
    ///
    /// # Errors
    /// As [`Table::open`] and reading it; the temporary folder has no space.
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

    /// All batches, in the order of the file.
    pub fn batches(&self) -> &[RecordBatch] {
        &self.batches
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        *self.starts.last().unwrap_or(&0)
    }

    /// The number of the batch that holds `row`, and the row's number in it. `row` must be less than [`Mapped::rows`].
    pub fn locate(&self, row: usize) -> (usize, usize) {
        let batch = self.starts.partition_point(|&start| start <= row) - 1;
        (batch, row - self.starts[batch])
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
