//! Hard negatives: the documents that rank highest for a query and are not relevant to it. A model that is trained on
//! them learns what it gets wrong (Zhan et al., *Optimizing Dense Retrieval Model Training with Hard Negatives*, SIGIR
//! 2021, section 4.2: static hard negatives).

mod teacher;

use std::fmt::Display;
use std::hash::Hash;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
// Each row is looked up: the standard library's hash took a third of the time.
use foldhash::{HashMap, HashMapExt, HashSet, HashSetExt};
use hardmine_files::Table;
use hardmine_records::{Error, Id, IdSpace, Kind, QrelsBatch, Result, RunBatch, TeacherColumns};

use crate::teacher::Teacher;

/// Takes the hard negatives out of the lists of a run. The run comes batch by batch, so that memory holds no more than
/// the judgements and an entry for each query.
///
/// ```
/// use arrow::array::{AsArray, Float32Array, Int32Array, RecordBatch, StringArray};
/// use hardmine_mining::{Miner, Rules};
/// use hardmine_files::{Input, Table};
/// use hardmine_records::{IdSpace, Kind, schema};
/// use std::sync::Arc;
///
/// // Document b is relevant to query q.
/// let folder = tempfile::tempdir()?;
/// let file = folder.path().join("qrels.txt");
/// std::fs::write(&file, "q 0 b 1\n")?;
/// let mut qrels = Table::open_with_ids(&Input::from(file.as_path()), &[Kind::Qrels], None)?;
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
        let mut lists = match qrels.ids() {
            IdSpace::Internal => MinerById::Internal(ListMiner::new(rules)),
            IdSpace::Official => MinerById::Official(ListMiner::new(rules)),
        };
        for batch in qrels {
            let judgements = QrelsBatch::new(&batch?)?;
            match &mut lists {
                MinerById::Internal(lists) => lists.judge::<i64>(&judgements),
                MinerById::Official(lists) => lists.judge::<&str>(&judgements),
            }
        }
        Ok(Miner { lists })
    }

    /// Puts a teacher's scores beside the negatives: those of its `run`, which is read whole and held in memory. Its ids
    /// must be of the same space as those of the judgements.
    ///
    /// # Errors
    /// Those of reading the run.
    pub fn with_teacher(mut self, run: &mut Table) -> Result<Self> {
        match &mut self.lists {
            MinerById::Internal(lists) => lists.teacher = Some(Teacher::new(run.name())),
            MinerById::Official(lists) => lists.teacher = Some(Teacher::new(run.name())),
        }
        for batch in run {
            let rows = RunBatch::new(&batch?)?;
            match &mut self.lists {
                MinerById::Internal(lists) => {
                    lists.teacher.iter_mut().try_for_each(|teacher| teacher.hear::<i64>(&rows))?
                }
                MinerById::Official(lists) => {
                    lists.teacher.iter_mut().try_for_each(|teacher| teacher.hear::<&str>(&rows))?
                }
            }
        }
        Ok(self)
    }

    /// The negatives among the next rows of the run, ranked anew from 1. The run's rows must be grouped by query and
    /// sorted by rank; its ids must be of the same space as those of the judgements. Errors call the run `name`.
    ///
    /// # Errors
    /// Ranks that do not ascend, a document that is twice in a list, a query that comes again after other queries, or a
    /// document that the teacher has no score for, with the number of the row.
    pub fn negatives(&mut self, name: &str, batch: &RecordBatch) -> Result<RecordBatch> {
        let run = RunBatch::new(batch)?;
        match &mut self.lists {
            MinerById::Internal(lists) => lists.negatives::<i64>(name, &run, batch),
            MinerById::Official(lists) => lists.negatives::<&str>(name, &run, batch),
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
    Official(ListMiner<String>),
}

/// A miner for ids of one type, and its state between batches.
struct ListMiner<K> {
    /// The relevant documents of each query that is judged and whose list has not come yet.
    judged: HashMap<K, Vec<K>>,
    rules: Rules,
    teacher: Option<Teacher<K>>,
    /// Queries whose lists have come.
    seen: HashSet<K>,
    current: Option<CurrentList<K>>,
    /// Documents of the current list.
    docs: HashSet<K>,
    summary: Summary,
    /// Rows of the batches before.
    rows: usize,
}

/// The list being read.
struct CurrentList<K> {
    query: K,
    /// None if the query is not judged. They are so few that looking through them is faster than a hash set.
    relevant: Option<Vec<K>>,
    /// Rank in the run of the last document read.
    rank: i32,
    /// Scores of the negatives so far.
    negative_scores: Vec<f32>,
    /// Scores of the relevant documents so far.
    relevant_scores: Vec<f32>,
    /// The teacher's lowest score of a relevant document, whether the run has it or not.
    taught_positive: Option<f32>,
}

impl<K: Eq + Hash + Display> ListMiner<K> {
    fn new(rules: Rules) -> Self {
        ListMiner {
            judged: HashMap::new(),
            rules,
            teacher: None,
            seen: HashSet::new(),
            current: None,
            docs: HashSet::new(),
            summary: Summary::default(),
            rows: 0,
        }
    }

    fn judge<'a, I: Id<'a, Kept = K>>(&mut self, judgements: &'a QrelsBatch) {
        let (queries, docs) = (I::column(&judgements.queries), I::column(&judgements.docs));
        for (row, &grade) in judgements.relevance.values().iter().enumerate() {
            let relevant = self.judged.entry(I::value(queries, row).keep()).or_default();
            if grade > 0 {
                relevant.push(I::value(docs, row).keep());
            }
        }
    }

    fn negatives<'a, I: Id<'a, Kept = K>>(
        &mut self,
        name: &str,
        run: &'a RunBatch,
        batch: &RecordBatch,
    ) -> Result<RecordBatch> {
        let (queries, docs) = (I::column(&run.queries), I::column(&run.docs));
        let scores = run.scores.values();
        let mut ranks = Vec::new();
        let (mut taught, mut taught_positives) = (Vec::new(), Vec::new());
        let mut keep = Vec::with_capacity(run.len());
        for (row, &run_rank) in run.ranks.values().iter().enumerate() {
            let (query, doc) = (I::value(queries, row), I::value(docs, row));
            let number = self.rows + row;
            let wrong = |what: String| Error::at_row(name, number, what);
            if self.current.as_ref().is_none_or(|list| !query.is(&list.query)) {
                if !self.seen.insert(query.keep()) {
                    return Err(wrong(format!("query {query} comes again after other queries"))
                        .hint("sort the run by query and rank"));
                }
                self.end_list();
                self.docs.clear();
                let relevant = self.judged.remove(&query.keep());
                let taught_positive = match &self.teacher {
                    Some(teacher) => teacher.lowest_positive(query, relevant.as_deref().unwrap_or_default())?,
                    None => None,
                };
                self.current = Some(CurrentList {
                    query: query.keep(),
                    relevant,
                    taught_positive,
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
            if !self.docs.insert(doc.keep()) {
                return Err(wrong(format!("document {doc} is twice in the list of query {query}")));
            }
            let is_relevant = list.relevant.iter().flatten().any(|relevant| doc.is(relevant));
            let is_self = self.rules.exclude_self && query == doc;
            let is_negative = !is_relevant && !is_self && list.negative_scores.len() < self.rules.top_k;
            if is_relevant {
                list.relevant_scores.push(scores[row]);
            }
            if is_negative {
                list.negative_scores.push(scores[row]);
                ranks.push(list.negative_scores.len() as i32);
                if let Some(teacher) = &self.teacher {
                    taught.push(teacher.negative(query, doc, name, number)?);
                    taught_positives.push(list.taught_positive);
                }
            }
            self.summary.selves += usize::from(is_self && !is_relevant);
            keep.push(is_negative);
        }
        self.rows += run.len();
        let kept = filter_record_batch(batch, &BooleanArray::from(keep)).map_err(Error::at(name))?;
        let teacher =
            self.teacher.as_ref().map(|_| TeacherColumns { docs: taught.into(), positives: taught_positives.into() });
        RunBatch { ranks: ranks.into(), teacher, ..RunBatch::new(&kept)? }.into_records(Kind::Negatives)
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
