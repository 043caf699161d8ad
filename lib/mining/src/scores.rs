//! Scores that another run gives to pairs of queries and documents: those of a teacher, or those of the relevant
//! documents.

use foldhash::{HashMap, HashMapExt};
use hardmine_files::Table;
use hardmine_records::{Error, Id, KeptId, Result, RunBatch};

/// The scores of a run, held in memory.
pub(crate) struct GivenScores<K> {
    /// The name of the run, for errors.
    pub name: String,
    scores: HashMap<K, HashMap<K, f32>>,
}

impl<K: KeptId> GivenScores<K> {
    /// Reads a run, which may be in any order.
    ///
    /// # Errors
    /// Those of reading it, a run without scores, and a pair that has two scores.
    pub fn read(run: &mut Table, add: impl Fn(&mut Self, &RunBatch) -> Result<()>) -> Result<Self> {
        if !run.has_scores() {
            return Err(Error::new(run.name(), "has no scores").hint("write the run as TREC, Parquet or Arrow"));
        }
        let mut given = GivenScores { name: run.name().to_owned(), scores: HashMap::new() };
        for batch in run {
            add(&mut given, &RunBatch::new(&batch?)?)?;
        }
        Ok(given)
    }

    /// Takes in the next rows.
    ///
    /// # Errors
    /// A pair has two scores.
    pub fn add<'a, I: Id<'a, Kept = K>>(&mut self, run: &'a RunBatch) -> Result<()> {
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

    /// The scores of the documents of `query`.
    pub fn of(&self, query: &K) -> ScoresOf<'_, K> {
        ScoresOf { name: &self.name, scores: self.scores.get(query) }
    }
}

/// What a run says of one query.
pub(crate) struct ScoresOf<'a, K> {
    pub name: &'a str,
    scores: Option<&'a HashMap<K, f32>>,
}

impl<K> Clone for ScoresOf<'_, K> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K> Copy for ScoresOf<'_, K> {}

impl<K: KeptId> ScoresOf<'_, K> {
    /// The score of `doc`, if there is one.
    pub fn get(&self, doc: &K) -> Option<f32> {
        self.scores.and_then(|scores| scores.get(doc)).copied()
    }
}
