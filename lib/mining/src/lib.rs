//! Hard negatives: the documents that rank highest for a query and are not relevant to it
//! (SIGIR 2021, section 4.2: static hard negatives).

use std::borrow::Borrow;
use std::fmt::Display;
use std::hash::Hash;
use std::sync::Arc;

use arrow::array::{AsArray, BooleanArray, Int32Array, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{Float32Type, Int32Type, Int64Type};
// Each row is looked up: the standard library's hash took a third of the time.
use foldhash::{HashMap, HashMapExt, HashSet, HashSetExt};
use hardmine_files::Table;
use hardmine_records::{Error, IdSpace, Result, schema};

/// Mines the lists of a run, batch by batch, in constant memory but for the judgements and one entry a query.
pub enum Miner {
    /// Ids are row numbers of tokens files.
    Internal(Lists<i64>),
    /// Ids are those of the collection.
    Official(Lists<str>),
}

/// How mining went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Queries of the run.
    pub queries: usize,
    /// Queries with fewer negatives than asked for.
    pub short: usize,
    /// Queries of the run for which there is no judgement.
    pub unjudged: usize,
    /// Negatives whose score is to the last bit that of a relevant document in the same list.
    pub twins: usize,
    /// Documents left out because they have the id of their query.
    pub selves: usize,
}

/// What to mine.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Most negatives for each query.
    pub top_k: usize,
    /// Whether a document with the id of its query is left out.
    pub exclude_self: bool,
}

impl Miner {
    /// Reads the judgements `qrels`.
    ///
    /// # Errors
    /// Those of reading the judgements.
    pub fn new(qrels: &mut Table, rules: Rules) -> Result<Self> {
        Ok(match qrels.ids() {
            IdSpace::Internal => {
                let judged = judgements(qrels, |b| {
                    let ids = |c: usize| b.column(c).as_primitive::<Int64Type>().values();
                    ids(0).iter().copied().zip(ids(1).iter().copied()).collect()
                })?;
                Miner::Internal(Lists::new(judged, rules))
            }
            IdSpace::Official => {
                let judged = judgements(qrels, |b| {
                    let ids = |c: usize| b.column(c).as_string::<i32>().iter().flatten().map(str::to_owned);
                    ids(0).zip(ids(1)).collect()
                })?;
                Miner::Official(Lists::new(judged, rules))
            }
        })
    }

    /// The negatives among the next rows of the run called `name`, ranked anew from 1.
    ///
    /// # Errors
    /// Ranks that don't ascend, a document twice in a list, or a query whose rows don't stand together,
    /// with the row.
    pub fn negatives(&mut self, name: &str, batch: &RecordBatch) -> Result<RecordBatch> {
        match self {
            Miner::Internal(lists) => {
                let ids = |column: usize| batch.column(column).as_primitive::<Int64Type>().values();
                let (queries, docs) = (ids(0), ids(1));
                lists.negatives(name, batch, |row| (&queries[row], &docs[row]))
            }
            Miner::Official(lists) => {
                let (queries, docs) = (batch.column(0).as_string::<i32>(), batch.column(1).as_string::<i32>());
                lists.negatives(name, batch, |row| (queries.value(row), docs.value(row)))
            }
        }
    }

    /// Ends the last list.
    ///
    /// # Errors
    /// None of the run's queries is judged: it is of another split.
    pub fn finish(self, name: &str, qrels: &str) -> Result<Summary> {
        let summary = match self {
            Miner::Internal(lists) => lists.finish(),
            Miner::Official(lists) => lists.finish(),
        };
        if summary.queries > 0 && summary.queries == summary.unjudged {
            let text = format!("none of its {} queries is judged in {qrels}", summary.queries);
            return Err(Error::new(name, text).hint("mine with the run and the qrels of the same split"));
        }
        Ok(summary)
    }
}

/// Judged query → its relevant documents.
type Judgements<I> = HashMap<I, Vec<I>>;

fn judgements<I: Hash + Eq>(qrels: &mut Table, pairs: impl Fn(&RecordBatch) -> Vec<(I, I)>) -> Result<Judgements<I>> {
    let mut judged: Judgements<I> = HashMap::new();
    for batch in qrels {
        let batch = batch?;
        let grades = batch.column(2).as_primitive::<Int32Type>();
        for ((query, doc), &grade) in pairs(&batch).into_iter().zip(grades.values()) {
            let relevant = judged.entry(query).or_default();
            if grade > 0 {
                relevant.push(doc);
            }
        }
    }
    Ok(judged)
}

