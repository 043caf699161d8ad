//! Hard negatives: the documents that rank highest for a query and are not relevant to it. A model that is trained on
//! them learns what it gets wrong (Zhan et al., *Optimizing Dense Retrieval Model Training with Hard Negatives*, SIGIR
//! 2021, section 4.2: static hard negatives).

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

/// Takes the hard negatives out of the lists of a run. The run comes batch by batch, so that memory holds no more than
/// the judgements and an entry for each query.
///
/// ```
/// use arrow::array::{AsArray, Float32Array, Int32Array, RecordBatch, StringArray};
/// use hardmine_mining::{Miner, Rules};
/// use hardmine_records::{ForeignIds, IdSpace, Input, Kind, Table, schema};
/// use std::sync::Arc;
///
/// // Document b is relevant to query q.
/// let folder = tempfile::tempdir()?;
/// let file = folder.path().join("qrels.txt");
/// std::fs::write(&file, "q 0 b 1\n")?;
/// let mut qrels = Table::open_with_ids(&Input::from(file.as_path()), &[Kind::Qrels], ForeignIds::default())?;
///
/// // A model has ranked documents a, b and c for the query.
/// let run = RecordBatch::try_new(
///     schema::run(IdSpace::Official),
///     vec![
///         Arc::new(StringArray::from(vec!["q", "q", "q"])),
///         Arc::new(StringArray::from(vec!["a", "b", "c"])),
///         Arc::new(Int32Array::from(vec![1, 2, 3])),
///         Arc::new(Float32Array::from(vec![0.9, 0.8, 0.5])),
///     ],
/// )?;
///
/// let mut miner = Miner::new(&mut qrels, Rules { top_k: 200, exclude_self: false })?;
/// let negatives = miner.negatives("run", &run)?;
/// let documents: Vec<&str> = negatives["doc_id"].as_string::<i32>().iter().flatten().collect();
/// assert_eq!(documents, ["a", "c"]);
/// assert_eq!(miner.finish("run", "qrels.txt")?.short, 1); // a query with fewer than 200 negatives
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Miner {
    lists: MinerById,
}

/// How mining went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Number of queries of the run.
    pub queries: usize,
    /// Number of queries with fewer negatives than [`Rules::top_k`].
    pub short: usize,
    /// Number of queries of the run for which there is no judgement.
    pub unjudged: usize,
    /// Number of negatives whose score is, to the last bit, that of a relevant document in the same list. They are
    /// probably the same text under another id, and then false negatives.
    pub twins: usize,
    /// Number of documents left out because they have the id of their query.
    pub selves: usize,
}

/// Which documents become negatives.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Most negatives for each query.
    pub top_k: usize,
    /// Whether a document with the id of its query is left out, for collections whose documents are the queries.
    pub exclude_self: bool,
}

impl Miner {
    /// A miner that takes a document for relevant if `qrels` give it a grade above 0.
    ///
    /// # Errors
    /// Those of reading the judgements.
    pub fn new(qrels: &mut Table, rules: Rules) -> Result<Self> {
        let lists = match qrels.ids() {
            IdSpace::Internal => {
                let judged = relevant_documents(qrels, |b| {
                    let ids = |c: usize| b.column(c).as_primitive::<Int64Type>().values();
                    ids(0).iter().copied().zip(ids(1).iter().copied()).collect()
                })?;
                MinerById::Internal(ListMiner::new(judged, rules))
            }
            IdSpace::Official => {
                let judged = relevant_documents(qrels, |b| {
                    let ids = |c: usize| b.column(c).as_string::<i32>().iter().flatten().map(str::to_owned);
                    ids(0).zip(ids(1)).collect()
                })?;
                MinerById::Official(ListMiner::new(judged, rules))
            }
        };
        Ok(Miner { lists })
    }

    /// The negatives among the next rows of the run, ranked anew from 1. The run's rows must be grouped by query and
    /// sorted by rank; its ids must be of the same space as those of the judgements. Errors call the run `name`.
    ///
    /// # Errors
    /// Ranks that do not ascend, a document that is twice in a list, or a query that comes again after other queries,
    /// with the number of the row.
    pub fn negatives(&mut self, name: &str, batch: &RecordBatch) -> Result<RecordBatch> {
        match &mut self.lists {
            MinerById::Internal(lists) => {
                let ids = |column: usize| batch.column(column).as_primitive::<Int64Type>().values();
                let (queries, docs) = (ids(0), ids(1));
                lists.negatives(name, batch, |row| (&queries[row], &docs[row]))
            }
            MinerById::Official(lists) => {
                let (queries, docs) = (batch.column(0).as_string::<i32>(), batch.column(1).as_string::<i32>());
                lists.negatives(name, batch, |row| (queries.value(row), docs.value(row)))
            }
        }
    }

