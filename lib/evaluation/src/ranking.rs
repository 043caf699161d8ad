//! From a run to ranked lists: reads it, checks every list, and finds the positions of the judged
//! documents, which are all that a metric looks at.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::cast;
use arrow::datatypes::DataType;
use hardmine_records::{Error, IdSpace, Input, Kind, Provenance, Result, Table, check_same_space, provenance, schema};

use crate::Judgements;
use crate::lists::Lists;

/// What decides a document's position in its list, and over which queries a mean goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Order {
    /// As msmarco_eval: the rank column is the position; the mean is over all queries of the qrels
    Rank,
    /// As trec_eval: by score, best first, ties by document id as text, last first; the mean is over
    /// the queries that are in both the run and the qrels
    Score,
}

/// A run compared with its judgements.
pub struct Ranking {
    /// Rows of the run.
    pub rows: u64,
    /// Queries of the run, judged or not.
    pub lists: usize,
    pub(crate) judgements: Arc<Judgements>,
    /// Numbers of the judged queries of the run, in the run's order.
    pub(crate) queries: Vec<i32>,
    /// `query_id, doc_id, position` of the judged documents, by list and position.
    pub(crate) judged: RecordBatch,
}

impl Ranking {
    /// Reads a run and ranks its lists.
    ///
    /// # Errors
    /// As [`Table::open`]; ids of another space than the judgements'; no query in common; in one list
    /// a document twice, a rank twice (or less than 1) in rank order, a score that is not a number in score order.
    pub fn open(input: &Input, judgements: &Arc<Judgements>, order: Order) -> Result<Ranking> {
        let mut table = Table::open(input, &[Kind::Run])?;
        check_spaces(table.name(), table.ids(), table.provenance(), judgements)?;
        let mut batches = table.by_ref().collect::<Result<Vec<_>>>()?;
        check_spaces(table.name(), table.ids(), table.provenance(), judgements)?;
        let name = table.name();
        let judgements = match (table.ids(), judgements.ids) {
            (IdSpace::Internal, IdSpace::Official) => {
                batches = batches.iter().map(|batch| as_text(name, batch)).collect::<Result<_>>()?;
                judgements.clone()
            }
            (IdSpace::Official, IdSpace::Internal) => Arc::new(judgements.as_text()?),
            _ => judgements.clone(),
        };
        let Lists { count, queries, judged } = match judgements.ids {
            IdSpace::Internal => Lists::of::<i64>(name, &judgements, &batches, order)?,
            IdSpace::Official => Lists::of::<&str>(name, &judgements, &batches, order)?,
        };
        if queries.is_empty() {
            let text = format!("none of its {count} queries is judged in {}", judgements.name);
            return Err(Error::new(name, text).hint("is it the run of another split, or are ids missing a prefix?"));
        }
        let rows = batches.iter().map(|batch| batch.num_rows() as u64).sum();
        Ok(Ranking { rows, lists: count, judgements, queries, judged })
    }
}

/// Refuses a run and judgements whose ids can't mean the same. Row numbers without our provenance,
/// as other programs write them, may be a collection's own ids.
fn check_spaces(name: &str, ids: IdSpace, run: &Provenance, judgements: &Judgements) -> Result<()> {
    let ours = |ids, provenance: &Provenance| {
        ids == IdSpace::Internal && [provenance::QUERIES, provenance::DOCS].iter().any(|n| provenance.get(n).is_some())
    };
    if ids != judgements.ids && (ours(ids, run) || ours(judgements.ids, &judgements.provenance)) {
        let text = format!("has {ids} ids, and {} has {} ids", judgements.name, judgements.ids);
        let command = "remap-ids --queries queries.tokens.arrow --docs docs.tokens.arrow --to";
        return Err(Error::new(name, text).hint(format!("{command} internal|official makes them the same")));
    }
    for space in [provenance::QUERIES, provenance::DOCS] {
        check_same_space((space, name, run), (space, &judgements.name, &judgements.provenance))?;
    }
    Ok(())
}

fn as_text(name: &str, batch: &RecordBatch) -> Result<RecordBatch> {
    let text = |column: usize| cast(batch.column(column), &DataType::Utf8).map_err(Error::at(name));
    let columns = vec![text(0)?, text(1)?, batch.column(2).clone(), batch.column(3).clone()];
    RecordBatch::try_new(schema::run(IdSpace::Official), columns).map_err(Error::at(name))
}
