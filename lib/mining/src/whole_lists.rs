//! Puts the lists together that a stream cuts in the middle.

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use hardmine_records::{Error, Ids, Result, RunBatch};

/// Holds back the last list of each batch until it is known to be whole.
#[derive(Default)]
pub(crate) struct WholeLists {
    /// Pieces of one list.
    pending: Vec<RecordBatch>,
}

impl WholeLists {
    /// Adds the next rows of a run that is grouped by query; gives the lists that are whole now, in one batch.
    pub fn add(&mut self, name: &str, batch: &RecordBatch) -> Result<Option<RecordBatch>> {
        if batch.num_rows() == 0 {
            return Ok(None);
        }
        let queries = RunBatch::new(batch)?.queries;
        let last = last_list(&queries);
        let continues = match self.pending.last() {
            Some(piece) => {
                let before = RunBatch::new(piece)?.queries;
                before.text(before.len() - 1) == queries.text(0)
            }
            None => false,
        };
        if last == 0 && continues {
            self.pending.push(batch.clone());
            return Ok(None);
        }
        self.pending.push(batch.slice(0, last));
        let whole = self.rest(name)?;
        self.pending.push(batch.slice(last, batch.num_rows() - last));
        Ok(whole)
    }

    /// The last list, when no more rows come.
    pub fn rest(&mut self, name: &str) -> Result<Option<RecordBatch>> {
        let pieces = std::mem::take(&mut self.pending);
        let pieces: Vec<RecordBatch> = pieces.into_iter().filter(|piece| piece.num_rows() > 0).collect();
        match &pieces[..] {
            [] => Ok(None),
            [whole] => Ok(Some(whole.clone())),
            [first, ..] => concat_batches(&first.schema(), &pieces).map(Some).map_err(Error::at(name)),
        }
    }
}

/// The row in which the last list begins.
fn last_list(queries: &Ids) -> usize {
    let last = queries.len() - 1;
    let differs = |row: &usize| match queries {
        Ids::Internal(ids) => ids.value(*row) != ids.value(last),
        Ids::Official(ids) => ids.value(*row) != ids.value(last),
    };
    (0..last).rev().find(differs).map_or(0, |row| row + 1)
}
