//! The transformer of BERT and RoBERTa: token ids to hidden states.
//! Devlin et al. 2019 (arXiv 1810.04805), Liu et al. 2019 (arXiv 1907.11692).

use tch::{Device, Kind, Tensor};

use crate::batch::{Batch, joined};
use crate::config::{Activation, Config};
use crate::dropout::Dropout;
use crate::layers::{LayerNorm, Linear};
use crate::parameters::Parameters;

pub(crate) struct Transformer {
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

/// What all layers need to know of one pass.
struct Pass<'a> {
    batch: &'a Batch,
    /// For each group what is added to its attention scores.
    masks: Vec<Option<Tensor>>,
    /// The type of the products.
    kind: Kind,
    /// In training only.
    dropout: Option<Dropout>,
}

impl Pass<'_> {
    fn drop_out(&self, x: Tensor, p: f64) -> Tensor {
        match &self.dropout {
            Some(dropout) => dropout.apply(x, p),
            None => x,
        }
    }
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
        Transformer { words, positions, types, norm, layers, hidden_dropout: config.hidden_dropout }
    }

    /// Hidden states of the last layer: (T, D), float32, or (B, D) when `first_only`, for heads
    /// that look at the first token only: the last layer then computes no other.
    pub fn forward(&self, batch: &Batch, kind: Kind, first_only: bool, dropout: Option<Dropout>) -> Tensor {
        let masks = batch.groups.iter().map(|group| group.mask(kind)).collect();
        let pass = Pass { batch, masks, kind, dropout };
        let mut hidden = self.embed(&pass);
        for (number, layer) in self.layers.iter().enumerate() {
            hidden = layer.forward(&hidden, &pass, first_only && number + 1 == self.layers.len());
        }
        hidden
    }

    /// Tokens to the first layer's input (T, D).
    fn embed(&self, pass: &Pass) -> Tensor {
        let words = Tensor::embedding(&self.words, &pass.batch.token_ids, -1, false, false);
        let positions = Tensor::embedding(&self.positions, &pass.batch.positions, -1, false, false);
        let sum = words + positions + self.types.select(0, 0);
        pass.drop_out(self.norm.forward(&sum), self.hidden_dropout)
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

    /// (T, D) → (T, D); with `first_only`, (B, D). The residual stream is float32.
    fn forward(&self, hidden: &Tensor, pass: &Pass, first_only: bool) -> Tensor {
        let x = hidden.to_kind(pass.kind);
        let (hidden, context) = match first_only {
            true => {
                let firsts = &pass.batch.firsts;
                (hidden.index_select(0, firsts), self.attend(Some(&x.index_select(0, firsts)), &x, pass))
            }
            false => (hidden.shallow_clone(), self.attend(None, &x, pass)),
        };
        let attended = pass.drop_out(self.attention_output.forward(&context), self.hidden_dropout);
        let hidden = self.attention_norm.forward(&(hidden + attended));

        let wide = self.activation.forward(&self.intermediate.forward(&hidden.to_kind(pass.kind))); // (T, 4D)
        let output = pass.drop_out(self.output.forward(&wide), self.hidden_dropout);
        self.output_norm.forward(&(hidden + output))
    }

    /// Attention over the tokens `x` (T, D) of all of them, (T, D), or, if given, of one a text, `asking` (B, D).
    fn attend(&self, asking: Option<&Tensor>, x: &Tensor, pass: &Pass) -> Tensor {
        let batch = pass.batch;
        let queries = match asking {
            Some(asking) => batch.split_texts(&self.query.forward(asking)),
            None => batch.split(&self.query.forward(x)),
        };
        let (keys, values) = (batch.split(&self.key.forward(x)), batch.split(&self.value.forward(x)));
        let contexts = batch.groups.iter().enumerate().map(|(number, group)| {
            let (key, value) = (group.pad(&keys[number]), group.pad(&values[number]));
            let attend = |query| self.attend_in_group(query, key, value, pass.masks[number].as_ref(), pass);
            match asking {
                Some(_) => attend(queries[number].unsqueeze(1)).squeeze_dim(1),
                None => group.unpad(&attend(group.pad(&queries[number]))),
            }
        });
        joined(contexts.collect())
    }

    /// Attention of `query` (n, Q, D) over `key` and `value` (n, L, D): (n, Q, D).
    fn attend_in_group(&self, query: Tensor, key: Tensor, value: Tensor, mask: Option<&Tensor>, pass: &Pass) -> Tensor {
        // (n, L, D) → (n, H, L, D/H)
        let heads = |x: Tensor| {
            let size = x.size();
            x.view([size[0], size[1], self.heads, size[2] / self.heads]).transpose(1, 2)
        };
        let (query, key, value) = (heads(query), heads(key), heads(value));
        let p = if pass.dropout.is_some() { self.attention_dropout } else { 0.0 };
        let context = match query.device() {
            // libtorch has no fused attention with dropout for a CPU, and our dropout is faster than the one it takes.
            Device::Cpu if p > 0.0 => {
                let scale = 1.0 / (query.size()[3] as f64).sqrt();
                let scores = (query * scale).matmul(&key.transpose(2, 3)); // (n, H, Q, L)
                let scores = mask.map_or(scores.shallow_clone(), |mask| scores + mask);
                pass.drop_out(scores.softmax(-1, scores.kind()), p).matmul(&value)
            }
            _ => Tensor::scaled_dot_product_attention(&query, &key, &value, mask, p, false, None, false),
        };
        context.transpose(1, 2).flatten(2, 3)
    }
}
