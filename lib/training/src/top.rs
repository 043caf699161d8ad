//! The best of many scores, with a total order: equal scores are ordered by id wherever a list is cut. Documents with
//! the same code always have equal scores, so that this is no rare case.

use tch::{Kind, Tensor};

/// What is left of 2³² in the lower half of a key.
const LOWEST: i64 = i32::MAX as i64;

/// Keys, (B, n) of int64, that are in the order of the `scores`, (B, n) of float32; of equal scores the document with
/// the lower id has the higher key. Ids are `first`, `first` + 1, …
pub fn keys(scores: &Tensor, first: i64) -> Tensor {
    // Adding 0 makes -0 the same as 0. The bits of other numbers have their order once those below the sign are turned
    // where the sign is set.
    let bits = (scores + 0.0).view_dtype(Kind::Int);
    let below_the_sign = bits.bitwise_right_shift_tensor_scalar(31).bitwise_and(i64::from(i32::MAX));
    let ordered = bits.bitwise_xor_tensor(&below_the_sign).to_kind(Kind::Int64) * (1i64 << 32);
    let last = LOWEST - first;
    ordered + Tensor::arange_start_step(last, last - scores.size()[1], -1, (Kind::Int64, scores.device()))
}

/// The `top_k` highest of `keys`, (B, n), or all if there are fewer, the highest first.
pub fn highest(keys: &Tensor, top_k: i64) -> Tensor {
    keys.topk(top_k.min(keys.size()[1]), 1, true, true).0
}

/// The ids in `keys`.
pub fn ids(keys: &Tensor) -> Tensor {
    LOWEST - keys.bitwise_and(i64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;

    #[test]
    fn blocks_give_what_sorting_gives() {
        tch::manual_seed(5);
        // Few different scores, among them 0 and -0, so that many are equal.
        let scores = (Tensor::randn([7, 1000], (Kind::Float, Device::Cpu)) * 3.0).round() * 0.1;
        let (sorted, order) = scores.sort_stable(true, 1, true);
        for (top_k, block) in [(1, 10), (37, 1000), (37, 64), (500, 300), (5000, 999)] {
            let mut first = 0;
            let blocks = scores.split(block, 1).into_iter().map(|scores| {
                let keys = highest(&keys(&scores, first), top_k);
                first += scores.size()[1];
                keys
            });
            let found = ids(&highest(&Tensor::cat(&blocks.collect::<Vec<_>>(), 1), top_k));
            let wanted = order.narrow(1, 0, top_k.min(1000));
            assert_eq!(found, wanted, "top {top_k} of blocks of {block}: {sorted:?}");
        }
    }
}
