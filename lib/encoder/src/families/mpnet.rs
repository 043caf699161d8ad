//! MPNet: a RoBERTa without token types, whose attention knows how far apart two tokens are.
//! Song et al. 2020 (arXiv 2004.09297); the buckets of distances are T5's (Raffel et al. 2020, arXiv 1910.10683).

use hardmine_records::Result;
use serde::Deserialize;
use tch::{Kind, Tensor};

use super::{Architecture, Numbering, Sizes, Transformer};
use crate::attention::Heads;
use crate::batch::Group;
use crate::block::{Block, BlockNames, BlockShape};
use crate::config::Keys;
use crate::layers::{Embedding, LayerNorm, Linear};
use crate::parameters::Parameters;
use crate::pass::{Pass, Sight};

/// Padding has this id whatever `config.json` says.
const PADDING: i64 = 1;
/// Buckets of distances: half of them for tokens before, half for tokens after. `relative_attention_num_buckets` has
/// no effect in transformers either.
const BUCKETS: i64 = 32;
/// Distances from this one on share a bucket.
const FAR: f64 = 128.0;

/// The keys that are read.
#[derive(Deserialize)]
struct Config {
    vocab_size: i64,
    hidden_size: i64,
    num_hidden_layers: usize,
    num_attention_heads: i64,
    intermediate_size: i64,
    max_position_embeddings: i64,
    layer_norm_eps: Option<f64>,
    hidden_dropout_prob: Option<f64>,
    attention_probs_dropout_prob: Option<f64>,
}

/// The names of a layer's parts.
const NAMES: BlockNames = BlockNames {
    query: "attention.attn.q",
    key: "attention.attn.k",
    value: "attention.attn.v",
    attention_output: "attention.attn.o",
    attention_norm: "attention.LayerNorm",
    intermediate: "intermediate.dense",
    output: "output.dense",
    output_norm: "output.LayerNorm",
};

struct MpNet {
    sizes: Sizes,
    block: BlockShape,
    positions: i64,
}

pub(super) fn read(keys: &Keys) -> Result<Box<dyn Architecture>> {
    let config: Config = keys.parse()?;
    let dropout = config.hidden_dropout_prob.unwrap_or(0.1);
    let attention_dropout = config.attention_probs_dropout_prob.unwrap_or(0.1);
    keys.check_sizes(&[
        ("intermediate_size", config.intermediate_size),
        ("max_position_embeddings", config.max_position_embeddings),
    ])?;
    keys.check_dropout(&[("hidden_dropout_prob", dropout), ("attention_probs_dropout_prob", attention_dropout)])?;
    let head_size = keys.head_size(config.hidden_size, config.num_attention_heads)?;
    let numbering = Numbering::AfterPadding(PADDING);
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
    Ok(Box::new(MpNet { sizes, block, positions: config.max_position_embeddings }))
}

impl Architecture for MpNet {
    fn sizes(&self) -> Sizes {
        self.sizes
    }

    fn build(&self, parameters: &mut Parameters) -> Box<dyn Transformer> {
        let Sizes { vocabulary, hidden, layers, .. } = self.sizes;
        let words = Embedding::new(parameters, "embeddings.word_embeddings", vocabulary, hidden);
        let positions = Embedding::new(parameters, "embeddings.position_embeddings", self.positions, hidden);
        let norm = LayerNorm::new(parameters, "embeddings.LayerNorm", hidden, self.block.eps);
        let heads = self.block.heads.queries;
        let distances = Embedding::new(parameters, "encoder.relative_attention_bias", BUCKETS, heads);
        let block = |number| Block::new(parameters, &format!("encoder.layer.{number}"), &NAMES, self.block);
        let blocks = (0..layers).map(block).collect();
        Box::new(Layers { words, positions, norm, distances, blocks, dropout: self.block.dropout[0] })
    }
}

struct Layers {
    words: Embedding,
    positions: Embedding,
    norm: LayerNorm,
    /// What each head adds to its scores, by the bucket of the distance: (32, H).
    distances: Embedding,
    blocks: Vec<Block>,
    dropout: f64,
}

impl Transformer for Layers {
    fn forward(&self, pass: &Pass) -> Tensor {
        // All layers share what distances add.
        let looks = pass.looks_with(|group, places| {
            let bias = self.bias(group, places).to_kind(pass.kind);
            Some(match group.mask(Sight::ALL, places, pass.kind) {
                Some(mask) => bias + mask,
                None => bias,
            })
        });
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

impl Layers {
    /// What is added to the scores of a group, (1, H, L, L), or where one token of each text looks, (n, H, 1, L).
    fn bias(&self, group: &Group, places: Option<&Tensor>) -> Tensor {
        let bias = |distances: &Tensor| self.distances.rows(&bucket(distances)); // (…, L, H)
        let all = group.all_places();
        match places {
            None => bias(&(all.unsqueeze(0) - all.unsqueeze(1))).permute([2, 0, 1]).unsqueeze(0),
            Some(places) => bias(&(all.unsqueeze(0) - places.unsqueeze(1))).permute([0, 2, 1]).unsqueeze(2),
        }
    }
}

/// The bucket of each distance, which is above 0 for tokens that come after. Small distances have buckets of their own,
/// larger ones share more and more of them.
fn bucket(distances: &Tensor) -> Tensor {
    let half = BUCKETS / 2;
    let exact = half / 2;
    let after = distances.gt(0).to_kind(Kind::Int64) * half;
    let far = distances.abs();
    // Distances that have their own bucket get a 1 here, so that their logarithm is finite.
    let ratio = far.clamp_min(exact).to_kind(Kind::Float) / exact as f64;
    let shared = ratio.log() / (FAR / exact as f64).ln() * (half - exact) as f64;
    let shared = (shared.to_kind(Kind::Int64) + exact).clamp_max(half - 1);
    after + far.where_self(&far.lt(exact), &shared)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_distances_have_their_own_buckets_and_far_ones_share_the_last() {
        let distances = [0, -1, -7, -8, -20, -127, -128, -5000, 1, 7, 8, 127, 5000];
        let buckets = Vec::<i64>::try_from(bucket(&Tensor::from_slice(&distances))).unwrap();
        assert_eq!(buckets, [0, 1, 7, 8, 10, 15, 15, 15, 17, 23, 24, 31, 31]);
    }
}
