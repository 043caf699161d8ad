//! Steps of a training run.

use std::sync::Arc;

use arrow::array::{Array, Float32Array, Float64Array, Int64Array, RecordBatch};

use super::batch;
use crate::Result;
use crate::schema::{Kind, training_log};

/// Steps of a training run; `schemas/training-log.json` says what the columns hold.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the schema says it")]
pub struct TrainingLogBatch {
    pub step: Int64Array,
    pub epoch: Float32Array,
    pub loss: Float32Array,
    pub learning_rate: Float32Array,
    pub gradient_norm: Float32Array,
    pub mrr_10: Float32Array,
    pub recall_10: Float32Array,
    pub queries_per_second: Float32Array,
    pub dev: Float64Array,
    pub mse: Float32Array,
    pub imbalance: Float32Array,
    pub fallbacks: Int64Array,
}

impl TrainingLogBatch {
    /// The steps as records.
    ///
    /// # Errors
    /// Columns of different lengths.
    pub fn into_records(self) -> Result<RecordBatch> {
        let columns: [Arc<dyn Array>; 12] = [
            Arc::new(self.step),
            Arc::new(self.epoch),
            Arc::new(self.loss),
            Arc::new(self.learning_rate),
            Arc::new(self.gradient_norm),
            Arc::new(self.mrr_10),
            Arc::new(self.recall_10),
            Arc::new(self.queries_per_second),
            Arc::new(self.dev),
            Arc::new(self.mse),
            Arc::new(self.imbalance),
            Arc::new(self.fallbacks),
        ];
        batch(Kind::TrainingLog, training_log(), columns.to_vec())
    }
}
