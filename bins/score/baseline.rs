//! `score --baseline`: its options, and where the baseline stands among the runs.

use clap::Args;
use hardmine_command as command;
use hardmine_evaluation::significance::{Settings, Test};
use hardmine_files::Input;

const TESTS: [(&str, &str, Test); 2] = [
    ("t-test", "Student's t-test of pairs", Test::TTest),
    ("fisher", "Fisher's randomization test: the two values of a query are exchanged at random", Test::Fisher),
];

/// The names of these options.
pub(crate) const OPTIONS: [&str; 6] = ["baseline", "test", "alpha", "permutations", "resamples", "seed"];

#[derive(Args)]
#[command(next_help_heading = "Comparison with a baseline")]
pub(crate) struct BaselineArgs {
    /// Run to compare the others with, query by query. It gets a row of the table, too: the first, unless it is also
    /// among the runs. With table, latex and markdown, significant differences are marked with †; table, json and tsv
    /// have the differences with their intervals, p of both tests, and for how many queries a run wins, ties and loses
    #[arg(long, value_name = "RUN")]
    pub(crate) baseline: Option<Input>,

    /// Test that decides which differences are marked. p is two-sided, and corrected by Holm's method over the runs that
    /// are compared, for each metric separately
    #[arg(long, requires = "baseline", default_value = "t-test", value_parser = command::one_of(&TESTS))]
    test: Test,

    /// A difference is significant if its corrected p is less than this. The intervals cover the rest, 95% for 0.05
    #[arg(long, value_name = "P", requires = "baseline", default_value_t = 0.05, value_parser = share)]
    alpha: f64,

    /// Number of random exchanges in Fisher's test. Where there are no more ways to exchange than this, all are tried
    #[arg(long, value_name = "N", requires = "baseline", default_value_t = 10_000,
        value_parser = clap::value_parser!(u32).range(1..=100_000_000))]
    permutations: u32,

    /// Number of samples of queries from which the interval of a difference is taken (bootstrap, percentiles)
    #[arg(long, value_name = "N", requires = "baseline", default_value_t = 10_000,
        value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    resamples: u32,

    /// Seed of exchanges and samples
    #[arg(long, value_name = "N", requires = "baseline", default_value_t = 0)]
    seed: u64,
}

impl BaselineArgs {
    pub(crate) fn settings(&self) -> Settings {
        Settings {
            test: self.test,
            alpha: self.alpha,
            permutations: self.permutations,
            resamples: self.resamples,
            seed: self.seed,
        }
    }

    /// The place of the baseline among `runs`; it is put in front if it is not there.
    pub(crate) fn place_among(&self, runs: &mut Vec<Input>) -> Option<usize> {
        let baseline = self.baseline.as_ref()?;
        Some(runs.iter().position(|run| is_same(run, baseline)).unwrap_or_else(|| {
            runs.insert(0, baseline.clone());
            0
        }))
    }
}

fn is_same(one: &Input, other: &Input) -> bool {
    match (one, other) {
        (Input::Stdin, Input::Stdin) => true,
        (Input::Path(one), Input::Path(other)) => {
            one == other || one.canonicalize().is_ok_and(|one| other.canonicalize().is_ok_and(|other| one == other))
        }
        _ => false,
    }
}

fn share(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if 0.0 < share && share < 1.0 => Ok(share),
        _ => Err("should be a number between 0 and 1".to_owned()),
    }
}
