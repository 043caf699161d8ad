//! Whether the query and document columns of a run stand in each other's place.

use foldhash::{HashSet, HashSetExt};
use hardmine_records::{Id, IdSpace, RunBatch};

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
    let distinct = |columns: &mut dyn Iterator<Item = (K::Column, usize)>| {
        let mut ids = HashSet::new();
        columns.for_each(|(column, rows)| ids.extend((0..rows).map(|row| K::value(column, row))));
        ids
    };
    let judged = &judgements.rows;
    let queries: HashSet<K> = distinct(&mut [(K::column(&judged.queries), judged.len())].into_iter());
    let docs: HashSet<K> = distinct(&mut [(K::column(&judged.docs), judged.len())].into_iter());
    let ranked: HashSet<K> = distinct(&mut run.iter().map(|batch| (K::column(&batch.queries), batch.len())));
    let found: HashSet<K> = distinct(&mut run.iter().map(|batch| (K::column(&batch.docs), batch.len())));
    let shared = |ids: &HashSet<K>, known: &HashSet<K>| ids.iter().filter(|id| known.contains(id)).count();
    // Numbered queries and documents have numbers in common: the swapped sides must agree better than the straight ones.
    2 * shared(&found, &queries) >= found.len()
        && shared(&ranked, &docs) > shared(&ranked, &queries)
        && shared(&found, &queries) > shared(&found, &docs)
}
