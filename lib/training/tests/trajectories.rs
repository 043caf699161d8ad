//! Six steps of each method beside those that the reference made on the same input, and of several families beside
//! those of sentence-transformers. The methods that train codes are in `compression`.

mod common;
#[path = "trajectories/compression.rs"]
mod compression;

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, FixedSizeListArray, Float32Array, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field};
use common::{encoder, fixture, input, lists, run, save_tokens, settings, star, token_ids, tokens, write};
use hardmine_encoder::{Encoder, Precision, Similarity};
use hardmine_records::{Kind, schema};
use hardmine_training::log::Row;
use hardmine_training::{DocumentLists, Documents, Loss, Method, Objective, Rule, TrainingSettings, starting_model};
use serde_json::Value;
use tch::{Device, Tensor};

fn trajectory(name: &str) -> Vec<Value> {
    let text = fs::read_to_string(fixture("trajectories.json")).unwrap();
    let all: Value = serde_json::from_str(&text).unwrap();
    all[name].as_array().unwrap().clone()
}

fn check_steps(name: &str, log: &[Row]) {
    let expected = trajectory(name);
    assert_eq!(log.len(), expected.len());
    let mut largest = (0f64, 0f64);
    for (row, expected) in log.iter().zip(&expected) {
        let number = |name: &str| expected[name].as_f64();
        let relative = |found: f32, expected: f64| (f64::from(found) - expected).abs() / expected.abs();
        let loss = relative(row.loss, number("loss").or(number("all_loss")).unwrap());
        assert!(loss < 1e-5, "{name}, step {}: loss is off by {loss:e}", row.step);
        let norm = number("grad_norm").map_or(0.0, |norm| relative(row.gradient_norm, norm));
        assert!(norm < 2e-5, "{name}, step {}: gradient norm is off by {norm:e}", row.step);
        largest = (largest.0.max(loss), largest.1.max(norm));
        if let Some((mrr_10, recall_10)) = row.retrieved {
            assert!((f64::from(mrr_10) - number("mrr_10").unwrap()).abs() < 1e-6, "{name}, step {}", row.step);
            assert!((f64::from(recall_10) - number("recall_10").unwrap()).abs() < 1e-6, "{name}, step {}", row.step);
        }
    }
    // The reference logs ADORE's rate after the step, the others' before it.
    let shift = usize::from(name.starts_with("adore"));
    for (row, expected) in log[shift..].iter().zip(&expected) {
        let rate = expected["lr"].as_f64().unwrap();
        assert!((f64::from(row.learning_rate) - rate).abs() < 1e-9, "{name}, step {}", row.step);
    }
    println!("{name}: loss off by {:.1e}, gradient norm by {:.1e} (relative)", largest.0, largest.1);
}

fn check_parameters(name: &str, encoder: &Encoder, tolerance: f64) {
    let expected: HashMap<String, Tensor> =
        Tensor::read_safetensors(fixture(&format!("{name}.safetensors"))).unwrap().into_iter().collect();
    let mut largest = (0.0, "");
    for (parameter, found) in encoder.parameters() {
        // Its true gradient is zero: the optimizer turns rounding into steps.
        if parameter.ends_with("attention.self.key.bias") {
            continue;
        }
        let difference = (found.detach() - &expected[parameter]).abs().max().double_value(&[]);
        assert!(difference < tolerance, "{name}: {parameter} is off by {difference:e}");
        if difference > largest.0 {
            largest = (difference, parameter);
        }
    }
    println!("{name}: parameters off by {:.1e} ({})", largest.0, largest.1);
}

fn check(name: &str, method: impl Fn(&Path) -> Method, qrels: &str, rule: Rule, max_query_length: usize) {
    let folder = tempfile::tempdir().unwrap();
    let queries = tokens(folder.path(), "queries");
    let relevant = lists(qrels, &queries, &tokens(folder.path(), "docs"));
    let encoder = encoder(folder.path(), false);
    let mut settings = settings(rule);
    settings.max_query_length = max_query_length;
    let method = method(folder.path());
    let mut run = run(&encoder, &method, &queries, &relevant, &settings, &folder.path().join("model"));
    run.train(|_| ()).unwrap();
    let (log, _) = run.finish();
    check_steps(name, &log);
    check_parameters(name, &encoder, if rule == Rule::Lamb { 5e-5 } else { 1e-4 });
}

#[test]
fn star_with_lamb() {
    check("star_lamb", |folder| star(folder, &tokens(folder, "queries")), "qrels.tsv", Rule::Lamb, 12);
}

#[test]
fn star_with_adamw() {
    check("star_adamw", |folder| star(folder, &tokens(folder, "queries")), "qrels.tsv", Rule::AdamW, 12);
}

#[test]
fn inbatch_with_lamb() {
    let method = |folder: &Path| Method::InBatch { docs: tokens(folder, "docs") };
    check("inbatch_lamb", method, "qrels.tsv", Rule::Lamb, 12);
}

