//! Ids and keys: unknown, of another space or split, twice, or numbers that are none.

use std::collections::HashMap;

use arrow::array::{Int32Array, Int64Array, RecordBatch, StringArray};

use super::{REMAP, TOKENIZE, refused};
use crate::common::{Folder, Records, TRAINING, column, save, save_stream};

#[test]
fn id_spaces_and_splits_that_differ() {
    let folder = Folder::made();
    refused(
        &folder,
        "score --qrels train.qrels.parquet dev.run.parquet",
        &["dev.run.parquet", "train.qrels.parquet", "queries"],
    );
    refused(
        &folder,
        "score --qrels qrels.dev.small.tsv dev.run.parquet",
        &["dev.run.parquet", "internal", "remap-ids"],
    );
    refused(
        &folder,
        "score --qrels qrels.train.tsv dev.official.parquet",
        &["dev.official.parquet", "none of its 60 queries is judged"],
    );
    refused(
        &folder,
        "mine-negatives --qrels dev.qrels.parquet train.run.parquet",
        &["train.run.parquet", "dev.qrels.parquet"],
    );
    let options = TRAINING.replace("train.qrels", "dev.qrels");
    refused(&folder, &format!("train inbatch {options}"), &["dev.qrels.parquet", "train.tokens.arrow"]);
    let options = TRAINING.replace("train.tokens", "dev.tokens");
    refused(&folder, &format!("train inbatch {options}"), &["train.qrels.parquet", "dev.tokens.arrow"]);
    // The same texts without the first: other row numbers.
    let rest: String = folder.text("collection.tsv").lines().skip(1).map(|line| format!("{line}\n")).collect();
    folder.write("rest.tsv", rest);
    folder.sh("tokenize --tokenizer bert rest.tsv -o rest.tokens.arrow; embed --model bert rest.tokens.arrow -o rest.arrow").ok();
    let options = TRAINING.replace("docs.tokens", "rest.tokens");
    refused(&folder, &format!("train inbatch {options}"), &["train.qrels.parquet", "rest.tokens.arrow", "docs"]);
    let adore = TRAINING.replace("--max-doc-length 32", "--embeddings rest.arrow");
    refused(&folder, &format!("train adore {adore}"), &["rest.arrow"]);
    refused(
        &folder,
        "remap-ids --queries dev.tokens.arrow --docs rest.tokens.arrow --to official dev.run.parquet",
        &["dev.run.parquet", "rest.tokens.arrow"],
    );
}

#[test]
fn ids_that_are_unknown() {
    let folder = Folder::made();
    let qrels = folder.text("qrels.dev.small.tsv");
    let query = qrels.split('\t').next().unwrap();
    folder.write("doc.tsv", format!("{qrels}{query}\t0\tD99\t1\n"));
    refused(
        &folder,
        &format!("{REMAP} --to internal doc.tsv"),
        &["doc.tsv: row 66: id 'D99' is not a key of docs.tokens.arrow"],
    );
    folder.write("query.tsv", format!("Q7\t0\t1\t1\n{qrels}"));
    refused(
        &folder,
        &format!("{REMAP} --to internal query.tsv"),
        &["query.tsv: row 0: id 'Q7' is not a key of dev.tokens.arrow"],
    );
    let options = TRAINING.replace("train.qrels.parquet", "query.tsv");
    refused(&folder, &format!("train inbatch {options}"), &["query.tsv: row 0: id 'Q7'"]);
    let columns = |query: i64, doc: i64| {
        let id = |id: i64| Int64Array::from(vec![0, id]);
        vec![
            column("query_id", id(query)),
            column("doc_id", id(doc)),
            column("relevance", Int32Array::from(vec![1, 1])),
        ]
    };
    save(&folder.path("rows.parquet"), columns(1, 300));
    refused(
        &folder,
        &format!("{REMAP} --to official --ids internal rows.parquet"),
        &["rows.parquet: row 1: id 300", "docs.tokens.arrow", "300"],
    );
    let options = TRAINING.replace("train.qrels.parquet", "rows.parquet");
    let options = format!("{options} --ids internal");
    refused(&folder, &format!("train inbatch {options}"), &["rows.parquet: row 1: doc_id 300", "docs.tokens.arrow"]);
    save(&folder.path("rows.parquet"), columns(-1, 0));
    refused(&folder, &format!("{REMAP} --to official --ids internal rows.parquet"), &["rows.parquet: row 1: id -1"]);
    refused(&folder, &format!("train inbatch {options}"), &["rows.parquet: row 1: query_id -1"]);
}

