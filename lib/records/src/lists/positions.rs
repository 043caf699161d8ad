//! Ranks for lists that have none, or whose ranks count from 0.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Float32Array, Int32Array, RecordBatch};
use arrow::compute::partition;
use arrow::datatypes::{Float32Type, Int32Type, Int64Type};

use crate::conform::reciprocal;
use crate::{Error, Result};

/// What is wrong with lists that don't stand in their order, said to all who need it.
const HINT: &str = "sort the run by query and score, best first; score --order score needs no ranks";

/// Makes the position of a document in its list its rank, batch by batch. Lists must stand together and be sorted: by
/// score, or by rank where there are no scores.
#[derive(Default)]
pub(crate) struct Positions {
    seen: HashSet<String>,
    query: Option<String>,
    position: i32,
    score: f32,
    rank: i32,
    rows: usize,
}

impl Positions {
    /// The next batch of the run called `name`, with ranks; and with scores, if it has none, that order as the ranks do.
    ///
    /// # Errors
    /// A list that is not sorted or is interrupted by another, with its row.
    pub(crate) fn apply(&mut self, name: &str, batch: &RecordBatch, has_scores: bool) -> Result<RecordBatch> {
        let queries = batch.column(0);
        let ranks = batch.column(2).as_primitive::<Int32Type>().values();
        let scores = batch.column(3).as_primitive::<Float32Type>().values();
        let mut positions = Vec::with_capacity(batch.num_rows());
        for rows in partition(std::slice::from_ref(queries)).map_err(Error::at(name))?.ranges() {
            let wrong =
                |row: usize, text: String| Error::new(format!("{name}: row {}", self.rows + row), text).hint(HINT);
            let query = id_text(queries, rows.start);
            if self.query.as_ref() != Some(&query) {
                if !self.seen.insert(query.clone()) {
                    return Err(wrong(rows.start, format!("query {query} comes again after other queries")));
                }
                (self.position, self.score, self.rank) = (0, f32::INFINITY, -1);
                self.query = Some(query.clone());
            }
            for row in rows {
                if has_scores && scores[row] > self.score {
                    let text =
                        format!("its ranks don't count from 1, and score {} of query {query} follows", scores[row]);
                    return Err(wrong(row, format!("{text} {}", self.score)));
                }
                if !has_scores && ranks[row] <= self.rank {
                    let text = format!("rank {} of query {query} follows rank {}", ranks[row], self.rank);
                    return Err(wrong(row, text));
                }
                (self.score, self.rank) = (scores[row], ranks[row]);
                self.position += 1;
                positions.push(self.position);
            }
        }
        self.rows += batch.num_rows();
        let mut columns = batch.columns().to_vec();
        if !has_scores {
            columns[3] = Arc::new(Float32Array::from_iter_values(positions.iter().map(|&rank| reciprocal(rank))));
        }
        columns[2] = Arc::new(Int32Array::from(positions));
        RecordBatch::try_new(batch.schema(), columns).map_err(Error::at(name))
    }
}

fn id_text(ids: &ArrayRef, row: usize) -> String {
    match ids.as_string_opt::<i32>() {
        Some(ids) => ids.value(row).to_owned(),
        None => ids.as_primitive::<Int64Type>().value(row).to_string(),
    }
}
