//! `score`: values worked out by hand, every form of run, every form of output.

use std::collections::HashMap;

use arrow::array::{Array, AsArray, Float32Array, Int32Array, Int64Array};
use serde_json::json;

use crate::common::{Folder, Records, column, save};

const QRELS: &str = "1\t0\ta\t1\n1\t0\tb\t2\n2\t0\tc\t1\n3\t0\td\t1\n3\t0\te\t0\n";
const RUN: &str = "1 Q0 x 1 9 t\n1 Q0 a 2 8 t\n1 Q0 b 3 7 t\n2 Q0 c 1 5 t\n2 Q0 y 2 4 t\n";

fn folder() -> Folder {
    let folder = Folder::empty();
    folder.write("qrels.tsv", QRELS);
    folder.write("run.trec", RUN);
    folder
}

/// Metric → value, of one run.
fn values(text: &str) -> HashMap<String, f64> {
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("run\tmetric\tvalue"));
    let fields = lines.map(|line| line.split('\t').collect::<Vec<_>>());
    fields.map(|fields| (fields[1].to_owned(), fields[2].parse().unwrap())).collect()
}

#[track_caller]
fn check(found: &HashMap<String, f64>, expected: &[(&str, f64)]) {
    for (metric, value) in expected {
        assert!((found[*metric] - value).abs() < 1e-12, "{metric}: {} instead of {value}", found[*metric]);
    }
    assert_eq!(found.len(), expected.len());
}

#[test]
fn means_over_the_queries_of_the_qrels() {
    let folder = folder();
    let line =
        "score --qrels qrels.tsv --format tsv -m MRR@10 -m MRR@1 -m R@2 -m R@100 -m P@10 -m Success@1 -m MAP run.trec";
    // Query 3 is judged and has no list: it counts 0.
    let expected = [
        ("MRR@10", (0.5 + 1.0) / 3.0),
        ("MRR@1", 1.0 / 3.0),
        ("R@2", (0.5 + 1.0) / 3.0),
        ("R@100", 2.0 / 3.0),
        ("P@10", (0.2 + 0.1) / 3.0),
        ("Success@1", 1.0 / 3.0),
        ("MAP", ((0.5 + 2.0 / 3.0) / 2.0 + 1.0) / 3.0),
    ];
    check(&values(folder.run(line).ok().text()), &expected);
}

#[test]
fn means_as_trec_eval_takes_them() {
    let folder = folder();
    let line = "score --order score --qrels qrels.tsv --format tsv -m MRR@10 -m nDCG@10 run.trec";
    let gain = |place: f64| 1.0 / (place + 1.0).log2();
    let query_1 = (gain(2.0) + 2.0 * gain(3.0)) / (2.0 * gain(1.0) + gain(2.0));
    check(&values(folder.run(line).ok().text()), &[("MRR@10", 0.75), ("nDCG@10", (query_1 + 1.0) / 2.0)]);
    let complete = folder.run(&format!("{line} --complete")).ok();
    check(&values(complete.text()), &[("MRR@10", 0.5), ("nDCG@10", (query_1 + 1.0) / 3.0)]);
    let level = folder.run(&format!("{line} --relevance-level 2")).ok();
    check(&values(level.text()), &[("MRR@10", 1.0 / 6.0), ("nDCG@10", (query_1 + 1.0) / 2.0)]);
}

#[test]
fn equal_scores_stand_in_trec_evals_order() {
    let folder = folder();
    folder.write("run.trec", "2 Q0 c 1 5 t\n2 Q0 y 2 5 t\n2 Q0 b 3 5 t\n");
    let line = "score --qrels qrels.tsv --format tsv -m MRR@10 run.trec --order";
    check(&values(folder.run(line).arg("score").ok().text()), &[("MRR@10", 0.5)]);
    check(&values(folder.run(line).arg("rank").ok().text()), &[("MRR@10", 1.0 / 3.0)]);
}

#[test]
fn the_text_of_msmarco_eval() {
    let folder = folder();
    let done = folder.run("score --qrels qrels.tsv -m MRR@10 --format msmarco run.trec").ok();
    let bar = "#####################";
    assert_eq!(done.text(), format!("Eval Started\n{bar}\nMRR @10: 0.5\nQueriesRanked: 2\n{bar}\n"));
}

#[test]
fn several_runs_side_by_side() {
    let folder = folder();
    folder.write("other.tsv", "3\td\t2\n");
    let done = folder.run("score --qrels qrels.tsv -m MRR@10 -m R@1 run.trec other.tsv").ok();
    assert_eq!(done.text(), "run    MRR@10     R@1\nrun    0.5000  0.3333\nother  0.1667  0.0000\n");
    let done = folder.run("score --qrels qrels.tsv -m MRR@10 --format json run.trec other.tsv").ok();
    let list: serde_json::Value = serde_json::from_str(done.text()).unwrap();
    let expected = json!([
        {"run": "run", "metric": "MRR@10", "value": 0.5, "queries": 3},
        {"run": "other", "metric": "MRR@10", "value": 1.0 / 6.0, "queries": 3},
    ]);
    assert_eq!(list, expected);
}

#[test]
fn values_of_each_query() {
    let folder = folder();
    folder.run("score --qrels qrels.tsv -m MRR@10 --per-query metrics.parquet run.trec").ok();
    let metrics = Records::open(&folder.path("metrics.parquet"));
    let ids = metrics.rows.column_by_name("query_id").unwrap().as_string::<i32>().clone();
    let rows: HashMap<Option<&str>, f64> = ids.iter().zip(metrics.f64s("value")).collect();
    assert_eq!(rows, [(Some("1"), 0.5), (Some("2"), 1.0), (Some("3"), 0.0), (None, 0.5)].into());
    assert_eq!(ids.null_count(), 1);
}

#[test]
fn rows_that_pandas_would_write() {
    let folder = folder();
    folder.write("qrels.tsv", "1 0 10 1\n2 0 20 1\n");
    let columns = vec![
        column("score", Float32Array::from(vec![2.0, 1.0, 3.0])),
        column("rank", Int32Array::from(vec![1, 2, 1])),
        column("query_id", Int64Array::from(vec![1, 1, 2])),
        column("doc_id", Int64Array::from(vec![9, 10, 20])),
    ];
    save(&folder.path("run.parquet"), columns);
    let done = folder.run("score --qrels qrels.tsv --format tsv -m MRR@10 run.parquet").ok();
    check(&values(done.text()), &[("MRR@10", 0.75)]);
}

#[test]
fn a_metric_that_there_is_none_of_fails_as_wrong_usage() {
    let folder = folder();
    for metric in ["MRR@0", "Recall", "BLEU@4", "nDCG@x"] {
        folder.run("score --qrels qrels.tsv run.trec -m").arg(metric).fails_as_wrong_usage(&[metric]);
    }
}
