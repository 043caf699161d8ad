//! From a run to ranked lists: reads it, checks every list, and finds the positions of the judged
//! documents, which are all that a metric looks at.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int32Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Int32Type, Schema};
use hardmine_files::{Input, Table};
use hardmine_records::{Error, IdSpace, Kind, Provenance, Result, RunBatch, check_same_space, check_self, provenance};

use crate::ranked_lists::RankedLists;
use crate::swapped::look_swapped;
use crate::{Judgements, Order, RunOptions};

/// A run compared with its judgements.
pub struct Ranking {
    /// Number of rows of the run.
    pub rows: u64,
    /// Number of queries of the run, judged or not.
    pub lists: usize,
    /// Whether it is of some lists of a run only.
    pub(crate) is_part: bool,
    pub(crate) judgements: Arc<Judgements>,
    /// Numbers of the judged queries of the run, in the run's order.
    pub(crate) queries: Vec<i32>,
    /// For each of them, how many documents its list has.
    pub(crate) lengths: Vec<i32>,
    /// `query_id, doc_id, position` of the judged documents, by list and position.
    pub(crate) judged: RecordBatch,
    /// Number of lists whose first document has the id of the query.
    begin_with_self: usize,
    /// What the user should know of how the file was read.
    pub notes: Vec<String>,
}

impl Ranking {
    /// Reads a run and ranks its lists.
    ///
    /// # Errors
    /// As [`Table::open`]; ids of another space than the judgements'; no query in common; in one list
    /// a document twice, a rank twice (or less than 1) in rank order, a score that is not a number in score order.
    pub fn open(input: &Input, judgements: &Arc<Judgements>, reading: RunOptions) -> Result<Ranking> {
        Ranking::of_table(Table::open_with_ids(input, &[Kind::Run], reading.ids)?, judgements, reading)
    }

    /// [`Ranking::open`] of a run, or of some rows of it, that was opened already.
    ///
    /// # Errors
    /// As [`Ranking::open`].
    pub fn of_table(mut table: Table, judgements: &Arc<Judgements>, reading: RunOptions) -> Result<Ranking> {
        if reading.order == Order::Score {
            table = table.without_ranks();
        }
        check_spaces(table.name(), table.ids(), table.provenance(), judgements)?;
        let batches: Vec<RunBatch> = table.by_ref().map(|batch| RunBatch::new(&batch?)).collect::<Result<_>>()?;
        check_spaces(table.name(), table.ids(), table.provenance(), judgements)?;
        let name = table.name();
        if reading.exclude_self {
            check_self(name, table.ids(), table.provenance())?;
        }
        let mut ranking = Ranking::of_records(name, &batches, judgements, reading)?;
        ranking.notes.splice(0..0, table.notes());
        let (count, begin_with_self) = (ranking.lists, ranking.begin_with_self);
        if 2 * begin_with_self > count && check_self(name, table.ids(), table.provenance()).is_ok() {
            ranking.notes.push(format!(
                "{name}: {begin_with_self} of {count} queries find a document of the same id first \
                 (--exclude-self leaves it out, as BEIR does)"
            ));
        }
        Ok(ranking)
    }

    /// Ranks the lists of a run that is in memory. Its ids are of the same space, and of the same texts, as those of
    /// the judgements. Errors call it `name`.
    ///
    /// # Errors
    /// As [`Ranking::open`] finds them in the rows.
    pub fn of_records(
        name: &str,
        batches: &[RunBatch],
        judgements: &Arc<Judgements>,
        reading: RunOptions,
    ) -> Result<Ranking> {
        let RankedLists { count, queries, lengths, judged, begin_with_self } = match judgements.ids {
            IdSpace::Internal => RankedLists::of::<i64>(name, judgements, batches, reading)?,
            IdSpace::Official => RankedLists::of::<&str>(name, judgements, batches, reading)?,
        };
        // Only where few queries are judged can the columns be swapped.
        let is_swapped = 2 * queries.len() < count && look_swapped(judgements, batches);
        if queries.is_empty() && !reading.is_part {
            let text = format!("none of its {count} queries is judged in {}", judgements.name);
            return Err(Error::new(name, text).hint(match is_swapped {
                true => "its queries are documents of the qrels, and its documents are queries: are columns swapped?",
                false => "is it the run of another split, or are ids missing a prefix?",
            }));
        }
        let rows = batches.iter().map(|batch| batch.len() as u64).sum();
        let judgements = judgements.clone();
        let mut notes = Vec::new();
        if is_swapped {
            notes.push(format!(
                "{name}: its columns look swapped: most of its documents are queries of {}, and more of its queries are \
                 documents than queries there",
                judgements.name
            ));
        }
        Ok(Ranking {
            rows,
            lists: count,
            is_part: reading.is_part,
            judgements,
            queries,
            lengths,
            judged,
            begin_with_self,
            notes,
        })
    }

    /// The table `lists` of the metrics: the length of the list of each judged query.
    pub(crate) fn lists_table(&self) -> Result<RecordBatch> {
        let fields = ["query_id", "length"].map(|name| Field::new(name, DataType::Int32, false));
        let columns =
            [&self.queries, &self.lengths].map(|column| Arc::new(Int32Array::from(column.clone())) as ArrayRef);
        RecordBatch::try_new(Arc::new(Schema::new(fields.to_vec())), columns.to_vec()).map_err(Error::at("lists"))
    }

    /// (query, row of the judgements) of the judged documents of the lists.
    pub(crate) fn found(&self) -> impl Iterator<Item = (i32, i32)> {
        let column = |name: &str| self.judged[name].as_primitive::<Int32Type>().values().iter().copied();
        column("query_id").zip(column("doc_id"))
    }

    /// Number of queries of the run that are judged.
    pub fn judged_lists(&self) -> usize {
        self.queries.len()
    }
}

/// Refuses a run and judgements whose ids can't mean the same.
fn check_spaces(name: &str, ids: IdSpace, run: &Provenance, judgements: &Judgements) -> Result<()> {
    if ids != judgements.ids {
        let text = format!("has {ids} ids, and {} has {} ids", judgements.name, judgements.ids);
        let command = "remap-ids --queries queries.tokens.arrow --docs docs.tokens.arrow --to official";
        return Err(Error::new(name, text).hint(format!(
            "{command} gives the internal one official ids, too; or --ids internal, if integers of another program are \
             row numbers"
        )));
    }
    for space in [provenance::QUERIES, provenance::DOCS] {
        check_same_space((space, name, run), (space, &judgements.name, &judgements.provenance))?;
    }
    Ok(())
}
