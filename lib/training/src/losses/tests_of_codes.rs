//! The losses of JPQ and RepCONC beside those of the authors: values, and gradients at queries and centroids.

use std::collections::HashMap;

use serde_json::Value;
use tch::{Device, Kind, Tensor};

use super::{adore, infonce, repconc};
use crate::document_lists::DocumentLists;
use crate::quantizer::decode;
use crate::ranked::{Beside, RankedLists};

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/compression");

struct Figures {
    tensors: HashMap<String, Tensor>,
    json: Value,
    queries: Tensor,
    centroids: Tensor,
}

impl Figures {
    fn read(name: &str) -> Self {
        let tensors = Tensor::read_safetensors(format!("{FIXTURES}/loss_{name}.safetensors")).unwrap();
        let tensors: HashMap<String, Tensor> = tensors.into_iter().collect();
        let text = std::fs::read_to_string(format!("{FIXTURES}/trajectories.json")).unwrap();
        let mut json: Value = serde_json::from_str(&text).unwrap();
        let leaf = |name: &str| tensors[name].copy().set_requires_grad(true);
        let (queries, centroids) = (leaf("queries"), leaf("centroids"));
        Figures { queries, centroids, json: json[format!("{name}_loss")].take(), tensors }
    }

    /// The lists of the fixture, and the relevant documents of each query in its order.
    fn lists(&self, beside: &Beside) -> RankedLists {
        let relevant = self.json["relevant"].as_array().unwrap();
        let docs = |query: u32| relevant[query as usize].as_array().unwrap().iter().map(|doc| doc.as_u64().unwrap());
        let pairs: Vec<(u32, u32)> = (0..5).flat_map(|query| docs(query).map(move |doc| (query, doc as u32))).collect();
        let relevant = DocumentLists::new(5, 60, &pairs);
        let found = self.tensors["neighbors"].to_kind(Kind::Int64);
        RankedLists::new(&found, &[0, 1, 2, 3, 4], &relevant, beside, Device::Cpu)
    }

    /// Scores of the lists, (B, L).
    fn scores(&self, lists: &RankedLists) -> Tensor {
        let codes = self.tensors["codes"].index_select(0, &Tensor::from_slice(&lists.ids));
        let docs = decode(&self.centroids, &codes).view([5, -1, 12]);
        docs.bmm(&self.queries.unsqueeze(2)).squeeze_dim(2)
    }

    #[track_caller]
    fn check(&self, name: &str, loss: &Tensor, expected: &Value) {
        let expected = expected.as_f64().unwrap();
        let off = (loss.double_value(&[]) / expected - 1.0).abs();
        assert!(off < 1e-6, "{name}: loss {loss:?} instead of {expected}");
        loss.backward();
        for (of, leaf) in [("queries", &self.queries), ("centroids", &self.centroids)] {
            let gradient = &self.tensors[&format!("{name}.grad_{of}")];
            let difference = (leaf.grad() - gradient).abs().max().double_value(&[]);
            assert!(difference < 1e-6, "{name}: the gradient of {of} is off by {difference:e}");
            println!("{name}: loss off by {off:.1e} (relative), gradient of {of} by {difference:.1e}");
        }
    }
}

#[test]
fn jpq_is_the_reference() {
    for (name, cut) in [("cut4", Some(4)), ("cut0", None)] {
        let figures = Figures::read("jpq");
        let lists = figures.lists(&Beside::RelevantNotFound);
        let loss = adore::loss(&figures.scores(&lists), &lists.relevant, &lists.irrelevant, cut, 5);
        figures.check(name, &loss, &figures.json[name]["loss"]);
        assert!((f64::from(lists.mrr_10) - figures.json[name]["mrr_10"].as_f64().unwrap()).abs() < 1e-6);
    }
}

#[test]
fn the_second_stage_of_repconc_is_the_reference() {
    for name in ["list", "pair", "lambda"] {
        let figures = Figures::read("conc1");
        let relevant = figures.json["relevant"].as_array().unwrap();
        let drawn: Vec<u32> = relevant.iter().map(|one| one[0].as_u64().unwrap() as u32).collect();
        let lists = figures.lists(&Beside::InFront(&drawn));
        let scores = figures.scores(&lists);
        let loss = match name {
            "list" => infonce::of_lists(&scores, &lists.relevant, &lists.irrelevant, 5),
            "pair" => repconc::pair(&scores, &lists.irrelevant),
            _ => repconc::lambda(&scores, &lists.irrelevant),
        };
        figures.check(name, &loss, &figures.json[name]);
    }
}

#[test]
fn only_centroids_in_use_get_a_gradient() {
    let centroids = Tensor::randn([2, 4, 3], (Kind::Float, Device::Cpu)).set_requires_grad(true);
    let codes = Tensor::from_slice(&[1i64, 3, 1, 0]).view([2, 2]);
    decode(&centroids, &codes).sum(Kind::Float).backward();
    let each: &[i64] = &[2];
    let gradients: Vec<f32> =
        Vec::try_from(centroids.grad().sum_dim_intlist(each, false, Kind::Float).flatten(0, -1)).unwrap();
    assert_eq!(gradients, [0., 6., 0., 0., 3., 0., 0., 3.]);
}

#[test]
fn lists_without_relevant_or_without_irrelevant_documents_count_nothing() {
    let scores = Tensor::from_slice2(&[[1f32, 2.0, 3.0], [3.0, 2.0, 1.0]]).set_requires_grad(true);
    let relevant = Tensor::from_slice2(&[[1f32, 1.0, 1.0], [0.0, 0.0, 0.0]]);
    let loss = adore::loss(&scores, &relevant, &(-&relevant + 1.0), None, 2);
    assert_eq!(loss.double_value(&[]), 0.0);
    loss.backward();
    assert_eq!(scores.grad().abs().max().double_value(&[]), 0.0);
}
