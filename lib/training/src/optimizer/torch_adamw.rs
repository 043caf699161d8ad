//! AdamW (Loshchilov & Hutter 2019) in the form of PyTorch, which sentence-transformers trains with: the decay comes
//! first, and ε is added after the bias correction.

use hardmine_encoder::Workers;
use tch::no_grad;

use super::{BETA_1, BETA_2, EPSILON, Piece};

/// p ← p − rate·decay·p, then p ← p − rate · m̂/(√v̂ + ε) with m̂ = m/(1 − β₁ᵗ), v̂ = v/(1 − β₂ᵗ) and t = `updates`,
/// from 1. Gradients are multiplied by `factor` first.
pub(super) fn update(pieces: Vec<Piece>, factor: f64, updates: i32, rate: f64, decay: f64, workers: &Workers) {
    let step = rate / (1.0 - BETA_1.powi(updates));
    let correction = (1.0 - BETA_2.powi(updates)).sqrt();
    workers.map(pieces, |mut piece| {
        no_grad(|| {
            piece.add_gradient(factor);
            if decay != 0.0 {
                let _ = piece.parameter.g_mul_scalar_(1.0 - rate * decay);
            }
            piece.parameter -= &piece.mean / (piece.square.sqrt() / correction + EPSILON) * step;
        });
    });
}
