//! From hidden states to the vector of a text: pooling and what follows it.

use hardmine_records::{Error, Result};
use tch::Tensor;

use crate::Batch;
use crate::config::Config;
use crate::layers::{Activation, LayerNorm, Linear};
use crate::modules::{Layout, Step};
use crate::parameters::Parameters;
use crate::pooling::Pooling;

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
    /// Times the transpose of a rotation.
    Rotate(Tensor),
    /// Only so many first numbers are kept.
    Cut(i64),
}

impl Head {
    /// # Errors
    /// A Dense module that takes vectors of another size than come to it.
    pub fn new(parameters: &mut Parameters, layout: &Layout, config: &Config, place: &str) -> Result<Head> {
        let hidden = config.sizes.hidden;
        let pooling = layout.pooling();
        let mut dimension = pooling.dimension(hidden);
        let mut stages = Vec::new();
        match layout {
            Layout::RobertaDot => {
                dimension = config.output_embedding_size.unwrap_or(hidden);
                let linear = Linear::new(parameters, "embeddingHead", hidden, dimension, true);
                stages.push(Stage::Linear(linear, Activation::Identity));
                stages.push(Stage::LayerNorm(LayerNorm::new(parameters, "norm", dimension, 1e-5)));
            }
            Layout::Modules(modules) => {
                for module in modules {
                    match &module.step {
                        Step::Transformer | Step::Pooling(_) => {}
                        Step::Normalize => stages.push(Stage::Normalize),
                        &Step::Dense { inputs, outputs, bias, activation } => {
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

    /// The one token of each text whose hidden state is looked at, among the rows of all tokens (B,); none where more
    /// are.
    pub fn chosen(&self, batch: &Batch) -> Option<Tensor> {
        self.pooling.chosen(batch)
    }

    /// Hidden states, (B, D) if one of each text was [chosen](Head::chosen), else (T, D), to vectors (B, E).
    pub fn forward(&self, hidden: Tensor, batch: &Batch) -> Tensor {
        self.stages.iter().fold(self.pooling.forward(hidden, batch), |x, stage| match stage {
            Stage::Linear(linear, activation) => activation.forward(&linear.forward(&x)),
            Stage::LayerNorm(norm) => norm.forward(&x),
            Stage::Normalize => &x / x.norm_scalaropt_dim(2, 1, true).clamp_min(1e-12),
            Stage::Rotate(rotation) => x.matmul(&rotation.tr()),
            Stage::Cut(dimension) => x.narrow(1, 0, *dimension).contiguous(),
        })
    }

    /// Whether all vectors have length 1.
    pub fn normalizes(&self) -> bool {
        matches!(self.stages.last(), Some(Stage::Normalize))
    }

    /// Rotates each vector in the end: R·x for `rotation` R, (E, E).
    pub fn rotate(&mut self, rotation: Tensor) {
        self.stages.push(Stage::Rotate(rotation));
    }

    /// Keeps only the first `dimension` numbers of each vector, and brings it back to length 1 if it had that.
    pub fn cut(&mut self, dimension: i64) {
        let normalizes = self.normalizes();
        self.stages.push(Stage::Cut(dimension));
        if normalizes {
            self.stages.push(Stage::Normalize);
        }
        self.dimension = dimension;
    }
}
