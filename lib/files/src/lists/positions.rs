//! Ranks for lists that have none, or whose ranks count from 0.

use std::collections::HashSet;

use arrow::array::Float32Array;
use arrow::compute::partition;
use hardmine_records::conform::reciprocal;
use hardmine_records::{Error, Result, RunBatch};

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
    /// The next rows of the run called `name`, with positions for ranks. Scores that the run lacks (`has_scores` is
    /// false) order as the ranks do.
    ///
    /// # Errors
    /// A list that is not sorted or is interrupted by another, with its row.
    pub(crate) fn apply(&mut self, name: &str, rows: RunBatch, has_scores: bool) -> Result<RunBatch> {
        let (ranks, scores) = (rows.ranks.values(), rows.scores.values());
        let mut positions = Vec::with_capacity(rows.len());
        let queries = rows.queries.clone().into_column();
        for list in partition(&[queries]).map_err(Error::at(name))?.ranges() {
            let wrong = |row: usize, text: String| Error::at_row(name, self.rows + row, text).hint(HINT);
            let query = rows.queries.text(list.start).into_owned();
            if self.query.as_ref() != Some(&query) {
                if !self.seen.insert(query.clone()) {
                    return Err(wrong(list.start, format!("query {query} comes again after other queries")));
                }
                (self.position, self.score, self.rank) = (0, f32::INFINITY, -1);
                self.query = Some(query.clone());
            }
            for row in list {
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
        self.rows += rows.len();
        let scores = match has_scores {
            true => rows.scores,
            false => Float32Array::from_iter_values(positions.iter().map(|&rank| reciprocal(rank))),
        };
        Ok(RunBatch { ranks: positions.into(), scores, ..rows })
    }
}
