//! `mine-negatives`: the best-ranked documents that are not relevant, of the right split.

use std::collections::HashSet;

use crate::common::{Folder, Records};

const QRELS: &str = "a 0 1 1\na 0 2 0\nb 0 5 2\n";
const RUN: &str = "a\t1\t1\na\t2\t2\na\t3\t3\na\t4\t4\nb\t5\t1\nb\t6\t2\n";

fn folder() -> Folder {
    let folder = Folder::empty();
    folder.write("qrels.txt", QRELS);
    folder.write("run.tsv", RUN);
    folder
}

#[test]
fn relevant_documents_are_left_out_and_ranks_close_up() {
    let folder = folder();
    folder.run("mine-negatives --qrels qrels.txt --top-k 2 run.tsv -o negatives.parquet").ok();
    let negatives = Records::open(&folder.path("negatives.parquet"));
    assert_eq!(negatives.texts("query_id"), ["a", "a", "b"]);
    assert_eq!(negatives.texts("doc_id"), ["2", "3", "6"]);
    assert_eq!(negatives.i32s("rank"), [1, 2, 1]);
}

#[test]
fn short_and_unjudged_lists_are_counted() {
    let folder = folder();
    folder.write("run.tsv", format!("{RUN}c\t9\t1\n"));
    let done = folder.run("mine-negatives --qrels qrels.txt --top-k 3 run.tsv -o negatives.tsv").ok();
    done.check(done.stderr.contains("2 of 3 queries have fewer than 3 negatives"), "should count short lists");
    done.check(done.stderr.contains("1 queries are not judged"), "should count unjudged queries");
    assert_eq!(folder.text("negatives.tsv"), "a\t2\t1\na\t3\t2\na\t4\t3\nb\t6\t1\nc\t9\t1\n");
}

#[test]
fn the_run_of_another_split_is_refused() {
    let folder = Folder::made();
    let texts = ["train.run.parquet", "dev.qrels.parquet", "queries"];
    folder.run("mine-negatives --qrels dev.qrels.parquet train.run.parquet -o negatives.parquet").fails(&texts);
    // The same as a stream, which names its queries at its end only.
    let line = "rank -q --index docs.arrow train.arrow | mine-negatives --qrels dev.qrels.parquet -o negatives.parquet";
    folder.sh(line).fails(&["mine-negatives: standard input: queries"]);
    folder.run("mine-negatives --qrels qrels.dev.small.tsv train.run.parquet").fails(&["internal", "official"]);
    assert!(!folder.path("negatives.parquet").exists());
    // Official ids have no fingerprint, but no query in common.
    folder.write("qrels.txt", QRELS);
    folder.run("mine-negatives --qrels qrels.txt dev.official.parquet").fails(&["none of its 60 queries is judged"]);
}

#[test]
fn negatives_of_the_fixture_rank_high_and_are_not_relevant() {
    let folder = Folder::made();
    let [negatives, run, qrels] = ["train.negatives.parquet", "train.run.parquet", "train.qrels.parquet"]
        .map(|name| Records::open(&folder.path(name)));
    let pairs = |records: &Records| -> Vec<(i64, i64)> {
        records.i64s("query_id").into_iter().zip(records.i64s("doc_id")).collect()
    };
    let relevant: HashSet<(i64, i64)> = pairs(&qrels).into_iter().collect();
    let mut kept = std::collections::HashMap::new();
    let expected: Vec<(i64, i64)> = pairs(&run)
        .into_iter()
        .filter(|pair| !relevant.contains(pair))
        .filter(|pair| {
            let count = kept.entry(pair.0).or_insert(0);
            *count += 1;
            *count <= 20
        })
        .collect();
    assert_eq!(pairs(&negatives), expected);
    assert_eq!(negatives.metadata["hardmine.queries"], run.metadata["hardmine.queries"]);
}

#[test]
fn a_run_out_of_order_is_refused_with_its_row() {
    let folder = folder();
    for (run, place) in [
        ("a\t1\t2\na\t2\t1\n", "run.tsv: row 1: rank 1"),
        ("a\t1\t1\nb\t5\t1\na\t2\t2\n", "run.tsv: row 2: query a comes again"),
        ("a\t1\t1\na\t1\t2\n", "run.tsv: row 1: document 1 stands twice"),
    ] {
        folder.write("run.tsv", run);
        folder.run("mine-negatives --qrels qrels.txt run.tsv -o negatives.parquet").fails(&[place]);
    }
    assert!(!folder.path("negatives.parquet").exists());
}
