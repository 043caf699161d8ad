//! Negatives of an earlier time, to see how much has changed since: with an old model's negatives, a new one learns
//! little.

use foldhash::{HashMap, HashMapExt};
use hardmine_records::{Id, KeptId, RunBatch};

/// Earlier negatives, and what the comparison has found so far.
pub(crate) struct Earlier<K> {
    lists: HashMap<K, Vec<(K, i32)>>,
    /// Of each query that has negatives then and now: the share of those now that were there then.
    pub overlaps: Vec<(K, f32)>,
    /// Rank now less rank then, of each negative that was there then.
    pub shifts: Vec<f32>,
    /// Number of negatives now, then and both, of the same queries.
    pub counts: [usize; 3],
}

impl<K> Default for Earlier<K> {
    fn default() -> Self {
        Earlier { lists: HashMap::new(), overlaps: Vec::new(), shifts: Vec::new(), counts: [0; 3] }
    }
}

impl<K: KeptId> Earlier<K> {
    /// Takes in the next earlier negatives.
    pub fn add<'a, I: Id<'a, Kept = K>>(&mut self, rows: &'a RunBatch) {
        let (queries, docs) = (I::column(&rows.queries), I::column(&rows.docs));
        for (row, &rank) in rows.ranks.values().iter().enumerate() {
            let list = self.lists.entry(I::value(queries, row).keep()).or_default();
            list.push((I::value(docs, row).keep(), rank));
        }
    }

    /// Compares the `negatives` of `query`, best first, with the earlier ones.
    pub fn compare(&mut self, query: &K, negatives: &[(K, f32)]) {
        let Some(then) = self.lists.remove(query).filter(|_| !negatives.is_empty()) else { return };
        let then: HashMap<K, i32> = then.into_iter().collect();
        let ranked = negatives.iter().zip(1..);
        let shifts: Vec<f32> =
            ranked.filter_map(|((doc, _), now)| then.get(doc).map(|then| (now - then) as f32)).collect();
        self.overlaps.push((query.clone(), shifts.len() as f32 / negatives.len() as f32));
        for (sum, count) in self.counts.iter_mut().zip([negatives.len(), then.len(), shifts.len()]) {
            *sum += count;
        }
        self.shifts.extend(shifts);
    }
}
