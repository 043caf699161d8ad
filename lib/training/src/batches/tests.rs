//! The first stage of RepCONC beside the authors' modules: six steps, on pairs of documents that are not drawn here.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Builder, Int64Array, ListBuilder, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field};
use hardmine_encoder::{Encoder, Precision};
use hardmine_files::{Format, Input, Output, Writer};
use hardmine_quantization::{Codebook, Rotation};
use hardmine_records::{Kind as RecordKind, Provenance, schema};
use serde_json::Value;
use tch::Kind;

use super::*;
use crate::assign::{Assignment, Constraint};
use crate::objective::{Loss, Objective};
use crate::optimizer::{Optimizer, Rule, UpdateSettings};
use crate::quantizer::Quantizer;

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/compression");

fn tensors(name: &str) -> HashMap<String, Tensor> {
    Tensor::read_safetensors(format!("{FIXTURES}/{name}.safetensors")).unwrap().into_iter().collect()
}

fn text(name: &str) -> String {
    fs::read_to_string(format!("{FIXTURES}/{name}")).unwrap()
}

/// The rows of a file of numbers.
fn rows(name: &str) -> Vec<Vec<u32>> {
    text(name).lines().map(|line| line.split_whitespace().map(|number| number.parse().unwrap()).collect()).collect()
}

fn tokens(folder: &Path, name: &str) -> MappedTokens {
    let mut lists = ListBuilder::new(Int32Builder::new()).with_field(Field::new("item", DataType::Int32, false));
    for line in text(&format!("{name}.tokens.jsonl")).lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        lists.append_value(line["token_ids"].as_array().unwrap().iter().map(|id| Some(id.as_i64().unwrap() as i32)));
    }
    let lists = lists.finish();
    let ids = 0..arrow::array::Array::len(&lists) as i64;
    let keys = StringArray::from_iter_values(ids.clone().map(|id| id.to_string()));
    let columns: Vec<ArrayRef> = vec![Arc::new(Int64Array::from_iter_values(ids)), Arc::new(keys), Arc::new(lists)];
    let path = folder.join(format!("{name}.arrow"));
    let output = Output::Path(path.clone(), Format::File);
    let mut writer = Writer::create(&output, RecordKind::Tokens, schema::tokens(), Provenance::default()).unwrap();
    writer.write(&RecordBatch::try_new(schema::tokens(), columns).unwrap()).unwrap();
    writer.finish().unwrap();
    MappedTokens::open(&Input::Path(path)).unwrap()
}

fn encoder() -> Encoder {
    tch::set_num_threads(1);
    Encoder::load(&Path::new(FIXTURES).join("init"), Device::Cpu, Precision::F32).unwrap()
}

/// A quantizer with the rotation and the centroids of a fixture, and how the documents of a batch become its codes.
fn clustering(start: &str, assignment: Assignment, mse_weight: f64, once: bool) -> Clustering {
    let start = tensors(start);
    let numbers = |name: &str| Vec::<f32>::try_from(start[name].flatten(0, -1)).unwrap();
    let rotation = Rotation::new(numbers("rotation"), 32).unwrap();
    let codebook = Codebook::new(numbers("centroids"), 8).unwrap();
    let quantizer = Quantizer::new(&rotation, &codebook, Device::Cpu);
    Clustering { quantizer, assignment, mse_weight, once }
}

/// The paper's release starts from the centroids of the residuals.
fn first_release(epsilon: f64) -> Clustering {
    let assignment = Assignment { epsilon, iterations: 30, constraint: Constraint::Even };
    clustering("start", assignment, 0.05, false)
}

/// The second release weights the mean error of each part of 8 documents by 0.001, and there are 16 parts.
fn second_release() -> Clustering {
    let assignment = Assignment { epsilon: 0.02, iterations: 100, constraint: Constraint::EvenOfScaled };
    clustering("conc2_start", assignment, 16.0 * 0.001, true)
}

fn settings(loss: Loss) -> TrainingSettings {
    TrainingSettings {
        objective: Objective { loss, ..Objective::default() },
        max_query_length: 16,
        max_doc_length: 32,
        ..TrainingSettings::repconc()
    }
}

