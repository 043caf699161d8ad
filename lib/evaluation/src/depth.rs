//! Whether the lists of a run are long enough for the metrics that are asked for.

use crate::{Metric, Ranking};

impl Ranking {
    /// A note where most lists are shorter than the cut of a metric, and relevant documents are missing that might
    /// stand between: R@1000 of lists of 100 is R@100. `level` is the least grade that is relevant. The note calls the
    /// run
    /// `name`.
    pub fn note_on_depth(&self, name: &str, metrics: &[Metric], level: i32) -> Option<String> {
        let longest = self.lengths.iter().copied().max().unwrap_or(0);
        let deep = |metric: &&Metric| metric.wants_depth() && self.is_too_short(metric, level);
        let deep: Vec<&Metric> = metrics.iter().filter(deep).collect();
        let deepest = deep.iter().filter_map(|metric| metric.depth()).max()?;
        let names: Vec<String> = deep.iter().map(|metric| metric.to_string()).collect();
        let short = self.lengths.iter().filter(|&&length| (length as usize) < deepest).count();
        let lists = self.lengths.len();
        Some(format!(
            "{name}: {short} of {lists} lists are shorter than {deepest} documents (the longest has {longest}), too short \
             for {}; relevant documents are missing from them (rank --top-k {deepest} gives longer lists)",
            names.join(", ")
        ))
    }

    fn is_too_short(&self, metric: &Metric, level: i32) -> bool {
        let Some(depth) = metric.depth() else { return false };
        let short = |length: i32| (length as usize) < depth;
        if 2 * self.lengths.iter().filter(|&&length| short(length)).count() <= self.lengths.len() {
            return false;
        }
        // Relevant documents of each query, less those that were found.
        let level = metric.level(level);
        let grades = &self.judgements.rows.relevance;
        let mut missing = vec![0; self.judgements.queries()];
        for (row, &query) in self.judgements.query_of.iter().enumerate() {
            missing[query as usize] += i32::from(grades.value(row) >= level);
        }
        for (query, row) in self.found() {
            missing[query as usize] -= i32::from(grades.value(row as usize) >= level);
        }
        self.queries.iter().zip(&self.lengths).any(|(&query, &length)| short(length) && missing[query as usize] > 0)
    }
}
