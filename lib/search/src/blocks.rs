//! Embeddings read in blocks of bounded size. Their numbers are checked and made float32 if the file holds float16; the
//! next block is read while the last one is used.

use std::ops::Range;

use half::slice::HalfFloatSliceExt;
use hardmine_files::{Input, Table, read_ahead};
use hardmine_records::{EmbeddingsBatch, Error, Kind, Numbers, Provenance, Result, check_finite};

/// Consecutive rows of embeddings.
#[derive(Default)]
pub(crate) struct EmbeddingBlock {
    /// Internal ids, (N,), ascending.
    pub ids: Vec<i64>,
    /// Vectors, (N, E), row by row.
    pub vectors: Vec<f32>,
}

/// Embeddings of a file or stream in blocks of `rows` (the last one may be shorter).
pub(crate) struct EmbeddingBlocks {
    table: Table,
    dim: usize,
    rows: usize,
    read: usize,
    last: Option<i64>,
    /// A batch of which the last block had room for some rows, and how many those are.
    rest: Option<(EmbeddingsBatch, usize)>,
}

impl EmbeddingBlocks {
    /// Opens embeddings, to be read in blocks of `rows`.
    ///
    /// # Errors
    /// Records of another kind, or a damaged file.
    pub fn open(input: &Input, rows: usize) -> Result<EmbeddingBlocks> {
        let table = Table::open(input, &[Kind::Embeddings])?;
        let dim = EmbeddingsBatch::dimension_in(&table.schema())?;
        Ok(EmbeddingBlocks { table, dim, rows, read: 0, last: None, rest: None })
    }

    /// Dimension E of the vectors.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Sets the number of rows of the blocks still to be read.
    pub fn set_rows(&mut self, rows: usize) {
        self.rows = rows;
    }

    /// The name used in errors.
    pub fn name(&self) -> &str {
        self.table.name()
    }

    /// Where the embeddings came from; complete only after the last block.
    pub fn provenance(&self) -> &Provenance {
        self.table.provenance()
    }

    /// The table that the blocks are read from. Only before the first block has been read is it whole.
    pub fn into_table(self) -> Table {
        self.table
    }

    /// Calls `each` with every block while the next one is read; returns where the embeddings came from.
    pub fn for_each_ahead(self, mut each: impl FnMut(&EmbeddingBlock) -> Result<()>) -> Result<Provenance> {
        Ok(read_ahead(self, 0, |block| each(&block))?.table.provenance().clone())
    }

    fn check(&mut self, batch: &EmbeddingsBatch) -> Result<()> {
        check_finite(self.table.name(), batch)?;
        for &id in batch.ids.values() {
            if let Some(last) = self.last
                && id <= last
            {
                let text = format!("id {id} comes after id {last}, and ids must ascend");
                return Err(Error::at_row(self.table.name(), self.read, text)
                    .hint("each text has one vector; sort the rows by id"));
            }
            self.last = Some(id);
            self.read += 1;
        }
        Ok(())
    }

    fn next_block(&mut self) -> Result<Option<EmbeddingBlock>> {
        let mut block = EmbeddingBlock::default();
        while block.ids.len() < self.rows {
            let (batch, taken) = match self.rest.take() {
                Some(rest) => rest,
                None => match self.table.next().transpose()? {
                    Some(batch) => {
                        let batch = EmbeddingsBatch::new(&batch)?;
                        self.check(&batch)?;
                        (batch, 0)
                    }
                    None => break,
                },
            };
            let count = (batch.len() - taken).min(self.rows - block.ids.len());
            block.append(&batch, taken..taken + count);
            if taken + count < batch.len() {
                self.rest = Some((batch, taken + count));
            }
        }
        Ok(Some(block).filter(|block| !block.ids.is_empty()))
    }
}

impl Iterator for EmbeddingBlocks {
    type Item = Result<EmbeddingBlock>;

    fn next(&mut self) -> Option<Result<EmbeddingBlock>> {
        self.next_block().transpose()
    }
}

impl EmbeddingBlock {
    /// The vector of the text `id`, (E,), if it is in the block.
    pub fn vector(&self, id: i64) -> Option<&[f32]> {
        let row = self.ids.binary_search(&id).ok()?;
        let dim = self.vectors.len() / self.ids.len();
        Some(&self.vectors[row * dim..(row + 1) * dim])
    }

    fn append(&mut self, batch: &EmbeddingsBatch, rows: Range<usize>) {
        self.ids.extend_from_slice(&batch.ids.values()[rows.clone()]);
        let numbers = rows.start * batch.dimension()..rows.end * batch.dimension();
        match batch.numbers() {
            Numbers::F32(all) => self.vectors.extend_from_slice(&all[numbers]),
            Numbers::F16(all) => {
                let start = self.vectors.len();
                self.vectors.resize(start + numbers.len(), 0.0);
                all[numbers].convert_to_f32_slice(&mut self.vectors[start..]);
            }
        }
    }
}
