//! From hidden states to the vector of a text: pooling and what follows it.

use hardmine_records::{Error, Result};
use tch::Tensor;

use crate::Batch;
use crate::config::{Activation, Config};
use crate::layers::{LayerNorm, Linear};
use crate::modules::{Layout, Pooling, Step};
use crate::parameters::Parameters;

/// Pooling, then the stages in order, all in float32.
pub(crate) struct Head {
    pooling: Pooling,
    stages: Vec<Stage>,
    /// Size of the vectors.
    pub dimension: i64,
}

enum Stage {
    Linear(Linear, Activation),
    LayerNorm(LayerNorm),
    Normalize,
}

impl Head {
    /// # Errors
    /// A Dense module that takes vectors of another size than come to it.
    pub fn new(parameters: &mut Parameters, layout: &Layout, config: &Config, place: &str) -> Result<Head> {
        let mut dimension = config.hidden_size;
        let mut stages = Vec::new();
        let mut pooling = Pooling::First;
        match layout {
            Layout::RobertaDot => {
                dimension = config.output_embedding_size.unwrap_or(config.hidden_size);
                let linear = Linear::new(parameters, "embeddingHead", config.hidden_size, dimension, true);
                stages.push(Stage::Linear(linear, Activation::Identity));
                stages.push(Stage::LayerNorm(LayerNorm::new(parameters, "norm", dimension, 1e-5)));
            }
            Layout::Modules(modules) => {
                for module in modules {
                    match module.step {
                        Step::Transformer => {}
                        Step::Pooling(mode) => pooling = mode,
                        Step::Normalize => stages.push(Stage::Normalize),
                        Step::Dense { inputs, outputs, bias, activation } => {
                            if inputs != dimension {
                                let name = module.path.display();
                                let text = format!("{name} takes vectors of {inputs} numbers, but gets {dimension}");
                                return Err(Error::new(place, text));
                            }
                            let name = format!("{}.linear", module.path.display());
                            stages
                                .push(Stage::Linear(Linear::new(parameters, &name, inputs, outputs, bias), activation));
                            dimension = outputs;
                        }
                    }
                }
            }
        }
        Ok(Head { pooling, stages, dimension })
    }

    /// Whether only the first token's hidden state is looked at.
    pub fn first_only(&self) -> bool {
        self.pooling == Pooling::First
    }

    /// Hidden states, (B, D) if [`Head::first_only`], else (T, D), to vectors (B, E).
    pub fn forward(&self, hidden: Tensor, batch: &Batch) -> Tensor {
        let pooled = match self.pooling {
            Pooling::First => hidden,
            Pooling::Mean => batch.mean(&hidden),
        };
        self.stages.iter().fold(pooled, |x, stage| match stage {
            Stage::Linear(linear, activation) => activation.forward(&linear.forward(&x)),
            Stage::LayerNorm(norm) => norm.forward(&x),
            Stage::Normalize => &x / x.norm_scalaropt_dim(2, 1, true).clamp_min(1e-12),
        })
    }

    /// Whether all vectors have length 1.
    pub fn normalizes(&self) -> bool {
        matches!(self.stages.last(), Some(Stage::Normalize))
    }

    /// Leaves the vectors at the length they come out with.
    pub fn drop_normalize(&mut self) {
        self.stages.retain(|stage| !matches!(stage, Stage::Normalize));
    }
}
