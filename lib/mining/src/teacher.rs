//! The scores of another ranker, the teacher, for what becomes a negative and for what is relevant.

use std::fmt::Display;
use std::hash::Hash;

use foldhash::{HashMap, HashMapExt};
use hardmine_records::{Error, Id, Result, RunBatch};

/// A teacher's run, held in memory.
pub(crate) struct Teacher<K> {
    name: String,
    scores: HashMap<K, HashMap<K, f32>>,
}

impl<K: Eq + Hash + Display> Teacher<K> {
    /// A teacher that has not said anything yet. Errors call its run `name`.
    pub(crate) fn new(name: &str) -> Self {
        Teacher { name: name.to_owned(), scores: HashMap::new() }
    }

    /// Takes in the next rows of the teacher's run, which may come in any order.
    ///
    /// # Errors
    /// A pair has two scores.
    pub(crate) fn hear<'a, I: Id<'a, Kept = K>>(&mut self, run: &'a RunBatch) -> Result<()> {
        let (queries, docs) = (I::column(&run.queries), I::column(&run.docs));
        for (row, &score) in run.scores.values().iter().enumerate() {
            let (query, doc) = (I::value(queries, row), I::value(docs, row));
            let before = self.scores.entry(query.keep()).or_default().insert(doc.keep(), score);
            if before.is_some_and(|before| before != score) {
                return Err(Error::new(&self.name, format!("two scores for query {query} and document {doc}")));
            }
        }
        Ok(())
    }

    /// The score of a document that became a negative; `place` is the run it was mined from, and `row` its row.
    ///
    /// # Errors
    /// There is none.
    pub(crate) fn negative<'a, I: Id<'a, Kept = K>>(&self, query: I, doc: I, place: &str, row: usize) -> Result<f32> {
        let score = self.scores.get(&query.keep()).and_then(|list| list.get(&doc.keep()));
        score.copied().ok_or_else(|| {
            let text = format!("{} has no score for document {doc} and query {query}", self.name);
            Error::at_row(place, row, text).hint("let the teacher score every document of this run")
        })
    }

    /// The lowest score of the `relevant` documents of `query`; none if there are no such documents.
    ///
    /// # Errors
    /// One of them has no score.
    pub(crate) fn lowest_positive<'a, I>(&self, query: I, relevant: &[K]) -> Result<Option<f32>>
    where
        I: Id<'a, Kept = K>,
    {
        let list = self.scores.get(&query.keep());
        let score = |doc: &K| {
            list.and_then(|list| list.get(doc)).copied().ok_or_else(|| {
                let text = format!("has no score for document {doc}, which is relevant to query {query}");
                Error::new(&self.name, text).hint("let the teacher score what the qrels call relevant, too")
            })
        };
        let scores = relevant.iter().map(score).collect::<Result<Vec<f32>>>()?;
        Ok(scores.into_iter().reduce(f32::min))
    }
}
