//! Every loss beside sentence-transformers 6 (values and gradients), what the masks keep out, and lists beside the
//! definition written out.

use std::collections::HashMap;

use serde_json::Value;
use tch::{Device, Kind};

use super::*;

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/encoders/losses");
const CPU: (Kind, Device) = (Kind::Float, Device::Cpu);

/// A batch of the fixtures: leaves whose gradients are wanted, and figures.
struct Figures {
    name: String,
    tensors: HashMap<String, Tensor>,
    leaves: HashMap<&'static str, Tensor>,
    loss: f64,
}

impl Figures {
    fn read(name: &str) -> Self {
        let tensors = Tensor::read_safetensors(format!("{FIXTURES}/{name}.safetensors")).unwrap();
        let tensors: HashMap<String, Tensor> = tensors.into_iter().collect();
        let text = std::fs::read_to_string(format!("{FIXTURES}/losses.json")).unwrap();
        let json: Value = serde_json::from_str(&text).unwrap();
        let leaf = |name| Some((name, tensors.get(name)?.copy().set_requires_grad(true)));
        let leaves = ["queries", "positives", "negatives"].into_iter().filter_map(leaf).collect();
        Figures { name: name.into(), leaves, loss: json[name]["loss"].as_f64().unwrap(), tensors }
    }

    fn contrast(&self, similarity: Similarity) -> Contrast {
        let vectors = |name: &str| match similarity {
            Similarity::Dot => self.leaves[name].shallow_clone(),
            Similarity::Cosine => &self.leaves[name] / self.leaves[name].norm_scalaropt_dim(2, -1, true),
        };
        let (batch, size) = self.leaves["queries"].size2().unwrap();
        let mut contrast = Contrast {
            queries: vectors("queries"),
            positives: vectors("positives"),
            positives_mask: Tensor::ones([batch, batch], CPU) - Tensor::eye(batch, CPU),
            in_batch: true,
            drawn: None,
            taught: None,
        };
        if self.leaves.contains_key("negatives") {
            let own = self.leaves["negatives"].size()[0]; // K
            let docs = vectors("negatives").view([own * batch, size]);
            contrast.drawn = Some((docs, Tensor::ones([batch, own * batch], CPU)));
            if let Some(labels) = self.tensors.get("labels") {
                // One margin stands for the scores that it is the difference of.
                let scores = match labels.dim() {
                    1 => Tensor::stack(&[labels, &labels.zeros_like()], 1),
                    _ => labels.shallow_clone(),
                };
                let places = Tensor::arange(own * batch, (Kind::Int64, Device::Cpu)).view([own, batch]).tr();
                contrast.taught = Some(Taught { places, mask: Tensor::ones([batch, own], CPU), scores });
            }
        }
        contrast
    }

    #[track_caller]
    fn check(&self, loss: &Tensor) {
        let name = &self.name;
        let off = (loss.double_value(&[]) / self.loss - 1.0).abs();
        assert!(off < 1e-6, "{name}: loss {loss:?} instead of {}", self.loss);
        loss.backward();
        for (leaf, tensor) in &self.leaves {
            let expected = &self.tensors[&format!("grad_{leaf}")];
            let largest = expected.abs().max().double_value(&[]).max(1.0);
            let difference = (tensor.grad() - expected).abs().max().double_value(&[]) / largest;
            assert!(difference < 1e-6, "{name}: gradient of {leaf} is off by {difference:e}");
            println!("{name}: loss off by {off:.1e} (relative), gradient of {leaf} by {difference:.1e}");
        }
    }
}

#[track_caller]
fn check(name: &str, similarity: Similarity, temperature: f64, loss: Loss, dimensions: &[i64]) {
    let figures = Figures::read(name);
    let objective = Objective { loss, temperature, dimensions: dimensions.to_vec() };
    figures.check(&objective.of_contrast(&figures.contrast(similarity), similarity));
}

const ONE_WAY: Loss = Loss::InfoNce { symmetric: false };

#[test]
fn infonce_is_the_reference() {
    for negatives in ["", "_1_negative", "_k_negatives"] {
        for name in ["infonce_cosine", "infonce_cosine_cached"] {
            check(&format!("{name}{negatives}"), Similarity::Cosine, 0.05, ONE_WAY, &[]);
        }
        check(&format!("infonce_dot{negatives}"), Similarity::Dot, 1.0, ONE_WAY, &[]);
        let both_ways = Loss::InfoNce { symmetric: true };
        check(&format!("symmetric{negatives}"), Similarity::Cosine, 0.05, both_ways, &[]);
    }
}