/// The state of mining between batches, for ids of one type.
pub struct Lists<I: ToOwned + ?Sized> {
    judged: Judgements<I::Owned>,
    rules: Rules,
    seen: HashSet<I::Owned>,
    current: Option<List<I::Owned>>,
    /// Documents of the list being read.
    docs: HashSet<I::Owned>,
    summary: Summary,
    rows: usize,
}

/// The list being read.
struct List<I> {
    query: I,
    /// Relevant documents, none if the query is not judged: so few that looking through them beats a hash.
    relevant: Option<Vec<I>>,
    rank: i32,
    /// Scores of the negatives so far, and of the relevant documents.
    kept: Vec<f32>,
    found: Vec<f32>,
}

impl<I> Lists<I>
where
    I: ToOwned + Hash + Eq + Display + ?Sized,
    I::Owned: Hash + Eq,
{
    fn new(judged: Judgements<I::Owned>, rules: Rules) -> Self {
        Lists {
            judged,
            rules,
            seen: HashSet::new(),
            current: None,
            docs: HashSet::new(),
            summary: Summary::default(),
            rows: 0,
        }
    }

    fn negatives<'a>(
        &mut self,
        name: &str,
        batch: &RecordBatch,
        ids: impl Fn(usize) -> (&'a I, &'a I),
    ) -> Result<RecordBatch>
    where
        I: 'a,
    {
        let scores = batch.column(3).as_primitive::<Float32Type>().values();
        let run_ranks = batch.column(2).as_primitive::<Int32Type>().values();
        let mut ranks = Vec::new();
        let mut keep = Vec::with_capacity(batch.num_rows());
        for (row, &run_rank) in run_ranks.iter().enumerate() {
            let (query, doc) = ids(row);
            let number = self.rows + row;
            let wrong = |what: String| Error::new(format!("{name}: row {number}"), what);
            if self.current.as_ref().is_none_or(|list| list.query.borrow() != query) {
                if !self.seen.insert(query.to_owned()) {
                    return Err(wrong(format!("query {query} comes again after other queries"))
                        .hint("sort the run by query and rank"));
                }
                self.end_list();
                self.docs.clear();
                let relevant = self.judged.remove(query);
                self.current =
                    Some(List { query: query.to_owned(), relevant, rank: 0, kept: Vec::new(), found: Vec::new() });
            }
            let list = self.current.as_mut().expect("set above");
            if run_rank <= list.rank {
                return Err(wrong(format!("rank {run_rank} of query {query} follows rank {}", list.rank))
                    .hint("sort the run by query and rank"));
            }
            list.rank = run_rank;
            if !self.docs.insert(doc.to_owned()) {
                return Err(wrong(format!("document {doc} stands twice in the list of query {query}")));
            }
            let relevant = list.relevant.iter().flatten().any(|relevant| relevant.borrow() == doc);
            let is_self = self.rules.exclude_self && query == doc;
            let kept = !relevant && !is_self && list.kept.len() < self.rules.top_k;
            if relevant {
                list.found.push(scores[row]);
            }
            if kept {
                list.kept.push(scores[row]);
                ranks.push(list.kept.len() as i32);
            }
            self.summary.selves += usize::from(is_self && !relevant);
            keep.push(kept);
        }
        self.rows += batch.num_rows();
        let failed = |e| Error::new(name, e);
        let kept = filter_record_batch(batch, &BooleanArray::from(keep)).map_err(failed)?;
        let mut columns = kept.columns().to_vec();
        columns[2] = Arc::new(Int32Array::from(ranks));
        let ids = if columns[0].data_type().is_integer() { IdSpace::Internal } else { IdSpace::Official };
        RecordBatch::try_new(schema::negatives(ids), columns).map_err(failed)
    }

    fn end_list(&mut self) {
        if let Some(list) = self.current.take() {
            self.summary.queries += 1;
            self.summary.short += usize::from(list.kept.len() < self.rules.top_k);
            let is_twin = |score: &&f32| list.found.iter().any(|found| found.to_bits() == score.to_bits());
            self.summary.twins += list.kept.iter().filter(is_twin).count();
            self.summary.unjudged += usize::from(list.relevant.is_none());
        }
    }

    fn finish(mut self) -> Summary {
        self.end_list();
        self.summary
    }
}
