//! The options of `train` that say what is minimized.

use hardmine_command::one_of;
use hardmine_encoder::Similarity;
use hardmine_files::Input;
use hardmine_records::Error;
use hardmine_training::{Loss, Objective};

/// The losses by name.
#[derive(Clone, Copy, PartialEq)]
enum LossName {
    Softplus,
    InfoNce,
    MarginMse,
    Kl,
    Weighted,
    List,
    UnmaskedList,
    Pair,
    Lambda,
}

const LOSSES: [(&str, &str, LossName); 9] = [
    (
        "softplus",
        "The paper's loss: softplus of a negative's score minus the positive's, for each pair",
        LossName::Softplus,
    ),
    ("infonce", "Cross-entropy of the positive among all candidates", LossName::InfoNce),
    ("marginmse", "Squared error between the model's and the teacher's margins (star only)", LossName::MarginMse),
    ("kl", "Kullback-Leibler divergence of the model's distribution from the teacher's (star only)", LossName::Kl),
    (
        "weighted",
        "JPQ's loss: softplus of each pair of the retrieved list, weighted by what it costs the metric (jpq only)",
        LossName::Weighted,
    ),
    (
        "list",
        "RepCONC's second stage: cross-entropy of a drawn relevant document among what is retrieved (jpq only)",
        LossName::List,
    ),
    (
        "unmasked-list",
        "The same as RepCONC's second release has it: relevant documents that are retrieved count as irrelevant (jpq only)",
        LossName::UnmaskedList,
    ),
    ("pair", "As list, with the softplus of each pair (jpq only)", LossName::Pair),
    ("lambda", "As pair, with pairs weighted by what they cost the metric (jpq only)", LossName::Lambda),
];

/// What training minimizes. The defaults are the paper's.
#[derive(clap::Args)]
#[command(next_help_heading = "Loss")]
pub(crate) struct LossOptions {
    /// What training minimizes. In every loss but unmasked-list, a document that the qrels say is relevant to a query is
    /// never a negative of that query, whatever it was drawn for [default: softplus; jpq weighted, repconc infonce]
    #[arg(long, value_parser = one_of(&LOSSES))]
    loss: Option<LossName>,
    /// Divide scores by this number. 0.05 is a scale of 20. The default is 1, but 0.05 for infonce, kl, list and
    /// unmasked-list with cosine, whose scores lie between -1 and 1
    #[arg(long, value_parser = temperature)]
    temperature: Option<f64>,
    /// Let infonce find the query of each positive, too, among the queries of the batch, and take the mean of both
    /// directions
    #[arg(long)]
    symmetric: bool,
    /// Let infonce train each query against this many negatives only: those of the batch that have the highest scores
    /// [default: all of them; repconc's release 2: 11]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(i64).range(1..))]
    hardest: Option<i64>,
    /// Divide the teacher's scores by this number in kl [default: 1]
    #[arg(long, value_parser = temperature)]
    teacher_temperature: Option<f64>,
    /// Train vectors that can be cut: the loss is the sum of those of vectors cut to each of these numbers of
    /// dimensions, for instance 768,256,64
    #[arg(long, value_name = "NUMBERS", value_delimiter = ',', value_parser = clap::value_parser!(i64).range(1..))]
    dimensions: Vec<i64>,
}

/// What is said where a loss wants a teacher's scores and there are none.
pub(crate) fn no_teacher(negatives: &Input) -> Error {
    Error::new(negatives, "has no teacher's scores, which the loss learns from")
        .hint("give --teacher RUN, or make the negatives with mine-negatives --teacher RUN")
}

fn temperature(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number: &f64| number.is_finite() && *number > 0.0);
    number.ok_or_else(|| "expected a number above 0, such as 0.05".into())
}

impl LossOptions {
    /// The numbers of dimensions to cut vectors to, as they are given; none where vectors stay whole.
    pub(crate) fn dimensions(&self) -> Option<String> {
        let numbers: Vec<String> = self.dimensions.iter().map(i64::to_string).collect();
        (!numbers.is_empty()).then(|| numbers.join(","))
    }

    /// Whether the loss learns from a teacher's scores.
    pub(crate) fn needs_teacher(&self) -> bool {
        matches!(self.loss, Some(LossName::MarginMse | LossName::Kl))
    }

    /// The loss that is asked for, or the default of `method`.
    fn named(&self, method: &str) -> LossName {
        self.loss.unwrap_or(match method {
            "jpq" => LossName::Weighted,
            "repconc" => LossName::InfoNce,
            _ => LossName::Softplus,
        })
    }

