//! What may well be a mistake and is done all the same: a line says so, and the exit code is 0.

use crate::common::{Folder, TRAINING};

#[track_caller]
fn warns(folder: &Folder, line: &str, texts: &[&str]) {
    let done = folder.run(line).ok();
    for text in texts {
        done.check(done.stderr.contains(text), &format!("should say '{text}'"));
    }
}

#[test]
fn adore_on_documents_of_another_model() {
    let folder = Folder::made();
    folder.run("embed --model trained docs.tokens.arrow -o other.arrow").ok();
    let inputs = TRAINING.replace("--max-doc-length 32", "--embeddings other.arrow");
    let line = format!("train adore {inputs} --steps 1 --batch-size 8 --top-k 10 -o adore");
    warns(&folder, &line, &["other.arrow", "another model than --init"]);
    let silent = folder.run(&line.replace("other.arrow", "docs.arrow")).ok();
    silent.check(!silent.stderr.contains("another model"), "should not warn of its own model's documents");
}

#[test]
fn star_on_negatives_that_are_relevant() {
    let folder = Folder::made();
    folder.write("all.sql", "SELECT query_id, doc_id, CAST(1 AS BIGINT) AS rank FROM q");
    folder.run("sql -t q=train.qrels.parquet -f all.sql -o relevant.parquet").ok();
    let line =
        format!("train star {TRAINING} --negatives relevant.parquet --ids internal --steps 1 --batch-size 8 -o star");
    warns(&folder, &line, &["relevant.parquet", "of its documents are relevant"]);
}

#[test]
fn queries_and_documents_that_look_swapped() {
    let folder = Folder::made();
    warns(&folder, "rank --index dev.arrow docs.arrow -o run.parquet", &["docs.arrow", "are they swapped?"]);
    let line = "tokenize --tokenizer bert --judged qrels.dev.small.tsv collection.tsv -o tokens.arrow";
    warns(&folder, line, &["--judged", "--kind is passage"]);
}