/// What the batch of every step is.
struct Pairs {
    queries: Vec<u32>,
    positives: Vec<u32>,
    negatives: Vec<u32>,
    relevant: DocumentLists,
}

impl Pairs {
    /// Reads lines of a query, its positive, and its negatives.
    fn read(name: &str) -> Pairs {
        let pairs = rows(name);
        let column = |number: usize| pairs.iter().map(|row| row[number]).collect();
        let negatives = pairs.iter().flat_map(|row| row[2..].to_vec()).collect();
        let relevant: Vec<(u32, u32)> = rows("qrels_conc.tsv").iter().map(|row| (row[0], row[2])).collect();
        let relevant = DocumentLists::new(64, 500, &relevant);
        Pairs { queries: column(0), positives: column(1), negatives, relevant }
    }

    fn batches<'a>(
        &'a self,
        queries: &'a MappedTokens,
        encoder: &'a Encoder,
        settings: &'a TrainingSettings,
    ) -> Batches<'a> {
        Batches {
            tokens: queries,
            relevant: &self.relevant,
            sampler: Sampler::new(&self.relevant, 64, 0),
            encoding: Encoding::new(encoder, None).unwrap(),
            settings,
            similarity: Similarity::Dot,
            device: Device::Cpu,
        }
    }

    fn forward<'a>(&self, batches: &Batches<'a>, docs: &'a MappedTokens, clustering: &Clustering) -> Forward<'a> {
        let (positives, others) = (self.positives.clone(), Some(self.negatives.clone()));
        let drawn = Drawn { positives, others, in_batch: true, once: clustering.once, taught: None };
        batches.contrast(0, &self.queries, docs, drawn, Some(clustering)).unwrap()
    }

    /// Codes of the documents `ids` among those of a batch.
    fn codes(&self, ids: Vec<u32>, docs: &MappedTokens, batches: &Batches, clustering: &Clustering) -> Tensor {
        let [encoded] = batches.encoding.encode([batches.docs(0, docs, ids)]).unwrap();
        let rotated = clustering.quantizer.rotate(&encoded.embeddings);
        clustering.assignment.of(&rotated, clustering.quantizer.centroids(), batches.encoding.workers()).codes
    }
}

/// Goes the six steps of the fixture `name` on `pairs`, whose documents have codes in the order of `ids`, and compares
/// losses, errors, norms, codes and parameters. Returns the moments by the names of their parameters.
fn check_six_steps(
    name: &str,
    pairs: &Pairs,
    ids: Vec<u32>,
    clustering: &Clustering,
    (loss, update): (Loss, UpdateSettings),
) -> Vec<(String, Tensor, Tensor)> {
    let folder = tempfile::tempdir().unwrap();
    let (queries, docs) = (tokens(folder.path(), "queries"), tokens(folder.path(), "docs"));
    let (encoder, settings) = (encoder(), settings(loss));
    let batches = pairs.batches(&queries, &encoder, &settings);
    let workers = batches.encoding.workers();
    let mut optimizer = Optimizer::new(update, encoder.parameters());
    let centroids = [("centroids".to_owned(), clustering.quantizer.centroids().shallow_clone())];
    let mut of_centroids = Optimizer::new(UpdateSettings { weight_decay: 0.0, ..update }, &centroids);

    let json: Value = serde_json::from_str(&text("trajectories.json")).unwrap();
    let expected = tensors(name);
    for (step, figures) in json[name].as_array().unwrap().iter().enumerate() {
        let codes = pairs.codes(ids.clone(), &docs, &batches, clustering);
        assert_eq!(codes, expected[&format!("codes.{step}")].to_kind(Kind::Int64), "{name}: codes of step {step}");
        let forward = pairs.forward(&batches, &docs, clustering);
        let clustered = forward.clustered.unwrap();
        let found = forward.loss.double_value(&[]);
        let gradients = batches.gradients(forward, 1.0);
        let norm = gradients.norms(1.0, workers).all;
        // The second release does not log the error, and leaves it out of the loss that it logs.
        let contrastive = found - clustering.mse_weight * f64::from(clustered.mse);
        let pairs = [
            (found, "loss"),
            (contrastive, "contrastive_loss"),
            (clustered.mse.into(), "mse_loss"),
            (norm, "grad_norm"),
        ];
        for (found, of) in pairs {
            let Some(expected) = figures[of].as_f64() else { continue };
            let off = (found / expected - 1.0).abs();
            println!("{name}, step {step}: {of} is off by {off:.1e}");
            assert!(off < if of == "grad_norm" { 2e-5 } else { 1e-5 });
        }
        assert_eq!(clustered.fallbacks, 0);
        optimizer.step(gradients.encoder, 3e-4, norm, 1.0, workers);
        of_centroids.step(gradients.centroids.into_iter().collect(), 3e-3, norm, 1.0, workers);
    }
    let parameters = encoder.parameters().iter().chain(&centroids);
    // The true gradient of that bias is zero.
    let parameters = parameters.filter(|(name, _)| !name.ends_with("attention.self.key.bias"));
    check_largest(name, parameters.map(|(name, found)| (found, &expected[name])));
    optimizer.moments().chain(of_centroids.moments()).collect()
}

