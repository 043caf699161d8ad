//! The batches of a run: so many whole lists in each, however they come in.

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use hardmine_records::{Error, Ids, Result, RunBatch};

use crate::rank::RUN_ROWS;

/// Divides a run into batches with the lists of the same number of queries each, so that the bytes of its file depend
/// on its rows alone.
pub struct RunBatches {
    lists: usize,
    /// Whole batches or slices of them that were not given yet, and of how many queries they are.
    rows: Vec<RecordBatch>,
    queries: usize,
    last: Option<i64>,
}

impl RunBatches {
    /// For lists of at most `top_k` documents.
    pub fn new(top_k: usize) -> Self {
        RunBatches { lists: (RUN_ROWS / top_k).max(1), rows: Vec::new(), queries: 0, last: None }
    }

    /// Takes in the next rows, whose queries have internal ids, and gives `write` the batches that are full with them.
    ///
    /// # Errors
    /// Those of `write`; rows that are no run.
    pub fn push(&mut self, batch: &RecordBatch, write: &mut impl FnMut(&RecordBatch) -> Result<()>) -> Result<()> {
        let Ids::Internal(queries) = RunBatch::new(batch)?.queries else {
            return Err(Error::new("run", "has the ids of the collection, not row numbers"));
        };
        let mut start = 0;
        for (row, &query) in queries.values().iter().enumerate() {
            if self.last.replace(query) == Some(query) {
                continue;
            }
            if self.queries == self.lists {
                self.rows.push(batch.slice(start, row - start));
                self.flush(write)?;
                start = row;
            }
            self.queries += 1;
        }
        self.rows.push(batch.slice(start, batch.num_rows() - start));
        Ok(())
    }

    /// Gives `write` what is left.
    ///
    /// # Errors
    /// Those of `write`.
    pub fn flush(&mut self, write: &mut impl FnMut(&RecordBatch) -> Result<()>) -> Result<()> {
        self.queries = 0;
        self.rows.retain(|rows| rows.num_rows() > 0);
        match &std::mem::take(&mut self.rows)[..] {
            [] => Ok(()),
            [batch] => write(batch),
            rows => write(&concat_batches(&rows[0].schema(), rows).map_err(Error::at("run"))?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hit::Hit;
    use crate::rank::run_batch;

    /// Lengths of the batches that a run of lists of these lengths comes in, where it goes in `at_once` rows at a time.
    fn batches(lengths: &[usize], at_once: usize) -> Vec<usize> {
        let lists: Vec<Vec<Hit>> =
            lengths.iter().map(|&length| (0..length).map(|id| Hit { id: id as i64, score: 1.0 }).collect()).collect();
        let ids: Vec<i64> = (0..lists.len() as i64).collect();
        let run = run_batch(&ids, &lists).unwrap();
        let (mut batches, mut found) = (RunBatches { lists: 2, ..RunBatches::new(1) }, Vec::new());
        let mut write = |batch: &RecordBatch| {
            found.push(batch.num_rows());
            Ok(())
        };
        for start in (0..run.num_rows()).step_by(at_once) {
            batches.push(&run.slice(start, at_once.min(run.num_rows() - start)), &mut write).unwrap();
        }
        batches.flush(&mut write).unwrap();
        found
    }

    #[test]
    fn batches_depend_on_the_rows_alone() {
        for at_once in 1..12 {
            assert_eq!(batches(&[3, 2, 0, 4, 1, 1], at_once), [5, 5, 1], "{at_once}");
        }
    }
}
