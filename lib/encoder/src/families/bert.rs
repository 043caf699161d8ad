//! BERT and RoBERTa: absolute positions, token types, and a LayerNorm after each block.
//! Devlin et al. 2019 (arXiv 1810.04805), Liu et al. 2019 (arXiv 1907.11692).

use hardmine_records::Result;
use serde::Deserialize;
use serde_json::json;
use tch::Tensor;

use super::{Architecture, Numbering, Sizes, Transformer};
use crate::attention::Heads;
use crate::block::{Block, BlockNames, BlockShape};
use crate::config::Keys;
use crate::layers::{Embedding, LayerNorm, Linear};
use crate::parameters::Parameters;
use crate::pass::{Pass, Sight};

/// The keys that are read. The others have no effect on hidden states.
#[derive(Deserialize)]
struct Config {
    vocab_size: i64,
    hidden_size: i64,
    num_hidden_layers: usize,
    num_attention_heads: i64,
    intermediate_size: i64,
    max_position_embeddings: i64,
    type_vocab_size: Option<i64>,
    layer_norm_eps: Option<f64>,
    hidden_dropout_prob: Option<f64>,
    attention_probs_dropout_prob: Option<f64>,
    pad_token_id: Option<i64>,
}

/// The names of a layer's parts.
const NAMES: BlockNames = BlockNames {
    query: "attention.self.query",
    key: "attention.self.key",
    value: "attention.self.value",
    attention_output: "attention.output.dense",
    attention_norm: "attention.output.LayerNorm",
    intermediate: "intermediate.dense",
    output: "output.dense",
    output_norm: "output.LayerNorm",
};

struct Bert {
    sizes: Sizes,
    block: BlockShape,
    positions: i64,
    types: i64,
}

/// Reads a BERT's keys.
pub(super) fn read(keys: &Keys) -> Result<Box<dyn Architecture>> {
    shape(keys, 0, |_| Numbering::FromZero)
}

/// Reads a RoBERTa's keys, which are also XLM-R's and CamemBERT's.
pub(super) fn read_roberta(keys: &Keys) -> Result<Box<dyn Architecture>> {
    shape(keys, 1, Numbering::AfterPadding)
}

fn shape(keys: &Keys, usual_padding: i64, numbering: fn(i64) -> Numbering) -> Result<Box<dyn Architecture>> {
    let config: Config = keys.parse()?;
    if keys.get("is_decoder") == Some(&json!(true)) {
        return Err(
            keys.wrong("is_decoder is true: a decoder, whose tokens don't see those after them; expected an encoder")
        );
    }
    keys.expect("position_embedding_type", &[json!("absolute")])?;
    let types = config.type_vocab_size.unwrap_or(1);
    let dropout = config.hidden_dropout_prob.unwrap_or(0.1);
    let attention_dropout = config.attention_probs_dropout_prob.unwrap_or(0.1);
    let padding = config.pad_token_id.unwrap_or(usual_padding);
    keys.check_sizes(&[
        ("vocab_size", config.vocab_size),
        ("intermediate_size", config.intermediate_size),
        ("max_position_embeddings", config.max_position_embeddings),
        ("type_vocab_size", types),
    ])?;
    keys.check_dropout(&[("hidden_dropout_prob", dropout), ("attention_probs_dropout_prob", attention_dropout)])?;
    keys.check_token("pad_token_id", padding, config.vocab_size)?;
    let head_size = keys.head_size(config.hidden_size, config.num_attention_heads)?;
    let numbering = numbering(padding);
    let sizes = Sizes {
        vocabulary: config.vocab_size,
        hidden: config.hidden_size,
        layers: config.num_hidden_layers,
        max_tokens: numbering.usable(config.max_position_embeddings),
        numbering,
    };
    let block = BlockShape {
        hidden: config.hidden_size,
        intermediate: config.intermediate_size,
        heads: Heads::new(config.num_attention_heads, head_size, attention_dropout),
        activation: keys.activation("hidden_act")?,
        eps: config.layer_norm_eps.unwrap_or(1e-12),
        dropout: [dropout; 2],
    };
    Ok(Box::new(Bert { sizes, block, positions: config.max_position_embeddings, types }))
}

impl Architecture for Bert {
    fn sizes(&self) -> Sizes {
        self.sizes
    }

    fn becomes_roberta_dot(&self) -> bool {
        matches!(self.sizes.numbering, Numbering::AfterPadding(_))
    }

    fn build(&self, parameters: &mut Parameters) -> Box<dyn Transformer> {
        let Sizes { vocabulary, hidden, layers, .. } = self.sizes;
        let mut table = |name: &str, rows| Embedding::new(parameters, &format!("embeddings.{name}"), rows, hidden);
        let words = table("word_embeddings", vocabulary);
        let positions = table("position_embeddings", self.positions);
        let types = table("token_type_embeddings", self.types);
        let norm = LayerNorm::new(parameters, "embeddings.LayerNorm", hidden, self.block.eps);
        let block = |number| Block::new(parameters, &format!("encoder.layer.{number}"), &NAMES, self.block);
        let blocks = (0..layers).map(block).collect();
        Box::new(Layers { words, positions, types, norm, blocks, dropout: self.block.dropout[0] })
    }
}

struct Layers {
    words: Embedding,
    positions: Embedding,
    types: Embedding,
    norm: LayerNorm,
    blocks: Vec<Block>,
    dropout: f64,
}

impl Transformer for Layers {
    fn forward(&self, pass: &Pass) -> Tensor {
        let batch = pass.batch;
        let looks = pass.looks(Sight::ALL);
        // All tokens are of the first type.
        let sum = self.words.rows(&batch.token_ids) + self.positions.rows(&batch.positions) + self.types.row(0);
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