#[test]
fn margin_mse_is_the_reference() {
    check("margin_mse_1_negative", Similarity::Dot, 1.0, Loss::MarginMse, &[]);
    check("margin_mse_k_negatives", Similarity::Dot, 1.0, Loss::MarginMse, &[]);
}

#[test]
fn kl_is_the_reference() {
    let kl = |teacher_temperature| Loss::Kl { teacher_temperature };
    check("kl", Similarity::Dot, 1.0, kl(1.0), &[]);
    check("kl_temperature", Similarity::Dot, 2.0, kl(2.0), &[]);
    check("kl_teacher_temperature", Similarity::Dot, 1.0, kl(3.0), &[]);
    check("kl_cosine", Similarity::Cosine, 0.05, kl(2.0), &[]);
}

#[test]
fn matryoshka_is_the_reference() {
    check("matryoshka", Similarity::Cosine, 0.05, ONE_WAY, &[16, 8, 4]);
    let figures = Figures::read("matryoshka_weights");
    let batch = figures.contrast(Similarity::Cosine);
    let cut = |dimension| {
        let objective = Objective { loss: ONE_WAY, temperature: 0.05, dimensions: vec![dimension] };
        objective.of_contrast(&batch, Similarity::Cosine)
    };
    figures.check(&(cut(16) + cut(8) * 0.5 + cut(4) * 0.25));
}

const ALL: [Loss; 5] = [
    Loss::Softplus,
    ONE_WAY,
    Loss::InfoNce { symmetric: true },
    Loss::MarginMse,
    Loss::Kl { teacher_temperature: 1.0 },
];

/// Two queries with two negatives each. `relevant` are pairs of a query and a drawn document that is relevant to it.
fn small(relevant: &[(i64, i64)]) -> (Contrast, [Tensor; 3]) {
    let waves = |rows: i64, shift: f64| {
        let numbers = (Tensor::arange(rows * 4, CPU) * 1.7 + shift).sin();
        numbers.view([rows, 4]).set_requires_grad(true)
    };
    let leaves = [waves(2, 0.0), waves(2, 1.0), waves(4, 2.0)];
    let mask = Tensor::ones([2, 4], CPU);
    let own = Tensor::ones([2, 2], CPU);
    for &(query, doc) in relevant {
        let _ = mask.get(query).get(doc).zero_();
        if doc / 2 == query {
            let _ = own.get(query).get(doc % 2).zero_();
        }
    }
    let contrast = Contrast {
        queries: leaves[0].shallow_clone(),
        positives: leaves[1].shallow_clone(),
        positives_mask: Tensor::ones([2, 2], CPU) - Tensor::eye(2, CPU),
        in_batch: true,
        drawn: Some((leaves[2].shallow_clone(), mask)),
        taught: Some(Taught {
            places: Tensor::from_slice(&[0i64, 1, 2, 3]).view([2, 2]),
            mask: own,
            scores: Tensor::from_slice(&[3f32, 1.0, 0.5, 2.0, 2.5, -1.0]).view([2, 3]),
        }),
    };
    (contrast, leaves)
}

fn gradient_at_negatives(relevant: &[(i64, i64)], loss: Loss) -> Vec<f64> {
    let (contrast, [_, _, negatives]) = small(relevant);
    let objective = Objective { loss, temperature: 0.5, dimensions: vec![4, 2] };
    objective.of_contrast(&contrast, Similarity::Dot).backward();
    (0..4).map(|doc| negatives.grad().get(doc).abs().max().double_value(&[])).collect()
}

#[test]
fn no_loss_trains_against_what_is_relevant() {
    for loss in ALL {
        let every = gradient_at_negatives(&[], loss);
        assert!(every.iter().all(|&gradient| gradient > 1e-4), "{loss:?}: {every:?}");
        // Document 0, drawn for query 0, is relevant to both queries.
        let masked = gradient_at_negatives(&[(0, 0), (1, 0)], loss);
        assert_eq!(masked[0], 0.0, "{loss:?}: {masked:?}");
        assert!(masked[1..].iter().all(|&gradient| gradient > 1e-4), "{loss:?}: {masked:?}");
    }
}

