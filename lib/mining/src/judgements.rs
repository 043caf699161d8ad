//! Which documents were judged for each query.

use foldhash::{HashMap, HashMapExt};
use hardmine_records::{Id, KeptId, QrelsBatch};

/// The judged documents of one query.
#[derive(Debug)]
pub(crate) struct Judged<K> {
    /// Those with a grade above 0. They are so few that looking through them is faster than a hash set.
    pub relevant: Vec<K>,
    /// The others, if they matter.
    pub irrelevant: Vec<K>,
}

/// The judged documents of each query whose list has not come yet.
pub(crate) struct Judgements<K> {
    queries: HashMap<K, Judged<K>>,
    /// The most relevant documents that a query has.
    most_relevant: usize,
    /// Whether irrelevant documents are to be known.
    keep_irrelevant: bool,
}

impl<K: KeptId> Judgements<K> {
    /// No judgements yet.
    pub fn new(keep_irrelevant: bool) -> Self {
        Judgements { queries: HashMap::new(), most_relevant: 0, keep_irrelevant }
    }

    /// Takes in the next judgements.
    pub fn add<'a, I: Id<'a, Kept = K>>(&mut self, rows: &'a QrelsBatch) {
        let (queries, docs) = (I::column(&rows.queries), I::column(&rows.docs));
        for (row, &grade) in rows.relevance.values().iter().enumerate() {
            let none = || Judged { relevant: Vec::new(), irrelevant: Vec::new() };
            let judged = self.queries.entry(I::value(queries, row).keep()).or_insert_with(none);
            let doc = I::value(docs, row);
            if grade > 0 {
                if !judged.relevant.iter().any(|known| doc.is(known)) {
                    judged.relevant.push(doc.keep());
                }
                self.most_relevant = self.most_relevant.max(judged.relevant.len());
            } else if self.keep_irrelevant {
                judged.irrelevant.push(doc.keep());
            }
        }
    }

    /// The most relevant documents that a query has.
    pub fn most_relevant(&self) -> usize {
        self.most_relevant
    }

    /// The judged documents of `query`, whose list has come; none if it is not judged.
    pub fn take(&mut self, query: &K) -> Option<Judged<K>> {
        self.queries.remove(query)
    }
}
