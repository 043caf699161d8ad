//! `mine-negatives`: the best-ranked documents that are not relevant, of the right split.

use std::collections::HashSet;

use arrow::array::{Float32Array, Int32Array, Int64Array};

use crate::common::{Folder, Records, column, save};

const QRELS: &str = "a 0 1 1\nb 0 5 2\n";
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
        ("a\t1\t1\na\t1\t2\n", "run.tsv: row 1: document 1 is twice"),
    ] {
        folder.write("run.tsv", run);
        folder.run("mine-negatives --qrels qrels.txt run.tsv -o negatives.parquet").fails(&[place]);
    }
    assert!(!folder.path("negatives.parquet").exists());
}

#[test]
fn twins_of_a_relevant_document_are_counted() {
    let folder = folder();
    folder.write("run.trec", "a Q0 2 1 5 t\na Q0 3 2 4 t\na Q0 1 3 4 t\na Q0 4 4 4 t\nb Q0 5 1 3 t\nb Q0 6 2 2 t\n");
    let done = folder.run("mine-negatives --qrels qrels.txt --top-k 5 run.trec -o negatives.tsv").ok();
    assert_eq!(folder.text("negatives.tsv"), "a\t2\t1\na\t3\t2\na\t4\t3\nb\t6\t1\n");
    done.check(done.stderr.contains("2 negatives have exactly the score of a relevant document"), "should count them");
}

#[test]
fn a_query_among_the_documents_can_be_left_out() {
    let folder = folder();
    folder.write("run.tsv", "a\ta\t1\na\t1\t2\na\t3\t3\nb\t5\t1\nb\t6\t2\n");
    let done = folder.run("mine-negatives --exclude-self --qrels qrels.txt --top-k 1 run.tsv -o negatives.tsv").ok();
    assert_eq!(folder.text("negatives.tsv"), "a\t3\t1\nb\t6\t1\n");
    done.check(done.stderr.contains("1 queries left out of their own lists"), "should count them");
    let folder = Folder::made();
    let line = "mine-negatives --exclude-self --qrels train.qrels.parquet train.run.parquet -o negatives.parquet";
    folder.run(line).fails(&["train.run.parquet", "rows of the same tokens file", "remap-ids --to official"]);
}

#[test]
fn ranks_that_count_from_0_or_are_missing_become_positions() {
    let folder = folder();
    for run in [
        "a Q0 1 0 9 t\na Q0 2 1 8 t\na Q0 3 2 7 t\n",
        "a Q0 1 0 9 t\na Q0 2 0 8 t\na Q0 3 0 7 t\n",
        "qid,docno,score\na,1,9.5\na,2,8\na,3,7\n",
    ] {
        folder.write("run.txt", run);
        folder.run("mine-negatives --qrels qrels.txt --top-k 1 run.txt -o negatives.tsv").ok();
        assert_eq!(folder.text("negatives.tsv"), "a\t2\t1\n", "{run}");
    }
    folder.write("run.txt", "a Q0 1 0 9 t\na Q0 2 0 10 t\n");
    let texts = ["run.txt: row 1: ", "score 10 of query a follows 9", "sort the run by query and score"];
    folder.run("mine-negatives --qrels qrels.txt run.txt -o negatives.parquet").fails(&texts);
}

/// Integers that another program made of ids are not row numbers: they would name other documents without a word.
#[test]
fn integer_ids_of_other_programs_beside_row_numbers_are_refused() {
    let folder = Folder::made();
    let qrels = Records::open(&folder.path("train.qrels.parquet"));
    let columns = vec![
        column("query_id", Int64Array::from(qrels.i64s("query_id"))),
        column("doc_id", Int64Array::from(qrels.i64s("doc_id"))),
        column("relevance", Int32Array::from(qrels.i32s("relevance"))),
    ];
    save(&folder.path("qrels.parquet"), columns);
    let line = "mine-negatives --top-k 20 --qrels qrels.parquet train.run.parquet -o negatives.parquet";
    folder.run(line).fails(&[
        "train.run.parquet",
        "internal",
        "qrels.parquet are official",
        "remap-ids",
        "--ids internal",
    ]);
    folder.run(line).args(["--ids", "internal"]).ok();
    let [found, right] = ["negatives.parquet", "train.negatives.parquet"].map(|name| Records::open(&folder.path(name)));
    assert!(found.rows == right.rows);
}

#[test]
fn scores_that_are_no_numbers_are_refused() {
    let folder = folder();
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let columns = vec![
            column("query_id", Int64Array::from(vec![1, 1])),
            column("doc_id", Int64Array::from(vec![1, 2])),
            column("rank", Int32Array::from(vec![1, 2])),
            column("score", Float32Array::from(vec![1.0, bad])),
        ];
        for name in ["run.parquet", "run.arrow"] {
            save(&folder.path(name), columns.clone());
            let line = format!("mine-negatives --qrels qrels.txt {name} -o negatives.parquet");
            folder.run(&line).fails(&[&format!("{name}: row 1: score {bad} is not a finite number")]);
        }
    }
}
