//! Runs, negatives and qrels written as text.

use std::io::Write;

use arrow::array::RecordBatch;
use hardmine_records::{Error, Kind, QrelsBatch, Result, RunBatch};

use crate::Format;

/// Writes batches of one kind as text.
pub(crate) struct TextWriter<W> {
    writer: W,
    place: String,
    kind: Kind,
    format: Format,
    rows: usize,
    spread: Spread,
}

impl<W: Write> TextWriter<W> {
    pub(crate) fn new(writer: W, place: &str, kind: Kind, format: Format) -> Self {
        TextWriter { writer, place: place.to_owned(), kind, format, rows: 0, spread: Spread::default() }
    }

    pub(crate) fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let (queries, docs, integers, scores) = match self.kind {
            Kind::Qrels => {
                let rows = QrelsBatch::new(batch)?;
                (rows.queries, rows.docs, rows.relevance, None)
            }
            _ => {
                let rows = RunBatch::new(batch)?;
                (rows.queries, rows.docs, rows.ranks, Some(rows.scores))
            }
        };
        let format = self.format;
        let separates =
            |c: char| if format == Format::Tsv { matches!(c, '\t' | '\n' | '\r') } else { c.is_whitespace() };
        for i in 0..batch.num_rows() {
            let (query, doc, integer) = (queries.text(i), docs.text(i), integers.value(i));
            // What our own reader would take for another id, or for a comment.
            let is_lost = |id: &str| id.is_empty() || id.contains(separates) || id != id.trim_ascii();
            let is_comment = query == "#" || query.starts_with("# ");
            let lost = [&query, &doc].into_iter().find(|id| is_lost(id));
            if let Some(id) = lost.or(is_comment.then_some(&query)) {
                let text = format!("id '{}' can't stand in a {format} file", id.escape_default());
                return Err(Error::at_row(&self.place, self.rows + i, text).hint("write Parquet or Arrow"));
            }
            match (format, &scores) {
                (Format::Tsv, None) => writeln!(self.writer, "{query}\t0\t{doc}\t{integer}"),
                (_, None) => writeln!(self.writer, "{query} 0 {doc} {integer}"),
                (Format::Tsv, Some(_)) => writeln!(self.writer, "{query}\t{doc}\t{integer}"),
                (_, Some(scores)) => {
                    let score = self.spread.next(&query, scores.value(i));
                    writeln!(self.writer, "{query} Q0 {doc} {integer} {score} hardmine")
                }
            }
            .map_err(Error::io(&self.place))?;
        }
        self.rows += batch.num_rows();
        Ok(())
    }

    /// What the user should know of the text.
    pub(crate) fn notes(&self) -> Vec<String> {
        let Spread { moved, unmended, .. } = self.spread;
        let mut notes = Vec::new();
        if moved > 0 {
            notes.push(format!("{moved} equal scores were moved by the least step so that trec_eval keeps the order"));
        }
        if unmended > 0 {
            notes.push(format!(
                "trec_eval will see another order: {unmended} scores are above the one before them, or can't be lowered"
            ));
        }
        notes
    }

    pub(crate) fn into_inner(self) -> W {
        self.writer
    }
}

/// Makes the scores of each list descend strictly. trec_eval sorts a list by score, in single precision, and equal
/// scores by document id, last first: without this it would see another order than ours.
#[derive(Default)]
struct Spread {
    query: String,
    /// The score before this one, as it was and as it is written.
    last: Option<(f32, f32)>,
    moved: usize,
    /// Scores that are above the one before, or where there is no lower number.
    unmended: usize,
}

impl Spread {
    /// The score to write for the next document of `query`.
    fn next(&mut self, query: &str, score: f32) -> f32 {
        if self.query != query {
            self.query = query.to_owned();
            self.last = None;
        }
        let written = match self.last {
            Some((last, written)) if score > last || score >= written && written == f32::MIN => {
                self.unmended += 1;
                score
            }
            Some((_, written)) if score >= written => {
                self.moved += 1;
                written.next_down()
            }
            _ => score,
        };
        self.last = Some((score, written));
        written
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spread(scores: &[f32]) -> (Vec<f32>, usize, usize) {
        let mut spread = Spread::default();
        let written = scores.iter().map(|&score| spread.next("q", score)).collect();
        (written, spread.moved, spread.unmended)
    }

    #[test]
    fn equal_scores_descend_by_the_least_step() {
        let step = 1f32.next_down();
        assert_eq!(spread(&[2.0, 1.0, 1.0, 1.0, 0.5]), (vec![2.0, 1.0, step, step.next_down(), 0.5], 2, 0));
        // One that the moved ones have caught up with moves, too.
        assert_eq!(spread(&[1.0, 1.0, step]), (vec![1.0, step, step.next_down()], 2, 0));
        let below = 0f32.next_down();
        assert_eq!(spread(&[0.0, -0.0, 0.0]), (vec![0.0, below, below.next_down()], 2, 0));
        assert_eq!(spread(&[-3.0, -3.0]), (vec![-3.0, (-3f32).next_down()], 1, 0));
        assert_eq!(spread(&[f32::MIN, f32::MIN]), (vec![f32::MIN, f32::MIN], 0, 1));
        assert_eq!(spread(&[1.0, 2.0, 2.0]), (vec![1.0, 2.0, 2f32.next_down()], 1, 1));
    }

    #[test]
    fn every_list_has_its_own_scores() {
        let mut spread = Spread::default();
        assert_eq!(["a", "b", "b"].map(|query| spread.next(query, 1.0)), [1.0, 1.0, 1f32.next_down()]);
    }
}
