//! DistilBERT: a BERT without token types and with names of its own.
//! Sanh et al. 2019 (arXiv 1910.01108).

use hardmine_records::Result;
use serde::Deserialize;
use tch::Tensor;

use super::{Architecture, Numbering, Sizes, Transformer};
use crate::attention::Heads;
use crate::block::{Block, BlockNames, BlockShape};
use crate::config::Keys;
use crate::layers::{Embedding, LayerNorm, Linear};
use crate::parameters::Parameters;
use crate::pass::{Pass, Sight};

/// What is added to the variance in every LayerNorm; no key says it.
const EPS: f64 = 1e-12;

/// The keys that are read. `sinusoidal_pos_embds` only says how positions were drawn at first.
#[derive(Deserialize)]
struct Config {
    vocab_size: i64,
    dim: i64,
    n_layers: usize,
    n_heads: i64,
    hidden_dim: i64,
    max_position_embeddings: i64,
    dropout: Option<f64>,
    attention_dropout: Option<f64>,
}

/// The names of a layer's parts.
const NAMES: BlockNames = BlockNames {
    query: "attention.q_lin",
    key: "attention.k_lin",
    value: "attention.v_lin",
    attention_output: "attention.out_lin",
    attention_norm: "sa_layer_norm",
    intermediate: "ffn.lin1",
    output: "ffn.lin2",
    output_norm: "output_layer_norm",
};

struct DistilBert {
    sizes: Sizes,
    block: BlockShape,
    dropout: f64,
}

pub(super) fn read(keys: &Keys) -> Result<Box<dyn Architecture>> {
    let config: Config = keys.parse()?;
    let dropout = config.dropout.unwrap_or(0.1);
    let attention_dropout = config.attention_dropout.unwrap_or(0.1);
    keys.check_sizes(&[
        ("hidden_dim", config.hidden_dim),
        ("max_position_embeddings", config.max_position_embeddings),
    ])?;
    keys.check_dropout(&[("dropout", dropout), ("attention_dropout", attention_dropout)])?;
    let head_size = keys.head_size(config.dim, config.n_heads)?;
    let sizes = Sizes {
        vocabulary: config.vocab_size,
        hidden: config.dim,
        layers: config.n_layers,
        max_tokens: config.max_position_embeddings,
        numbering: Numbering::FromZero,
    };
    let block = BlockShape {
        hidden: config.dim,
        intermediate: config.hidden_dim,
        heads: Heads::new(config.n_heads, head_size, attention_dropout),
        activation: keys.activation("activation")?,
        eps: EPS,
        // None after attention, other than in a BERT.
        dropout: [0.0, dropout],
    };
    Ok(Box::new(DistilBert { sizes, block, dropout }))
}

impl Architecture for DistilBert {
    fn sizes(&self) -> Sizes {
        self.sizes
    }

    fn build(&self, parameters: &mut Parameters) -> Box<dyn Transformer> {
        let Sizes { vocabulary, hidden, layers, max_tokens, .. } = self.sizes;
        let words = Embedding::new(parameters, "embeddings.word_embeddings", vocabulary, hidden);
        let positions = Embedding::new(parameters, "embeddings.position_embeddings", max_tokens, hidden);
        let norm = LayerNorm::new(parameters, "embeddings.LayerNorm", hidden, EPS);
        let block = |number| Block::new(parameters, &format!("transformer.layer.{number}"), &NAMES, self.block);
        let blocks = (0..layers).map(block).collect();
        Box::new(Layers { words, positions, norm, blocks, dropout: self.dropout })
    }
}

struct Layers {
    words: Embedding,
    positions: Embedding,
    norm: LayerNorm,
    blocks: Vec<Block>,
    dropout: f64,
}

impl Transformer for Layers {
    fn forward(&self, pass: &Pass) -> Tensor {
        let looks = pass.looks(Sight::ALL);
        let sum = self.words.rows(&pass.batch.token_ids) + self.positions.rows(&pass.batch.positions);
        let mut hidden = pass.drop_out(self.norm.forward(&sum), self.dropout);
        for (number, block) in self.blocks.iter().enumerate() {
            hidden = block.forward(&hidden, looks.of(number + 1 == self.blocks.len()), pass);
        }
        hidden
    }

    fn linears(&mut self) -> Vec<&mut Linear> {
        self.blocks.iter_mut().flat_map(Block::linears).collect()
    }
}
