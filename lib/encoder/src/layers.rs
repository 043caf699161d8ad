//! The parts that transformers and heads are made of.

use tch::{Kind, Tensor};

use crate::config::Activation;
use crate::parameters::Parameters;

/// x·Wᵀ + b.
pub(crate) struct Linear {
    weight: Tensor,
    bias: Option<Tensor>,
}

impl Linear {
    pub fn new(parameters: &mut Parameters, name: &str, inputs: i64, outputs: i64, bias: bool) -> Linear {
        Linear {
            weight: parameters.get(&format!("{name}.weight"), &[outputs, inputs]),
            bias: bias.then(|| parameters.get(&format!("{name}.bias"), &[outputs])),
        }
    }

    /// Computes in the type of `x`, whatever the type of the weights.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        let kind = x.kind();
        x.linear(&self.weight.to_kind(kind), self.bias.as_ref().map(|bias| bias.to_kind(kind)))
    }

    /// Casts the weights once, so that [`Linear::forward`] needn't.
    pub fn cast(&mut self, kind: Kind) {
        self.weight = self.weight.to_kind(kind);
        self.bias = self.bias.as_ref().map(|bias| bias.to_kind(kind));
    }
}

/// (x − mean) / √(variance + eps) · w + b over the last dimension, in float32.
pub(crate) struct LayerNorm {
    weight: Tensor,
    bias: Tensor,
    size: i64,
    eps: f64,
}

impl LayerNorm {
    pub fn new(parameters: &mut Parameters, name: &str, size: i64, eps: f64) -> LayerNorm {
        LayerNorm {
            weight: parameters.get(&format!("{name}.weight"), &[size]),
            bias: parameters.get(&format!("{name}.bias"), &[size]),
            size,
            eps,
        }
    }

    pub fn forward(&self, x: &Tensor) -> Tensor {
        x.layer_norm([self.size], Some(&self.weight), Some(&self.bias), self.eps, false)
    }
}

impl Activation {
    pub(crate) fn forward(self, x: &Tensor) -> Tensor {
        match self {
            Activation::Gelu => x.gelu("none"),
            Activation::GeluTanh => x.gelu("tanh"),
            Activation::Relu => x.relu(),
            Activation::Tanh => x.tanh(),
            Activation::Identity => x.shallow_clone(),
        }
    }
}
