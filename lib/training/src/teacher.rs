//! What another ranker, the teacher, scores the pairs that are trained on.

use hardmine_files::Input;
use hardmine_records::{Error, Result};

use crate::data::{IdOptions, TextRows, read_scores};
use crate::document_lists::DocumentLists;

/// A teacher's score of every relevant document and of every hard negative of the queries.
pub struct Teacher {
    /// In the order of the lists.
    positives: Vec<f32>,
    negatives: Vec<f32>,
}

/// A negative as a file of negatives with a teacher's scores has it.
pub struct ScoredPair {
    /// Row number of the query.
    pub query: u32,
    /// Row number of the document.
    pub doc: u32,
    /// The teacher's score of the document.
    pub score: f32,
    /// Its score of the query's relevant document; none where the file has a null.
    pub positive: Option<f32>,
}

/// The pairs of a training run, and the texts that they are of.
#[derive(Clone, Copy)]
pub struct TaughtPairs<'a> {
    /// The queries.
    pub queries: &'a TextRows<'a>,
    /// The documents.
    pub docs: &'a TextRows<'a>,
    /// The relevant documents of each query.
    pub relevant: &'a DocumentLists,
    /// The hard negatives of each query.
    pub negatives: &'a DocumentLists,
}

impl Teacher {
    /// Takes the scores out of the run of another ranker, which may hold other pairs, too. Also returns what the user
    /// should know of how the file was read.
    ///
    /// # Errors
    /// A pair that the run has no score for, or two; and those of reading it.
    pub fn read(run: &Input, pairs: TaughtPairs, reading: IdOptions) -> Result<(Self, Vec<String>)> {
        let mut teacher = Teacher::unknown(pairs);
        let mut twice = None;
        let notes = read_scores(run, pairs.queries, pairs.docs, reading, |query, doc, score| {
            let positive = pairs.relevant.place(query, doc).map(|place| &mut teacher.positives[place]);
            let negative = pairs.negatives.place(query, doc).map(|place| &mut teacher.negatives[place]);
            for kept in [positive, negative].into_iter().flatten() {
                let before = std::mem::replace(kept, score);
                if !before.is_nan() && before != score {
                    twice.get_or_insert((query, doc));
                }
            }
        })?;
        if let Some((query, doc)) = twice {
            let (query, doc) = (pairs.queries.text_of(query), pairs.docs.text_of(doc));
            return Err(Error::new(run, format!("two scores for query {query} and document {doc}")));
        }
        teacher.check(&run.to_string(), pairs, "score this pair, too, and every other that is trained on")?;
        Ok((teacher, notes))
    }

    /// Takes the scores that stand beside the negatives in their file `name`, which has one score for all relevant
    /// documents of a query, the lowest. Also returns what the user should know of it.
    ///
    /// # Errors
    /// A missing score.
    pub fn beside(name: &str, scored: &[ScoredPair], pairs: TaughtPairs) -> Result<(Self, Option<String>)> {
        let mut teacher = Teacher::unknown(pairs);
        for &ScoredPair { query, doc, score, positive } in scored {
            if let Some(place) = pairs.negatives.place(query, doc) {
                teacher.negatives[place] = score;
            }
            for &relevant in pairs.relevant.of(query) {
                let place = pairs.relevant.place(query, relevant).expect("it is in the list");
                teacher.positives[place] = positive.unwrap_or(teacher.positives[place]);
            }
        }
        teacher.check(name, pairs, "make the file by mine-negatives --teacher with the same qrels")?;
        let has_several =
            |query: &&u32| pairs.relevant.of(**query).len() > 1 && !pairs.negatives.of(**query).is_empty();
        let several = pairs.relevant.queries().iter().filter(has_several).count();
        let note = format!(
            "{name}: for {several} queries with several relevant documents, the lowest teacher's score stands for all of \
             them; --teacher RUN takes the score of each"
        );
        Ok((teacher, (several > 0).then_some(note)))
    }

    fn unknown(pairs: TaughtPairs) -> Self {
        Teacher {
            positives: vec![f32::NAN; pairs.relevant.places()],
            negatives: vec![f32::NAN; pairs.negatives.places()],
        }
    }

    /// Refuses to do without the score of a pair that is trained on. What the masks leave out needs none, and becomes
    /// 0.
    fn check(&mut self, name: &str, pairs: TaughtPairs, hint: &str) -> Result<()> {
        let TaughtPairs { relevant, negatives, .. } = pairs;
        let (mut missing, mut first) = (0, None);
        for query in relevant.queries() {
            let own = negatives.of(query);
            let wanted = relevant.of(query).iter().filter(|_| !own.is_empty()).map(|&doc| (doc, "is relevant to it"));
            let negative =
                own.iter().filter(|&&doc| !relevant.contains(query, doc)).map(|&doc| (doc, "is its negative"));
            for (doc, what) in wanted.chain(negative) {
                let place = relevant.place(query, doc).map(|place| self.positives[place]);
                let score = place.or(negatives.place(query, doc).map(|place| self.negatives[place]));
                if score.is_some_and(f32::is_nan) {
                    missing += 1;
                    first.get_or_insert((query, doc, what));
                }
            }
        }
        if let Some((query, doc, what)) = first {
            let (query, doc) = (pairs.queries.text_of(query), pairs.docs.text_of(doc));
            let text =
                format!("no score for query {query} and document {doc}, which {what}; {missing} scores are missing");
            return Err(Error::new(name, text).hint(hint));
        }
        let all = self.positives.iter_mut().chain(&mut self.negatives);
        all.filter(|score| score.is_nan()).for_each(|score| *score = 0.0);
        Ok(())
    }

    /// The score of `doc`, one of the `relevant` documents of `query`.
    pub(crate) fn of_positive(&self, relevant: &DocumentLists, query: u32, doc: u32) -> f32 {
        self.positives[relevant.place(query, doc).expect("positives are drawn from this list")]
    }

    /// The score of `doc`, one of the `negatives` of `query`.
    pub(crate) fn of_negative(&self, negatives: &DocumentLists, query: u32, doc: u32) -> f32 {
        self.negatives[negatives.place(query, doc).expect("hard negatives are drawn from this list")]
    }

    /// All scores, in a fixed order.
    pub(crate) fn scores(&self) -> impl Iterator<Item = &f32> {
        self.positives.iter().chain(&self.negatives)
    }
}