/// Compares tensors with those that are expected.
fn check_largest<'a>(name: &str, pairs: impl Iterator<Item = (&'a Tensor, &'a Tensor)>) {
    let off = pairs.map(|(found, expected)| (found.detach() - expected).abs().max().double_value(&[]));
    let largest = off.fold(0.0, f64::max);
    println!("{name}: parameters or moments are off by {largest:.1e}");
    assert!(largest < 5e-5, "{name}: parameters or moments are off by {largest:e}");
}

#[test]
fn six_steps_of_repconc_are_the_references() {
    let pairs = Pairs::read("pairs.tsv");
    // In the fixture the documents stand in the order positive, negative, positive, …
    let ids = pairs.positives.iter().zip(&pairs.negatives).flat_map(|(&one, &other)| [one, other]).collect();
    let update = UpdateSettings { rule: Rule::AdamW, weight_decay: 0.001, max_gradient_norm: 1.0 };
    let loss = Loss::InfoNce { symmetric: false };
    let found = check_six_steps("conc1_stage1", &pairs, ids, &first_release(0.5), (loss, update));
    let moments = tensors("conc1_stage1_moments");
    let moment = |of: &str, name: &str| &moments[&format!("{of}.{name}")];
    check_largest("exp_avg", found.iter().map(|(name, mean, _)| (mean, moment("exp_avg", name))));
    check_largest("exp_avg_sq", found.iter().map(|(name, _, square)| (square, moment("exp_avg_sq", name))));
}

#[test]
fn six_steps_of_the_second_release_are_the_references() {
    let pairs = Pairs::read("pairs_conc2.tsv");
    let ids = [&pairs.positives[..], &pairs.negatives].concat();
    let update = UpdateSettings { rule: Rule::TorchAdamW, weight_decay: 0.01, max_gradient_norm: 1.0 };
    let loss = Loss::InfoNceOfHardest { count: 5 };
    check_six_steps("conc2_stage1", &pairs, ids, &second_release(), (loss, update));
}

#[test]
fn one_step_without_constraint_or_with_an_overflow_is_the_references() {
    let folder = tempfile::tempdir().unwrap();
    let (queries, docs) = (tokens(folder.path(), "queries"), tokens(folder.path(), "docs"));
    let (pairs, encoder) = (Pairs::read("pairs.tsv"), encoder());
    let settings = settings(Loss::InfoNce { symmetric: false });
    let batches = pairs.batches(&queries, &encoder, &settings);
    let json: Value = serde_json::from_str(&text("trajectories.json")).unwrap();
    let mut free = first_release(0.5);
    free.assignment.constraint = Constraint::None;
    for (name, clustering, fallbacks) in [("conc1_no_constraint", free, 0), ("conc1_overflow", first_release(0.005), 1)]
    {
        let forward = pairs.forward(&batches, &docs, &clustering);
        let clustered = forward.clustered.unwrap();
        assert_eq!(clustered.fallbacks, fallbacks, "{name}");
        let off = |found: f64, of: &str| (found / json[name][of].as_f64().unwrap() - 1.0).abs();
        assert!(off(forward.loss.double_value(&[]), "loss") < 1e-5 && off(clustered.mse.into(), "mse_loss") < 1e-5);
    }
}
