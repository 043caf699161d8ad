//! What is written: the columns of `schemas/`, where it came from, and the same bytes every time.

use std::collections::HashMap;

use arrow::datatypes::{DataType, Field};
use arrow::ipc::root_as_message;

use crate::common::{Folder, Records, TRAINING, messages};

/// The columns that `schemas/<kind>.json` gives, but for optional ones, with ids and vectors of the types in `of`.
fn columns(kind: &str, ids: DataType, vector: &DataType) -> Vec<(String, DataType, bool)> {
    let path = format!("{}/schemas/{kind}.json", env!("CARGO_MANIFEST_DIR"));
    let schema: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let columns = schema["columns"].as_array().unwrap().iter().filter(|column| column["optional"] != true);
    let columns = columns.map(|column| {
        let type_ = match column["type"].as_str().unwrap() {
            "int64" => DataType::Int64,
            "int32" => DataType::Int32,
            "float32" => DataType::Float32,
            "float64" => DataType::Float64,
            "utf8" => DataType::Utf8,
            "list<int32>" => DataType::new_list(DataType::Int32, false),
            "vector" => vector.clone(),
            "id" => ids.clone(),
            other => panic!("{other}"),
        };
        (column["name"].as_str().unwrap().to_owned(), type_, column["nullable"] == true)
    });
    columns.collect()
}

fn found(records: &Records) -> Vec<(String, DataType, bool)> {
    let field = |field: &std::sync::Arc<Field>| (field.name().clone(), field.data_type().clone(), field.is_nullable());
    records.rows.schema().fields().iter().map(field).collect()
}

/// Every binary that writes records, with a command, the kind it writes, and the type of ids.
fn commands() -> Vec<(String, &'static str, DataType)> {
    let pair = "--queries dev.tokens.arrow --docs docs.tokens.arrow";
    [
        ("tokenize --tokenizer bert collection.tsv".into(), "tokens", DataType::Int64),
        ("embed --model bert dev.tokens.arrow".into(), "embeddings", DataType::Int64),
        ("rank --index docs.arrow --top-k 5 dev.arrow".into(), "run", DataType::Int64),
        ("mine-negatives --qrels train.qrels.parquet --top-k 5 train.run.parquet".into(), "negatives", DataType::Int64),
        (format!("remap-ids {pair} --to official dev.run.parquet"), "run", DataType::Utf8),
        (format!("remap-ids {pair} --to internal qrels.dev.small.tsv"), "qrels", DataType::Int64),
    ]
    .into()
}

fn vector() -> DataType {
    DataType::FixedSizeList(std::sync::Arc::new(Field::new("item", DataType::Float32, false)), 32)
}

#[test]
fn the_columns_are_those_of_the_schemas() {
    let folder = Folder::made();
    for (line, kind, ids) in commands() {
        let stream = Records::stream(&folder.run(&line).ok().stdout);
        assert_eq!(found(&stream), columns(kind, ids, &vector()), "{line}");
        for ending in ["arrow", "parquet", "arrows"] {
            let name = format!("out.{ending}");
            folder.run(&line).args(["-o", &name]).ok();
            let file = match ending {
                "arrows" => Records::stream(&folder.read(&name)),
                _ => Records::open(&folder.path(&name)),
            };
            assert_eq!(found(&file), found(&stream), "{line} -o {name}");
            assert!(file.rows == stream.rows, "{line} -o {name}");
            assert_eq!(ours(&file), ours(&stream), "{line} -o {name}");
        }
    }
    let metrics = Records::open(&folder.path("dev.metrics.parquet"));
    assert_eq!(found(&metrics), columns("metrics", DataType::Utf8, &vector()));
    let line =
        "mine-negatives --qrels train.qrels.parquet train.run.parquet -o negatives.parquet --report report.parquet";
    folder.run(line).ok();
    let report = Records::open(&folder.path("report.parquet"));
    assert_eq!(found(&report), columns("mining-report", DataType::Int64, &vector()));
    folder.run(&format!("train inbatch {TRAINING} --steps 2 --batch-size 8 -o model")).ok();
    let log = Records::open(&folder.path("model/training-log.parquet"));
    assert_eq!(found(&log), columns("training-log", DataType::Int64, &vector()));
}

/// Our metadata.
fn ours(records: &Records) -> HashMap<&str, &str> {
    let entries = records.metadata.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    entries.filter(|(name, _)| name.starts_with("hardmine.")).collect()
}

