//! Attention of the tokens of each text (Vaswani et al. 2017, arXiv 1706.03762), as all families have it.

use tch::{Device, Tensor};

use crate::batch::joined;
use crate::pass::{Look, Pass};

/// Heads of attention. Where there are fewer of keys than of queries, each is shared by as many queries (Ainslie et
/// al. 2023, arXiv 2305.13245).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Heads {
    /// Number of heads of queries.
    pub queries: i64,
    /// Number of heads of keys and values, which divides that of queries.
    pub keys: i64,
    /// Width of a head.
    pub size: i64,
    /// What products of queries and keys are multiplied with.
    pub scale: f64,
    /// Share of attention probabilities that dropout sets to 0.
    pub dropout: f64,
}

impl Heads {
    /// As many heads of keys as of queries, and the usual scale.
    pub fn new(heads: i64, size: i64, dropout: f64) -> Heads {
        Heads { queries: heads, keys: heads, size, scale: 1.0 / (size as f64).sqrt(), dropout }
    }

    /// What the tokens that look take of the others: of `query` (T or B, Hq·size), `key` and `value` (T, Hk·size) it
    /// makes (T or B, Hq·size).
    pub fn attend(&self, query: &Tensor, key: &Tensor, value: &Tensor, look: &Look, pass: &Pass) -> Tensor {
        let batch = pass.batch;
        let one = look.is_of_one();
        let queries = if one { batch.split_texts(query) } else { batch.split(query) };
        let (keys, values) = (batch.split(key), batch.split(value));
        let contexts = batch.groups.iter().enumerate().map(|(number, group)| {
            let (key, value) = (group.pad(&keys[number]), group.pad(&values[number]));
            let attend = |query| self.attend_in_group(query, key, value, look.masks[number].as_ref(), pass);
            match one {
                true => attend(queries[number].unsqueeze(1)).squeeze_dim(1),
                false => group.unpad(&attend(group.pad(&queries[number]))),
            }
        });
        joined(contexts.collect())
    }

    /// Attention of `query` (n, Q, Hq·size) over `key` and `value` (n, L, Hk·size): (n, Q, Hq·size).
    fn attend_in_group(&self, query: Tensor, key: Tensor, value: Tensor, mask: Option<&Tensor>, pass: &Pass) -> Tensor {
        let query = self.heads(query, self.queries);
        let (key, value) = (self.shared(key), self.shared(value));
        let p = if pass.dropout.is_some() { self.dropout } else { 0.0 };
        let learned = mask.is_some_and(Tensor::requires_grad);
        let context = match query.device() {
            // libtorch has no fused attention with dropout for a CPU, and our dropout is faster than the one it takes.
            // Nor does its fused attention have a gradient at the mask, which MPNet's position bias needs.
            Device::Cpu if p > 0.0 || learned => {
                let scores = (query * self.scale).matmul(&key.transpose(2, 3)); // (n, H, Q, L)
                let scores = mask.map_or(scores.shallow_clone(), |mask| scores + mask);
                pass.drop_out(scores.softmax(-1, scores.kind()), p).matmul(&value)
            }
            _ => Tensor::scaled_dot_product_attention(&query, &key, &value, mask, p, false, Some(self.scale), false),
        };
        context.transpose(1, 2).flatten(2, 3)
    }

    /// (n, L, H·size) → (n, H, L, size)
    fn heads(&self, x: Tensor, heads: i64) -> Tensor {
        let size = x.size();
        x.view([size[0], size[1], heads, self.size]).transpose(1, 2)
    }

    /// (n, L, Hk·size) → (n, Hq, L, size), each head as often as queries share it.
    fn shared(&self, x: Tensor) -> Tensor {
        let x = self.heads(x, self.keys);
        match self.queries / self.keys {
            1 => x,
            times => x.repeat_interleave_self_int(times, 1, None),
        }
    }
}
