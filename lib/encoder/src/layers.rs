//! The parts that transformers and heads are made of.

use tch::{Kind, Tensor};

use crate::int8::{Int8Matrix, Norm};
use crate::parameters::Parameters;

/// x·Wᵀ + b.
pub(crate) struct Linear {
    weight: Tensor,
    bias: Option<Tensor>,
    /// Both in int8, once they have been rounded; then they are not needed any more.
    int8: Option<Int8Matrix>,
}

impl Linear {
    pub fn new(parameters: &mut Parameters, name: &str, inputs: i64, outputs: i64, bias: bool) -> Linear {
        Linear {
            weight: parameters.get(&format!("{name}.weight"), &[outputs, inputs]),
            bias: bias.then(|| parameters.get(&format!("{name}.bias"), &[outputs])),
            int8: None,
        }
    }

    /// Computes in the type of `x`, whatever the type of the weights.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        let kind = x.kind();
        if let Some(matrix) = &self.int8 {
            return matrix.forward(x).to_kind(kind);
        }
        x.linear(&self.weight.to_kind(kind), self.bias.as_ref().map(|bias| bias.to_kind(kind)))
    }

    /// Casts the weights once, so that [`Linear::forward`] needn't.
    pub fn cast(&mut self, kind: Kind) {
        self.weight = self.weight.to_kind(kind);
        self.bias = self.bias.as_ref().map(|bias| bias.to_kind(kind));
    }

    /// Rounds the weights to int8, which [`Linear::forward`] then computes with.
    pub fn round_to_int8(&mut self) {
        self.int8 = Some(Int8Matrix::new(&self.weight, self.bias.as_ref()));
        (self.weight, self.bias) = (Tensor::new(), None);
    }

    /// The matrix in int8, once it has been rounded.
    pub fn int8(&self) -> Option<&Int8Matrix> {
        self.int8.as_ref()
    }
}

/// Rows of a table: (rows, D), and the row that gets no gradient, or -1.
pub(crate) struct Embedding(Tensor, i64);

impl Embedding {
    pub fn new(parameters: &mut Parameters, name: &str, rows: i64, size: i64) -> Embedding {
        Embedding(parameters.get(&format!("{name}.weight"), &[rows, size]), -1)
    }

    /// The same table, whose row `padding` gets no gradient, as in PyTorch, also where that token stands in a text.
    pub fn with_padding(self, padding: Option<i64>) -> Embedding {
        Embedding(self.0, padding.unwrap_or(-1))
    }

    /// The rows `ids`, of any shape: (…, D).
    pub fn rows(&self, ids: &Tensor) -> Tensor {
        Tensor::embedding(&self.0, ids, self.1, false, false)
    }

    /// One row: (D).
    pub fn row(&self, id: i64) -> Tensor {
        self.0.select(0, id)
    }
}

/// (x − mean) / √(variance + eps) · w + b over the last dimension, in float32.
pub(crate) struct LayerNorm {
    weight: Tensor,
    bias: Option<Tensor>,
    size: i64,
    eps: f64,
}

impl LayerNorm {
    pub fn new(parameters: &mut Parameters, name: &str, size: i64, eps: f64) -> LayerNorm {
        LayerNorm {
            bias: Some(parameters.get(&format!("{name}.bias"), &[size])),
            ..Self::plain(parameters, name, size, eps)
        }
    }

    /// Without a bias.
    pub fn plain(parameters: &mut Parameters, name: &str, size: i64, eps: f64) -> LayerNorm {
        LayerNorm { weight: parameters.get(&format!("{name}.weight"), &[size]), bias: None, size, eps }
    }

    pub fn forward(&self, x: &Tensor) -> Tensor {
        x.layer_norm([self.size], Some(&self.weight), self.bias.as_ref(), self.eps, false)
    }

    /// The same, for what is computed without libtorch.
    pub fn norm(&self) -> Norm {
        Norm::new(&self.weight, self.bias.as_ref(), self.eps)
    }
}

/// x / √(mean of x² + eps) · w over the last dimension, in float32 (Zhang and Sennrich 2019, arXiv 1910.07467).
pub(crate) struct RmsNorm {
    weight: Tensor,
    /// What is added to the weight: Gemma's are kept as their difference to 1.
    offset: f64,
    eps: f64,
}

impl RmsNorm {
    pub fn new(parameters: &mut Parameters, name: &str, size: i64, eps: f64, offset: f64) -> RmsNorm {
        RmsNorm { weight: parameters.get(&format!("{name}.weight"), &[size]), offset, eps }
    }

    /// The result has the type of `x`.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        let exact = x.to_kind(Kind::Float);
        let scale = (exact.square().mean_dim(-1, true, Kind::Float) + self.eps).rsqrt();
        let weight = if self.offset == 0.0 { self.weight.shallow_clone() } else { &self.weight + self.offset };
        (exact * scale * weight).to_kind(x.kind())
    }
}

/// The function between the two matrices of a feed-forward block, or after a Dense module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Activation {
    /// x·Φ(x), exact.
    Gelu,
    /// The approximation of x·Φ(x) by tanh.
    GeluTanh,
    /// max(x, 0).
    Relu,
    /// x·σ(x).
    Silu,
    /// tanh(x).
    Tanh,
    /// x.
    Identity,
}

impl Activation {
    /// What a `config.json` may call them.
    pub const NAMES: [&str; 5] = ["gelu", "gelu_new", "gelu_pytorch_tanh", "relu", "silu"];

    /// The activation that a `config.json` calls so.
    pub fn named(name: &str) -> Option<Activation> {
        match name {
            "gelu" => Some(Activation::Gelu),
            "gelu_new" | "gelu_pytorch_tanh" => Some(Activation::GeluTanh),
            "relu" => Some(Activation::Relu),
            "silu" | "swish" => Some(Activation::Silu),
            _ => None,
        }
    }

    pub fn forward(self, x: &Tensor) -> Tensor {
        match self {
            Activation::Gelu => x.gelu("none"),
            Activation::GeluTanh => x.gelu("tanh"),
            Activation::Relu => x.relu(),
            Activation::Silu => x.silu(),
            Activation::Tanh => x.tanh(),
            Activation::Identity => x.shallow_clone(),
        }
    }
}