    /// Ends the last list and tells how mining went. Errors call the run `name` and the judgements `qrels`.
    ///
    /// # Errors
    /// A run none of whose queries is judged: it belongs to another split than the judgements.
    pub fn finish(self, name: &str, qrels: &str) -> Result<Summary> {
        let summary = match self.lists {
            MinerById::Internal(lists) => lists.finish(),
            MinerById::Official(lists) => lists.finish(),
        };
        if summary.queries > 0 && summary.queries == summary.unjudged {
            let text = format!("none of its {} queries is judged in {qrels}", summary.queries);
            return Err(Error::new(name, text).hint("mine with the run and the qrels of the same split"));
        }
        Ok(summary)
    }
}

/// A miner for each space of ids.
enum MinerById {
    Internal(ListMiner<i64>),
    Official(ListMiner<str>),
}

/// The relevant documents of each query that has any judgement.
type RelevantDocuments<I> = HashMap<I, Vec<I>>;

/// Reads judgements; `pairs` are the queries and documents of a batch.
fn relevant_documents<I: Hash + Eq>(
    qrels: &mut Table,
    pairs: impl Fn(&RecordBatch) -> Vec<(I, I)>,
) -> Result<RelevantDocuments<I>> {
    let mut judged: RelevantDocuments<I> = HashMap::new();
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

/// A miner for ids of one type, and its state between batches.
struct ListMiner<I: ToOwned + ?Sized> {
    /// Of the queries whose lists have not come yet.
    judged: RelevantDocuments<I::Owned>,
    rules: Rules,
    /// Queries whose lists have come.
    seen: HashSet<I::Owned>,
    current: Option<CurrentList<I::Owned>>,
    /// Documents of the current list.
    docs: HashSet<I::Owned>,
    summary: Summary,
    /// Rows of the batches before.
    rows: usize,
}

/// The list being read.
struct CurrentList<I> {
    query: I,
    /// None if the query is not judged. They are so few that looking through them is faster than a hash set.
    relevant: Option<Vec<I>>,
    /// Rank in the run of the last document read.
    rank: i32,
    /// Scores of the negatives so far.
    negative_scores: Vec<f32>,
    /// Scores of the relevant documents so far.
    relevant_scores: Vec<f32>,
}

impl<I> ListMiner<I>
where
    I: ToOwned + Hash + Eq + Display + ?Sized,
    I::Owned: Hash + Eq,
{
    fn new(judged: RelevantDocuments<I::Owned>, rules: Rules) -> Self {
        ListMiner {
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
                self.current = Some(CurrentList {
                    query: query.to_owned(),
                    relevant,
                    rank: 0,
                    negative_scores: Vec::new(),
                    relevant_scores: Vec::new(),
                });
            }
            let list = self.current.as_mut().expect("set above");
            if run_rank <= list.rank {
                return Err(wrong(format!("rank {run_rank} of query {query} follows rank {}", list.rank))
                    .hint("sort the run by query and rank"));
            }
            list.rank = run_rank;
            if !self.docs.insert(doc.to_owned()) {
                return Err(wrong(format!("document {doc} is twice in the list of query {query}")));
            }
            let is_relevant = list.relevant.iter().flatten().any(|relevant| relevant.borrow() == doc);
            let is_self = self.rules.exclude_self && query == doc;
            let is_negative = !is_relevant && !is_self && list.negative_scores.len() < self.rules.top_k;
            if is_relevant {
                list.relevant_scores.push(scores[row]);
            }
            if is_negative {
                list.negative_scores.push(scores[row]);
                ranks.push(list.negative_scores.len() as i32);
            }
            self.summary.selves += usize::from(is_self && !is_relevant);
            keep.push(is_negative);
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
            self.summary.short += usize::from(list.negative_scores.len() < self.rules.top_k);
            let is_twin =
                |score: &&f32| list.relevant_scores.iter().any(|relevant| relevant.to_bits() == score.to_bits());
            self.summary.twins += list.negative_scores.iter().filter(is_twin).count();
            self.summary.unjudged += usize::from(list.relevant.is_none());
        }
    }

    fn finish(mut self) -> Summary {
        self.end_list();
        self.summary
    }
}
