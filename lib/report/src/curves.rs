//! How the rows' models were trained: the loss, and what was measured on the way.

use hardmine_evaluation::{NamedTable, Session};
use hardmine_records::Result;
use plotters::prelude::*;
use serde::Serialize;

use crate::columns::{numbers, texts};
use crate::folder::Folder;
use crate::plot::{Axes, BLUE, FAINT, SMALL, range};
use crate::rows::Row;

/// How many points a curve of the loss has at most; each is the mean of as many steps as that takes.
const POINTS: usize = 120;

/// The training of one row.
struct Training<'a> {
    row: &'a Row,
    /// How many steps a point of the loss is the mean of.
    bucket: usize,
    /// Number of steps and loss.
    loss: Vec<(f64, f64)>,
    /// Number of steps, from 0, and the metric on dev queries; nothing where it was not measured.
    dev: Vec<(f64, f64)>,
    metric: String,
}

/// The curves of one row.
#[derive(Serialize)]
pub(crate) struct Curves {
    pub(crate) label: String,
    pub(crate) loss: String,
    /// What is said below the curve of the loss.
    pub(crate) about_loss: String,
    pub(crate) dev: Option<String>,
    pub(crate) about_dev: String,
}

/// The curves of all rows that have a training log.
///
/// # Errors
/// A log that can't be read.
pub(crate) fn curves(folder: &Folder) -> Result<Vec<Curves>> {
    let mut trainings = Vec::new();
    for row in &folder.rows {
        trainings.extend(read(folder, row)?);
    }
    let measured = || trainings.iter().flat_map(|training| &training.dev);
    let (dev_x, dev_y) = (range(measured().map(|point| point.0)), range(measured().map(|point| point.1)));
    let draw = |training: &Training| {
        let line =
            |points: &[(f64, f64)], color: RGBColor, width| LineSeries::new(points.to_vec(), color.stroke_width(width));
        let loss = Axes {
            size: SMALL,
            x: 0.0..training.loss.last().map_or(1.0, |point| point.0),
            y: range(training.loss.iter().map(|point| point.1).chain([0.0])),
            x_label: "steps",
            y_label: "loss",
        };
        let loss = loss.draw(|chart| chart.draw_series(line(&training.loss, BLUE, 2)).map(drop))?;
        let dev = Axes { size: SMALL, x: dev_x.clone(), y: dev_y.clone(), x_label: "steps", y_label: &training.metric };
        let dev = || {
            dev.draw(|chart| {
                for other in trainings.iter().filter(|other| other.row != training.row) {
                    chart.draw_series(line(&other.dev, FAINT, 2))?;
                }
                chart.draw_series(line(&training.dev, BLUE, 3))?;
                chart.draw_series(training.dev.iter().map(|&point| Circle::new(point, 3, BLUE.filled()))).map(drop)
            })
        };
        let dev = if training.dev.is_empty() { None } else { Some(dev()?) };
        Ok(Curves {
            label: training.row.label.clone(),
            loss,
            about_loss: about_loss(training),
            dev,
            about_dev: about_dev(training),
        })
    };
    trainings.iter().map(draw).collect()
}

fn about_loss(training: &Training) -> String {
    let mean = match training.bucket {
        1 => String::new(),
        bucket => format!(" Each point is the mean of {bucket} steps."),
    };
    match (training.loss.first(), training.loss.last()) {
        (Some(first), Some(last)) => format!("The loss goes from {:.3} to {:.3}.{mean}", first.1, last.1),
        _ => "The log has no finite loss.".to_owned(),
    }
}

fn about_dev(training: &Training) -> String {
    match (training.dev.first(), training.dev.last()) {
        (Some(first), Some(last)) => {
            format!(
                "{} goes from {:.4} after {} steps to {:.4} after {}.",
                training.metric, first.1, first.0, last.1, last.0
            )
        }
        _ => "The model was not measured while it was trained.".to_owned(),
    }
}

fn read<'a>(folder: &Folder, row: &'a Row) -> Result<Option<Training<'a>>> {
    let Some(path) = folder.existing("models", &format!("{}/training-log.parquet", row.name)) else { return Ok(None) };
    let session = Session::open(&[NamedTable::new("log", &path)])?;
    let steps = numbers(&session.rows("SELECT count(*) AS steps FROM log")?, "steps")?[0] as usize;
    let bucket = steps.div_ceil(POINTS).max(1);
    let points = |sql: &str| {
        let rows = session.rows(sql)?;
        let points = numbers(&rows, "steps")?.into_iter().zip(numbers(&rows, "value")?);
        Ok::<Vec<(f64, f64)>, hardmine_records::Error>(points.filter(|(_, value)| value.is_finite()).collect())
    };
    let loss = points(&format!(
        "SELECT max(step) + 1 AS steps, avg(CAST(loss AS DOUBLE)) AS value FROM log GROUP BY step / {bucket} ORDER BY steps"
    ))?;
    let mut dev = points("SELECT 0 AS steps, CAST(value AS DOUBLE) AS value FROM provenance WHERE name = 'dev_start'")?;
    dev.extend(points("SELECT step + 1 AS steps, dev AS value FROM log WHERE dev IS NOT NULL ORDER BY step")?);
    let metric = texts(&session.rows("SELECT value FROM provenance WHERE name = 'dev_metric'")?, "value")?;
    Ok(Some(Training {
        row,
        bucket,
        loss,
        dev,
        metric: metric.into_iter().next().unwrap_or_else(|| "metric".to_owned()),
    }))
}
