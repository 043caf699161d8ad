//! Qwen3: a decoder that encodes, whose tokens look at those before them; the last token's state is the text's.
//! Yang et al. 2025 (arXiv 2505.09388), Zhang et al. 2025 (arXiv 2506.05176).

use hardmine_records::Result;
use serde::Deserialize;
use serde_json::json;
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

/// The keys that are read, besides those of positions.
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
    rms_norm_eps: Option<f64>,
    attention_bias: Option<bool>,
    attention_dropout: Option<f64>,
    use_bidirectional_attention: Option<bool>,
    is_causal: Option<bool>,
}

struct Qwen3 {
    sizes: Sizes,
    heads: Heads,
    intermediate: i64,
    activation: Activation,
    attention_bias: bool,
    eps: f64,
    theta: f64,
    sight: Sight,
}

pub(super) fn read(keys: &Keys) -> Result<Box<dyn Architecture>> {
    let config: Config = keys.parse()?;
    keys.expect("use_sliding_window", &[json!(false)])?;
    if let Some(kinds) = keys.get("layer_types").and_then(|kinds| kinds.as_array())
        && let Some(other) = kinds.iter().find(|&kind| kind != "full_attention")
    {
        return Err(keys.wrong(format!("layer type {other} is not known in a qwen3; expected full_attention")));
    }
    let heads = keys.grouped_heads(
        config.num_attention_heads,
        config.num_key_value_heads,
        // transformers' own default, which is not hidden_size / num_attention_heads.
        config.head_dim.unwrap_or(128),
        config.attention_dropout,
    )?;
    keys.check_sizes(&[
        ("intermediate_size", config.intermediate_size),
        ("max_position_embeddings", config.max_position_embeddings),
    ])?;
    let sizes = Sizes {
        vocabulary: config.vocab_size,
        hidden: config.hidden_size,
        layers: config.num_hidden_layers,
        max_tokens: config.max_position_embeddings,
        numbering: Numbering::FromZero,
    };
    // Two names for the same switch: some encoders made of a Qwen3 let all tokens see each other.
    let both_ways = config.use_bidirectional_attention == Some(true) || config.is_causal == Some(false);
    Ok(Box::new(Qwen3 {
        sizes,
        heads,
        intermediate: config.intermediate_size,
        activation: keys.activation("hidden_act")?,
        attention_bias: config.attention_bias.unwrap_or(false),
        eps: config.rms_norm_eps.unwrap_or(1e-6),
        theta: keys.rope_theta(None, "rope_theta", 10_000.0)?,
        sight: Sight { causal: !both_ways, within: None },
    }))
}

impl Architecture for Qwen3 {
    fn sizes(&self) -> Sizes {
        self.sizes
    }

    fn build(&self, parameters: &mut Parameters) -> Box<dyn Transformer> {
        let Sizes { vocabulary, hidden, layers, .. } = self.sizes;
        let norm = |parameters: &mut Parameters, name: &str, size| RmsNorm::new(parameters, name, size, self.eps, 0.0);
        let words = Embedding::new(parameters, "embed_tokens", vocabulary, hidden);
        let layer = |number| {
            let name = format!("layers.{number}");
            let [gate, up, down] = ["gate", "up", "down"].map(|part| format!("{name}.mlp.{part}_proj"));
            let (attention_name, bias) = (format!("{name}.self_attn"), self.attention_bias);
            Layer {
                attention_norm: norm(parameters, &format!("{name}.input_layernorm"), hidden),
                attention: GroupedAttention::new(parameters, &attention_name, hidden, self.heads, bias, norm),
                mlp_norm: norm(parameters, &format!("{name}.post_attention_layernorm"), hidden),
                mlp: Gated::new(parameters, [&gate, &up, &down], hidden, self.intermediate, self.activation),
            }
        };
        let layers = (0..layers).map(layer).collect();
        let final_norm = norm(parameters, "norm", hidden);
        let rotary = Rotary { theta: self.theta, size: self.heads.size };
        Box::new(Layers { words, layers, final_norm, rotary, sight: self.sight })
    }
}

struct Layers {
    words: Embedding,
    layers: Vec<Layer>,
    final_norm: RmsNorm,
    rotary: Rotary,
    sight: Sight,
}

struct Layer {
    attention_norm: RmsNorm,
    attention: GroupedAttention,
    mlp_norm: RmsNorm,
    mlp: Gated,
}

impl Transformer for Layers {
    fn forward(&self, pass: &Pass) -> Tensor {
        let looks = pass.looks(self.sight);
        let turns = self.rotary.turns(pass.batch, pass.kind);
        let mut hidden = self.words.rows(&pass.batch.token_ids);
        for (number, layer) in self.layers.iter().enumerate() {
            hidden = layer.forward(&hidden, looks.of(number + 1 == self.layers.len()), &turns, pass);
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
        let normalized = self.attention_norm.forward(hidden).to_kind(pass.kind);
        let hidden = look.pick(hidden) + self.attention.forward(&normalized, look, turns, pass);
        let normalized = self.mlp_norm.forward(&hidden).to_kind(pass.kind);
        hidden + self.mlp.forward(&normalized)
    }
}
