//! `remap-ids`: there and back, and never between files that don't belong together.

use crate::common::{Folder, Records};

const TOKENS: &str = "--queries dev.tokens.arrow --docs docs.tokens.arrow";

#[test]
fn official_ids_become_row_numbers() {
    let folder = Folder::made();
    let qrels = Records::open(&folder.path("dev.qrels.parquet"));
    let [queries, docs] = ["dev.tokens.arrow", "docs.tokens.arrow"].map(|name| Records::open(&folder.path(name)));
    let (query_keys, doc_keys) = (queries.texts("key"), docs.texts("key"));
    let rows = qrels.i64s("query_id").into_iter().zip(qrels.i64s("doc_id")).zip(qrels.i32s("relevance"));
    let back: String = rows
        .map(|((query, doc), grade)| {
            format!("{}\t0\t{}\t{grade}\n", query_keys[query as usize], doc_keys[doc as usize])
        })
        .collect();
    assert_eq!(back, folder.text("qrels.dev.small.tsv"));
    assert_eq!(qrels.metadata["hardmine.queries"], queries.metadata["hardmine.keys"]);
    assert_eq!(qrels.metadata["hardmine.docs"], docs.metadata["hardmine.keys"]);
}

#[test]
fn runs_and_negatives_go_both_ways() {
    let folder = Folder::made();
    for (name, tokens) in [("dev.run", "dev"), ("train.negatives", "train")] {
        let tokens = format!("--queries {tokens}.tokens.arrow --docs docs.tokens.arrow");
        let line = format!("remap-ids {tokens} --to official {name}.parquet | remap-ids {tokens} --to internal");
        let back = Records::stream(&folder.sh(&line).ok().stdout);
        let original = Records::open(&folder.path(&format!("{name}.parquet")));
        assert!(back.rows == original.rows, "{name}");
        assert_eq!(back.kind(), original.kind());
    }
}

#[test]
fn text_goes_in_and_comes_out() {
    let folder = Folder::made();
    folder.run(&format!("remap-ids {TOKENS} --to official dev.qrels.parquet -o qrels.tsv")).ok();
    assert_eq!(folder.text("qrels.tsv"), folder.text("qrels.dev.small.tsv"));
    folder.run(&format!("remap-ids {TOKENS} --to official dev.run.parquet -o run.trec")).ok();
    folder.run(&format!("remap-ids {TOKENS} --to internal run.trec -o run.parquet")).ok();
    let [back, original] = ["run.parquet", "dev.run.parquet"].map(|name| Records::open(&folder.path(name)));
    assert!(back.rows == original.rows, "scores survive their text");
    folder.run(&format!("remap-ids {TOKENS} --to official dev.run.parquet -o run.tsv")).ok();
    let line = folder.text("run.tsv").lines().next().unwrap().to_owned();
    assert_eq!(line.split('\t').count(), 3, "{line}");
}

#[test]
fn tokens_of_another_split_are_refused() {
    let folder = Folder::made();
    let wrong = "remap-ids --queries train.tokens.arrow --docs docs.tokens.arrow --to official";
    folder.run(&format!("{wrong} dev.run.parquet")).fails(&["dev.run.parquet", "train.tokens.arrow", "queries"]);
    let line = format!("rank -q --index docs.arrow dev.arrow | {wrong} -o run.parquet");
    folder.sh(&line).fails(&["remap-ids: standard input: queries"]);
    assert!(!folder.path("run.parquet").exists());
    let swapped = "remap-ids --queries docs.tokens.arrow --docs dev.tokens.arrow --to internal qrels.dev.small.tsv";
    folder.run(swapped).fails(&["qrels.dev.small.tsv: row 0: id ", "is not a key of docs.tokens.arrow"]);
}

#[test]
fn ids_that_are_there_already_are_refused() {
    let folder = Folder::made();
    folder.run(&format!("remap-ids {TOKENS} --to internal dev.run.parquet")).fails(&["internal already"]);
    folder.run(&format!("remap-ids {TOKENS} --to official qrels.dev.small.tsv")).fails(&["official already"]);
}
