//! LAMB (You et al. 2020), as the reference has it: no bias correction, the norm of the weights cut at 10.

use tch::Tensor;

use super::{EPSILON, Moments};

const LARGEST_WEIGHT_NORM: f64 = 10.0;

/// p ← p − rate · ratio · u with u = m/(√v + ε) + decay·p and ratio = min(‖p‖, 10)/‖u‖, or 1 when either norm is 0;
/// norms are those of the one parameter tensor.
pub(super) fn update(parameter: &mut Tensor, moments: &Moments, rate: f64, decay: f64) {
    let mut update = &moments.mean / (moments.square.sqrt() + EPSILON);
    if decay != 0.0 {
        update += &*parameter * decay;
    }
    let weight_norm = parameter.norm().clamp_max(LARGEST_WEIGHT_NORM);
    let update_norm = update.norm();
    let both = weight_norm.gt(0.0).logical_and(&update_norm.gt(0.0));
    let ratio = (weight_norm / update_norm).where_self(&both, &both.ones_like().to_kind(parameter.kind()));
    *parameter -= update * (ratio * rate);
}
