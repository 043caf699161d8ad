//! The options of `train` that say how gradients change the parameters, and how the learning rate goes.

use clap::value_parser;
use hardmine_command::one_of;
use hardmine_training::{Decay, Freeze, Rule, TrainingSettings};

const OPTIMIZERS: [(&str, &str, Rule); 3] = [
    ("lamb", "LAMB, for large batches", Rule::Lamb),
    ("adamw", "AdamW as the paper was trained with, for small batches", Rule::AdamW),
    ("torch-adamw", "AdamW in PyTorch's form, which sentence-transformers trains with", Rule::TorchAdamW),
];

const SCHEDULES: [(&str, &str, Decay); 3] = [
    ("linear", "The rate falls in a straight line, and would reach 0 after the last step", Decay::Linear),
    ("cosine", "The rate falls along half a cosine wave, and would reach 0 after the last step", Decay::Cosine),
    ("constant", "The rate stays at its highest", Decay::Constant),
];

/// How parameters are updated. The defaults are the paper's.
#[derive(clap::Args)]
#[command(next_help_heading = "Updates")]
pub(crate) struct UpdateOptions {
    /// Optimizer that makes the updates [default: lamb; adore, jpq and repconc adamw; repconc's
    /// release 2 and jpq with unmasked-list torch-adamw]
    #[arg(long, value_parser = one_of(&OPTIMIZERS))]
    optimizer: Option<Rule>,
    /// Learning rate at its highest, after the warm-up [default: 1e-4; adore, jpq and repconc 5e-6; jpq with list,
    /// unmasked-list, pair or lambda 2e-6; repconc's release 2 2e-5]
    #[arg(long, value_parser = from_0)]
    learning_rate: Option<f64>,
    /// Number of steps in which the learning rate rises from 0 to its highest value [default: 1000; adore and jpq 2000;
    /// jpq with list, pair or lambda a twentieth of the run; repconc and jpq with unmasked-list 0]
    #[arg(long)]
    warmup_steps: Option<u64>,
    /// How the learning rate goes on after the warm-up [default: linear; repconc and jpq with
    /// unmasked-list constant]
    #[arg(long, value_parser = one_of(&SCHEDULES))]
    schedule: Option<Decay>,
    /// Share of itself that a parameter loses at each update, times the learning rate. Biases and the weights of norms
    /// are spared, except the norm of a RobertaDot's head, which decays as in the paper unless the optimizer is
    /// torch-adamw; so are centroids [default: 0.01; repconc, and jpq with list, pair or lambda 0.001; repconc's release 2
    /// and jpq with unmasked-list 0]
    #[arg(long, value_parser = from_0)]
    weight_decay: Option<f64>,
    /// If the norm of the gradient, taken over all parameters, is above this number, scale the gradient down to it. With
    /// inf it stays as it is. In jpq, centroids are left out of both, except with list,
    /// unmasked-list, pair or lambda
    #[arg(long, default_value_t = 1.0, value_parser = above_0)]
    max_gradient_norm: f64,
    /// Leave a part of the model as it is: embeddings, or layers:N for the embeddings and the first N layers
    #[arg(long, value_name = "PART")]
    freeze: Option<Freeze>,
    /// Number of batches whose mean gradient makes one update, which is one step and one row of the training log. The
    /// negatives of a query are still those of its own batch
    #[arg(long, default_value_t = 1, value_parser = value_parser!(u64).range(1..))]
    accumulate: u64,
}

pub(crate) fn from_0(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number: &f64| number.is_finite() && *number >= 0.0);
    number.ok_or_else(|| "expected a number from 0, such as 1e-4".into())
}

pub(crate) fn above_0(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number: &f64| *number > 0.0);
    number.ok_or_else(|| "expected a number above 0, such as 1".into())
}

impl UpdateOptions {
    /// Whether the number of steps of the warm-up is given.
    pub(crate) fn has_warmup(&self) -> bool {
        self.warmup_steps.is_some()
    }

    /// The method's `settings` with what the options say.
    pub(crate) fn apply(&self, settings: TrainingSettings) -> TrainingSettings {
        TrainingSettings {
            optimizer: self.optimizer.unwrap_or(settings.optimizer),
            learning_rate: self.learning_rate.unwrap_or(settings.learning_rate),
            warmup_steps: self.warmup_steps.unwrap_or(settings.warmup_steps),
            schedule: self.schedule.unwrap_or(settings.schedule),
            weight_decay: self.weight_decay.unwrap_or(settings.weight_decay),
            max_gradient_norm: self.max_gradient_norm,
            freeze: self.freeze,
            accumulate: self.accumulate,
            ..settings
        }
    }
}
