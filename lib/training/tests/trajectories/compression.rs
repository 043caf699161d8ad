//! Six steps of JPQ and of both stages of RepCONC beside those that the authors' modules made on the same input.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::common::{input, run, save_tokens, settings, token_ids};
use hardmine_encoder::{Encoder, Precision, Tower};
use hardmine_files::{MappedTokens, OutputFile};
use hardmine_quantization::{Codebook, PqIndex, Rotation};
use hardmine_training::data::{self, IdOptions, TextRows};
use hardmine_training::log::Row;
use hardmine_training::{
    CentroidSettings, Compressed, Decay, DocumentLists, Loss, Method, Moments, Objective, Rule, TrainingSettings,
};
use serde_json::Value;
use tch::{Device, Tensor};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/compression").join(name)
}

fn tensors(name: &str) -> HashMap<String, Tensor> {
    Tensor::read_safetensors(fixture(&format!("{name}.safetensors"))).unwrap().into_iter().collect()
}

fn trajectory(name: &str) -> Vec<Value> {
    let text = fs::read_to_string(fixture("trajectories.json")).unwrap();
    serde_json::from_str::<Value>(&text).unwrap()[name].as_array().unwrap().clone()
}

fn tokens(folder: &Path, name: &str) -> MappedTokens {
    let text = fs::read_to_string(fixture(&format!("{name}.tokens.jsonl"))).unwrap();
    save_tokens(
        folder,
        name,
        text.lines().map(|line| token_ids(&serde_json::from_str::<Value>(line).unwrap()["token_ids"])),
    )
}

fn encoder() -> Encoder {
    // Products so small gain nothing from threads.
    tch::set_num_threads(1);
    Encoder::load(&fixture("init"), Device::Cpu, Precision::F32).unwrap()
}

fn relevant(name: &str, queries: &MappedTokens, docs: &MappedTokens) -> DocumentLists {
    let (queries, docs) = (TextRows::of_tokens(queries), TextRows::of_tokens(docs));
    data::read_qrels(&input(&fixture(name)), &queries, &docs, IdOptions::default()).unwrap().lists
}

fn check_steps(name: &str, log: &[Row], norm_of: &str) {
    let expected = trajectory(name);
    assert_eq!(log.len(), expected.len());
    let mut largest = (0f64, 0f64);
    for (row, expected) in log.iter().zip(&expected) {
        let number = |name: &str| expected[name].as_f64().unwrap();
        let relative = |found: f32, expected: f64| (f64::from(found) / expected - 1.0).abs();
        let off = (relative(row.loss, number("loss")), relative(row.gradient_norm, number(norm_of)));
        assert!(off.0 < 1e-5 && off.1 < 2e-5, "{name}, step {}: loss and norm are off by {off:?}", row.step);
        largest = (largest.0.max(off.0), largest.1.max(off.1));
        if let (Some((mrr_10, _)), Some(expected)) = (row.retrieved, expected["mrr_10"].as_f64()) {
            assert!((f64::from(mrr_10) - expected).abs() < 1e-6, "{name}, step {}", row.step);
        }
        if let Some(clustered) = row.clustered {
            assert!(relative(clustered.mse, number("mse_loss")) < 1e-5, "{name}, step {}", row.step);
        }
    }
    println!("{name}: loss off by {:.1e}, gradient norm by {:.1e} (relative)", largest.0, largest.1);
}

fn check_parameters(name: &str, encoder: &Encoder, centroids: &Tensor) {
    let expected = tensors(name);
    let encoder = encoder.parameters().iter().map(|(name, tensor)| (name.as_str(), tensor));
    let mut largest = (0.0, "");
    for (parameter, found) in encoder.chain([("centroids", centroids)]) {
        // Its true gradient is zero: the optimizer turns rounding into steps.
        if parameter.ends_with("attention.self.key.bias") {
            continue;
        }
        let difference = (found.detach() - &expected[parameter]).abs().max().double_value(&[]);
        assert!(difference < 5e-5, "{name}: {parameter} is off by {difference:e}");
        if difference > largest.0 {
            largest = (difference, parameter);
        }
    }
    println!("{name}: parameters off by {:.1e} ({})", largest.0, largest.1);
}

fn jpq_settings(weight_decay: f64) -> TrainingSettings {
    TrainingSettings {
        max_query_length: 16,
        objective: Objective { loss: Loss::Weighted, ..Objective::default() },
        centroids: Some(CentroidSettings { learning_rate: 5e-3, weight_decay, clipped: false }),
        ..settings(Rule::AdamW)
    }
}

fn check_jpq(name: &str, lambda_cut: Option<i64>, weight_decay: f64) {
    let folder = tempfile::tempdir().unwrap();
    let (queries, docs) = (tokens(folder.path(), "queries"), tokens(folder.path(), "docs"));
    let relevant = relevant("qrels_jpq.tsv", &queries, &docs);
    let encoder = encoder();
    let documents = Compressed::open(&input(&fixture("index/OPQ8,IVF1,PQ8x8.index")), &encoder).unwrap();
    let method = Method::Jpq { documents, top_k: 40, lambda_cut };
    let settings = jpq_settings(weight_decay);
    let mut run = run(&encoder, &method, &queries, &relevant, &settings, &folder.path().join("model"));
    run.train(|_| ()).unwrap();
    let (log, _) = run.finish();
    check_steps(name, &log, "encoder_grad_norm");
    check_parameters(name, &encoder, method.quantizer().unwrap().centroids());
    if name == "jpq_cut10" {
        let Method::Jpq { documents, .. } = &method else { unreachable!() };
        let path = folder.path().join("index.faiss");
        documents.write(OutputFile::create(&path).unwrap()).unwrap();
        let open = |path: &Path| PqIndex::open(&input(path)).unwrap();
        let (found, expected) = (open(&path), open(&fixture("index/jpq_cut10.index")));
        assert_eq!(
            (found.codes(), found.form(), found.rotation()),
            (expected.codes(), expected.form(), expected.rotation())
        );
        assert!(found.coarse().unwrap().centroids().iter().all(|&number| number == 0.0));
        let pairs = found.codebook().centroids().iter().zip(expected.codebook().centroids());
        assert!(pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max) < 5e-5);
    }
}

