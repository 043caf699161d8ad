//! What mining did: a record with a fact in each row.

mod earlier;
mod facts;
mod statistics;
mod suspicious;
mod texts;

use hardmine_records::{Id, KeptId, RunBatch};

use crate::miner::Summary;
use crate::rules::Reason;
use earlier::Earlier;
use facts::Facts;
use statistics::{histogram, statistics};
use suspicious::{Suspect, Suspects};
use texts::{TextHashes, TextId};

pub use facts::MiningReport;

/// A list that negatives were taken from.
pub(crate) struct MinedList<'a, K> {
    pub query: K,
    /// The relevant documents, and their scores if they are known.
    pub relevant: &'a [K],
    pub positive_scores: Option<&'a [f32]>,
    /// The negatives with their scores, best first.
    pub negatives: Vec<(K, f32)>,
    /// For each negative, whether it has exactly the score of a relevant document.
    pub twins: &'a [bool],
    /// Whether there are fewer negatives than were asked for.
    pub is_short: bool,
}

/// Notes down what a report needs while lists are mined. Scores are those that the rules are about.
pub(crate) struct Collector<K> {
    positives: Vec<f32>,
    negatives: Vec<f32>,
    /// Lowest positive less negative.
    differences: Vec<f32>,
    /// Queries with relevant documents whose scores are not known.
    unscored: usize,
    short: Vec<(K, usize)>,
    /// Negatives with the score or the text of a relevant document.
    twins: Vec<(&'static str, K, K, f32)>,
    suspects: Suspects<K>,
    earlier: Option<Earlier<K>>,
    texts: Option<TextHashes<K>>,
}

impl<K> Default for Collector<K> {
    fn default() -> Self {
        Collector {
            positives: Vec::new(),
            negatives: Vec::new(),
            differences: Vec::new(),
            unscored: 0,
            short: Vec::new(),
            twins: Vec::new(),
            suspects: Suspects::default(),
            earlier: None,
            texts: None,
        }
    }
}

impl<K: KeptId> Collector<K> {
    pub fn add_earlier<'a, I: Id<'a, Kept = K>>(&mut self, rows: &'a RunBatch) {
        self.earlier.get_or_insert_default().add::<I>(rows);
    }

    pub fn add(&mut self, list: MinedList<K>) {
        self.negatives.extend(list.negatives.iter().map(|(_, score)| score));
        self.unscored += usize::from(list.positive_scores.is_none());
        let scores = list.positive_scores.unwrap_or_default();
        self.positives.extend_from_slice(scores);
        let lowest = list.relevant.iter().zip(scores).min_by(|one, other| one.1.total_cmp(other.1));
        for ((doc, score), is_twin) in list.negatives.iter().zip(list.twins) {
            if let Some((positive, lowest)) = lowest {
                self.differences.push(lowest - score);
                let (negative, positive) = ((doc.clone(), *score), (positive.clone(), *lowest));
                self.suspects.add(Suspect { query: list.query.clone(), negative, positive });
            }
            let has_same_text = self.texts.as_ref().is_some_and(|texts| texts.is_one_of(doc, list.relevant));
            for (by, _) in [("score", *is_twin), ("text", has_same_text)].iter().filter(|(_, found)| *found) {
                self.twins.push((by, list.query.clone(), doc.clone(), *score));
            }
        }
        if let Some(earlier) = &mut self.earlier {
            earlier.compare(&list.query, &list.negatives);
        }
        if list.is_short {
            self.short.push((list.query, list.negatives.len()));
        }
    }
}

impl<K: TextId> Collector<K> {
    pub fn add_text(&mut self, row: usize, key: &str, text: &str) {
        self.texts.get_or_insert_default().add(row, key, text);
    }

    /// The facts.
    pub fn finish(self, summary: &Summary) -> Facts<K> {
        let mut facts = Facts::default();
        let count = |by: &str| self.twins.iter().filter(|twin| twin.0 == by).count();
        let counts = [
            ("queries", summary.queries),
            ("negatives", summary.negatives),
            ("short", summary.short),
            ("unjudged", summary.unjudged),
            ("without-positive-scores", self.unscored),
            ("twins-by-score", count("score")),
        ];
        counts.into_iter().for_each(|(name, value)| facts.total("counts", name, value as f64));
        if self.texts.is_some() {
            facts.total("counts", "twins-by-text", count("text") as f64);
        }
        for reason in Reason::ALL {
            facts.total("rules", reason.name(), summary.dropped.by(reason) as f64);
        }

        let all = || self.positives.iter().chain(&self.negatives).copied();
        if let (Some(low), Some(high)) = (all().reduce(f32::min), all().reduce(f32::max)) {
            for (section, scores) in [("positive-bars", &self.positives), ("negative-bars", &self.negatives)] {
                for (lower_end, count) in histogram(scores, low, high) {
                    facts.total(section, &format!("{lower_end:.6}"), count as f64);
                }
            }
        }
        let sections = [
            ("positive-scores", self.positives),
            ("negative-scores", self.negatives),
            ("differences", self.differences),
        ];
        for (section, values) in sections {
            statistics(values).into_iter().for_each(|(name, value)| facts.total(section, name, value));
        }
        for (query, count) in self.short {
            facts.of_query("short", "negatives", query, count as f64);
        }
        for (by, query, doc, score) in self.twins {
            facts.of_pair("twins", by, query, doc, score);
        }
        let mut shown = Vec::new();
        for Suspect { query, negative, positive } in self.suspects.into_inner() {
            if !shown.contains(&query) {
                facts.of_query("suspicious", "query", query.clone(), 0.0);
                facts.of_pair("suspicious", "positive", query.clone(), positive.0, positive.1);
                shown.push(query.clone());
            }
            facts.of_pair("suspicious", "negative", query, negative.0, negative.1);
        }
        if let Some(earlier) = self.earlier {
            for (name, count) in ["negatives-now", "negatives-then", "in-both"].into_iter().zip(earlier.counts) {
                facts.total("compared", name, count as f64);
            }
            let shares = earlier.overlaps.iter().map(|(_, share)| *share).collect();
            for (section, values) in [("overlaps", shares), ("rank-shifts", earlier.shifts)] {
                statistics(values).into_iter().for_each(|(name, value)| facts.total(section, name, value));
            }
            for (query, share) in earlier.overlaps {
                facts.of_query("overlaps", "query", query, f64::from(share));
            }
        }
        facts
    }
}
