//! The lists of a run: gathered by query, checked, and the positions of the judged documents found.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use hardmine_records::{Id, RunBatch};
// Each row is looked up: the standard library's hash took a fifth of the time.
use foldhash::{HashMap, HashMapExt};
use hardmine_records::{Error, Result};
use rayon::prelude::*;

use crate::{Judgements, Order, RunOptions};

/// What the metrics need of a run.
pub(crate) struct RankedLists {
    /// Number of lists, one a query.
    pub(crate) count: usize,
    /// Numbers of the judged queries, in the run's order.
    pub(crate) queries: Vec<i32>,
    /// For each of them, how many documents its list has.
    pub(crate) lengths: Vec<i32>,
    /// The table `run` of the metrics, `query_id, doc_id, position` numbered as the judgements are:
    /// the judged documents only, list by list in the order of positions.
    pub(crate) judged: RecordBatch,
    /// RankedLists whose first document has the id of the query.
    pub(crate) begin_with_self: usize,
}

/// The columns of one batch.
struct Columns<'a, K: Id<'a>> {
    queries: K::Column,
    docs: K::Column,
    ranks: &'a [i32],
    scores: &'a [f32],
}

/// The rows of one query: stretches of batches (batch, first row, end), in the order of the file.
struct List<K> {
    query: K,
    stretches: Vec<(usize, usize, usize)>,
}

/// The judgements of one query: its number, and each document with the number of its row.
#[derive(Default)]
struct Judged<K> {
    number: i32,
    docs: Vec<(K, i32)>,
}

/// What was found in one list.
struct Found {
    /// (position, row of the judgements) of the judged documents.
    positions: Vec<(i32, i32)>,
    length: i32,
    /// Whether the first document has the query's own id.
    begins_with_self: bool,
}

impl RankedLists {
    /// # Errors
    /// Of the first list with a fault.
    pub(crate) fn of<'a, K: Id<'a>>(
        name: &str,
        judgements: &'a Judgements,
        run: &'a [RunBatch],
        reading: RunOptions,
    ) -> Result<RankedLists> {
        let order = reading.order;
        let judged = by_query::<K>(judgements);
        let columns: Vec<Columns<K>> = run.iter().map(Columns::of).collect();
        let lists = gather(&columns);
        let none = Judged { number: -1, docs: Vec::new() };
        let found: Vec<Result<Found>> = lists
            .par_iter()
            .map_init(Scratch::default, |scratch, list| {
                scratch.fill(name, list, &columns)?;
                scratch.check(name, list.query, order)?;
                let begins_with_self = scratch.begins_with(list.query, order);
                if reading.exclude_self {
                    scratch.exclude(list.query);
                }
                let mut positions = scratch.positions(&judged.get(&list.query).unwrap_or(&none).docs, order);
                let mut length = scratch.docs.len() as i32;
                if reading.judged_only {
                    positions.retain(|&(_, row)| judgements.rows.relevance.value(row as usize) >= 0);
                    (1..).zip(&mut positions).for_each(|(place, (position, _))| *position = place);
                    length = positions.len() as i32;
                }
                Ok(Found { positions, length, begins_with_self: begins_with_self && !reading.exclude_self })
            })
            .collect();

        let (mut queries, mut lengths, mut rows) = (Vec::new(), Vec::new(), (Vec::new(), Vec::new(), Vec::new()));
        let mut begin_with_self = 0;
        for (list, found) in lists.iter().zip(found) {
            let Found { positions, length, begins_with_self } = found?;
            begin_with_self += usize::from(begins_with_self);
            let Some(Judged { number, .. }) = judged.get(&list.query) else { continue };
            queries.push(*number);
            lengths.push(length);
            for (position, row) in positions {
                rows.0.push(*number);
                rows.1.push(row);
                rows.2.push(position);
            }
        }
        let fields = ["query_id", "doc_id", "position"].map(|name| Field::new(name, DataType::Int32, false));
        let columns = [rows.0, rows.1, rows.2].map(|column| Arc::new(Int32Array::from(column)) as ArrayRef);
        let judged = RecordBatch::try_new(Arc::new(Schema::new(fields.to_vec())), columns.to_vec());
        let judged = judged.map_err(Error::at(name))?;
        Ok(RankedLists { count: lists.len(), queries, lengths, judged, begin_with_self })
    }
}

