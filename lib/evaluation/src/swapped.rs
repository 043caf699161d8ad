//! Whether the query and document columns of a run stand in each other's place.

use foldhash::HashSet;
use hardmine_records::{Id, IdSpace, Ids, RunBatch};

use crate::Judgements;

/// Whether the run's query ids are rather found among the documents of the judgements, and its documents among their
/// queries.
pub(crate) fn look_swapped(judgements: &Judgements, run: &[RunBatch]) -> bool {
    match judgements.ids {
        IdSpace::Internal => of::<i64>(judgements, run),
        IdSpace::Official => of::<&str>(judgements, run),
    }
}

fn of<'a, K: Id<'a>>(judgements: &'a Judgements, run: &'a [RunBatch]) -> bool {
    let distinct = |ids: &'a Ids| -> HashSet<K> {
        let column = K::column(ids);
        (0..ids.len()).map(|row| K::value(column, row)).collect()
    };
    let (queries, docs) = (distinct(&judgements.rows.queries), distinct(&judgements.rows.docs));
    let rows_in = |side: fn(&'a RunBatch) -> &'a Ids, known: &HashSet<K>| -> usize {
        let in_batch = |batch: &'a RunBatch| {
            let column = K::column(side(batch));
            (0..batch.len()).filter(|&row| known.contains(&K::value(column, row))).count()
        };
        run.iter().map(in_batch).sum()
    };
    let rows: usize = run.iter().map(RunBatch::len).sum();
    let docs_that_are_queries = rows_in(|batch| &batch.docs, &queries);
    // Numbered queries and documents have numbers in common: the swapped sides must agree better than the straight
    // ones.
    2 * docs_that_are_queries >= rows
        && docs_that_are_queries > rows_in(|batch| &batch.docs, &docs)
        && rows_in(|batch| &batch.queries, &docs) > rows_in(|batch| &batch.queries, &queries)
}
