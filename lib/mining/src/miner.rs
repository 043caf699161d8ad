//! Takes negatives out of the lists of a run, one list after the other.

use std::ops::Range;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
// Each row is looked up: the standard library's hash took a third of the time.
use foldhash::{HashSet, HashSetExt};
use hardmine_records::{Error, Id, KeptId, Kind, Result, RunBatch, TeacherColumns};

use crate::judgements::{Judged, Judgements};
use crate::report::{Collector, MinedList};
use crate::rules::{Dropped, FilterBy, Reason, Rules};
use crate::scores::{GivenScores, ScoresOf};

/// How mining went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Number of queries of the run.
    pub queries: usize,
    /// Number of negatives.
    pub negatives: usize,
    /// Number of queries with fewer negatives than [`Rules::top_k`].
    pub short: usize,
    /// Number of queries of the run for which there is no judgement.
    pub unjudged: usize,
    /// Number of negatives whose score is, to the last bit, that of a relevant document of the same query. They are
    /// probably the same text under another id, and then false negatives.
    pub twins: usize,
    /// Number of documents that were no negatives, by reason.
    pub dropped: Dropped,
}

impl Summary {
    /// Refuses the run `name` if none of its queries is judged in `qrels`: it belongs to another split.
    ///
    /// # Errors
    /// As said.
    pub fn check_judged(&self, name: &str, qrels: &str) -> Result<()> {
        match self.queries > 0 && self.queries == self.unjudged {
            true => Err(unjudged(name, self.queries, qrels)),
            false => Ok(()),
        }
    }
}

/// The error of a run, called `name`, none of whose `queries` is judged in `qrels`.
pub fn unjudged(name: &str, queries: usize, qrels: &str) -> Error {
    let text = format!("none of its {queries} queries is judged in {qrels}");
    Error::new(name, text).hint("mine with the run and the qrels of the same split")
}

/// A miner for ids of one type, and its state between lists.
pub(crate) struct ListMiner<K> {
    /// Name of the run, for errors.
    name: String,
    rules: Rules,
    judgements: Judgements<K>,
    pub positives: Option<GivenScores<K>>,
    pub teacher: Option<GivenScores<K>>,
    pub collector: Option<Collector<K>>,
    /// Queries whose lists have come.
    seen: HashSet<K>,
    pub summary: Summary,
    /// Rows of the batches before.
    rows: usize,
}

/// What of a list may become a negative.
struct Candidates {
    /// Rows of the batch.
    rows: Vec<usize>,
    /// Scores in the run of the relevant documents, in their order.
    in_run: Vec<Option<f32>>,
}

/// Which rows of a batch become negatives.
#[derive(Default)]
struct Chosen {
    rows: Vec<bool>,
    ranks: Vec<i32>,
    teacher: Vec<f32>,
    teacher_positive: Vec<Option<f32>>,
}

impl<K: KeptId> ListMiner<K> {
    pub fn new(name: &str, rules: Rules, judgements: Judgements<K>) -> Self {
        ListMiner {
            name: name.to_owned(),
            rules,
            judgements,
            positives: None,
            teacher: None,
            collector: None,
            seen: HashSet::new(),
            summary: Summary::default(),
            rows: 0,
        }
    }

    /// The negatives among whole lists.
    pub fn negatives<'a, I: Id<'a, Kept = K>>(
        &mut self,
        run: &'a RunBatch,
        batch: &RecordBatch,
    ) -> Result<RecordBatch> {
        let queries = I::column(&run.queries);
        let mut chosen = Chosen { rows: vec![false; run.len()], ..Chosen::default() };
        // One set for all lists, because making it anew for each took a tenth of the time.
        let mut docs = HashSet::new();
        let mut start = 0;
        while start < run.len() {
            let query = I::value(queries, start);
            let length = (start..run.len()).take_while(|&row| I::value(queries, row) == query).count();
            self.check_list(query, run, start..start + length, &mut docs)?;
            self.mine::<I>(query, run, start..start + length, &mut chosen)?;
            start += length;
        }
        self.rows += run.len();
        let kept = filter_record_batch(batch, &BooleanArray::from(chosen.rows)).map_err(Error::at(&self.name))?;
        let teacher = self
            .teacher
            .is_some()
            .then(|| TeacherColumns { docs: chosen.teacher.into(), positives: chosen.teacher_positive.into() });
        RunBatch { ranks: chosen.ranks.into(), teacher, ..RunBatch::new(&kept)? }.into_records(Kind::Negatives)
    }

