//! Runs compared with one of them, metric by metric.

use std::collections::{HashMap, HashSet};

use hardmine_records::{Error, Result};
use rayon::prelude::*;

use super::{Comparison, Settings, Test, compare, holm};
use crate::RunScores;

/// How many ids of queries an error names.
const NAMED: usize = 5;

/// The comparison of runs with one of them.
pub struct Baseline {
    /// The run's place.
    pub place: usize,
    /// How they are compared.
    pub settings: Settings,
    /// Number of queries.
    pub queries: usize,
    /// For each run and metric; none of the baseline itself, and of metrics that are counts of documents.
    pub compared: Vec<Vec<Option<Compared>>>,
}

/// A comparison among several.
#[derive(Clone, Copy, Debug)]
pub struct Compared {
    /// As if it were the only one.
    pub alone: Comparison,
    /// p of the t-test, after Holm's correction over the runs that were compared by the same metric.
    pub p_t_test_holm: f64,
    /// p of Fisher's test, corrected in the same way.
    pub p_fisher_holm: f64,
    /// Whether the corrected p of the chosen test is less than alpha.
    pub is_significant: bool,
}

impl Baseline {
    /// Compares `runs`, all scored with the same metrics, with the one at `place`; none where there is only one query,
    /// of which no test is possible. A query that one run has a list for and another has not is refused, unless
    /// `complete` says that it counts 0.
    ///
    /// # Errors
    /// Such a query.
    pub fn compare(runs: &[RunScores], place: usize, settings: Settings, complete: bool) -> Result<Option<Baseline>> {
        let baseline = &runs[place];
        if !complete {
            runs.iter().try_for_each(|run| check_same_queries(run, baseline))?;
        }
        let queries = baseline.queries.len();
        if queries < 2 {
            return Ok(None);
        }
        let others: Vec<usize> = (0..runs.len()).filter(|&run| run != place).collect();
        let mut compared = vec![vec![None; baseline.values.len()]; runs.len()];
        for (column, (metric, values)) in baseline.values.iter().enumerate() {
            if metric.is_count() {
                continue;
            }
            let order = |run: usize| in_order(&runs[run].numbers, &runs[run].values[column].1, &baseline.numbers);
            let alone: Vec<Comparison> = others.par_iter().map(|&run| compare(&order(run), values, settings)).collect();
            let t_tests = holm(&alone.iter().map(|compared| compared.p_t_test).collect::<Vec<_>>());
            let fishers = holm(&alone.iter().map(|compared| compared.p_fisher).collect::<Vec<_>>());
            for (index, (&run, alone)) in others.iter().zip(alone).enumerate() {
                let (p_t_test_holm, p_fisher_holm) = (t_tests[index], fishers[index]);
                let p = match settings.test {
                    Test::TTest => p_t_test_holm,
                    Test::Fisher => p_fisher_holm,
                };
                let is_significant = p < settings.alpha;
                compared[run][column] = Some(Compared { alone, p_t_test_holm, p_fisher_holm, is_significant });
            }
        }
        Ok(Some(Baseline { place, settings, queries, compared }))
    }

    /// Whether the run's value of the metric in this column is marked.
    pub(crate) fn is_marked(&self, run: usize, column: usize) -> bool {
        self.compared[run][column].is_some_and(|compared| compared.is_significant)
    }

    /// What a mark means, for the line below a table.
    pub(crate) fn legend(&self, name: &str) -> String {
        let test = match self.settings.test {
            Test::TTest => "a paired t-test",
            Test::Fisher => "Fisher's randomization test",
        };
        let corrected = match self.compared.len() {
            0..=2 => String::new(),
            runs => format!(" after Holm's correction over {} runs for each metric", runs - 1),
        };
        format!("differs from {name}: p < {} by {test}{corrected}", self.settings.alpha)
    }
}

/// The values of queries `numbers`, in the order of `wanted`.
fn in_order(numbers: &[i32], values: &[f64], wanted: &[i32]) -> Vec<f64> {
    let places: HashMap<i32, usize> = numbers.iter().copied().zip(0..).collect();
    wanted.iter().map(|number| values[places[number]]).collect()
}

fn check_same_queries(run: &RunScores, baseline: &RunScores) -> Result<()> {
    let only = |one: &RunScores, other: &RunScores| -> Vec<String> {
        let known: HashSet<i32> = other.ranked.iter().copied().collect();
        let missing: HashSet<i32> = one.ranked.iter().copied().filter(|number| !known.contains(number)).collect();
        let places = (0..one.numbers.len()).filter(|&place| missing.contains(&one.numbers[place]));
        places.map(|place| one.queries.text(place).into_owned()).collect()
    };
    let sides = [(only(run, baseline), run), (only(baseline, run), baseline)];
    let faults: Vec<String> = sides
        .iter()
        .filter(|(ids, _)| !ids.is_empty())
        .map(|(ids, side)| {
            let dots = if ids.len() > NAMED { ", …" } else { "" };
            let named = ids[..ids.len().min(NAMED)].join(", ");
            format!("{} of {} judged queries are only in {} ({named}{dots})", ids.len(), side.ranked.len(), side.run)
        })
        .collect();
    match faults.is_empty() {
        true => Ok(()),
        false => {
            Err(Error::new(&run.run, format!("is over other queries than {}: {}", baseline.run, faults.join(", ")))
                .hint("--complete compares over all queries of the qrels, and counts 0 where a run lacks one"))
        }
    }
}
