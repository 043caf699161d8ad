//! AdamW (Loshchilov & Hutter 2019) in the form of transformers: ε is added before the bias correction, and the
//! decay takes its share of the parameter after the step.

use tch::Tensor;

use super::{BETA_1, BETA_2, EPSILON, Moments};

/// p ← p − rate·√(1 − β₂ᵗ)/(1 − β₁ᵗ) · m/(√v + ε), then p ← p − rate·decay·p; t = `updates`, from 1.
pub(super) fn update(parameter: &mut Tensor, moments: &Moments, updates: i32, rate: f64, decay: f64) {
    let step = rate * (1.0 - BETA_2.powi(updates)).sqrt() / (1.0 - BETA_1.powi(updates));
    *parameter -= &moments.mean / (moments.square.sqrt() + EPSILON) * step;
    if decay != 0.0 {
        let _ = parameter.g_mul_scalar_(1.0 - rate * decay);
    }
}