fn by_query<'a, K: Id<'a>>(judgements: &'a Judgements) -> HashMap<K, Judged<K>> {
    let (queries, docs) = (K::column(&judgements.rows.queries), K::column(&judgements.rows.docs));
    let mut judged: HashMap<K, Judged<K>> = HashMap::with_capacity(judgements.queries());
    for (row, &number) in judgements.query_of.iter().enumerate() {
        let query = judged.entry(K::value(queries, row)).or_insert_with(|| Judged { number, docs: Vec::new() });
        query.docs.push((K::value(docs, row), row as i32));
    }
    judged
}

impl<'a, K: Id<'a>> Columns<'a, K> {
    fn of(rows: &'a RunBatch) -> Self {
        Columns {
            queries: K::column(&rows.queries),
            docs: K::column(&rows.docs),
            ranks: rows.ranks.values(),
            scores: rows.scores.values(),
        }
    }
}

/// One list a query, in the order of their first rows; a query's rows need not stand together.
fn gather<'a, K: Id<'a>>(columns: &[Columns<'a, K>]) -> Vec<List<K>> {
    let mut lists: Vec<List<K>> = Vec::new();
    let mut numbers: HashMap<K, usize> = HashMap::new();
    for (batch, columns) in columns.iter().enumerate() {
        let rows = columns.ranks.len();
        let mut start = 0;
        while start < rows {
            let query = K::value(columns.queries, start);
            let end = (start + 1..rows).find(|&row| K::value(columns.queries, row) != query).unwrap_or(rows);
            let number = *numbers.entry(query).or_insert_with(|| {
                lists.push(List { query, stretches: Vec::new() });
                lists.len() - 1
            });
            lists[number].stretches.push((batch, start, end));
            start = end;
        }
    }
    lists
}

/// One list laid out, reused for the next.
struct Scratch<K> {
    docs: Vec<K>,
    ranks: Vec<i32>,
    scores: Vec<f32>,
    rows: HashMap<K, usize>,
    sorted: Vec<i32>,
}

impl<K> Default for Scratch<K> {
    fn default() -> Self {
        Scratch { docs: vec![], ranks: vec![], scores: vec![], rows: HashMap::new(), sorted: vec![] }
    }
}

impl<'a, K: Id<'a>> Scratch<K> {
    /// # Errors
    /// A document that occurs twice.
    fn fill(&mut self, name: &str, list: &List<K>, columns: &[Columns<'a, K>]) -> Result<()> {
        self.docs.clear();
        self.ranks.clear();
        self.scores.clear();
        self.rows.clear();
        for &(batch, start, end) in &list.stretches {
            let columns = &columns[batch];
            self.docs.extend((start..end).map(|row| K::value(columns.docs, row)));
            self.ranks.extend_from_slice(&columns.ranks[start..end]);
            self.scores.extend_from_slice(&columns.scores[start..end]);
        }
        for (row, &doc) in self.docs.iter().enumerate() {
            if let Some(first) = self.rows.insert(doc, row) {
                let ranks = format!("at ranks {} and {}", self.ranks[first], self.ranks[row]);
                return Err(Error::new(name, format!("query '{}' has document '{doc}' twice, {ranks}", list.query)));
            }
        }
        Ok(())
    }

    /// # Errors
    /// Ranks that are no order of the list, or scores that are none.
    fn check(&mut self, name: &str, query: K, order: Order) -> Result<()> {
        let fault = |text: String| Err(Error::new(name, format!("query '{query}' {text}")));
        match order {
            Order::Rank => {
                self.sorted.clone_from(&self.ranks);
                if !self.sorted.is_sorted() {
                    self.sorted.sort_unstable();
                }
                match self.sorted.windows(2).find(|pair| pair[0] == pair[1]) {
                    Some(pair) => fault(format!("has rank {} twice", pair[0]))
                        .map_err(|e: Error| e.hint("--order score does without ranks")),
                    None => Ok(()),
                }
            }
            Order::Score => match self.scores.iter().position(|score| score.is_nan()) {
                Some(row) => fault(format!("has no number as the score of document '{}'", self.docs[row])),
                None => Ok(()),
            },
        }
    }

    /// Whether `doc` stands first.
    fn begins_with(&self, doc: K, order: Order) -> bool {
        self.rows.get(&doc).is_some_and(|&row| match order {
            Order::Rank => self.ranks[row] == 1,
            Order::Score => self.position_by_score(row) == 1,
        })
    }

    /// Takes `doc` out of the list; what ranks behind it moves up.
    fn exclude(&mut self, doc: K) {
        let Some(out) = self.rows.remove(&doc) else { return };
        self.docs.remove(out);
        self.scores.remove(out);
        let rank = self.ranks.remove(out);
        self.ranks.iter_mut().filter(|other| **other > rank).for_each(|other| *other -= 1);
        self.rows.values_mut().filter(|row| **row > out).for_each(|row| *row -= 1);
    }

    /// (position, row of the judgements) of the judged documents of the list, in the order of positions.
    fn positions(&self, judged: &[(K, i32)], order: Order) -> Vec<(i32, i32)> {
        let found = judged.iter().filter_map(|(doc, judgement)| Some((*self.rows.get(doc)?, *judgement)));
        let mut positions: Vec<_> = found
            .map(|(row, judgement)| match order {
                Order::Rank => (self.ranks[row], judgement),
                Order::Score => (self.position_by_score(row), judgement),
            })
            .collect();
        positions.sort_unstable();
        positions
    }

    /// Counting what comes before is cheaper than sorting the list: few of its documents are judged.
    fn position_by_score(&self, row: usize) -> i32 {
        let (doc, score) = (self.docs[row], self.scores[row]);
        let better = self.scores.iter().filter(|&&other| other > score).count();
        let equal = self.scores.iter().zip(&self.docs).filter(|(other, _)| **other == score);
        let ahead = equal.filter(|(_, other)| other.is_after(doc)).count();
        (better + ahead + 1) as i32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch(scores: &[f32]) -> Scratch<i64> {
        let docs: Vec<i64> = (8..).take(scores.len()).collect();
        let rows = docs.iter().enumerate().map(|(row, &doc)| (doc, row)).collect();
        let ranks = (1..).take(scores.len()).collect();
        Scratch { docs, ranks, scores: scores.to_vec(), rows, sorted: vec![] }
    }

    #[test]
    fn equal_scores_go_by_id_as_text_last_first() {
        // As text: "8" < "9" comes after "10" < "11".
        let list = scratch(&[1.0, 1.0, 1.0, 2.0]);
        let order = list.positions(&[(8, 0), (9, 1), (10, 2), (11, 3)], Order::Score);
        assert_eq!(order, [(1, 3), (2, 1), (3, 0), (4, 2)]);
    }

    #[test]
    fn a_rank_is_the_position_even_with_gaps() {
        let mut list = scratch(&[3.0, 2.0, 1.0]);
        list.ranks = vec![2, 5, 9];
        assert!(list.check("run", 1, Order::Rank).is_ok());
        assert_eq!(list.positions(&[(10, 0), (8, 1), (77, 2)], Order::Rank), [(2, 1), (9, 0)]);
    }

    #[test]
    fn what_stands_behind_an_excluded_document_moves_up() {
        for order in [Order::Rank, Order::Score] {
            let mut list = scratch(&[3.0, 2.0, 1.0]);
            assert!(list.begins_with(8, order) && !list.begins_with(9, order));
            list.exclude(9);
            assert_eq!(list.positions(&[(10, 0), (9, 1), (8, 2)], order), [(1, 2), (2, 0)], "{order:?}");
            list.exclude(77);
            list.exclude(8);
            assert_eq!(list.positions(&[(10, 0), (9, 1), (8, 2)], order), [(1, 0)], "{order:?}");
        }
    }

    #[test]
    fn ranks_that_are_no_order_are_refused() {
        for ranks in [[1, 2, 2], [2, 1, 2]] {
            let mut list = scratch(&[3.0, 2.0, 1.0]);
            list.ranks = ranks.to_vec();
            assert!(list.check("run", 1, Order::Rank).is_err(), "{ranks:?}");
            assert!(list.check("run", 1, Order::Score).is_ok(), "{ranks:?}");
        }
        assert!(scratch(&[1.0, f32::NAN]).check("run", 1, Order::Score).is_err());
    }
}
