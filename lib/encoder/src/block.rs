//! The block of BERT and of what is built like it: attention and a feed-forward network, each added to its input and
//! then normalized.

use tch::Tensor;

use crate::attention::Heads;
use crate::int8::Int8Block;
use crate::layers::{Activation, LayerNorm, Linear};
use crate::parameters::Parameters;
use crate::pass::{Look, Pass};

/// The shape of a block.
#[derive(Clone, Copy)]
pub(crate) struct BlockShape {
    pub hidden: i64,
    /// Width inside the feed-forward network.
    pub intermediate: i64,
    pub heads: Heads,
    pub activation: Activation,
    /// What LayerNorm adds to the variance.
    pub eps: f64,
    /// Share of numbers that dropout sets to 0 after attention, and after the feed-forward network.
    pub dropout: [f64; 2],
}

/// What a family calls the parts of its block.
pub(crate) struct BlockNames {
    pub query: &'static str,
    pub key: &'static str,
    pub value: &'static str,
    pub attention_output: &'static str,
    pub attention_norm: &'static str,
    pub intermediate: &'static str,
    pub output: &'static str,
    pub output_norm: &'static str,
}

/// A block with its parameters.
pub(crate) struct Block {
    query: Linear,
    key: Linear,
    value: Linear,
    attention_output: Linear,
    attention_norm: LayerNorm,
    intermediate: Linear,
    output: Linear,
    output_norm: LayerNorm,
    shape: BlockShape,
}

impl Block {
    /// The block whose parameters are called `prefix`.NAME.
    pub fn new(parameters: &mut Parameters, prefix: &str, names: &BlockNames, shape: BlockShape) -> Block {
        let BlockShape { hidden, intermediate: wide, eps, .. } = shape;
        let mut linear =
            |part: &str, inputs, outputs| Linear::new(parameters, &format!("{prefix}.{part}"), inputs, outputs, true);
        let query = linear(names.query, hidden, hidden);
        let key = linear(names.key, hidden, hidden);
        let value = linear(names.value, hidden, hidden);
        let attention_output = linear(names.attention_output, hidden, hidden);
        let intermediate = linear(names.intermediate, hidden, wide);
        let output = linear(names.output, wide, hidden);
        let mut norm = |part: &str| LayerNorm::new(parameters, &format!("{prefix}.{part}"), hidden, eps);
        let (attention_norm, output_norm) = (norm(names.attention_norm), norm(names.output_norm));
        Block { query, key, value, attention_output, attention_norm, intermediate, output, output_norm, shape }
    }

    /// Hidden states of all tokens (T, D) to those of the tokens that look. The residual stream is float32.
    pub fn forward(&self, hidden: &Tensor, look: &Look, pass: &Pass) -> Tensor {
        if let Some(block) = self.int8() {
            return block.forward(hidden, look, pass);
        }
        let BlockShape { heads, activation, dropout, .. } = self.shape;
        let x = hidden.to_kind(pass.kind);
        let query = self.query.forward(&look.pick(&x));
        let context = heads.attend(&query, &self.key.forward(&x), &self.value.forward(&x), look, pass);
        let attended = pass.drop_out(self.attention_output.forward(&context), dropout[0]);
        let hidden = self.attention_norm.forward(&(look.pick(hidden) + attended));

        let wide = activation.forward(&self.intermediate.forward(&hidden.to_kind(pass.kind))); // (T, 4D)
        let output = pass.drop_out(self.output.forward(&wide), dropout[1]);
        self.output_norm.forward(&(hidden + output))
    }

    /// The block in int8, once its matrices have been rounded.
    fn int8(&self) -> Option<Int8Block<'_>> {
        Some(Int8Block {
            query: self.query.int8()?,
            key: self.key.int8()?,
            value: self.value.int8()?,
            attention_output: self.attention_output.int8()?,
            attention_norm: self.attention_norm.norm(),
            intermediate: self.intermediate.int8()?,
            output: self.output.int8()?,
            output_norm: self.output_norm.norm(),
            heads: self.shape.heads,
            activation: self.shape.activation,
        })
    }

    /// The block's matrices.
    pub fn linears(&mut self) -> [&mut Linear; 6] {
        let Block { query, key, value, attention_output, intermediate, output, .. } = self;
        [query, key, value, attention_output, intermediate, output]
    }
}
