//! LAMB (You et al. 2020), as the reference has it: no bias correction, the norm of the weights cut at 10.

use tch::Tensor;

use super::Piece;

const LARGEST_WEIGHT_NORM: f64 = 10.0;

/// p ← p − rate · ratio · u with u = m/(√v + ε) + decay·p and ratio = min(‖p‖, 10)/‖u‖, or 1 when either norm is 0;
/// norms are those of the one parameter tensor, whose pieces these are. Gradients are
/// multiplied by `factor` first.
pub(super) fn update(pieces: &mut [Piece], factor: f64, rate: f64, decay: f64) {
    if pieces.is_empty() {
        return;
    }
    let mut updates: Vec<Tensor> = pieces.iter_mut().map(|piece| piece.direction(factor)).collect();
    if decay != 0.0 {
        pieces.iter().zip(&mut updates).for_each(|(piece, update)| *update += &piece.parameter * decay);
    }
    let norm = |norms: Vec<Tensor>| Tensor::stack(&norms, 0).norm();
    let weight_norm = norm(pieces.iter().map(|piece| piece.parameter.norm()).collect()).clamp_max(LARGEST_WEIGHT_NORM);
    let update_norm = norm(updates.iter().map(Tensor::norm).collect());
    let both = weight_norm.gt(0.0).logical_and(&update_norm.gt(0.0));
    let ratio = (weight_norm / update_norm).where_self(&both, &both.ones_like().to_kind(updates[0].kind()));
    let step = ratio * rate;
    pieces.iter_mut().zip(updates).for_each(|(piece, update)| piece.parameter -= update * &step);
}