    /// Chooses the negatives of one list, the `rows` of `run`.
    fn mine<'a, I: Id<'a, Kept = K>>(
        &mut self,
        query: I,
        run: &'a RunBatch,
        rows: Range<usize>,
        chosen: &mut Chosen,
    ) -> Result<()> {
        let (docs, scores) = (I::column(&run.docs), run.scores.values());
        let key = query.keep();
        let first = rows.start;
        let judged = self.judgements.take(&key);
        let relevant = judged.as_ref().map_or(&[][..], |judged| &judged.relevant);
        let mut dropped = Dropped::default();

        // First what is no candidate, whatever it scores; then what the scores say; then a window, and some of it.
        let Candidates { rows, in_run } = self.candidates::<I>(query, run, rows, judged.as_ref(), &mut dropped);
        let by_run = self.positives_by_run(query, relevant, &in_run, first)?;
        let teacher = self.teacher.as_ref().map(|teacher| teacher.of(&key));
        let by_teacher = teacher.map(|teacher| positives_by_teacher(query, relevant, teacher)).transpose()?;
        let positives = if self.rules.filter_by == FilterBy::Teacher { &by_teacher } else { &by_run };
        let lowest_positive = lowest(positives);
        let mut left = Vec::with_capacity(rows.len());
        for row in rows {
            let score = match (self.rules.filter_by, teacher) {
                (FilterBy::Teacher, Some(teacher)) => self.taught(query, I::value(docs, row), teacher, row)?,
                _ => scores[row],
            };
            match self.rules.drop(score, lowest_positive) {
                Some(reason) => dropped.add(reason, 1),
                None => left.push((row, score)),
            }
        }
        let taken = self.take(query, &left, &mut dropped);

        for (&(row, _), rank) in taken.iter().zip(1..) {
            chosen.rows[row] = true;
            chosen.ranks.push(rank);
            if let Some(teacher) = teacher {
                chosen.teacher.push(self.taught(query, I::value(docs, row), teacher, row)?);
                chosen.teacher_positive.push(lowest(&by_teacher));
            }
        }
        // Scores of the same model, whatever the rules are about.
        let known = by_run.clone().unwrap_or_else(|| in_run.into_iter().flatten().collect());
        let is_twin = |row: usize| known.iter().any(|positive| positive.to_bits() == scores[row].to_bits());
        let twins: Vec<bool> = taken.iter().map(|&(row, _)| is_twin(row)).collect();
        let is_short = taken.len() < self.rules.top_k;
        let summary = &mut self.summary;
        summary.queries += 1;
        summary.negatives += taken.len();
        summary.short += usize::from(is_short);
        summary.unjudged += usize::from(judged.is_none());
        summary.twins += twins.iter().filter(|&&is_twin| is_twin).count();
        summary.dropped.merge(dropped);
        if let Some(collector) = &mut self.collector {
            let negatives = taken.iter().map(|&(row, score)| (I::value(docs, row).keep(), score)).collect();
            let positive_scores = positives.as_deref();
            collector.add(MinedList { query: key, relevant, positive_scores, negatives, twins: &twins, is_short });
        }
        Ok(())
    }

    /// The rows that may become negatives whatever they score.
    fn candidates<'a, I: Id<'a, Kept = K>>(
        &self,
        query: I,
        run: &'a RunBatch,
        rows: Range<usize>,
        judged: Option<&Judged<K>>,
        dropped: &mut Dropped,
    ) -> Candidates {
        let docs = I::column(&run.docs);
        let relevant = judged.map_or(&[][..], |judged| &judged.relevant);
        let irrelevant = judged.map_or(&[][..], |judged| &judged.irrelevant);
        let deepest = self.rules.depth.map_or(usize::MAX, |depth| depth + self.judgements.most_relevant());
        let mut found = Candidates { rows: Vec::with_capacity(rows.len()), in_run: vec![None; relevant.len()] };
        // Candidates and relevant documents count, as for `mine_hard_negatives`, which knows no others.
        let mut place = 0;
        for row in rows {
            let doc = I::value(docs, row);
            if let Some(number) = relevant.iter().position(|known| doc.is(known)) {
                found.in_run[number] = Some(run.scores.value(row));
                dropped.add(Reason::Relevant, 1);
                place += 1;
            } else if irrelevant.iter().any(|known| doc.is(known)) {
                dropped.add(Reason::Judged, 1);
            } else if self.rules.exclude_self && query == doc {
                dropped.add(Reason::Itself, 1);
            } else if place >= deepest {
                dropped.add(Reason::Depth, 1);
            } else {
                found.rows.push(row);
                place += 1;
            }
        }
        found
    }

