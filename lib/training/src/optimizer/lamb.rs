//! LAMB (You et al. 2020), as the reference has it: no bias correction, the norm of the weights cut at 10.

use hardmine_encoder::Workers;
use tch::{Tensor, no_grad};

use super::Piece;

const LARGEST_WEIGHT_NORM: f64 = 10.0;

/// p ← p − rate · ratio · u with u = m/(√v + ε) + decay·p and ratio = min(‖p‖, 10)/‖u‖, or 1 when either norm is 0;
/// norms are those of the one parameter tensor, whose pieces these are. Gradients are
/// multiplied by `factor` first.
pub(super) fn update(pieces: Vec<Piece>, factor: f64, rate: f64, decay: f64, workers: &Workers) {
    if pieces.is_empty() {
        return;
    }
    let updates = workers.map(pieces, |mut piece| {
        no_grad(|| {
            let mut update = piece.direction(factor);
            if decay != 0.0 {
                update += &piece.parameter * decay;
            }
            let norms = (piece.parameter.norm(), update.norm());
            (piece.parameter, update, norms)
        })
    });
    let norm = |norms: Vec<&Tensor>| Tensor::stack(&norms, 0).norm();
    let weight_norm = norm(updates.iter().map(|(_, _, norms)| &norms.0).collect()).clamp_max(LARGEST_WEIGHT_NORM);
    let update_norm = norm(updates.iter().map(|(_, _, norms)| &norms.1).collect());
    let both = weight_norm.gt(0.0).logical_and(&update_norm.gt(0.0));
    let ratio = (weight_norm / update_norm).where_self(&both, &both.ones_like().to_kind(updates[0].1.kind()));
    // A tensor, not a number: a GPU would have to be waited for.
    let step = ratio * rate;
    let steps = updates.into_iter().map(|(parameter, update, _)| (parameter, update, step.shallow_clone()));
    workers.map(steps.collect(), |(mut parameter, update, step)| no_grad(|| parameter -= update * step));
}
