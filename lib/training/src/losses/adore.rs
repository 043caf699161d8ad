//! ADORE: the documents retrieved right now serve as negatives, weighted by what their rank costs the metric.

use tch::{Kind, Tensor};

/// Mean over the pairs (relevant i, irrelevant j) of each list of |r(i) − r(j)| · softplus(sⱼ − sᵢ), summed over
/// the lists and divided by `batch_size`; r(p) = 1/p for the position p in the list, from 1, and 0 for
/// p > `metric_cut` (SIGIR 2021, §5.2, with the gain of the reciprocal rank).
///
/// `scores` (B, L) in the order of the lists; `relevant` and `irrelevant` (B, L) are 1 or 0, and both 0 where a
/// list has ended. ADORE's `batch_size` is the configured one, also where the last batch is smaller, and JPQ's is the
/// number of lists.
pub fn loss(
    scores: &Tensor,
    relevant: &Tensor,
    irrelevant: &Tensor,
    metric_cut: Option<i64>,
    batch_size: usize,
) -> Tensor {
    let gain = gains(scores.size()[1], metric_cut, scores); // (L)
    let weight = (gain.unsqueeze(1) - gain.unsqueeze(0)).abs(); // (L, L)
    let pairs = relevant.unsqueeze(2) * irrelevant.unsqueeze(1); // (B, L, L), first i, then j
    let gap = scores.unsqueeze(1) - scores.unsqueeze(2); // sⱼ − sᵢ
    let each: &[i64] = &[1, 2];
    let count = pairs.sum_dim_intlist(each, false, Kind::Float).clamp_min(1.0); // (B)
    let list = (gap.softplus() * weight * pairs).sum_dim_intlist(each, false, Kind::Float) / count; // (B)
    list.sum(Kind::Float) / batch_size as f64
}

/// r(p) for p = 1…length, on the device of `like`.
fn gains(length: i64, metric_cut: Option<i64>, like: &Tensor) -> Tensor {
    let gains = Tensor::arange_start(1, length + 1, (Kind::Float, like.device())).reciprocal();
    if let Some(cut) = metric_cut.filter(|&cut| cut < length) {
        let _ = gains.narrow(0, cut, length - cut).zero_();
    }
    gains
}
