//! Distillation of a ranking: what the student thinks of a query's positive and negatives as a distribution becomes
//! what the teacher thinks of them (Hinton et al. 2015, *Distilling the Knowledge in a Neural Network*; for retrieval,
//! Ren et al. 2021, *RocketQAv2*).

use tch::{Kind, Tensor};

use super::LEFT_OUT;

/// T² · meanᵢ KL(softmax(tᵢ / U) ‖ softmax(sᵢ)) for the `scores` s, which were divided by the `temperature` T already,
/// and the `teacher`'s scores t with the temperature U, both (B, 1 + K): a query's positive first, then its own K
/// negatives. `mask` (B, K) is 1 where there is such a negative. T² keeps gradients of the same size at every T.
pub fn loss(scores: &Tensor, teacher: &Tensor, mask: &Tensor, temperature: f64, teacher_temperature: f64) -> Tensor {
    let left_out = mask.eq(0.0).constant_pad_nd([1, 0]); // (B, 1 + K), the positive is always in
    let log_softmax = |x: &Tensor| x.masked_fill(&left_out, LEFT_OUT).log_softmax(1, Kind::Float);
    let (student, teacher) = (log_softmax(scores), log_softmax(&(teacher / teacher_temperature)));
    let each: &[i64] = &[1];
    let divergence = (teacher.exp() * (teacher - student)).sum_dim_intlist(each, false, Kind::Float); // (B)
    divergence.mean(Kind::Float) * (temperature * temperature)
}
