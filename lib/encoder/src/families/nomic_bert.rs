//! Nomic's BERT: rotary positions and gated feed-forward networks in a BERT that is otherwise as of old.
//! Nussbaum et al. 2024 (arXiv 2402.01613).

use hardmine_records::Result;
use serde::Deserialize;
use serde_json::{Value, json};
use tch::Tensor;

use super::{Architecture, Numbering, Sizes, Transformer};
use crate::attention::Heads;
use crate::config::Keys;
use crate::gated::Gated;
use crate::layers::{Activation, Embedding, LayerNorm, Linear};
use crate::parameters::Parameters;
use crate::pass::{Look, Pass, Sight};
use crate::rotary::{Rotary, Turns};

/// The keys that are read. Published checkpoints have GPT-2's names for them, and transformers 5 has BERT's.
#[derive(Deserialize)]
struct Config {
    vocab_size: i64,
    #[serde(alias = "n_embd")]
    hidden_size: i64,
    #[serde(alias = "n_layer")]
    num_hidden_layers: usize,
    #[serde(alias = "n_head")]
    num_attention_heads: i64,
    #[serde(alias = "n_inner")]
    intermediate_size: i64,
    #[serde(alias = "n_positions")]
    max_position_embeddings: i64,
    max_trained_positions: Option<i64>,
    type_vocab_size: Option<i64>,
    #[serde(alias = "layer_norm_epsilon")]
    layer_norm_eps: Option<f64>,
    #[serde(alias = "resid_pdrop")]
    hidden_dropout_prob: Option<f64>,
    #[serde(alias = "attn_pdrop")]
    attention_probs_dropout_prob: Option<f64>,
    rotary_emb_base: Option<f64>,
}

struct NomicBert {
    sizes: Sizes,
    heads: Heads,
    intermediate: i64,
    activation: Activation,
    types: i64,
    eps: f64,
    dropout: f64,
    theta: f64,
}

/// Refuses settings of the published program that are not computed here.
fn check_published(keys: &Keys) -> Result<()> {
    let off = json!(false);
    for name in [
        "causal",
        "prenorm",
        "parallel_block",
        "qkv_proj_bias",
        "mlp_fc1_bias",
        "mlp_fc2_bias",
        "use_rms_norm",
        "rotary_emb_interleaved",
        "scale_attn_by_inverse_layer_idx",
    ] {
        keys.expect(name, std::slice::from_ref(&off))?;
    }
    keys.expect("rotary_emb_fraction", &[json!(1.0), json!(1)])?;
    keys.expect("rotary_emb_scale_base", &[Value::Null])?;
    // Some layers of version 2 have several feed-forward networks each.
    keys.expect("num_experts", &[json!(0)])?;
    keys.expect("moe_every_n_layers", &[json!(0)])
}

pub(super) fn read(keys: &Keys) -> Result<Box<dyn Architecture>> {
    let config: Config = keys.parse()?;
    check_published(keys)?;
    let types = config.type_vocab_size.unwrap_or(2);
    let dropout = config.hidden_dropout_prob.unwrap_or(0.0);
    let attention_dropout = config.attention_probs_dropout_prob.unwrap_or(0.0);
    keys.check_sizes(&[
        ("intermediate_size", config.intermediate_size),
        ("max_position_embeddings", config.max_position_embeddings),
        ("type_vocab_size", types),
    ])?;
    keys.check_dropout(&[("hidden_dropout_prob", dropout), ("attention_probs_dropout_prob", attention_dropout)])?;
    let head_size = keys.even_head_size(config.hidden_size, config.num_attention_heads)?;
    keys.expect("head_dim", &[json!(head_size)])?;
    // The published program stretches the positions of texts that are longer than those it was trained on, which is not
    // done here.
    let longest = match config.max_trained_positions {
        Some(longest) => longest,
        None => {
            keys.expect("rotary_scaling_factor", &[Value::Null])?;
            i64::MAX
        }
    };
    let sizes = Sizes {
        vocabulary: config.vocab_size,
        hidden: config.hidden_size,
        layers: config.num_hidden_layers,
        max_tokens: config.max_position_embeddings.min(longest),
        numbering: Numbering::FromZero,
    };
    let activation = match keys.get("activation_function").and_then(Value::as_str) {
        None => keys.activation("hidden_act")?,
        Some("swiglu") => Activation::Silu,
        Some("geglu") => Activation::Gelu,
        Some(other) => {
            return Err(keys.wrong(format!("activation_function {other} is not known; expected swiglu or geglu")));
        }
    };
    Ok(Box::new(NomicBert {
        sizes,
        heads: Heads::new(config.num_attention_heads, head_size, attention_dropout),
        intermediate: config.intermediate_size,
        activation,
        types,
        eps: config.layer_norm_eps.unwrap_or(1e-12),
        dropout,
        theta: keys.rope_theta(None, "rope_theta", config.rotary_emb_base.unwrap_or(1000.0))?,
    }))
}

