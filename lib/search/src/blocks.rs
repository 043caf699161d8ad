//! Embeddings read in blocks of bounded size. Their numbers are checked and made float32 if the file holds float16; the
//! next block is read while the last one is used.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Float16Type, Float32Type, Int64Type};
use hardmine_records::{Error, Input, Kind, Provenance, Result, Table, check_finite, read_ahead};

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
    rest: Option<(RecordBatch, usize)>,
}

impl EmbeddingBlocks {
    /// Opens embeddings, to be read in blocks of `rows`.
    ///
    /// # Errors
    /// Records of another kind, or a damaged file.
    pub fn open(input: &Input, rows: usize) -> Result<EmbeddingBlocks> {
        let table = Table::open(input, &[Kind::Embeddings])?;
        let dim = match table.schema().field(1).data_type() {
            DataType::FixedSizeList(_, dim) => *dim as usize,
            other => {
                return Err(Error::new(
                    table.name(),
                    format!("its column embedding is {other} and not a fixed-size list"),
                ));
            }
        };
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

    fn check(&mut self, batch: &RecordBatch) -> Result<()> {
        check_finite(self.table.name(), batch)?;
        for &id in batch.column(0).as_primitive::<Int64Type>().values() {
            if let Some(last) = self.last
                && id <= last
            {
                let place = format!("{}: row {}", self.table.name(), self.read);
                let hint = "each text has one vector; sort the rows by id";
                return Err(Error::new(place, format!("id {id} comes after id {last}, and ids must ascend")).hint(hint));
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
                        self.check(&batch)?;
                        (batch, 0)
                    }
                    None => break,
                },
            };
            let count = (batch.num_rows() - taken).min(self.rows - block.ids.len());
            append(&mut block, &batch.slice(taken, count), self.dim);
            if taken + count < batch.num_rows() {
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

fn append(block: &mut EmbeddingBlock, batch: &RecordBatch, dim: usize) {
    block.ids.extend_from_slice(batch.column(0).as_primitive::<Int64Type>().values());
    let lists = batch.column(1).as_fixed_size_list();
    let values = lists.values().slice(lists.value_offset(0) as usize, lists.len() * dim);
    match values.data_type() {
        DataType::Float16 => {
            block.vectors.extend(values.as_primitive::<Float16Type>().values().iter().map(|x| x.to_f32()))
        }
        _ => block.vectors.extend_from_slice(values.as_primitive::<Float32Type>().values()),
    }
}
