//! Six steps of each method, beside those that the reference made on the same input.

mod common;

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, FixedSizeListArray, Float32Array, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field};
use common::{encoder, fixture, input, lists, run, settings, star, tokens, write};
use hardmine_encoder::Encoder;
use hardmine_records::{Kind, schema};
use hardmine_training::log::Row;
use hardmine_training::{Documents, Method, Rule};
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
