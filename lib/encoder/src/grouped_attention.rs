//! Attention of Qwen3 and Gemma 3: fewer heads of keys than of queries, both normalized and turned by their positions.

use tch::Tensor;

use crate::attention::Heads;
use crate::layers::{Linear, RmsNorm};
use crate::parameters::Parameters;
use crate::pass::{Look, Pass};
use crate::rotary::Turns;

/// The projections of one layer, and the norms of its heads.
pub(crate) struct GroupedAttention {
    query: Linear,
    key: Linear,
    value: Linear,
    output: Linear,
    query_norm: RmsNorm,
    key_norm: RmsNorm,
    heads: Heads,
}

impl GroupedAttention {
    /// Attention whose parameters are called `prefix`.NAME; `norm` makes a norm over a head.
    pub fn new(
        parameters: &mut Parameters,
        prefix: &str,
        hidden: i64,
        heads: Heads,
        bias: bool,
        norm: impl Fn(&mut Parameters, &str, i64) -> RmsNorm,
    ) -> GroupedAttention {
        let mut linear = |part: &str, inputs, outputs| {
            Linear::new(parameters, &format!("{prefix}.{part}_proj"), inputs, outputs, bias)
        };
        let (of_queries, of_keys) = (heads.queries * heads.size, heads.keys * heads.size);
        GroupedAttention {
            query: linear("q", hidden, of_queries),
            key: linear("k", hidden, of_keys),
            value: linear("v", hidden, of_keys),
            output: linear("o", of_queries, hidden),
            query_norm: norm(parameters, &format!("{prefix}.q_norm"), heads.size),
            key_norm: norm(parameters, &format!("{prefix}.k_norm"), heads.size),
            heads,
        }
    }

    /// Of `x` (T, D) what the tokens that look take: (T or B, D).
    pub fn forward(&self, x: &Tensor, look: &Look, turns: &Turns, pass: &Pass) -> Tensor {
        let query = turns.pick(look).apply(&self.by_head(&self.query_norm, self.query.forward(&look.pick(x))));
        let key = turns.apply(&self.by_head(&self.key_norm, self.key.forward(x)));
        let context = self.heads.attend(&query, &key, &self.value.forward(x), look, pass);
        self.output.forward(&context)
    }

    /// Normalizes each head of `x` (T, H·size) by itself.
    fn by_head(&self, norm: &RmsNorm, x: Tensor) -> Tensor {
        norm.forward(&x.view([x.size()[0], -1, self.heads.size])).view_as(&x)
    }

    pub fn linears(&mut self) -> [&mut Linear; 4] {
        let GroupedAttention { query, key, value, output, .. } = self;
        [query, key, value, output]
    }
}
