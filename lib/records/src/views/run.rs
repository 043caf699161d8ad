//! The rows of a run, or of negatives.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float32Array, Int32Array, RecordBatch};

use super::{batch, column, ids};
use crate::ids::Ids;
use crate::schema::{Kind, negatives, run, taught_negatives};
use crate::{Error, Result};

/// The rows of a run, or of negatives, which have the same columns.
///
/// ```
/// use hardmine_records::{Ids, Kind, RunBatch};
///
/// let rows = RunBatch {
///     queries: Ids::Official(vec!["q1", "q1"].into()),
///     docs: Ids::Official(vec!["d7", "d3"].into()),
///     ranks: vec![1, 2].into(),
///     scores: vec![0.9, 0.4].into(),
///     teacher: None,
/// };
/// let records = rows.into_records(Kind::Run)?;
/// assert_eq!(RunBatch::new(&records)?.docs.text(1), "d3");
/// # Ok::<(), hardmine_records::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct RunBatch {
    /// Query of each row.
    pub queries: Ids,
    /// Document of each row, of the same id space.
    pub docs: Ids,
    /// Rank of the document in the list of its query, from 1; 0 where nobody asked for ranks that a file lacks.
    pub ranks: Int32Array,
    /// Score of the document, the higher the better.
    pub scores: Float32Array,
    /// A teacher's scores, which only negatives may have.
    pub teacher: Option<TeacherColumns>,
}

/// What another ranker scores negatives, and the relevant documents of their queries.
#[derive(Clone, Debug)]
pub struct TeacherColumns {
    /// The teacher's score of each row's document.
    pub docs: Float32Array,
    /// Its score of a relevant document of each row's query; null where there is none.
    pub positives: Float32Array,
}

impl RunBatch {
    /// The rows of `batch`.
    ///
    /// # Errors
    /// A column that is missing or has another type, which never happens with a batch that a table was read from.
    pub fn new(batch: &RecordBatch) -> Result<Self> {
        let kind = Kind::Run;
        let has_teacher = ["teacher", "teacher_positive"].iter().any(|name| batch.column_by_name(name).is_some());
        let teacher = || {
            let (docs, positives) = (column(batch, kind, "teacher")?, column(batch, kind, "teacher_positive")?);
            Ok(TeacherColumns { docs, positives })
        };
        Ok(RunBatch {
            queries: ids(batch, kind, "query_id")?,
            docs: ids(batch, kind, "doc_id")?,
            ranks: column(batch, kind, "rank")?,
            scores: column(batch, kind, "score")?,
            teacher: has_teacher.then(teacher).transpose()?,
        })
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.ranks.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The rows as records of `kind`, which is [`Kind::Run`] or [`Kind::Negatives`].
    ///
    /// # Errors
    /// Columns of different lengths, or queries and documents of different id spaces.
    pub fn into_records(self, kind: Kind) -> Result<RecordBatch> {
        let space = self.queries.space();
        let schema = match (kind, &self.teacher) {
            (Kind::Run, None) => run(space),
            (Kind::Negatives, None) => negatives(space),
            (Kind::Negatives, Some(_)) => taught_negatives(space),
            (Kind::Run, Some(_)) => return Err(Error::new(kind, "has no place for a teacher's scores")),
            _ => return Err(Error::new(kind, "has no ranks")),
        };
        let (queries, docs) = (self.queries.into_column(), self.docs.into_column());
        let mut columns: Vec<ArrayRef> = vec![queries, docs, Arc::new(self.ranks), Arc::new(self.scores)];
        if let Some(TeacherColumns { docs, positives }) = self.teacher {
            columns.extend([Arc::new(docs) as ArrayRef, Arc::new(positives)]);
        }
        batch(kind, schema, columns)
    }
}
