//! Values and gradients of the losses, beside those of the reference and of ADORE written out pair by pair.

use std::collections::HashMap;

use tch::{Kind, Tensor};

use super::{Negatives, adore, softplus};

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/training");

struct Figures {
    tensors: HashMap<String, Tensor>,
    loss: f64,
}

impl Figures {
    fn read(name: &str) -> Self {
        let tensors = Tensor::read_safetensors(format!("{FIXTURES}/loss_{name}.safetensors")).unwrap();
        let text = std::fs::read_to_string(format!("{FIXTURES}/trajectories.json")).unwrap();
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        Figures { tensors: tensors.into_iter().collect(), loss: json["loss_functions"][name]["loss"].as_f64().unwrap() }
    }

    /// A tensor whose gradient is wanted.
    fn leaf(&self, name: &str) -> Tensor {
        self.tensors[name].copy().set_requires_grad(true)
    }

    fn check(&self, loss: &Tensor, gradients: &[(&str, &Tensor)]) {
        let relative = (loss.double_value(&[]) - self.loss).abs() / self.loss;
        assert!(relative < 1e-6, "loss {loss:?} instead of {}", self.loss);
        loss.backward();
        for (name, tensor) in gradients {
            let difference = (tensor.grad() - &self.tensors[*name]).abs().max().double_value(&[]);
            assert!(difference < 1e-6, "{name} is off by {difference}");
            println!("loss off by {relative:.1e} (relative), gradient {name} by {difference:.1e}");
        }
    }
}

#[test]
fn inbatch_is_the_reference() {
    let figures = Figures::read("inbatch");
    let (queries, positives) = (figures.leaf("queries"), figures.leaf("positives"));
    let inbatch = Negatives { docs: &positives, mask: &figures.tensors["rel_mask"] };
    let loss = softplus::loss(&queries, &positives, &[inbatch]);
    figures.check(&loss, &[("grad_queries", &queries), ("grad_positives", &positives)]);
}

#[test]
fn randneg_is_the_reference() {
    let figures = Figures::read("randneg");
    let (queries, positives, others) = (figures.leaf("queries"), figures.leaf("positives"), figures.leaf("others"));
    let random = Negatives { docs: &others, mask: &figures.tensors["hard_mask"] };
    let loss = softplus::loss(&queries, &positives, &[random]);
    figures.check(&loss, &[("grad_queries", &queries), ("grad_positives", &positives), ("grad_others", &others)]);
}

#[test]
fn star_is_the_reference() {
    let figures = Figures::read("star");
    let (queries, positives, others) = (figures.leaf("queries"), figures.leaf("positives"), figures.leaf("others"));
    let inbatch = Negatives { docs: &positives, mask: &figures.tensors["rel_mask"] };
    let hard = Negatives { docs: &others, mask: &figures.tensors["hard_mask"] };
    let loss = softplus::loss(&queries, &positives, &[inbatch, hard]);
    figures.check(&loss, &[("grad_queries", &queries), ("grad_positives", &positives), ("grad_others", &others)]);
}

#[test]
fn far_scores_neither_overflow_nor_lose_their_gradient() {
    let queries = Tensor::from_slice(&[100f32]).view([1, 1]).set_requires_grad(true);
    let (positives, others) = (Tensor::from_slice(&[0f32]).view([1, 1]), Tensor::from_slice(&[10f32]).view([1, 1]));
    let mask = Tensor::ones([1, 1], (Kind::Float, tch::Device::Cpu));
    let loss = softplus::loss(&queries, &positives, &[Negatives { docs: &others, mask: &mask }]);
    loss.backward();
    assert_eq!((loss.double_value(&[]), queries.grad().double_value(&[0, 0])), (1000.0, 10.0));
}

#[test]
fn a_batch_without_any_pair_has_loss_0() {
    let one = Tensor::from_slice(&[1f32]).view([1, 1]);
    let inbatch = Negatives { docs: &one, mask: &one.zeros_like() };
    assert_eq!(softplus::loss(&one, &one, &[inbatch]).double_value(&[]), 0.0);
}

const SCORES: [[f32; 5]; 3] = [[3.0, 2.5, 2.0, -1.0, 0.5], [9.0, 8.0, 7.5, 7.0, 0.0], [1.0, 0.9, 0.8, 0.7, 0.6]];
/// 1 relevant, 0 irrelevant, -1 the list has ended. The last list has no irrelevant document.
const LABELS: [[i32; 5]; 3] = [[0, 1, 0, 1, 0], [0, 0, 0, 1, -1], [1, 1, -1, -1, -1]];

fn adore_of_the_lists(metric_cut: Option<i64>, batch_size: usize) -> f64 {
    let flags = |wanted: i32| {
        let flags: Vec<f32> = LABELS.as_flattened().iter().map(|&label| f32::from(label == wanted)).collect();
        Tensor::from_slice(&flags).view([3, 5])
    };
    let scores = Tensor::from_slice(SCORES.as_flattened()).view([3, 5]);
    adore::loss(&scores, &flags(1), &flags(0), metric_cut, batch_size).double_value(&[])
}

fn adore_pair_by_pair(metric_cut: Option<i64>, batch_size: usize) -> f64 {
    let gain = |place: usize| match metric_cut {
        Some(cut) if place as i64 >= cut => 0.0,
        _ => 1.0 / (place + 1) as f64,
    };
    let mut total = 0.0;
    for (scores, labels) in SCORES.iter().zip(&LABELS) {
        let (mut loss, mut count) = (0.0, 0);
        for i in 0..5 {
            for j in 0..5 {
                if labels[i] == 1 && labels[j] == 0 {
                    loss += (gain(i) - gain(j)).abs() * f64::from(scores[j] - scores[i]).exp().ln_1p();
                    count += 1;
                }
            }
        }
        total += loss / f64::from(count.max(1));
    }
    total / batch_size as f64
}

#[test]
fn adore_is_its_definition() {
    for metric_cut in [None, Some(2), Some(5), Some(9)] {
        let (found, expected) = (adore_of_the_lists(metric_cut, 4), adore_pair_by_pair(metric_cut, 4));
        assert!((found - expected).abs() < 1e-6, "{metric_cut:?}: {found} instead of {expected}");
        assert!(found > 0.0);
    }
}