    /// Says what is wrong with options that don't go together. `cuts_metric` and `has_teacher` say whether these options
    /// of methods are given.
    pub(crate) fn check(&self, method: &str, cuts_metric: bool, has_teacher: bool) -> Result<(), String> {
        let loss = self.named(method);
        let name = LOSSES.iter().find(|(.., other)| *other == loss).map_or("", |(name, ..)| name);
        let is_of_lists = matches!(
            loss,
            LossName::Weighted | LossName::List | LossName::UnmaskedList | LossName::Pair | LossName::Lambda
        );
        let wrong = match () {
            () if is_of_lists != (method == "jpq") => match is_of_lists {
                true => format!("--loss {name} is for jpq, not for {method}"),
                false => {
                    format!("--loss {name} is not for jpq, which has weighted, list, unmasked-list, pair and lambda")
                }
            },
            () if !self.dimensions.is_empty() && matches!(method, "jpq" | "repconc") => {
                format!("--dimensions is not for {method}, whose codes stand for whole vectors")
            }
            () if cuts_metric && method == "jpq" && loss != LossName::Weighted => {
                format!("--lambda-cut is for weighted, and not for {name}")
            }
            () if has_teacher && !self.needs_teacher() => format!("--teacher is for marginmse and kl, not for {name}"),
            () if self.needs_teacher() && method != "star" => {
                format!("--loss {name} learns from a teacher's scores of hard negatives, which only star has")
            }
            () if self.symmetric && loss != LossName::InfoNce => {
                format!("--symmetric is for infonce, not for {name}")
            }
            () if self.hardest.is_some() && (loss != LossName::InfoNce || self.symmetric) => {
                let name = if self.symmetric { "infonce with --symmetric" } else { name };
                format!("--hardest is for infonce, not for {name}")
            }
            () if self.hardest.is_some() && method == "adore" => {
                "--hardest needs the negatives of a batch, and adore has retrieved lists".into()
            }
            () if self.symmetric && method == "adore" => {
                "--symmetric needs the positives of a batch, and adore has retrieved lists".into()
            }
            () if self.teacher_temperature.is_some() && loss != LossName::Kl => {
                format!("--teacher-temperature is for kl, not for {name}")
            }
            () if cuts_metric && method == "adore" && loss != LossName::Softplus => {
                format!("--metric-cut is for softplus, whose pairs are weighted by the metric, and not for {name}")
            }
            () => return Ok(()),
        };
        Err(wrong)
    }

    /// What `method`, which takes so many of the `hardest` negatives if nothing else is said, minimizes where vectors are
    /// compared by `similarity`.
    pub(crate) fn objective(&self, method: &str, similarity: Similarity, hardest: Option<i64>) -> Objective {
        let hardest = self.hardest.or(hardest.filter(|_| !self.symmetric));
        let loss = match self.named(method) {
            LossName::Softplus => Loss::Softplus,
            LossName::InfoNce => match hardest {
                Some(count) => Loss::InfoNceOfHardest { count },
                None => Loss::InfoNce { symmetric: self.symmetric },
            },
            LossName::MarginMse => Loss::MarginMse,
            LossName::Kl => Loss::Kl { teacher_temperature: self.teacher_temperature.unwrap_or(1.0) },
            LossName::Weighted => Loss::Weighted,
            LossName::List => Loss::List,
            LossName::UnmaskedList => Loss::UnmaskedList,
            LossName::Pair => Loss::Pair,
            LossName::Lambda => Loss::Lambda,
        };
        let temperature = self.temperature_for(method, similarity);
        Objective { loss, temperature, dimensions: self.dimensions.clone() }
    }

    /// Warns where scores of `similarity` lie too close together for the loss.
    pub(crate) fn warn_of_cosines(&self, method: &str, similarity: Similarity) {
        if similarity != Similarity::Cosine {
            return;
        }
        match self.named(method) {
            LossName::Softplus | LossName::Weighted | LossName::Pair | LossName::Lambda
                if self.temperature.is_none() =>
            {
                tracing::warn!(
                    "cosines lie between -1 and 1, where the softplus of their differences hardly tells a good ranking from \
                 a bad one; hint: --temperature 0.05, or --loss infonce"
                )
            }
            LossName::MarginMse if self.temperature_for(method, similarity) == 1.0 => tracing::warn!(
                "margins of cosines are at most 2, and the teacher's may be larger; hint: --temperature 0.05"
            ),
            _ => {}
        }
    }

    /// What scores of `similarity` are divided by.
    fn temperature_for(&self, method: &str, similarity: Similarity) -> f64 {
        let is_softmax =
            matches!(self.named(method), LossName::InfoNce | LossName::Kl | LossName::List | LossName::UnmaskedList);
        let default = if is_softmax && similarity == Similarity::Cosine { 0.05 } else { 1.0 };
        self.temperature.unwrap_or(default)
    }
}
