//! Values of metrics.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray, new_null_array};

use super::batch;
use crate::Result;
use crate::ids::{IdSpace, Ids};
use crate::schema::{Kind, metrics};

/// Values of one metric for one run.
#[derive(Clone, Debug)]
pub struct MetricsBatch<'a> {
    /// Name of the run.
    pub run: &'a str,
    /// Name of the metric, such as `MRR@10`.
    pub metric: &'a str,
    /// Query of each value.
    pub queries: Ids,
    /// Value of each query, between 0 and 1.
    pub values: Vec<f64>,
}

impl MetricsBatch<'_> {
    /// The values as records.
    ///
    /// # Errors
    /// Numbers of queries and values that don't agree.
    pub fn into_records(self) -> Result<RecordBatch> {
        let space = self.queries.space();
        records(self.run, self.metric, space, self.queries.into_column(), self.values)
    }

    /// A mean over queries as a record, whose query is null; queries are of `space`.
    ///
    /// # Errors
    /// None that happens.
    pub fn mean(run: &str, metric: &str, space: IdSpace, mean: f64) -> Result<RecordBatch> {
        records(run, metric, space, new_null_array(&Ids::data_type(space), 1), vec![mean])
    }
}

fn records(run: &str, metric: &str, space: IdSpace, queries: ArrayRef, values: Vec<f64>) -> Result<RecordBatch> {
    let same = |text| Arc::new(StringArray::from_iter_values(values.iter().map(|_| text)));
    let (run, metric) = (same(run), same(metric));
    batch(Kind::Metrics, metrics(space), vec![run, metric, queries, Arc::new(Float64Array::from(values))])
}
