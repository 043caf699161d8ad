//! Gemma 3's text model, which EmbeddingGemma is made of: four norms a layer, and most layers look near by.
//! Kamath et al. 2025 (arXiv 2503.19786), Schechter Vera et al. 2025 (arXiv 2509.20354).

use hardmine_records::Result;
use serde::Deserialize;
use serde_json::Value;
use tch::Tensor;

use super::{Architecture, Numbering, Sizes, Transformer};
use crate::attention::Heads;
use crate::config::Keys;
use crate::gated::Gated;
use crate::grouped_attention::GroupedAttention;
use crate::layers::{Activation, Embedding, Linear, RmsNorm};
use crate::parameters::Parameters;
use crate::pass::{Look, Pass, Sight};
use crate::rotary::{Rotary, Turns};

/// The keys that are read, besides those of positions and of kinds of layers.
#[derive(Deserialize)]
struct Config {
    vocab_size: i64,
    hidden_size: i64,
    num_hidden_layers: usize,
    num_attention_heads: i64,
    num_key_value_heads: Option<i64>,
    head_dim: Option<i64>,
    intermediate_size: i64,
    max_position_embeddings: i64,
    query_pre_attn_scalar: f64,
    sliding_window: i64,
    use_bidirectional_attention: Option<bool>,
    rms_norm_eps: Option<f64>,
    attention_bias: Option<bool>,
    attention_dropout: Option<f64>,
}

struct Gemma3 {
    sizes: Sizes,
    heads: Heads,
    intermediate: i64,
    activation: Activation,
    attention_bias: bool,
    eps: f64,
    /// Whether each layer looks at the whole text.
    sees_all: Vec<bool>,
    all: Kind,
    near: Kind,
}

/// What layers of one kind have in common.
#[derive(Clone, Copy)]
struct Kind {
    sight: Sight,
    theta: f64,
}

pub(super) fn read(keys: &Keys) -> Result<Box<dyn Architecture>> {
    let config: Config = keys.parse()?;
    for name in ["attn_logit_softcapping", "final_logit_softcapping"] {
        keys.expect(name, &[Value::Null])?;
    }
    let heads = keys.grouped_heads(
        config.num_attention_heads,
        // transformers' own defaults.
        config.num_key_value_heads.or(Some(4)),
        config.head_dim.unwrap_or(256),
        config.attention_dropout,
    )?;
    keys.check_sizes(&[
        ("intermediate_size", config.intermediate_size),
        ("max_position_embeddings", config.max_position_embeddings),
        ("sliding_window", config.sliding_window),
    ])?;
    if !(config.query_pre_attn_scalar.is_finite() && config.query_pre_attn_scalar > 0.0) {
        return Err(keys.wrong(format!("query_pre_attn_scalar is {}; expected above 0", config.query_pre_attn_scalar)));
    }
    let sizes = Sizes {
        vocabulary: config.vocab_size,
        hidden: config.hidden_size,
        layers: config.num_hidden_layers,
        max_tokens: config.max_position_embeddings,
        numbering: Numbering::FromZero,
    };
    let causal = !config.use_bidirectional_attention.unwrap_or(false);
    // A causal window counts the token itself; where both directions are seen, half of it lies on either side.
    let within = if causal { config.sliding_window - 1 } else { config.sliding_window / 2 };
    let every = keys.get("sliding_window_pattern").and_then(Value::as_u64).unwrap_or(6).max(1) as usize;
    let kind = |within, theta| Kind { sight: Sight { causal, within }, theta };
    Ok(Box::new(Gemma3 {
        sizes,
        heads: Heads { scale: config.query_pre_attn_scalar.powf(-0.5), ..heads },
        intermediate: config.intermediate_size,
        activation: keys.activation("hidden_activation")?,
        attention_bias: config.attention_bias.unwrap_or(false),
        eps: config.rms_norm_eps.unwrap_or(1e-6),
        sees_all: keys.layers_that_see_all(sizes.layers, |number| (number + 1).is_multiple_of(every))?,
        all: kind(None, keys.rope_theta(Some("full_attention"), "rope_theta", 1_000_000.0)?),
        near: kind(Some(within), keys.rope_theta(Some("sliding_attention"), "rope_local_base_freq", 10_000.0)?),
    }))
}

