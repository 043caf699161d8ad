//! The transformer of BERT and RoBERTa: token ids to hidden states.
//! Devlin et al. 2019 (arXiv 1810.04805), Liu et al. 2019 (arXiv 1907.11692).

use tch::{Kind, Tensor};

use crate::Batch;
use crate::config::{Activation, Config, Family};
use crate::layers::{LayerNorm, Linear, dropout};
use crate::parameters::Parameters;

pub(crate) struct Transformer {
    family: Family,
    pad_token_id: i64,
    words: Tensor,
    positions: Tensor,
    types: Tensor,
    norm: LayerNorm,
    layers: Vec<Layer>,
    hidden_dropout: f64,
}

struct Layer {
    query: Linear,
    key: Linear,
    value: Linear,
    attention_output: Linear,
    attention_norm: LayerNorm,
    intermediate: Linear,
    output: Linear,
    output_norm: LayerNorm,
    activation: Activation,
    heads: i64,
    hidden_dropout: f64,
    attention_dropout: f64,
}

impl Transformer {
    pub fn new(parameters: &mut Parameters, prefix: &str, config: &Config) -> Transformer {
        let hidden = config.hidden_size;
        let mut table =
            |name: &str, rows| parameters.get(&format!("{prefix}embeddings.{name}.weight"), &[rows, hidden]);
        let words = table("word_embeddings", config.vocab_size);
        let positions = table("position_embeddings", config.max_position_embeddings);
        let types = table("token_type_embeddings", config.type_vocab_size);
        let norm = LayerNorm::new(parameters, &format!("{prefix}embeddings.LayerNorm"), hidden, config.layer_norm_eps);
        let layers = (0..config.num_hidden_layers)
            .map(|number| Layer::new(parameters, &format!("{prefix}encoder.layer.{number}"), config))
            .collect();
        Transformer {
            family: config.family,
            pad_token_id: config.pad_token_id,
            words,
            positions,
            types,
            norm,
            layers,
            hidden_dropout: config.hidden_dropout,
        }
    }

    /// Hidden states of the last layer: (B, L, D), float32, or (B, 1, D) when `first_only`, for heads
    /// that look at the first token only: the last layer then computes no other.
    pub fn forward(&self, batch: &Batch, kind: Kind, first_only: bool, train: bool) -> Tensor {
        let mut hidden = self.embed(&batch.token_ids, train);
        // (B, 1, 1, L), added to the attention scores (B, H, L, L)
        let mask = batch.mask.as_ref().map(|mask| {
            let absent = mask.new_full([1], f64::NEG_INFINITY, (kind, mask.device()));
            mask.zeros_like().to_kind(kind).where_self(&mask.to_kind(Kind::Bool), &absent).unsqueeze(1).unsqueeze(1)
        });
        for (number, layer) in self.layers.iter().enumerate() {
            let first_only = first_only && number + 1 == self.layers.len();
            hidden = layer.forward(&hidden, mask.as_ref(), kind, first_only, train);
        }
        hidden
    }

    /// (B, L) → (B, L, D)
    fn embed(&self, token_ids: &Tensor, train: bool) -> Tensor {
        let positions = match self.family {
            Family::Bert => Tensor::arange(token_ids.size()[1], (Kind::Int64, token_ids.device())).unsqueeze(0),
            Family::Roberta => {
                let present = token_ids.ne(self.pad_token_id).to_kind(Kind::Int64);
                present.cumsum(1, Kind::Int64) * present + self.pad_token_id
            }
        };
        let words = Tensor::embedding(&self.words, token_ids, -1, false, false);
        let positions = Tensor::embedding(&self.positions, &positions, -1, false, false);
        let sum = words + positions + self.types.select(0, 0);
        dropout(self.norm.forward(&sum), self.hidden_dropout, train)
    }

    /// Casts the matrices of all layers once, for many forward passes without gradient.
    pub fn cast(&mut self, kind: Kind) {
        for layer in &mut self.layers {
            let Layer { query, key, value, attention_output, intermediate, output, .. } = layer;
            for linear in [query, key, value, attention_output, intermediate, output] {
                linear.cast(kind);
            }
        }
    }
}

impl Layer {
    fn new(parameters: &mut Parameters, name: &str, config: &Config) -> Layer {
        let (hidden, wide, eps) = (config.hidden_size, config.intermediate_size, config.layer_norm_eps);
        let mut linear =
            |part: &str, inputs, outputs| Linear::new(parameters, &format!("{name}.{part}"), inputs, outputs, true);
        let query = linear("attention.self.query", hidden, hidden);
        let key = linear("attention.self.key", hidden, hidden);
        let value = linear("attention.self.value", hidden, hidden);
        let attention_output = linear("attention.output.dense", hidden, hidden);
        let intermediate = linear("intermediate.dense", hidden, wide);
        let output = linear("output.dense", wide, hidden);
        Layer {
            query,
            key,
            value,
            attention_output,
            attention_norm: LayerNorm::new(parameters, &format!("{name}.attention.output.LayerNorm"), hidden, eps),
            intermediate,
            output,
            output_norm: LayerNorm::new(parameters, &format!("{name}.output.LayerNorm"), hidden, eps),
            activation: config.activation,
            heads: config.num_attention_heads,
            hidden_dropout: config.hidden_dropout,
            attention_dropout: config.attention_dropout,
        }
    }

    /// (B, L, D) → (B, L, D); with `first_only`, (B, 1, D). The residual stream is float32; `kind` is
    /// the type of the products.
    fn forward(&self, hidden: &Tensor, mask: Option<&Tensor>, kind: Kind, first_only: bool, train: bool) -> Tensor {
        let x = hidden.to_kind(kind);
        let (hidden, asking) = match first_only {
            true => (hidden.narrow(1, 0, 1), x.narrow(1, 0, 1)),
            false => (hidden.shallow_clone(), x.shallow_clone()),
        };
        let context = self.attend(&asking, &x, mask, train);
        let attended = dropout(self.attention_output.forward(&context), self.hidden_dropout, train);
        let hidden = self.attention_norm.forward(&(hidden + attended));

        let wide = self.activation.forward(&self.intermediate.forward(&hidden.to_kind(kind))); // (B, L, 4D)
        let output = dropout(self.output.forward(&wide), self.hidden_dropout, train);
        self.output_norm.forward(&(hidden + output))
    }

    /// Attention of `asking` (B, Q, D) over `x` (B, L, D): (B, Q, D).
    fn attend(&self, asking: &Tensor, x: &Tensor, mask: Option<&Tensor>, train: bool) -> Tensor {
        // (B, L, D) → (B, H, L, D/H)
        let split = |x: Tensor| {
            let size = x.size();
            x.view([size[0], size[1], self.heads, size[2] / self.heads]).transpose(1, 2)
        };
        let query = split(self.query.forward(asking));
        let key = split(self.key.forward(x));
        let value = split(self.value.forward(x));
        let p = if train { self.attention_dropout } else { 0.0 };
        let context = Tensor::scaled_dot_product_attention(&query, &key, &value, mask, p, false, None, false);
        context.transpose(1, 2).reshape(asking.size())
    }
}