/// The documents as the reference embedded them.
fn embeddings(folder: &Path) -> PathBuf {
    let tensors = Tensor::read_safetensors(fixture("embeddings.safetensors")).unwrap();
    let (_, docs) = tensors.into_iter().find(|(name, _)| name == "docs").unwrap();
    let (rows, dimension) = docs.size2().unwrap();
    let values: Vec<f32> = Vec::try_from(docs.flatten(0, -1)).unwrap();
    let schema = schema::embeddings(DataType::Float32, dimension as usize);
    let item = Arc::new(Field::new("item", DataType::Float32, false));
    let lists =
        FixedSizeListArray::try_new(item, dimension as i32, Arc::new(Float32Array::from(values)), None).unwrap();
    let columns: Vec<ArrayRef> = vec![Arc::new(Int64Array::from_iter_values(0..rows)), Arc::new(lists)];
    let path = folder.join("docs.arrow");
    write(&path, Kind::Embeddings, &RecordBatch::try_new(schema, columns).unwrap(), 64);
    path
}

fn adore(folder: &Path, metric_cut: Option<i64>) -> Method {
    let documents = Documents::open(&input(&embeddings(folder)), Device::Cpu).unwrap();
    Method::Adore { documents, top_k: 40, metric_cut }
}

#[test]
fn adore_with_a_cut() {
    check("adore_cut30", |folder| adore(folder, Some(30)), "qrels_adore.tsv", Rule::AdamW, 24);
}

#[test]
fn adore_without_a_cut() {
    check("adore_nocut", |folder| adore(folder, None), "qrels_adore.tsv", Rule::AdamW, 24);
}

fn of_families(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/encoders").join(name)
}

/// Trains a tiny model of `family` by InfoNCE of cosines, beside sentence-transformers 6. Ten triples are the batch of
/// every step: query i, its positive i, and its negative 10 + i.
fn check_family(family: &str, tolerance: f64) {
    let folder = tempfile::tempdir().unwrap();
    let text = fs::read_to_string(of_families(&format!("training/{family}.json"))).unwrap();
    let expected: Value = serde_json::from_str(&text).unwrap();
    let texts = |name: &str| expected[name].as_array().unwrap().iter().map(token_ids);
    let queries = save_tokens(folder.path(), "queries", texts("queries"));
    let docs = save_tokens(folder.path(), "docs", texts("positives").chain(texts("negatives")));
    let lists =
        |first: u32| DocumentLists::new(10, 20, &(0..10).map(|query| (query, first + query)).collect::<Vec<_>>());
    let relevant = lists(0);
    let method = Method::Star { docs, negatives: lists(10), hard_num: 1, teacher: None };
    let similarity = Some(Similarity::Cosine);
    let encoder = starting_model(&of_families(family), Device::Cpu, Precision::F32, 0, similarity).unwrap();
    let objective = Objective { loss: Loss::InfoNce { symmetric: false }, temperature: 0.05, dimensions: Vec::new() };
    let settings = TrainingSettings {
        batch_size: 10,
        objective,
        max_query_length: encoder.max_positions(),
        max_doc_length: encoder.max_positions(),
        ..settings(Rule::TorchAdamW)
    };
    let mut run = run(&encoder, &method, &queries, &relevant, &settings, &folder.path().join("model"));
    run.train(|_| ()).unwrap();
    let (log, _) = run.finish();

    let mut off = (0f64, 0f64);
    for (row, step) in log.iter().zip(expected["steps"].as_array().unwrap()) {
        let relative = |found: f32, name: &str| (f64::from(found) / step[name].as_f64().unwrap() - 1.0).abs();
        off = (off.0.max(relative(row.loss, "loss")), off.1.max(relative(row.gradient_norm, "grad_norm")));
        assert!((f64::from(row.learning_rate) - step["lr"].as_f64().unwrap()).abs() < 1e-9, "{family}: {row:?}");
    }
    let parameters = Tensor::read_safetensors(of_families(&format!("training/{family}.safetensors"))).unwrap();
    let parameters: HashMap<String, Tensor> = parameters.into_iter().collect();
    let mut largest = (0.0, "");
    for (name, found) in encoder.parameters() {
        let Some(wanted) = parameters.get(name) else { panic!("{family}: no {name} among {:?}", parameters.keys()) };
        // Its true gradient is zero.
        if name.ends_with("k_lin.bias") {
            continue;
        }
        let difference = (found.detach() - wanted).abs().max().double_value(&[]);
        if difference > largest.0 {
            largest = (difference, name);
        }
    }
    println!(
        "{family}: loss off by {:.1e}, gradient norm by {:.1e} (relative); parameters by {:.1e} ({})",
        off.0, off.1, largest.0, largest.1
    );
    assert!(log.len() == 6 && off.0 < tolerance && off.1 < tolerance, "{family}: off by {off:?}");
    assert!(largest.0 < tolerance, "{family}: {} is off by {:e}", largest.1, largest.0);
}

#[test]
fn distilbert_goes_the_way_of_the_reference() {
    check_family("distilbert", 1e-5);
}

#[test]
fn modernbert_goes_the_way_of_the_reference() {
    check_family("modernbert_cls", 1e-5);
}

#[test]
fn qwen3_goes_the_way_of_the_reference() {
    check_family("qwen3", 1e-5);
}
