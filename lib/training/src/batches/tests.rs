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
use hardmine_records::{Kind, Provenance, schema};
use serde_json::Value;

use super::*;
use crate::assign::Assignment;
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
    let mut writer = Writer::create(&output, Kind::Tokens, schema::tokens(), Provenance::default()).unwrap();
    writer.write(&RecordBatch::try_new(schema::tokens(), columns).unwrap()).unwrap();
    writer.finish().unwrap();
    MappedTokens::open(&Input::Path(path)).unwrap()
}

fn encoder() -> Encoder {
    tch::set_num_threads(1);
    Encoder::load(&Path::new(FIXTURES).join("init"), Device::Cpu, Precision::F32).unwrap()
}

/// The quantizer that training starts from: its centroids are those of the residuals.
fn clustering(epsilon: f64) -> Clustering {
    let start = tensors("start");
    let numbers = |name: &str| Vec::<f32>::try_from(start[name].flatten(0, -1)).unwrap();
    let rotation = Rotation::new(numbers("rotation"), 32).unwrap();
    let codebook = Codebook::new(numbers("centroids"), 8).unwrap();
    Clustering {
        quantizer: Quantizer::new(&rotation, &codebook, Device::Cpu),
        assignment: Assignment { epsilon, iterations: 30, constrained: true },
        mse_weight: 0.05,
    }
}

fn settings() -> TrainingSettings {
    TrainingSettings {
        objective: Objective { loss: Loss::InfoNce { symmetric: false }, ..Objective::default() },
        max_query_length: 16,
        max_doc_length: 32,
        ..TrainingSettings::repconc()
    }
}

/// What every step of the fixture looks at.
struct Pairs {
    queries: Vec<u32>,
    positives: Vec<u32>,
    negatives: Vec<u32>,
    relevant: DocumentLists,
}

impl Pairs {
    fn read() -> Pairs {
        let pairs = rows("pairs.tsv");
        let column = |number: usize| pairs.iter().map(|row| row[number]).collect();
        let relevant: Vec<(u32, u32)> = rows("qrels_conc.tsv").iter().map(|row| (row[0], row[2])).collect();
        let relevant = DocumentLists::new(64, 500, &relevant);
        Pairs { queries: column(0), positives: column(1), negatives: column(2), relevant }
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
        let drawn = Drawn { positives, others, in_batch: true, taught: None };
        batches.contrast(0, &self.queries, docs, drawn, Some(clustering)).unwrap()
    }

    /// The codes of the documents of a step, in the order of the fixture: positive, negative, positive, …
    fn codes(&self, encoder: &Encoder, docs: &MappedTokens, batches: &Batches, clustering: &Clustering) -> Tensor {
        let ids = self.positives.iter().zip(&self.negatives).flat_map(|(&one, &other)| [one, other]).collect();
        let [encoded] = batches.encoding.encode([batches.docs(0, docs, ids)]).unwrap();
        assert_eq!(encoded.embeddings.size()[1], encoder.dimension() as i64);
        let rotated = clustering.quantizer.rotate(&encoded.embeddings);
        clustering.assignment.of(&rotated, clustering.quantizer.centroids(), batches.encoding.workers()).codes
    }
}

#[test]
fn six_steps_of_repconc_are_the_references() {
    let folder = tempfile::tempdir().unwrap();
    let (queries, docs) = (tokens(folder.path(), "queries"), tokens(folder.path(), "docs"));
    let (pairs, encoder, clustering, settings) = (Pairs::read(), encoder(), clustering(0.5), settings());
    let batches = pairs.batches(&queries, &encoder, &settings);
    let update = UpdateSettings { rule: Rule::AdamW, weight_decay: 0.001, max_gradient_norm: 1.0 };
    let mut optimizer = Optimizer::new(update, encoder.parameters());
    let centroids = [("centroids".to_owned(), clustering.quantizer.centroids().shallow_clone())];
    let mut of_centroids = Optimizer::new(UpdateSettings { weight_decay: 0.0, ..update }, &centroids);

    let json: Value = serde_json::from_str(&text("trajectories.json")).unwrap();
    let expected = tensors("conc1_stage1");
    for (step, figures) in json["conc1_stage1"].as_array().unwrap().iter().enumerate() {
        let codes = pairs.codes(&encoder, &docs, &batches, &clustering);
        assert_eq!(codes, expected[&format!("codes.{step}")].to_kind(tch::Kind::Int64), "codes of step {step}");
        let forward = pairs.forward(&batches, &docs, &clustering);
        let off = |found: f64, name: &str| (found / figures[name].as_f64().unwrap() - 1.0).abs();
        let loss = off(forward.loss.double_value(&[]), "loss");
        let clustered = forward.clustered.unwrap();
        let mse = off(clustered.mse.into(), "mse_loss");
        let gradients = batches.gradients(forward, 1.0);
        let norm = gradients.norms(1.0, batches.encoding.workers()).all;
        let off_norm = off(norm, "grad_norm");
        println!("step {step}: loss off by {loss:.1e}, mse by {mse:.1e}, norm by {off_norm:.1e}; {clustered:?}");
        assert!(loss < 1e-5 && mse < 1e-5 && off_norm < 2e-5);
        assert_eq!(clustered.fallbacks, 0);
        optimizer.step(gradients.encoder, 3e-4, norm, 1.0, batches.encoding.workers());
        of_centroids.step(gradients.centroids.into_iter().collect(), 3e-3, norm, 1.0, batches.encoding.workers());
    }
    let moments = tensors("conc1_stage1_moments");
    let mut largest = 0f64;
    let mut check = |name: &str, found: &Tensor, expected: &Tensor| {
        let off = (found.detach() - expected).abs().max().double_value(&[]);
        assert!(off < 5e-5, "{name} is off by {off:e}");
        largest = largest.max(off);
    };
    for (name, found) in encoder.parameters().iter().chain(&centroids) {
        if !name.ends_with("attention.self.key.bias") {
            check(name, found, &expected[name]);
        }
    }
    for (name, mean, square) in optimizer.moments().chain(of_centroids.moments()) {
        check(&name, &mean, &moments[&format!("exp_avg.{name}")]);
        check(&name, &square, &moments[&format!("exp_avg_sq.{name}")]);
    }
    println!("parameters and moments off by {largest:.1e}");
}

#[test]
fn one_step_without_constraint_or_with_an_overflow_is_the_references() {
    let folder = tempfile::tempdir().unwrap();
    let (queries, docs) = (tokens(folder.path(), "queries"), tokens(folder.path(), "docs"));
    let (pairs, encoder, settings) = (Pairs::read(), encoder(), settings());
    let batches = pairs.batches(&queries, &encoder, &settings);
    let json: Value = serde_json::from_str(&text("trajectories.json")).unwrap();
    let mut free = clustering(0.5);
    free.assignment.constrained = false;
    for (name, clustering, fallbacks) in [("conc1_no_constraint", free, 0), ("conc1_overflow", clustering(0.005), 1)] {
        let forward = pairs.forward(&batches, &docs, &clustering);
        let clustered = forward.clustered.unwrap();
        assert_eq!(clustered.fallbacks, fallbacks, "{name}");
        let off = |found: f64, of: &str| (found / json[name][of].as_f64().unwrap() - 1.0).abs();
        assert!(off(forward.loss.double_value(&[]), "loss") < 1e-5 && off(clustered.mse.into(), "mse_loss") < 1e-5);
    }
}