#[test]
fn another_querys_positive_is_no_negative_of_a_query_it_is_relevant_to() {
    for loss in [Loss::Softplus, ONE_WAY, Loss::InfoNce { symmetric: true }] {
        let (mut contrast, [queries, ..]) = small(&[]);
        // Document 1 is relevant to query 0, too: it pulls query 0 neither as a candidate nor, on the way back, as one
        // whose query is looked for.
        contrast.positives_mask = Tensor::from_slice2(&[[0f32, 0.0], [1.0, 0.0]]);
        contrast.drawn = None;
        let (_, [_, positives, _]) = small(&[]);
        contrast.positives = Tensor::stack(&[contrast.positives.get(0).detach(), positives.get(1)], 0);
        let scores = contrast.queries.get(0).detach();
        contrast.queries = Tensor::stack(&[scores, queries.get(1).detach()], 0);
        let objective = Objective { loss, temperature: 1.0, dimensions: Vec::new() };
        let found = objective.of_contrast(&contrast, Similarity::Dot).double_value(&[]);

        let score = |query: i64, doc: i64| {
            (contrast.queries.get(query) * contrast.positives.get(doc)).sum(Kind::Double).double_value(&[])
        };
        let softplus = |gap: f64| gap.exp().ln_1p();
        let there = softplus(score(1, 0) - score(1, 1));
        let back = softplus(score(1, 0) - score(0, 0));
        let expected = match loss {
            Loss::Softplus => there,
            Loss::InfoNce { symmetric: false } => there / 2.0,
            _ => (there + back) / 4.0,
        };
        assert!((found - expected).abs() < 1e-6, "{loss:?}: {found} instead of {expected}");
    }
}

#[test]
fn a_query_without_negatives_of_its_own_changes_nothing() {
    for loss in [Loss::MarginMse, Loss::Kl { teacher_temperature: 1.0 }] {
        let (contrast, _) = small(&[(0, 0), (0, 1), (1, 2), (1, 3)]);
        let objective = Objective { loss, temperature: 1.0, dimensions: Vec::new() };
        let found = objective.of_contrast(&contrast, Similarity::Dot);
        found.backward();
        assert_eq!(found.double_value(&[]), 0.0, "{loss:?}");
    }
}

const SCORES: [[f32; 5]; 3] = [[3.0, 2.5, 2.0, -1.0, 0.5], [9.0, 8.0, 7.5, 7.0, 0.0], [1.0, 0.9, 0.8, 0.7, 0.6]];
/// 1 relevant, 0 irrelevant, -1 the list has ended. The last list has no irrelevant document.
const LABELS: [[i32; 5]; 3] = [[0, 1, 0, 1, 0], [0, 0, 0, 1, -1], [1, 1, -1, -1, -1]];

#[test]
fn infonce_of_lists_is_its_definition() {
    let flags = |wanted: i32| {
        let flags: Vec<f32> = LABELS.as_flattened().iter().map(|&label| f32::from(label == wanted)).collect();
        Tensor::from_slice(&flags).view([3, 5])
    };
    // Documents of one dimension that are their scores, and queries that are 1.
    let docs = Tensor::from_slice(SCORES.as_flattened()).view([3, 5, 1]).set_requires_grad(true);
    let (relevant, irrelevant) = (flags(1), flags(0));
    let lists = Lists {
        queries: Tensor::ones([3, 1], CPU),
        docs: docs.shallow_clone(),
        relevant: &relevant,
        irrelevant: &irrelevant,
        metric_cut: None,
        batch_size: 4,
    };
    let objective = Objective { loss: ONE_WAY, temperature: 0.5, dimensions: Vec::new() };
    let found = objective.of_lists(&lists, Similarity::Dot);

    let mut expected = 0.0;
    for (scores, labels) in SCORES.iter().zip(&LABELS) {
        let of = |wanted: i32| {
            scores.iter().zip(labels).filter(move |(_, label)| **label == wanted).map(|(s, _)| f64::from(*s) / 0.5)
        };
        let against = |score: f64| of(0).map(f64::exp).sum::<f64>() + score.exp();
        expected += of(1).map(|score| against(score).ln() - score).sum::<f64>() / of(1).count() as f64;
    }
    expected /= 4.0;
    assert!((found.double_value(&[]) - expected).abs() < 1e-6, "{found:?} instead of {expected}");
    found.backward();
    let gradient = Vec::<f32>::try_from(docs.grad().flatten(0, -1)).unwrap();
    assert!(gradient.iter().all(|number| number.is_finite()), "{gradient:?}");
    // Neither the ends of lists nor a list with nothing to be told from has a gradient.
    assert_eq!((gradient[9], &gradient[10..]), (0.0, &[0.0; 5][..]));
}