#[test]
fn files_say_where_they_came_from() {
    let folder = Folder::made();
    let open = |name: &str| Records::open(&folder.path(name));
    let docs = open("docs.tokens.arrow");
    let dev = open("dev.tokens.arrow");
    for (name, kind, expected) in [
        ("docs.tokens.arrow", "tokens", &["keys", "tokenizer", "text_kind", "max_length"][..]),
        ("docs.arrow", "embeddings", &["keys", "tokenizer", "model", "precision", "max_length", "text_kind"]),
        ("dev.run.parquet", "run", &["queries", "docs", "model"]),
        ("dev.qrels.parquet", "qrels", &["queries", "docs"]),
        ("dev.official.parquet", "run", &["queries", "docs", "model"]),
        ("train.negatives.parquet", "negatives", &["queries", "docs", "model"]),
        ("dev.metrics.parquet", "metrics", &[]),
    ] {
        let records = open(name);
        let ours = ours(&records);
        assert_eq!(ours["hardmine.kind"], kind, "{name}");
        assert_eq!(ours["hardmine.schema_version"], "1", "{name}");
        assert_eq!(ours["hardmine.program"], concat!("hardmine ", env!("CARGO_PKG_VERSION")), "{name}");
        let command = ours["hardmine.command"].split(' ').next().unwrap();
        assert!(crate::common::BINARIES.contains(&command), "{name}: {command}");
        for entry in expected {
            assert!(ours.contains_key(format!("hardmine.{entry}").as_str()), "{name} lacks {entry}: {ours:?}");
        }
    }
    for name in ["dev.run.parquet", "dev.qrels.parquet"] {
        assert_eq!(open(name).metadata["hardmine.docs"], docs.metadata["hardmine.keys"], "{name}");
        assert_eq!(open(name).metadata["hardmine.queries"], dev.metadata["hardmine.keys"], "{name}");
    }
    assert_eq!(docs.metadata["hardmine.command"], "tokenize --tokenizer bert collection.tsv");
}

#[test]
fn a_stream_tells_its_fingerprint_with_its_last_batch() {
    let folder = Folder::made();
    let stream = folder.run("tokenize --tokenizer bert collection.tsv").ok().stdout;
    let ranges = messages(&stream);
    let told = |index: usize| root_as_message(&stream[ranges[index].start + 8..]).unwrap().custom_metadata().is_some();
    assert!(told(ranges.len() - 1));
    assert!(!(0..ranges.len() - 1).any(told));
    assert_eq!(stream[ranges.last().unwrap().end..], [0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]);
    let keys = Records::open(&folder.path("docs.tokens.arrow")).metadata["hardmine.keys"].clone();
    assert_eq!(Records::stream(&stream).metadata["hardmine.keys"], keys);
}

/// The bytes that `line` writes to a file of this name.
fn written(folder: &Folder, line: &str, output: &str) -> Vec<u8> {
    folder.run(line).args(["-o", output]).ok();
    folder.read(output)
}

#[test]
fn the_same_command_writes_the_same_bytes() {
    let (here, there) = (Folder::made(), Folder::made());
    std::fs::create_dir(there.path("deep")).unwrap();
    for (line, _, _) in commands() {
        for ending in ["arrow", "parquet", "arrows"] {
            let one = written(&here, &line, &format!("one.{ending}"));
            // In another folder, to another name.
            let two = written(&there, &line, &format!("deep/two.{ending}"));
            assert!(one == two, "{line} ({ending})");
        }
        assert!(here.run(&line).ok().stdout == there.run(&line).ok().stdout, "{line}");
    }
    for options in ["", "--factory IVF8,PQ8x4"] {
        let line = format!("index docs.arrow {options}");
        assert!(written(&here, &line, "one.faiss") == written(&there, &line, "deep/two.faiss"), "{line}");
    }
    let line = "score --qrels qrels.dev.small.tsv dev.official.parquet --per-query";
    let metrics = |folder: &Folder, output: &str| {
        folder.run(line).arg(output).ok();
        folder.read(output)
    };
    assert!(metrics(&here, "one.parquet") == metrics(&there, "deep/two.parquet"), "{line}");
}

#[test]
fn a_rerun_replaces_its_output_by_the_same_bytes() {
    let folder = Folder::made();
    let line = "tokenize --tokenizer bert collection.tsv";
    let first = written(&folder, line, "tokens.arrow");
    let inode =
        |folder: &Folder| std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(folder.path("tokens.arrow")).unwrap());
    let before = inode(&folder);
    assert!(first == written(&folder, line, "tokens.arrow"));
    assert_ne!(before, inode(&folder), "a new file takes the place of the old one");
}
