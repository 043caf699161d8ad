//! The options that say which documents become negatives.

use clap::{Args, ValueEnum};
use hardmine_command as command;
use hardmine_files::Input;
use hardmine_mining::{FilterBy, Rules, Sample};

/// Options of the rules.
#[derive(Args)]
#[command(next_help_heading = "Rules")]
pub(crate) struct RuleArgs {
    /// Leave out documents that score above P - |P| * MARGIN, where P is the score of the query's lowest-scoring relevant
    /// document. 0.05 keeps what scores at most 95 % of it
    #[arg(long, value_name = "MARGIN", value_parser = share, allow_negative_numbers = true)]
    relative_margin: Option<f32>,

    /// Leave out documents that score less than MARGIN below P
    #[arg(long, value_name = "MARGIN", value_parser = finite, allow_negative_numbers = true)]
    absolute_margin: Option<f32>,

    /// Leave out documents that score above this
    #[arg(long, value_name = "SCORE", value_parser = finite, allow_negative_numbers = true)]
    max_score: Option<f32>,

    /// Leave out documents that score below this
    #[arg(long, value_name = "SCORE", value_parser = finite, allow_negative_numbers = true)]
    min_score: Option<f32>,

    /// Pass over this many of the best documents that the rules above leave
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    skip_first: u32,

    /// Look no further than this. The list of a query is cut to N documents and as many more as the query with the most
    /// relevant documents has of them; of what the rules above leave, none but the first N are taken
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    depth: Option<u32>,

    /// Which documents to take of those that are left
    #[arg(long, value_enum, default_value_t = Sampling::Top)]
    sample: Sampling,

    /// Seed of --sample random. The draw of a query depends on nothing but its id and the seed
    #[arg(long, default_value_t = 42)]
    seed: u64,

    /// Let documents that were judged with a grade of 0 or less be negatives. Without this option no judged document
    /// is one
    #[arg(long)]
    keep_judged: bool,

    /// Run with the scores of the relevant documents by the same model, as rank --pairs makes it. Margins need it where
    /// the lists do not have all of them. It is held in memory
    #[arg(long, value_name = "RUN")]
    pub(crate) positives: Option<Input>,

    /// Whose scores the margins and bounds are about. Ranks are always those of the run
    #[arg(long, value_enum, default_value_t = Scores::Run)]
    filter_by: Scores,
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
enum Sampling {
    /// The best ones
    Top,
    /// Any of them, at random
    Random,
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
enum Scores {
    /// Those of the run
    Run,
    /// Those of --teacher
    Teacher,
}

impl RuleArgs {
    /// The rules. Ends the program as wrong usage where they leave nothing.
    pub(crate) fn rules(&self, top_k: usize, exclude_self: bool) -> Rules {
        if let (Some(low), Some(high)) = (self.min_score, self.max_score)
            && low > high
        {
            let text = format!("--min-score {low} is above --max-score {high}, which leaves no documents");
            command::wrong_usage::<super::Args>(text);
        }
        if let Some(depth) = self.depth.filter(|depth| *depth <= self.skip_first) {
            let text = format!("--skip-first {} passes over all of --depth {depth}", self.skip_first);
            command::wrong_usage::<super::Args>(text);
        }
        Rules {
            top_k,
            exclude_self,
            keep_judged: self.keep_judged,
            relative_margin: self.relative_margin,
            absolute_margin: self.absolute_margin,
            max_score: self.max_score,
            min_score: self.min_score,
            skip_first: self.skip_first as usize,
            depth: self.depth.map(|depth| depth as usize),
            sample: match self.sample {
                Sampling::Top => Sample::Top,
                Sampling::Random => Sample::Random(self.seed),
            },
            filter_by: match self.filter_by {
                Scores::Run => FilterBy::Run,
                Scores::Teacher => FilterBy::Teacher,
            },
        }
    }
}

fn finite(text: &str) -> Result<f32, String> {
    let number: f32 = text.parse().map_err(|_| "expected a number".to_owned())?;
    if number.is_finite() { Ok(number) } else { Err("expected a finite number".to_owned()) }
}

fn share(text: &str) -> Result<f32, String> {
    let number = finite(text)?;
    if number >= 0.0 { Ok(number) } else { Err("expected a number that is not below 0".to_owned()) }
}
