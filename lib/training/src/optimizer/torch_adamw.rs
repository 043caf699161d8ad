//! AdamW (Loshchilov & Hutter 2019) in the form of PyTorch, which sentence-transformers trains with: the decay comes
//! first, and ε is added after the bias correction.

use hardmine_encoder::Workers;
use tch::no_grad;

use super::change::Change;
use super::{BETA_1, BETA_2, Piece};

/// p ← p − rate·decay·p, then p ← p − rate · m̂/(√v̂ + ε) with m̂ = m/(1 − β₁ᵗ), v̂ = v/(1 − β₂ᵗ) and t = `updates`,
/// from 1. Gradients are multiplied by `factor` first.
pub(super) fn update(pieces: Vec<Piece>, factor: f64, updates: i32, rate: f64, decay: f64, workers: &Workers) {
    let step = rate / (1.0 - BETA_1.powi(updates));
    let correction = (1.0 - BETA_2.powi(updates)).sqrt() as f32;
    let change = Change::TorchAdamW { step: step as f32, kept: (1.0 - rate * decay) as f32, correction };
    workers.map(pieces, |mut piece| no_grad(|| piece.change(factor, change)));
}