#[test]
fn keys_that_come_twice() {
    let folder = Folder::made();
    folder.write("texts.tsv", "a\tone\nb\ttwo\na\tthree\n");
    refused(&folder, &format!("{TOKENIZE} texts.tsv"), &["texts.tsv: line 3: duplicate key 'a'"]);
    let tokens = Records::open(&folder.path("dev.tokens.arrow"));
    let mut columns: Vec<_> =
        ["id", "token_ids"].map(|name| (name, tokens.rows.column_by_name(name).unwrap().clone())).into();
    columns.push(column("key", StringArray::from(vec!["a"; tokens.len()])));
    save(&folder.path("twice.parquet"), columns);
    let line = "remap-ids --queries twice.parquet --docs docs.tokens.arrow --to internal qrels.dev.small.tsv";
    refused(&folder, line, &["twice.parquet: key 'a' occurs twice, at rows 0 and 1"]);
    let query = folder.text("qrels.dev.small.tsv").split('\t').next().unwrap().to_owned();
    folder.write("run.tsv", format!("{query}\t1\t1\n{query}\t1\t2\n"));
    refused(&folder, "score --qrels qrels.dev.small.tsv run.tsv", &["run.tsv", "1", "twice"]);
}

#[test]
fn queries_without_a_relevant_document() {
    let folder = Folder::made();
    let qrels: String =
        folder.text("qrels.train.tsv").lines().map(|line| format!("{}0\n", &line[..line.len() - 1])).collect();
    folder.write("nothing.tsv", qrels);
    let options = TRAINING.replace("train.qrels.parquet", "nothing.tsv");
    refused(&folder, &format!("train inbatch {options}"), &["nothing.tsv: no relevant document for any query"]);
    refused(
        &folder,
        &format!("{TOKENIZE} --kind query --judged qrels.train.tsv queries.dev.small.tsv"),
        &["queries.dev.small.tsv: none of its 60 queries"],
    );
    let negatives = Records::open(&folder.path("train.negatives.parquet"));
    let some: RecordBatch = negatives.rows.slice(0, 20);
    folder.write("some.arrows", save_stream(&some, 20, HashMap::from([("hardmine.kind".into(), "negatives".into())])));
    let done =
        folder.run(&format!("train star {TRAINING} --negatives some.arrows --steps 2 --batch-size 8 -o out")).done();
    done.check(matches!(done.code, Some(0 | 1)) && done.stderr.lines().count() == 1, "should end with one line");
}

#[test]
fn a_collection_smaller_than_top_k() {
    let folder = Folder::made();
    folder.run("index docs.arrow -o docs.faiss").ok();
    for index in ["docs.arrow", "docs.faiss"] {
        let done = folder.run(&format!("rank --index {index} --top-k 500 dev.arrow")).ok();
        let run = Records::stream(&done.stdout);
        assert_eq!(run.len(), 60 * 300, "{index}");
        assert!(run.i64s("doc_id").iter().all(|doc| (0..300).contains(doc)), "{index}");
    }
    let adore = TRAINING.replace("--max-doc-length 32", "--embeddings docs.arrow");
    folder.run(&format!("train adore {adore} --top-k 500 --steps 1 --batch-size 8 -o out")).ok();
    let done = folder.run("mine-negatives --qrels train.qrels.parquet --top-k 500 train.run.parquet").ok();
    done.check(done.stderr.contains("150 of 150 queries have fewer than 500 negatives"), "should say so");
}
