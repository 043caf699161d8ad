//! Hard negatives: documents that rank high for a query and are not relevant to it. A model that is trained on them
//! learns what it gets wrong (Zhan et al., *Optimizing Dense Retrieval Model Training with Hard Negatives*, SIGIR 2021,
//! section 4.2: static hard negatives). Many documents that rank high are relevant although nobody judged them; rules
//! about their scores and ranks leave these out.

mod judgements;
mod miner;
mod report;
mod rules;
mod sampling;
mod scores;
mod whole_lists;

use arrow::array::RecordBatch;
use hardmine_files::Table;
use hardmine_records::{IdSpace, QrelsBatch, Result, RunBatch};

pub use miner::{Summary, unjudged};
pub use report::MiningReport;
pub use rules::{Dropped, FilterBy, Reason, Rules};
pub use sampling::Sample;

use judgements::Judgements;
use miner::ListMiner;
use report::Collector;
use scores::GivenScores;
use whole_lists::WholeLists;

/// Takes the hard negatives out of the lists of a run. The run comes batch by batch, so that memory holds no more than
/// the judgements, an entry for each query, and one list.
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
/// // What scores more than the relevant document less a tenth may be relevant, too.
/// let rules = Rules { relative_margin: Some(0.1), ..Rules::default() };
/// let mut miner = Miner::new(&mut qrels, "run", rules)?;
/// // The list of q might go on in the next batch.
/// assert!(miner.negatives(&run)?.is_none());
/// let negatives = miner.rest()?.expect("the list of q");
/// let documents: Vec<&str> = negatives["doc_id"].as_string::<i32>().iter().flatten().collect();
/// assert_eq!(documents, ["c"]);
/// let (summary, _) = miner.finish();
/// assert_eq!(summary.short, 1); // a query with fewer than 200 negatives
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Miner {
    name: String,
    whole_lists: WholeLists,
    lists: ById<ListMiner<i64>, ListMiner<String>>,
}

/// One thing for each space of ids.
enum ById<I, O> {
    Internal(I),
    Official(O),
}

/// Does the same with either of them. In the body, `$id` is the type of ids in columns.
macro_rules! by_id {
    ($either:expr, |$it:ident: $id:ident| $body:expr) => {
        match $either {
            ById::Internal($it) => {
                type $id<'a> = i64;
                $body
            }
            ById::Official($it) => {
                type $id<'a> = &'a str;
                $body
            }
        }
    };
}
use by_id;

impl Miner {
    /// A miner of the run called `name`, whose ids must be of the same space as those of the judgements. A document is
    /// relevant if `qrels` give it a grade above 0.
    ///
    /// # Errors
    /// Those of reading the judgements.
    pub fn new(qrels: &mut Table, name: &str, rules: Rules) -> Result<Self> {
        let mut judgements = match qrels.ids() {
            IdSpace::Internal => ById::Internal(Judgements::new(!rules.keep_judged)),
            IdSpace::Official => ById::Official(Judgements::new(!rules.keep_judged)),
        };
        for batch in qrels {
            let rows = QrelsBatch::new(&batch?)?;
            by_id!(&mut judgements, |judgements: Id| judgements.add::<Id>(&rows));
        }
        let lists = match judgements {
            ById::Internal(judgements) => ById::Internal(ListMiner::new(name, rules, judgements)),
            ById::Official(judgements) => ById::Official(ListMiner::new(name, rules, judgements)),
        };
        Ok(Miner { name: name.to_owned(), whole_lists: WholeLists::default(), lists })
    }

    /// Takes the scores of relevant documents from `run`, rather than from the run that is mined, which need not have
    /// them. It is held in memory. Its ids must be of the same space as those of the judgements.
    ///
    /// # Errors
    /// Those of reading it, a run without scores, and a pair that has two scores.
    pub fn read_positives(&mut self, run: &mut Table) -> Result<()> {
        by_id!(&mut self.lists, |lists: Id| {
            lists.positives = Some(GivenScores::read(run, |given, rows| given.add::<Id>(rows))?)
        });
        Ok(())
    }

    /// Puts a teacher's scores beside the negatives: those of its `run`, as with [`Miner::read_positives`].
    ///
    /// # Errors
    /// As with [`Miner::read_positives`].
    pub fn read_teacher(&mut self, run: &mut Table) -> Result<()> {
        by_id!(&mut self.lists, |lists: Id| {
            lists.teacher = Some(GivenScores::read(run, |given, rows| given.add::<Id>(rows))?)
        });
        Ok(())
    }

    /// Notes down what the report is made of. It takes 8 bytes of memory for each negative, and a little for each query.
    pub fn keep_report(&mut self) {
        by_id!(&mut self.lists, |lists: _Id| lists.collector = Some(Collector::default()));
    }

    /// Has the report compare the negatives with `earlier` ones, which are held in memory.
    ///
    /// # Errors
    /// Those of reading them.
    pub fn read_earlier(&mut self, earlier: &mut Table) -> Result<()> {
        for batch in earlier {
            let rows = RunBatch::new(&batch?)?;
            by_id!(&mut self.lists, |lists: Id| lists.collector.get_or_insert_default().add_earlier::<Id>(&rows));
        }
        Ok(())
    }

    /// Has the report look for negatives with the text of a relevant document: this is the text of the document in row
    /// `row` of the collection, whose official id is `key`. Each takes an entry of 16 bytes and its id.
    pub fn add_text(&mut self, row: usize, key: &str, text: &str) {
        by_id!(&mut self.lists, |lists: _Id| lists.collector.get_or_insert_default().add_text(row, key, text));
    }

    /// The negatives among the next rows of the run, ranked anew from 1; none as long as no list is known to be whole.
    /// The run's rows must be grouped by query and sorted by rank.
    ///
    /// # Errors
    /// Ranks that do not ascend, a document that is twice in a list, a query that comes again after other queries, and
    /// a document whose score a rule or the teacher's columns need and nobody gives, with the number of the row.
    pub fn negatives(&mut self, batch: &RecordBatch) -> Result<Option<RecordBatch>> {
        let whole = self.whole_lists.add(&self.name, batch)?;
        whole.map(|whole| self.mine(&whole)).transpose()
    }

    /// The negatives of the last list, when no more rows come.
    ///
    /// # Errors
    /// As with [`Miner::negatives`].
    pub fn rest(&mut self) -> Result<Option<RecordBatch>> {
        let whole = self.whole_lists.rest(&self.name)?;
        whole.map(|whole| self.mine(&whole)).transpose()
    }

    fn mine(&mut self, whole: &RecordBatch) -> Result<RecordBatch> {
        let run = RunBatch::new(whole)?;
        by_id!(&mut self.lists, |lists: Id| lists.negatives::<Id>(&run, whole))
    }

    /// Tells how mining went, with the report if there is to be one.
    pub fn finish(self) -> (Summary, Option<MiningReport>) {
        match self.lists {
            ById::Internal(lists) => (lists.summary, lists.collector.map(|all| all.finish(&lists.summary).into())),
            ById::Official(lists) => (lists.summary, lists.collector.map(|all| all.finish(&lists.summary).into())),
        }
    }
}