impl Architecture for Gemma3 {
    fn sizes(&self) -> Sizes {
        self.sizes
    }

    fn build(&self, parameters: &mut Parameters) -> Box<dyn Transformer> {
        let Sizes { vocabulary, hidden, .. } = self.sizes;
        // The weights of norms are kept as their difference to 1.
        let norm = |parameters: &mut Parameters, name: &str, size| RmsNorm::new(parameters, name, size, self.eps, 1.0);
        let words = Embedding::new(parameters, "embed_tokens", vocabulary, hidden);
        let layer = |(number, &sees_all)| {
            let name = format!("layers.{number}");
            let [gate, up, down] = ["gate", "up", "down"].map(|part| format!("{name}.mlp.{part}_proj"));
            let (attention_name, bias) = (format!("{name}.self_attn"), self.attention_bias);
            Layer {
                sees_all,
                before_attention: norm(parameters, &format!("{name}.input_layernorm"), hidden),
                attention: GroupedAttention::new(parameters, &attention_name, hidden, self.heads, bias, norm),
                after_attention: norm(parameters, &format!("{name}.post_attention_layernorm"), hidden),
                before_mlp: norm(parameters, &format!("{name}.pre_feedforward_layernorm"), hidden),
                mlp: Gated::new(parameters, [&gate, &up, &down], hidden, self.intermediate, self.activation),
                after_mlp: norm(parameters, &format!("{name}.post_feedforward_layernorm"), hidden),
            }
        };
        let layers = self.sees_all.iter().enumerate().map(layer).collect();
        let final_norm = norm(parameters, "norm", hidden);
        let scale = (hidden as f64).sqrt();
        Box::new(Layers {
            words,
            scale,
            layers,
            final_norm,
            head_size: self.heads.size,
            all: self.all,
            near: self.near,
        })
    }
}

struct Layers {
    words: Embedding,
    /// What word embeddings are multiplied with.
    scale: f64,
    layers: Vec<Layer>,
    final_norm: RmsNorm,
    head_size: i64,
    all: Kind,
    near: Kind,
}

struct Layer {
    sees_all: bool,
    before_attention: RmsNorm,
    attention: GroupedAttention,
    after_attention: RmsNorm,
    before_mlp: RmsNorm,
    mlp: Gated,
    after_mlp: RmsNorm,
}

impl Transformer for Layers {
    fn forward(&self, pass: &Pass) -> Tensor {
        let [all, near] = [self.all, self.near].map(|Kind { sight, theta }| {
            let rotary = Rotary { theta, size: self.head_size };
            (pass.looks(sight), rotary.turns(pass.batch, pass.kind))
        });
        let mut hidden = self.words.rows(&pass.batch.token_ids) * self.scale;
        for (number, layer) in self.layers.iter().enumerate() {
            let (looks, turns) = if layer.sees_all { &all } else { &near };
            hidden = layer.forward(&hidden, looks.of(number + 1 == self.layers.len()), turns, pass);
        }
        self.final_norm.forward(&hidden)
    }

    fn linears(&mut self) -> Vec<&mut Linear> {
        self.layers
            .iter_mut()
            .flat_map(|layer| layer.attention.linears().into_iter().chain(layer.mlp.linears()))
            .collect()
    }
}

impl Layer {
    /// Hidden states of all tokens (T, D) to those of the tokens that look. The residual stream is float32.
    fn forward(&self, hidden: &Tensor, look: &Look, turns: &Turns, pass: &Pass) -> Tensor {
        let normalized = self.before_attention.forward(hidden).to_kind(pass.kind);
        let attended = self.attention.forward(&normalized, look, turns, pass);
        let hidden = look.pick(hidden) + self.after_attention.forward(&attended);
        let normalized = self.before_mlp.forward(&hidden).to_kind(pass.kind);
        &hidden + self.after_mlp.forward(&self.mlp.forward(&normalized))
    }
}
