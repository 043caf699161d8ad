//! The tiny RobertaDot of the fixtures and its collection, as the files that a run reads.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Builder, Int64Array, ListBuilder, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field};
use hardmine_encoder::{Encoder, Precision};
use hardmine_files::{Input, MappedTokens, Output, Writer};
use hardmine_records::{Kind, Provenance, schema};
use hardmine_training::{DocumentLists, Method, Rule, Run, TrainingSettings, data};
use serde_json::Value;
use tch::Device;

pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/training").join(name)
}

pub fn input(path: &Path) -> Input {
    Input::Path(path.to_owned())
}

/// Texts of a `.jsonl` fixture; their keys are their ids.
pub fn tokens(folder: &Path, name: &str) -> MappedTokens {
    let text = fs::read_to_string(fixture(&format!("{name}.tokens.jsonl"))).unwrap();
    let ids = text.lines().map(|line| token_ids(&serde_json::from_str::<Value>(line).unwrap()["token_ids"]));
    save_tokens(folder, name, ids)
}

/// The numbers of a list in JSON.
pub fn token_ids(list: &Value) -> Vec<i32> {
    list.as_array().unwrap().iter().map(|id| id.as_i64().unwrap() as i32).collect()
}

/// A tokens file of these texts; their keys are their ids.
pub fn save_tokens(folder: &Path, name: &str, texts: impl Iterator<Item = Vec<i32>>) -> MappedTokens {
    let mut lists = ListBuilder::new(Int32Builder::new()).with_field(Field::new("item", DataType::Int32, false));
    let mut rows = 0;
    for ids in texts {
        lists.append_value(ids.into_iter().map(Some));
        rows += 1;
    }
    let keys = StringArray::from_iter_values((0..rows).map(|row: i64| row.to_string()));
    let columns: Vec<ArrayRef> =
        vec![Arc::new(Int64Array::from_iter_values(0..rows)), Arc::new(keys), Arc::new(lists.finish())];
    let path = folder.join(format!("{name}.tokens.arrow"));
    write(&path, Kind::Tokens, &RecordBatch::try_new(schema::tokens(), columns).unwrap(), 64);
    MappedTokens::open(&input(&path)).unwrap()
}

/// Writes in several batches, as a large file has them.
pub fn write(path: &Path, kind: Kind, batch: &RecordBatch, size: usize) {
    let output = Output::Path(path.to_owned(), hardmine_files::Format::File);
    let mut writer = Writer::create(&output, kind, batch.schema(), Provenance::default()).unwrap();
    for start in (0..batch.num_rows()).step_by(size) {
        writer.write(&batch.slice(start, size.min(batch.num_rows() - start))).unwrap();
    }
    writer.finish().unwrap();
}

/// The fixture's model; `dropout` makes a copy of it in `folder` that has some.
pub fn encoder(folder: &Path, dropout: bool) -> Encoder {
    let mut source = fixture("init");
    if dropout {
        let copy = folder.join("init");
        fs::create_dir_all(&copy).unwrap();
        fs::copy(source.join("model.safetensors"), copy.join("model.safetensors")).unwrap();
        let config = fs::read_to_string(source.join("config.json")).unwrap();
        fs::write(copy.join("config.json"), config.replace("dropout_prob\": 0.0", "dropout_prob\": 0.1")).unwrap();
        source = copy;
    }
    // Products so small gain nothing from threads, and lose much where other programs keep the cores busy.
    tch::set_num_threads(1);
    Encoder::load(&source, Device::Cpu, Precision::F32).unwrap()
}

pub fn lists(name: &str, queries: &MappedTokens, docs: &MappedTokens) -> DocumentLists {
    let (queries, docs) = (data::TextRows::of_tokens(queries), data::TextRows::of_tokens(docs));
    let file = input(&fixture(name));
    if name.starts_with("negatives") {
        data::read_negatives(&file, &queries, &docs, data::IdOptions::default()).unwrap().0.lists
    } else {
        data::read_qrels(&file, &queries, &docs, data::IdOptions::default()).unwrap().lists
    }
}

/// The settings that the reference's figures were made with.
pub fn settings(optimizer: Rule) -> TrainingSettings {
    TrainingSettings {
        epochs: 6,
        steps: None,
        batch_size: 16,
        optimizer,
        learning_rate: 1e-3,
        warmup_steps: 2,
        max_query_length: 12,
        max_doc_length: 40,
        scale_loss: false,
        seed: 0,
        save_every: 1000,
        ..TrainingSettings::both_sides()
    }
}

pub fn star(folder: &Path, queries: &MappedTokens) -> Method {
    let docs = tokens(folder, "docs");
    let negatives = lists("negatives.tsv", queries, &docs);
    Method::Star { docs, negatives, hard_num: 1, teacher: None }
}

/// A run without a checkpoint from before, beside `output`.
pub fn run<'a>(
    encoder: &'a Encoder,
    method: &'a Method,
    queries: &'a MappedTokens,
    relevant: &'a DocumentLists,
    settings: &'a TrainingSettings,
    output: &Path,
) -> Run<'a> {
    let identity = hardmine_training::identity(encoder, method, queries, relevant, settings, None);
    let checkpoint = hardmine_training::Checkpoint::beside(output, identity);
    Run::start(encoder, method, queries, relevant, settings, None, checkpoint).unwrap()
}
