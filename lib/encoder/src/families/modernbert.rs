//! ModernBERT: rotary positions, attention that mostly looks near by, and gated feed-forward networks.
//! Warner et al. 2024 (arXiv 2412.13663).

use hardmine_records::Result;
use serde::Deserialize;
use tch::Tensor;

use super::{Architecture, Numbering, Sizes, Transformer};
use crate::attention::Heads;
use crate::config::Keys;
use crate::layers::{Activation, Embedding, LayerNorm, Linear};
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
    intermediate_size: i64,
    max_position_embeddings: i64,
    local_attention: i64,
    global_attn_every_n_layers: Option<usize>,
    norm_eps: Option<f64>,
    norm_bias: Option<bool>,
    attention_bias: Option<bool>,
    mlp_bias: Option<bool>,
    embedding_dropout: Option<f64>,
    attention_dropout: Option<f64>,
    mlp_dropout: Option<f64>,
}

struct ModernBert {
    sizes: Sizes,
    shape: Shape,
    /// Whether each layer looks at the whole text.
    sees_all: Vec<bool>,
    /// How far the others look, to either side.
    within: i64,
    theta: Kinds<f64>,
    norm_bias: bool,
    embedding_dropout: f64,
}

/// The shape of a layer.
#[derive(Clone, Copy)]
struct Shape {
    heads: Heads,
    intermediate: i64,
    activation: Activation,
    attention_bias: bool,
    mlp_bias: bool,
    eps: f64,
    /// Of what comes out of attention.
    attention_dropout: f64,
    /// Inside the feed-forward network.
    mlp_dropout: f64,
}

/// Something that layers which look everywhere have, and those that look near by.
struct Kinds<T> {
    all: T,
    near: T,
}

impl<T> Kinds<T> {
    fn of(&self, sees_all: bool) -> &T {
        if sees_all { &self.all } else { &self.near }
    }
}

pub(super) fn read(keys: &Keys) -> Result<Box<dyn Architecture>> {
    let config: Config = keys.parse()?;
    let embedding_dropout = config.embedding_dropout.unwrap_or(0.0);
    let attention_dropout = config.attention_dropout.unwrap_or(0.0);
    let mlp_dropout = config.mlp_dropout.unwrap_or(0.0);
    keys.check_sizes(&[
        ("intermediate_size", config.intermediate_size),
        ("max_position_embeddings", config.max_position_embeddings),
        ("local_attention", config.local_attention),
    ])?;
    keys.check_dropout(&[
        ("embedding_dropout", embedding_dropout),
        ("attention_dropout", attention_dropout),
        ("mlp_dropout", mlp_dropout),
    ])?;
    let head_size = keys.even_head_size(config.hidden_size, config.num_attention_heads)?;
    let every = config.global_attn_every_n_layers.unwrap_or(3).max(1);
    let sizes = Sizes {
        vocabulary: config.vocab_size,
        hidden: config.hidden_size,
        layers: config.num_hidden_layers,
        max_tokens: config.max_position_embeddings,
        numbering: Numbering::FromZero,
    };
    let shape = Shape {
        heads: Heads::new(config.num_attention_heads, head_size, attention_dropout),
        intermediate: config.intermediate_size,
        activation: keys.activation("hidden_activation")?,
        attention_bias: config.attention_bias.unwrap_or(false),
        mlp_bias: config.mlp_bias.unwrap_or(false),
        eps: config.norm_eps.unwrap_or(1e-5),
        attention_dropout,
        mlp_dropout,
    };
    Ok(Box::new(ModernBert {
        sizes,
        shape,
        sees_all: keys.layers_that_see_all(sizes.layers, |number| number.is_multiple_of(every))?,
        within: config.local_attention / 2,
        theta: Kinds {
            all: keys.rope_theta(Some("full_attention"), "global_rope_theta", 160_000.0)?,
            near: keys.rope_theta(Some("sliding_attention"), "local_rope_theta", 10_000.0)?,
        },
        norm_bias: config.norm_bias.unwrap_or(false),
        embedding_dropout,
    }))
}

impl Architecture for ModernBert {
    fn sizes(&self) -> Sizes {
        self.sizes
    }

