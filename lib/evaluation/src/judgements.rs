//! Relevance judgements: read whole, checked, their queries and rows numbered for the metrics.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int32Array, RecordBatch, UInt32Array};
use arrow::compute::{concat_batches, take, take_record_batch};
use arrow::datatypes::{DataType, Field, Int32Type, Schema};
use hardmine_records::{Error, ForeignIds, IdSpace, Input, Kind, Provenance, Result, Table};

use crate::ids::Key;

/// The judgements a run is compared with.
pub struct Judgements {
    pub(crate) name: String,
    pub(crate) ids: IdSpace,
    pub(crate) provenance: Provenance,
    /// `query_id, doc_id, relevance` as in the file, each pair once.
    pub(crate) rows: RecordBatch,
    /// The id of each query, in the order of their first rows.
    pub(crate) queries: ArrayRef,
    /// For each row, the number of its query.
    pub(crate) query_of: Vec<i32>,
    /// What the user should know of how the file was read.
    pub notes: Vec<String>,
}

impl Judgements {
    /// Reads qrels: Parquet, Arrow, or text as MS MARCO, TREC or BEIR have it.
    ///
    /// # Errors
    /// As [`Table::open`], no rows at all, and a pair that is judged twice with different grades.
    pub fn open(input: &Input, ids: ForeignIds) -> Result<Self> {
        let mut table = Table::open_with_ids(input, &[Kind::Qrels], ids)?;
        let batches = table.by_ref().collect::<Result<Vec<_>>>()?;
        let name = table.name().to_owned();
        let rows = concat_batches(&table.schema(), &batches).map_err(Error::at(&name))?;
        if rows.num_rows() == 0 {
            return Err(Error::new(name, "has no judgements"));
        }
        let (ids, provenance, notes) = (table.ids(), table.provenance().clone(), table.notes());
        let Numbers { kept, query_of, firsts } = match ids {
            IdSpace::Internal => Numbers::of::<i64>(&name, &rows)?,
            IdSpace::Official => Numbers::of::<&str>(&name, &rows)?,
        };
        let rows = match kept.len() == rows.num_rows() {
            true => rows,
            false => take_record_batch(&rows, &kept).map_err(Error::at(&name))?,
        };
        let queries = take(rows.column(0), &firsts, None).map_err(Error::at(&name))?;
        Ok(Judgements { name, ids, provenance, rows, queries, query_of, notes })
    }

    /// The table `qrels` of the metrics: a query is its number, a document the number of its row.
    pub(crate) fn table(&self) -> Result<RecordBatch> {
        let fields = ["query_id", "doc_id", "relevance"].map(|name| Field::new(name, DataType::Int32, false));
        let rows = self.rows.num_rows() as i32;
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int32Array::from(self.query_of.clone())),
            Arc::new(Int32Array::from_iter_values(0..rows)),
            self.rows.column(2).clone(),
        ];
        RecordBatch::try_new(Arc::new(Schema::new(fields.to_vec())), columns).map_err(Error::at(&self.name))
    }

    /// Number of queries with a judgement.
    pub fn queries(&self) -> usize {
        self.queries.len()
    }
}

/// Numbers of queries and rows.
struct Numbers {
    /// Rows to keep: a judgement given twice is kept once.
    kept: UInt32Array,
    /// For each kept row, the number of its query.
    query_of: Vec<i32>,
    /// For each query, the first of its rows among the kept.
    firsts: UInt32Array,
}

impl Numbers {
    fn of<'a, K: Key<'a>>(name: &str, rows: &'a RecordBatch) -> Result<Numbers> {
        let (queries, docs) = (K::column(rows.column(0)), K::column(rows.column(1)));
        let grades = rows.column(2).as_primitive::<Int32Type>().values();
        let mut numbers: HashMap<K, i32> = HashMap::new();
        let mut seen: HashMap<(i32, K), usize> = HashMap::with_capacity(rows.num_rows());
        let (mut kept, mut query_of, mut firsts) = (Vec::new(), Vec::new(), Vec::new());
        for row in 0..rows.num_rows() {
            let (query, doc) = (K::value(queries, row), K::value(docs, row));
            let next = numbers.len() as i32;
            let number = *numbers.entry(query).or_insert(next);
            if let Some(&first) = seen.get(&(number, doc)) {
                if grades[first] != grades[row] {
                    let (one, two) = (grades[first], grades[row]);
                    let text = format!("query '{query}' has document '{doc}' twice, with grades {one} and {two}");
                    return Err(Error::new(name, text));
                }
                continue;
            }
            seen.insert((number, doc), row);
            if number == next {
                firsts.push(kept.len() as u32);
            }
            kept.push(row as u32);
            query_of.push(number);
        }
        Ok(Numbers { kept: kept.into(), query_of, firsts: firsts.into() })
    }
}
