//! The training log: one row a step.

use std::path::Path;

use arrow::array::{Float32Array, Float64Array, Int64Array};
use hardmine_files::{Format, Output, Writer};
use hardmine_records::{Kind, Provenance, Result, TrainingLogBatch, schema};
use tch::Tensor;

/// What is said of a step.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Number of the step, from 0.
    pub step: u64,
    /// Passes over the queries when the step was done.
    pub epoch: f32,
    /// Loss of the batch before the update.
    pub loss: f32,
    /// Learning rate of the update.
    pub learning_rate: f32,
    /// Global norm of the gradients before clipping.
    pub gradient_norm: f32,
    /// MRR@10 and Recall@10 of the retrieved lists, where there are any.
    pub retrieved: Option<(f32, f32)>,
    /// How documents were turned into codes, where they were.
    pub clustered: Option<Clustered>,
    /// Queries that the step trained on in a second.
    pub queries_per_second: f32,
    /// The metric on the dev queries after the update, where it was measured.
    pub dev: Option<f64>,
}

/// How the documents of a step were turned into codes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Clustered {
    /// The mean over the documents of the squared distance to what their code stands for.
    pub mse: f32,
    /// The mean over all centroids of |1 − K · share|, where the share is that of the batch's documents: 0 where all
    /// centroids have the same share.
    pub imbalance: f32,
    /// Batches whose documents got their nearest centroids, because numbers of the constrained clustering were not
    /// finite.
    pub fallbacks: u32,
}

/// Name of the log in a model folder.
pub const FILE_NAME: &str = "training-log.parquet";

/// Numbers a row takes in a checkpoint.
const WIDTH: usize = 12;

/// Rows as a tensor (steps, 12) of float64, which holds all their numbers exactly.
pub fn to_tensor(rows: &[Row]) -> Tensor {
    let numbers = |row: &Row| {
        let (mrr_10, recall_10) = row.retrieved.map_or((f64::NAN, f64::NAN), |(m, r)| (m.into(), r.into()));
        let Row { step, epoch, loss, learning_rate, gradient_norm, queries_per_second, dev, .. } = *row;
        let floats = [epoch, loss, learning_rate, gradient_norm, queries_per_second].map(f64::from);
        let dev = dev.unwrap_or(f64::NAN);
        let clustered = row.clustered.map_or([f64::NAN; 3], |Clustered { mse, imbalance, fallbacks }| {
            [mse.into(), imbalance.into(), fallbacks.into()]
        });
        let [mse, imbalance, fallbacks] = clustered;
        let [epoch, loss, rate, norm, speed] = floats;
        [step as f64, epoch, loss, rate, norm, mrr_10, recall_10, speed, dev, mse, imbalance, fallbacks]
    };
    let numbers: Vec<f64> = rows.iter().flat_map(numbers).collect();
    Tensor::from_slice(&numbers).view([rows.len() as i64, WIDTH as i64])
}

/// The rows of [`to_tensor`].
pub fn from_tensor(tensor: &Tensor) -> std::result::Result<Vec<Row>, tch::TchError> {
    let numbers: Vec<f64> = Vec::try_from(tensor.f_flatten(0, -1)?)?;
    let row = |n: &[f64]| Row {
        step: n[0] as u64,
        epoch: n[1] as f32,
        loss: n[2] as f32,
        learning_rate: n[3] as f32,
        gradient_norm: n[4] as f32,
        retrieved: (!n[5].is_nan()).then_some((n[5] as f32, n[6] as f32)),
        queries_per_second: n[7] as f32,
        dev: (!n[8].is_nan()).then_some(n[8]),
        // A mean of squares may be no number, but a count is one.
        clustered: (!n[11].is_nan()).then_some(Clustered {
            mse: n[9] as f32,
            imbalance: n[10] as f32,
            fallbacks: n[11] as u32,
        }),
    };
    Ok(numbers.chunks_exact(WIDTH).map(row).collect())
}

/// Writes the log as Parquet into a model folder.
pub fn write(folder: &Path, rows: &[Row], provenance: Provenance) -> Result<()> {
    let path = folder.join(FILE_NAME);
    let floats = |of: fn(&Row) -> f32| Float32Array::from_iter_values(rows.iter().map(of));
    let retrieved = |of: fn((f32, f32)) -> f32| rows.iter().map(|row| row.retrieved.map(of)).collect::<Float32Array>();
    let clustered = |of: fn(Clustered) -> f32| rows.iter().map(|row| row.clustered.map(of)).collect::<Float32Array>();
    let steps = TrainingLogBatch {
        step: Int64Array::from_iter_values(rows.iter().map(|row| row.step as i64)),
        epoch: floats(|row| row.epoch),
        loss: floats(|row| row.loss),
        learning_rate: floats(|row| row.learning_rate),
        gradient_norm: floats(|row| row.gradient_norm),
        mrr_10: retrieved(|(mrr_10, _)| mrr_10),
        recall_10: retrieved(|(_, recall_10)| recall_10),
        queries_per_second: floats(|row| row.queries_per_second),
        dev: rows.iter().map(|row| row.dev).collect::<Float64Array>(),
        mse: clustered(|of| of.mse),
        imbalance: clustered(|of| of.imbalance),
        fallbacks: rows.iter().map(|row| row.clustered.map(|of| of.fallbacks.into())).collect::<Int64Array>(),
    };
    let output = Output::Path(path, Format::Parquet);
    let mut writer = Writer::create(&output, Kind::TrainingLog, schema::training_log(), provenance)?;
    writer.write(&steps.into_records()?)?;
    writer.finish()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_survive_a_checkpoint() {
        let row = Row {
            step: 3,
            epoch: 0.1,
            loss: 0.7,
            learning_rate: 1e-4,
            gradient_norm: f32::INFINITY,
            retrieved: None,
            queries_per_second: 9.0,
            dev: None,
            clustered: None,
        };
        let clustered = Some(Clustered { mse: 3.5, imbalance: 0.25, fallbacks: 2 });
        let other = Row { retrieved: Some((0.3, 0.1)), gradient_norm: 1.0, dev: Some(0.1), clustered, ..row.clone() };
        let rows = vec![row, other];
        assert_eq!(from_tensor(&to_tensor(&rows)).unwrap(), rows);
    }
}
