//! Records that are missing, of the wrong kind, or do not fit each other.

use arrow::array::{Int64Array, StringArray};

use super::{TOKENIZE, inputs, refused};
use crate::common::{Folder, TRAINING, column, save};

#[test]
fn files_that_are_missing_empty_or_folders() {
    let folder = Folder::made();
    folder.write("empty.arrow", "");
    std::fs::create_dir(folder.path("folder.arrow")).unwrap();
    for line in inputs() {
        refused(&folder, &line.replace("FILE", "missing.arrow"), &["missing.arrow: no such file"]);
        refused(&folder, &line.replace("FILE", "empty.arrow"), &["empty.arrow: is empty"]);
        refused(&folder, &line.replace("FILE", "folder.arrow"), &["folder.arrow: is a folder"]);
    }
    folder.run("sql -t t=missing.parquet").arg("SELECT 1").fails(&["missing.parquet"]);
    folder.run("sql -t t=empty.arrow").arg("SELECT * FROM t").fails(&["empty.arrow: is empty"]);
    folder.run("sql -t t=folder.arrow").arg("SELECT * FROM t").fails(&["folder.arrow: is a folder"]);
    folder.run("sql -f missing.sql").fails(&["missing.sql: no such file"]);
    for command in [TOKENIZE, "embed --model bert", "index -o x.faiss", "score --qrels qrels.dev.small.tsv"] {
        folder.run(command).fails(&["standard input: is empty"]);
    }
}

#[test]
fn the_wrong_kind_of_record() {
    let folder = Folder::made();
    for (line, expected, file, found) in [
        ("embed --model bert", "tokens", "dev.run.parquet", "run"),
        ("embed --model bert", "tokens", "docs.arrow", "embeddings"),
        ("index", "embeddings", "docs.tokens.arrow", "tokens"),
        ("rank --index docs.arrow", "embeddings", "dev.tokens.arrow", "tokens"),
        ("rank --index", "embeddings", "docs.tokens.arrow", "tokens"),
        ("mine-negatives --qrels train.qrels.parquet", "run", "train.negatives.parquet", "negatives"),
        ("mine-negatives --qrels", "qrels", "train.run.parquet", "run"),
        (
            "remap-ids --to official --queries dev.tokens.arrow --docs docs.tokens.arrow",
            "run",
            "docs.arrow",
            "embeddings",
        ),
        ("score --qrels qrels.dev.small.tsv", "run", "dev.metrics.parquet", "metrics"),
        ("score --qrels", "qrels", "dev.official.parquet", "run"),
    ] {
        let rest = match line {
            "rank --index" => "dev.arrow",
            "mine-negatives --qrels" => "train.run.parquet",
            "score --qrels" => "dev.official.parquet",
            _ => "",
        };
        let (expected, found) = (format!("{file}: expected {expected}"), format!("found {found}"));
        refused(&folder, &format!("{line} {file} {rest}"), &[&expected, &found, "; hint: "]);
    }
    refused(&folder, &format!("{TOKENIZE} docs.arrow"), &["docs.arrow: expected texts"]);
    let line = format!("train inbatch {}", TRAINING.replace("train.tokens.arrow", "train.arrow"));
    refused(&folder, &line, &["train.arrow: expected tokens, found embeddings"]);
    refused(
        &folder,
        &format!("train star {TRAINING} --negatives train.run.parquet"),
        &["train.run.parquet: expected negatives"],
    );
    refused(&folder, "embed --model bert collection.tsv", &["collection.tsv: expected tokens", "found text"]);
    // Files of other programs are known by their columns.
    save(
        &folder.path("plain.parquet"),
        vec![column("id", Int64Array::from(vec![0])), column("text", StringArray::from(vec!["a"]))],
    );
    refused(
        &folder,
        "embed --model bert plain.parquet",
        &["plain.parquet: expected tokens with columns id, key, token_ids, found id, text"],
    );
}

#[test]
fn dimensions_that_differ() {
    let folder = Folder::made();
    folder.run("index docs.arrow -o docs.faiss").ok();
    folder.sh("tokenize --tokenizer dot --kind query queries.dev.small.tsv | embed --model dot -o wide.arrow").ok();
    for index in ["docs.arrow", "docs.faiss"] {
        refused(&folder, &format!("rank --index {index} wide.arrow"), &["wide.arrow", index, "24", "32"]);
    }
    folder.sh("tokenize --tokenizer dot collection.tsv | embed --model dot -o wide.docs.arrow").ok();
    let adore = TRAINING.replace("--max-doc-length 32", "--embeddings wide.docs.arrow");
    refused(&folder, &format!("train adore {adore}"), &["wide.docs.arrow", "24", "32"]);
    let rows: Vec<Vec<f32>> = vec![vec![1.0; 3], vec![1.0; 4]];
    let mut lists = arrow::array::ListBuilder::new(arrow::array::Float32Builder::new());
    rows.iter().for_each(|row| lists.append_value(row.iter().copied().map(Some)));
    let columns = vec![column("id", Int64Array::from(vec![0, 1])), column("embedding", lists.finish())];
    save(&folder.path("uneven.parquet"), columns);
    refused(&folder, "index uneven.parquet", &["uneven.parquet: row 1: has 4 dimensions, expected 3"]);
}

#[test]
fn nulls_where_there_must_be_none() {
    let folder = Folder::made();
    let keys = column("key", StringArray::from(vec![Some("a"), None]));
    let mut lists = arrow::array::ListBuilder::new(arrow::array::Int32Builder::new());
    lists.append_value([Some(2), Some(3)]);
    lists.append_value([Some(2), None]);
    let ids = || column("id", Int64Array::from(vec![0, 1]));
    let lists = lists.finish();
    save(&folder.path("null.parquet"), vec![ids(), keys, column("token_ids", lists.clone())]);
    refused(&folder, "embed --model bert null.parquet", &["null.parquet: row 1: column key is null"]);
    save(
        &folder.path("null.parquet"),
        vec![ids(), column("key", StringArray::from(vec!["a", "b"])), column("token_ids", lists)],
    );
    refused(&folder, "embed --model bert null.parquet", &["null.parquet: column token_ids has a null"]);
}
