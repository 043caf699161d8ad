//! Whether a difference of two runs is more than chance: tests and an interval for values of the same queries, and
//! their comparison with one run, the baseline.

mod baseline;
mod bootstrap;
mod holm;
mod randomization;
mod t_test;

pub use baseline::{Baseline, Compared};
pub use holm::holm;

use bootstrap::interval;
use randomization::fisher;
use t_test::{TTest, t_test};

/// A test for whether two runs differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Test {
    /// Student's t-test of pairs
    TTest,
    /// Fisher's randomization test
    Fisher,
}

/// How runs are compared.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// The test that decides which differences are marked.
    pub test: Test,
    /// A difference is significant if its p is less than this, after correction. Intervals cover the rest: 95 % for
    /// 0.05.
    pub alpha: f64,
    /// How many random exchanges of the runs' values Fisher's test makes.
    pub permutations: u32,
    /// How many samples of queries the interval is taken from.
    pub resamples: u32,
    /// Of exchanges and samples.
    pub seed: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Settings { test: Test::TTest, alpha: 0.05, permutations: 10_000, resamples: 10_000, seed: 0 }
    }
}

/// How the values of a run differ from those of another for the same queries.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Comparison {
    /// Mean of the run's value minus the other's.
    pub difference: f64,
    /// What the mean difference lies between, by bootstrap.
    pub interval: (f64, f64),
    /// Student's t; infinite where all queries have the same difference, which is not 0.
    pub t: f64,
    /// Two-sided p of the t-test of pairs; 1 where there is no difference at all.
    pub p_t_test: f64,
    /// Two-sided p of Fisher's randomization test.
    pub p_fisher: f64,
    /// Number of queries for which the run's value is higher.
    pub wins: usize,
    /// … the same.
    pub ties: usize,
    /// … lower.
    pub losses: usize,
}

/// Compares the values of a run with those of `other` for the same queries in the same order, at least two.
///
/// ```
/// use hardmine_evaluation::significance::{Settings, compare};
///
/// let compared = compare(&[0.5, 1.0, 0.2, 0.7], &[0.4, 0.8, 0.2, 0.3], Settings::default());
/// assert_eq!((compared.wins, compared.ties, compared.losses), (3, 1, 0));
/// ```
pub fn compare(run: &[f64], other: &[f64], settings: Settings) -> Comparison {
    assert!(run.len() == other.len() && run.len() > 1, "values of two or more queries each");
    let differences: Vec<f64> = run.iter().zip(other).map(|(run, other)| run - other).collect();
    let TTest { difference, t, p } = t_test(&differences);
    let count = |which: fn(f64) -> bool| differences.iter().filter(|&&difference| which(difference)).count();
    Comparison {
        difference,
        interval: interval(&differences, settings),
        t,
        p_t_test: p,
        p_fisher: fisher(&differences, settings),
        wins: count(|difference| difference > 0.0),
        ties: count(|difference| difference == 0.0),
        losses: count(|difference| difference < 0.0),
    }
}
