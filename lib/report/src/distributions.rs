//! How scores are distributed: of what was mined, and of relevant documents and others in the lists of each row.

use std::ops::Range;
use std::path::Path;

use hardmine_evaluation::{NamedTable, Session};
use hardmine_records::Result;
use plotters::prelude::*;
use serde::Serialize;

use crate::columns::{integers, numbers};
use crate::plot::{Axes, BLUE, ORANGE, SMALL};

/// How many bars a distribution has.
const BINS: usize = 40;

/// How many scores fall between two numbers, bin by bin.
struct Histogram {
    counts: [f64; BINS],
}

/// A plot and what it shows, as numbers.
#[derive(Serialize)]
pub(crate) struct Distribution {
    pub(crate) title: String,
    pub(crate) plot: String,
    pub(crate) about: String,
}

/// The scores of relevant documents in a run, and of all others in it. None if the run has no rows.
///
/// # Errors
/// Files that can't be read.
pub(crate) fn of_run(title: &str, run: &Path, qrels: &Path) -> Result<Option<Distribution>> {
    let session = Session::open(&[NamedTable::new("run", run), NamedTable::new("qrels", qrels)])?;
    let scores = "SELECT CAST(score AS DOUBLE) AS score, coalesce(relevance, 0) > 0 AS relevant \
        FROM run LEFT JOIN qrels ON run.query_id = qrels.query_id AND run.doc_id = qrels.doc_id";
    let Some((range, [others, relevant])) = histograms(&session, scores)? else { return Ok(None) };
    let about = format!("{} relevant documents and {} others are in the lists.", relevant.total(), others.total());
    Ok(Some(Distribution {
        title: title.to_owned(),
        plot: plot(range, &[(&others, ORANGE), (&relevant, BLUE)])?,
        about,
    }))
}

/// The scores of mined negatives, and of the relevant documents where mining kept them. None if there are none.
///
/// # Errors
/// A file that can't be read.
pub(crate) fn of_negatives(title: &str, negatives: &Path, positives: Option<&Path>) -> Result<Option<Distribution>> {
    let mut tables = vec![NamedTable::new("negatives", negatives)];
    let mut scores = "SELECT CAST(score AS DOUBLE) AS score, false AS relevant FROM negatives".to_owned();
    if let Some(positives) = positives {
        tables.push(NamedTable::new("positives", positives));
        scores += " UNION ALL SELECT CAST(score AS DOUBLE) AS score, true AS relevant FROM positives";
    }
    let session = Session::open(&tables)?;
    let Some((range, [negatives, relevant])) = histograms(&session, &scores)? else { return Ok(None) };
    let queries = integers(&session.rows("SELECT count(DISTINCT query_id) AS n FROM negatives")?, "n")?[0];
    let mut about = format!("{} negatives (orange) of {queries} training queries", negatives.total());
    let mut drawn = vec![(&negatives, ORANGE)];
    if relevant.total() > 0.0 {
        about += &format!(", and the {} relevant documents (blue) of those queries", relevant.total());
        drawn.push((&relevant, BLUE));
    }
    Ok(Some(Distribution { title: title.to_owned(), plot: plot(range, &drawn)?, about: about + "." }))
}

impl Histogram {
    fn total(&self) -> f64 {
        self.counts.iter().sum()
    }
}

/// The distributions of scores that are not relevant, and of those that are.
fn histograms(session: &Session, scores: &str) -> Result<Option<(Range<f64>, [Histogram; 2])>> {
    let extremes = session.rows(&format!(
        "SELECT min(score) AS low, max(score) AS high FROM ({scores}) WHERE score < 'Infinity' AND score > '-Infinity'"
    ))?;
    let (low, high) = (numbers(&extremes, "low")?[0], numbers(&extremes, "high")?[0]);
    if low.is_nan() {
        return Ok(None);
    }
    let width = if low < high { (high - low) / BINS as f64 } else { 1.0 };
    let last = BINS - 1;
    let rows = session.rows(&format!(
        "SELECT least(CAST(floor((score - {low:?}) / {width:?}) AS BIGINT), {last}) AS bin, relevant, count(*) AS number \
         FROM ({scores}) WHERE score >= {low:?} AND score <= {high:?} GROUP BY bin, relevant"
    ))?;
    let mut both = [Histogram { counts: [0.0; BINS] }, Histogram { counts: [0.0; BINS] }];
    let (bins, relevant, numbers) = (integers(&rows, "bin")?, integers(&rows, "relevant")?, integers(&rows, "number")?);
    for ((bin, relevant), number) in bins.into_iter().zip(relevant).zip(numbers) {
        both[relevant as usize].counts[(bin as usize).min(last)] += number as f64;
    }
    Ok(Some((low..low + width * BINS as f64, both)))
}

/// The shares of each histogram as steps, filled.
fn plot(x: Range<f64>, histograms: &[(&Histogram, RGBColor)]) -> Result<String> {
    let width = (x.end - x.start) / BINS as f64;
    let shares = |histogram: &Histogram| histogram.counts.map(|count| 100.0 * count / histogram.total().max(1.0));
    let highest = histograms.iter().flat_map(|(histogram, _)| shares(histogram)).fold(1.0, f64::max);
    let axes = Axes { size: SMALL, x: x.clone(), y: 0.0..highest * 1.06, x_label: "score", y_label: "share in %" };
    axes.draw(|chart| {
        for (histogram, color) in histograms {
            let steps = shares(histogram).into_iter().enumerate().flat_map(|(bin, share)| {
                let left = x.start + width * bin as f64;
                [(left, share), (left + width, share)]
            });
            chart.draw_series(AreaSeries::new(steps, 0.0, color.mix(0.35)).border_style(color.stroke_width(2)))?;
        }
        Ok(())
    })
}