    fn build(&self, parameters: &mut Parameters) -> Box<dyn Transformer> {
        let Sizes { vocabulary, hidden, .. } = self.sizes;
        let norm = |parameters: &mut Parameters, name: &str| match self.norm_bias {
            true => LayerNorm::new(parameters, name, hidden, self.shape.eps),
            false => LayerNorm::plain(parameters, name, hidden, self.shape.eps),
        };
        let words = Embedding::new(parameters, "embeddings.tok_embeddings", vocabulary, hidden);
        let word_norm = norm(parameters, "embeddings.norm");
        let layers = self.sees_all.iter().enumerate().map(|(number, &sees_all)| {
            let name = format!("layers.{number}");
            // The embeddings are normalized already.
            let attention_norm = (number > 0).then(|| norm(parameters, &format!("{name}.attn_norm")));
            let mlp_norm = norm(parameters, &format!("{name}.mlp_norm"));
            Layer::new(parameters, &name, hidden, self.shape, sees_all, attention_norm, mlp_norm)
        });
        let layers = layers.collect();
        let final_norm = norm(parameters, "final_norm");
        let rotary = |theta| Rotary { theta, size: self.shape.heads.size };
        Box::new(Layers {
            words,
            word_norm,
            layers,
            final_norm,
            rotary: Kinds { all: rotary(self.theta.all), near: rotary(self.theta.near) },
            within: self.within,
            dropout: self.embedding_dropout,
        })
    }
}

struct Layers {
    words: Embedding,
    word_norm: LayerNorm,
    layers: Vec<Layer>,
    final_norm: LayerNorm,
    rotary: Kinds<Rotary>,
    within: i64,
    dropout: f64,
}

struct Layer {
    sees_all: bool,
    attention_norm: Option<LayerNorm>,
    /// Query, key and value, below one another.
    projections: Linear,
    attention_output: Linear,
    mlp_norm: LayerNorm,
    /// Input and gate, below one another.
    intermediate: Linear,
    output: Linear,
    shape: Shape,
}

impl Transformer for Layers {
    fn forward(&self, pass: &Pass) -> Tensor {
        let near = Sight { causal: false, within: Some(self.within) };
        let looks = Kinds { all: pass.looks(Sight::ALL), near: pass.looks(near) };
        let turns = |rotary: &Rotary| rotary.turns(pass.batch, pass.kind);
        let turns = Kinds { all: turns(&self.rotary.all), near: turns(&self.rotary.near) };
        let words = self.word_norm.forward(&self.words.rows(&pass.batch.token_ids));
        let mut hidden = pass.drop_out(words, self.dropout);
        for (number, layer) in self.layers.iter().enumerate() {
            let look = looks.of(layer.sees_all).of(number + 1 == self.layers.len());
            hidden = layer.forward(&hidden, look, turns.of(layer.sees_all), pass);
        }
        self.final_norm.forward(&hidden)
    }

    fn linears(&mut self) -> Vec<&mut Linear> {
        fn of_layer(layer: &mut Layer) -> impl Iterator<Item = &mut Linear> {
            let Layer { projections, attention_output, intermediate, output, .. } = layer;
            [projections, attention_output, intermediate, output].into_iter()
        }
        self.layers.iter_mut().flat_map(of_layer).collect()
    }
}

impl Layer {
    fn new(
        parameters: &mut Parameters,
        name: &str,
        hidden: i64,
        shape: Shape,
        sees_all: bool,
        attention_norm: Option<LayerNorm>,
        mlp_norm: LayerNorm,
    ) -> Layer {
        let mut linear = |part: &str, inputs, outputs, bias| {
            Linear::new(parameters, &format!("{name}.{part}"), inputs, outputs, bias)
        };
        Layer {
            sees_all,
            attention_norm,
            projections: linear("attn.Wqkv", hidden, 3 * hidden, shape.attention_bias),
            attention_output: linear("attn.Wo", hidden, hidden, shape.attention_bias),
            mlp_norm,
            intermediate: linear("mlp.Wi", hidden, 2 * shape.intermediate, shape.mlp_bias),
            output: linear("mlp.Wo", shape.intermediate, hidden, shape.mlp_bias),
            shape,
        }
    }

    /// Hidden states of all tokens (T, D) to those of the tokens that look. The residual stream is float32.
    fn forward(&self, hidden: &Tensor, look: &Look, turns: &Turns, pass: &Pass) -> Tensor {
        let Shape { heads, activation, attention_dropout, mlp_dropout, .. } = self.shape;
        let normalized = self.attention_norm.as_ref().map_or(hidden.shallow_clone(), |norm| norm.forward(hidden));
        let projected = self.projections.forward(&normalized.to_kind(pass.kind)).chunk(3, 1); // (T, D) each
        let query = turns.pick(look).apply(&look.pick(&projected[0]));
        let context = heads.attend(&query, &turns.apply(&projected[1]), &projected[2], look, pass);
        let attended = pass.drop_out(self.attention_output.forward(&context), attention_dropout);
        let hidden = look.pick(hidden) + attended;

        let wide = self.intermediate.forward(&self.mlp_norm.forward(&hidden).to_kind(pass.kind)).chunk(2, 1);
        let gated = pass.drop_out(activation.forward(&wide[0]) * &wide[1], mlp_dropout);
        hidden + self.output.forward(&gated)
    }
}