impl Architecture for NomicBert {
    fn sizes(&self) -> Sizes {
        self.sizes
    }

    fn build(&self, parameters: &mut Parameters) -> Box<dyn Transformer> {
        let Sizes { vocabulary, hidden, layers, .. } = self.sizes;
        let words = Embedding::new(parameters, "embeddings.word_embeddings", vocabulary, hidden);
        let types = Embedding::new(parameters, "embeddings.token_type_embeddings", self.types, hidden);
        let norm = LayerNorm::new(parameters, "emb_ln", hidden, self.eps);
        let layer = |number| {
            let name = format!("encoder.layers.{number}");
            let [gate, up, down] = ["fc12", "fc11", "fc2"].map(|part| format!("{name}.mlp.{part}"));
            Layer {
                projections: Linear::new(parameters, &format!("{name}.attn.Wqkv"), hidden, 3 * hidden, false),
                attention_output: Linear::new(parameters, &format!("{name}.attn.out_proj"), hidden, hidden, false),
                attention_norm: LayerNorm::new(parameters, &format!("{name}.norm1"), hidden, self.eps),
                mlp: Gated::new(parameters, [&gate, &up, &down], hidden, self.intermediate, self.activation),
                mlp_norm: LayerNorm::new(parameters, &format!("{name}.norm2"), hidden, self.eps),
                heads: self.heads,
                dropout: self.dropout,
            }
        };
        let layers = (0..layers).map(layer).collect();
        let rotary = Rotary { theta: self.theta, size: self.heads.size };
        Box::new(Layers { words, types, norm, layers, rotary, dropout: self.dropout })
    }
}

struct Layers {
    words: Embedding,
    types: Embedding,
    norm: LayerNorm,
    layers: Vec<Layer>,
    rotary: Rotary,
    dropout: f64,
}

struct Layer {
    /// Query, key and value, below one another.
    projections: Linear,
    attention_output: Linear,
    attention_norm: LayerNorm,
    mlp: Gated,
    mlp_norm: LayerNorm,
    heads: Heads,
    dropout: f64,
}

impl Transformer for Layers {
    fn forward(&self, pass: &Pass) -> Tensor {
        let looks = pass.looks(Sight::ALL);
        let turns = self.rotary.turns(pass.batch, pass.kind);
        // All tokens are of the first type.
        let sum = self.words.rows(&pass.batch.token_ids) + self.types.row(0);
        let mut hidden = pass.drop_out(self.norm.forward(&sum), self.dropout);
        for (number, layer) in self.layers.iter().enumerate() {
            hidden = layer.forward(&hidden, looks.of(number + 1 == self.layers.len()), &turns, pass);
        }
        hidden
    }

    fn linears(&mut self) -> Vec<&mut Linear> {
        fn of_layer(layer: &mut Layer) -> impl Iterator<Item = &mut Linear> {
            let Layer { projections, attention_output, mlp, .. } = layer;
            [projections, attention_output].into_iter().chain(mlp.linears())
        }
        self.layers.iter_mut().flat_map(of_layer).collect()
    }
}

impl Layer {
    /// Hidden states of all tokens (T, D) to those of the tokens that look. The residual stream is float32.
    fn forward(&self, hidden: &Tensor, look: &Look, turns: &Turns, pass: &Pass) -> Tensor {
        let projected = self.projections.forward(&hidden.to_kind(pass.kind)).chunk(3, 1); // (T, D) each
        let query = turns.pick(look).apply(&look.pick(&projected[0]));
        let context = self.heads.attend(&query, &turns.apply(&projected[1]), &projected[2], look, pass);
        let attended = pass.drop_out(self.attention_output.forward(&context), self.dropout);
        let hidden = self.attention_norm.forward(&(look.pick(hidden) + attended));
        let output = pass.drop_out(self.mlp.forward(&hidden.to_kind(pass.kind)), self.dropout);
        self.mlp_norm.forward(&(hidden + output))
    }
}