    /// Takes some of the rows that are `left`, best first.
    fn take<'a, I: Id<'a, Kept = K>>(
        &self,
        query: I,
        left: &[(usize, f32)],
        dropped: &mut Dropped,
    ) -> Vec<(usize, f32)> {
        let end = left.len().min(self.rules.depth.unwrap_or(usize::MAX));
        let start = end.min(self.rules.skip_first);
        let places = self.rules.sample.take(end - start, self.rules.top_k, query);
        dropped.add(Reason::SkipFirst, start);
        dropped.add(Reason::Depth, left.len() - end);
        dropped.add(Reason::NotTaken, end - start - places.len());
        places.into_iter().map(|place| left[start + place]).collect()
    }

    /// Refuses a list of which a part came before, ranks that do not ascend, and documents that are in the list twice.
    /// What `docs` holds is of no interest before or after.
    fn check_list<'a, I: Id<'a, Kept = K>>(
        &mut self,
        query: I,
        run: &'a RunBatch,
        rows: Range<usize>,
        docs: &mut HashSet<I>,
    ) -> Result<()> {
        if !self.seen.insert(query.keep()) {
            let text = format!("query {query} comes again after other queries");
            return Err(self.wrong(rows.start, text).hint("sort the run by query and rank"));
        }
        let (column, ranks) = (I::column(&run.docs), run.ranks.values());
        docs.clear();
        docs.reserve(rows.len());
        let mut before = 0;
        for row in rows {
            let (doc, rank) = (I::value(column, row), ranks[row]);
            if rank <= before {
                let text = format!("rank {rank} of query {query} follows rank {before}");
                return Err(self.wrong(row, text).hint("sort the run by query and rank"));
            }
            before = rank;
            if !docs.insert(doc) {
                return Err(self.wrong(row, format!("document {doc} is twice in the list of query {query}")));
            }
        }
        Ok(())
    }

    /// The scores of the relevant documents by the model of the run: those that were given, or else those in the run if
    /// it has all of them. None if they are not known and no rule asks for them.
    fn positives_by_run<'a, I: Id<'a, Kept = K>>(
        &self,
        query: I,
        relevant: &[K],
        in_run: &[Option<f32>],
        first: usize,
    ) -> Result<Option<Vec<f32>>> {
        let given = self.positives.as_ref().map(|positives| positives.of(&query.keep()));
        let mut scores = Vec::with_capacity(relevant.len());
        for (doc, &in_run) in relevant.iter().zip(in_run) {
            let score = given.as_ref().map_or(in_run, |given| given.get(doc));
            match (score, &given) {
                (Some(score), _) => scores.push(score),
                _ if !self.rules.has_margin() || self.rules.filter_by == FilterBy::Teacher => return Ok(None),
                (None, Some(given)) => {
                    let text = format!("has no score for document {doc}, which is relevant to query {query}");
                    return Err(Error::new(given.name, text).hint("rank --pairs QRELS scores all of them"));
                }
                (None, None) => {
                    let text = format!(
                        "the list of query {query} lacks the relevant document {doc}, and a margin needs its score"
                    );
                    let hint = "score the relevant documents with rank --pairs QRELS, and give the result with \
                                --positives";
                    return Err(Error::at_row(&self.name, first, text).hint(hint));
                }
            }
        }
        Ok(Some(scores))
    }

    /// The teacher's score of the document in `row`.
    fn taught<'a, I: Id<'a, Kept = K>>(&self, query: I, doc: I, teacher: ScoresOf<K>, row: usize) -> Result<f32> {
        teacher.get(&doc.keep()).ok_or_else(|| {
            let text = format!("{} has no score for document {doc} and query {query}", teacher.name);
            self.wrong(row, text).hint("let the teacher score every document of this run")
        })
    }

    fn wrong(&self, row: usize, text: String) -> Error {
        Error::at_row(&self.name, self.rows + row, text)
    }
}

/// The teacher's scores of the relevant documents.
fn positives_by_teacher<'a, I, K: KeptId>(query: I, relevant: &[K], teacher: ScoresOf<K>) -> Result<Vec<f32>>
where
    I: Id<'a, Kept = K>,
{
    let score = |doc: &K| {
        teacher.get(doc).ok_or_else(|| {
            let text = format!("has no score for document {doc}, which is relevant to query {query}");
            Error::new(teacher.name, text).hint("let the teacher score what the qrels call relevant, too")
        })
    };
    relevant.iter().map(score).collect()
}

fn lowest(scores: &Option<Vec<f32>>) -> Option<f32> {
    scores.iter().flatten().copied().reduce(f32::min)
}