#[test]
fn jpq_with_a_cut() {
    check_jpq("jpq_cut10", Some(10), 0.0);
}

#[test]
fn jpq_without_a_cut() {
    check_jpq("jpq_nocut", None, 0.01);
}

#[test]
fn the_first_lists_of_jpq_are_the_references() {
    let encoder = encoder();
    let documents = Compressed::open(&input(&fixture("index/OPQ8,IVF1,PQ8x8.index")), &encoder).unwrap();
    let expected = tensors("jpq_cut10");
    let workers = hardmine_encoder::Workers::new(Device::Cpu).unwrap();
    let found = documents.search(&expected["first.queries_rotated"], 40, &workers);
    assert_eq!(found, expected["first.neighbors"].to_kind(tch::Kind::Int64));
}

fn tower(rotation: &Tensor, centroids: &Tensor) -> Tower {
    let numbers = |tensor: &Tensor| Vec::<f32>::try_from(tensor.flatten(0, -1)).unwrap();
    let codebook = Codebook::new(numbers(centroids), 8).unwrap();
    Tower { rotation: Rotation::new(numbers(rotation), 32).unwrap(), codebook }
}

/// The moments of the fixture as a file of ours, which says the number of updates, too.
fn moments(folder: &Path) -> Moments {
    let mut tensors: Vec<(String, Tensor)> = tensors("conc1_stage1_moments").into_iter().collect();
    tensors.push(("step".into(), Tensor::from_slice(&[6i64])));
    let path = folder.join("optimizer.safetensors");
    Tensor::write_safetensors(&tensors, &path).unwrap();
    Moments::open(&input(&path)).unwrap()
}

#[test]
fn the_second_stage_of_repconc_goes_on_from_the_first() {
    let name = "conc1_stage2_list";
    let folder = tempfile::tempdir().unwrap();
    let (queries, docs) = (tokens(folder.path(), "queries"), tokens(folder.path(), "docs"));
    let relevant = relevant("qrels_conc_stage2.tsv", &queries, &docs);
    let first_stage = tensors("conc1_stage1");
    let mut encoder = encoder();
    tch::no_grad(|| {
        let parameters = encoder.parameters().iter();
        parameters.for_each(|(name, tensor)| tensor.shallow_clone().copy_(&first_stage[name]));
    });
    encoder.set_tower(Some(tower(&tensors("start")["rotation"], &first_stage["centroids"])));
    let documents = Compressed::open(&input(&fixture("index/conc1_stage1.index")), &encoder).unwrap();
    let method = Method::Jpq { documents, top_k: 40, lambda_cut: None };
    let moments = moments(folder.path());
    let settings = TrainingSettings {
        learning_rate: 5e-4,
        warmup_steps: 0,
        weight_decay: 0.001,
        objective: Objective { loss: Loss::List, ..Objective::default() },
        centroids: Some(CentroidSettings { learning_rate: 2e-3, weight_decay: 0.0, clipped: true }),
        moments: Some(moments.digest().to_owned()),
        ..jpq_settings(0.0)
    };
    let run = run(&encoder, &method, &queries, &relevant, &settings, &folder.path().join("model"));
    let mut run = run.go_on_from(&moments).unwrap();
    run.train(|_| ()).unwrap();
    let (log, _) = run.finish();
    assert_eq!(log[0].learning_rate, 0.0);
    check_steps(name, &log, "grad_norm");
    check_parameters(name, &encoder, method.quantizer().unwrap().centroids());
}

#[test]
fn jpq_of_the_second_release_of_repconc() {
    let name = "conc2_jpq";
    let folder = tempfile::tempdir().unwrap();
    let (queries, docs) = (tokens(folder.path(), "queries"), tokens(folder.path(), "docs"));
    let relevant = relevant("qrels_conc_stage2.tsv", &queries, &docs);
    let start = tensors("conc2_start");
    let mut encoder = encoder();
    encoder.set_tower(Some(tower(&start["rotation"], &start["centroids"])));
    let documents = Compressed::open(&input(&fixture("index/conc2_warmup.index")), &encoder).unwrap();
    let method = Method::Jpq { documents, top_k: 40, lambda_cut: None };
    let settings = TrainingSettings {
        learning_rate: 3e-4,
        warmup_steps: 0,
        schedule: Decay::Constant,
        optimizer: Rule::TorchAdamW,
        objective: Objective { loss: Loss::UnmaskedList, ..Objective::default() },
        centroids: Some(CentroidSettings { learning_rate: 3e-3, weight_decay: 0.0, clipped: true }),
        ..jpq_settings(0.0)
    };
    let mut run = run(&encoder, &method, &queries, &relevant, &settings, &folder.path().join("model"));
    run.train(|_| ()).unwrap();
    let (log, _) = run.finish();
    check_steps(name, &log, "grad_norm");
    check_parameters(name, &encoder, method.quantizer().unwrap().centroids());
}
