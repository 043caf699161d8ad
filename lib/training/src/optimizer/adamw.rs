//! AdamW (Loshchilov & Hutter 2019) in the form of transformers: ε is added before the bias correction, and the
//! decay takes its share of the parameter after the step.

use hardmine_encoder::Workers;
use tch::no_grad;

use super::change::Change;
use super::{BETA_1, BETA_2, Piece};

/// p ← p − rate·√(1 − β₂ᵗ)/(1 − β₁ᵗ) · m/(√v + ε), then p ← p − rate·decay·p; t = `updates`, from 1.
/// Gradients are multiplied by `factor` first.
pub(super) fn update(pieces: Vec<Piece>, factor: f64, updates: i32, rate: f64, decay: f64, workers: &Workers) {
    let step = rate * (1.0 - BETA_2.powi(updates)).sqrt() / (1.0 - BETA_1.powi(updates));
    let change = Change::AdamW { step: step as f32, kept: (1.0 - rate * decay) as f32 };
    workers.map(pieces, |mut piece| no_grad(|| piece.change(factor, change)));
}
