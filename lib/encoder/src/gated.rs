//! The gated feed-forward network: W₃(f(W₁x) · W₂x), where f is SiLU or GELU (Shazeer 2020, arXiv 2002.05202).

use tch::Tensor;

use crate::layers::{Activation, Linear};
use crate::parameters::Parameters;

/// Three matrices without biases.
pub(crate) struct Gated {
    gate: Linear,
    up: Linear,
    down: Linear,
    activation: Activation,
}

impl Gated {
    /// The network with parameters of these names: of the gate W₁, the way up W₂ (both `wide` x `hidden`) and the way
    /// down W₃.
    pub fn new(
        parameters: &mut Parameters,
        [gate, up, down]: [&str; 3],
        hidden: i64,
        wide: i64,
        activation: Activation,
    ) -> Gated {
        Gated {
            gate: Linear::new(parameters, gate, hidden, wide, false),
            up: Linear::new(parameters, up, hidden, wide, false),
            down: Linear::new(parameters, down, wide, hidden, false),
            activation,
        }
    }

    pub fn forward(&self, x: &Tensor) -> Tensor {
        self.down.forward(&(self.activation.forward(&self.gate.forward(x)) * self.up.forward(x)))
    }

    pub fn linears(&mut self) -> [&mut Linear; 3] {
        let Gated { gate, up, down, .. } = self;
        [gate, up, down]
    }
}
