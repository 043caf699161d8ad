//! Relevance judgements: read whole, checked, their queries and rows numbered for the metrics.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, RecordBatch, UInt32Array};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::{DataType, Field, Schema};
use hardmine_files::{Input, Table};
use hardmine_records::{Error, Id, IdSpace, Ids, Kind, Provenance, QrelsBatch, Result};

/// The judgements a run is compared with.
pub struct Judgements {
    pub(crate) name: String,
    pub(crate) ids: IdSpace,
    pub(crate) provenance: Provenance,
    /// `query_id, doc_id, relevance` as in the file, each pair once.
    pub(crate) rows: QrelsBatch,
    /// The id of each query, in the order of their first rows.
    pub(crate) queries: Ids,
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
    pub fn open(input: &Input, ids: Option<IdSpace>) -> Result<Self> {
        let mut table = Table::open_with_ids(input, &[Kind::Qrels], ids)?;
        let batches = table.by_ref().collect::<Result<Vec<_>>>()?;
        let name = table.name();
        let rows = concat_batches(&table.schema(), &batches).map_err(Error::at(name))?;
        let judgements = Judgements::of_records(name, &rows)?;
        Ok(Judgements { provenance: table.provenance().clone(), notes: table.notes(), ..judgements })
    }

    /// Judgements that are in memory, as records of kind qrels. Errors call them `name`.
    ///
    /// # Errors
    /// No rows at all, and a pair that is judged twice with different grades.
    pub fn of_records(name: &str, rows: &RecordBatch) -> Result<Self> {
        if rows.num_rows() == 0 {
            return Err(Error::new(name, "has no judgements"));
        }
        let judged = QrelsBatch::new(rows)?;
        let ids = judged.queries.space();
        let Numbers { kept, query_of, firsts } = match ids {
            IdSpace::Internal => Numbers::of::<i64>(name, &judged)?,
            IdSpace::Official => Numbers::of::<&str>(name, &judged)?,
        };
        let rows = match kept.len() == judged.len() {
            true => judged,
            false => QrelsBatch::new(&take_record_batch(rows, &kept).map_err(Error::at(name))?)?,
        };
        let queries = rows.queries.take(&firsts)?;
        let provenance = Provenance::default();
        Ok(Judgements { name: name.to_owned(), ids, provenance, rows, queries, query_of, notes: Vec::new() })
    }

    /// The table `qrels` of the metrics: a query is its number, a document the number of its row.
    pub(crate) fn table(&self) -> Result<RecordBatch> {
        let fields = ["query_id", "doc_id", "relevance"].map(|name| Field::new(name, DataType::Int32, false));
        let rows = self.rows.len() as i32;
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int32Array::from(self.query_of.clone())),
            Arc::new(Int32Array::from_iter_values(0..rows)),
            Arc::new(self.rows.relevance.clone()),
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
    fn of<'a, K: Id<'a>>(name: &str, rows: &'a QrelsBatch) -> Result<Numbers> {
        let (queries, docs) = (K::column(&rows.queries), K::column(&rows.docs));
        let grades = rows.relevance.values();
        let mut numbers: HashMap<K, i32> = HashMap::new();
        let mut seen: HashMap<(i32, K), usize> = HashMap::with_capacity(rows.len());
        let (mut kept, mut query_of, mut firsts) = (Vec::new(), Vec::new(), Vec::new());
        for row in 0..rows.len() {
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
