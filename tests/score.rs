//! `score`: values worked out by hand, every form of run, every form of output.

use std::collections::HashMap;

use arrow::array::{
    Array, AsArray, DictionaryArray, Float32Array, Float64Array, Int32Array, Int64Array, StringArray, UInt32Array,
};
use arrow::datatypes::Int32Type;
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

/// MRR of a run and judgements of these contents.
fn mrr(folder: &Folder, qrels: &str, run: &str, options: &str) -> f64 {
    folder.write("q", qrels);
    folder.write("r", run);
    let done = folder.run(&format!("score --qrels q --format tsv -m MRR r {options}")).ok();
    values(done.text())["MRR"]
}

#[test]
fn text_of_judgements_as_other_programs_write_it() {
    let folder = Folder::empty();
    let run = "1 Q0 9 1 3 t\n1 Q0 10 2 2 t\n2 Q0 20 1 5 t\n";
    for qrels in [
        "1 0 10 1\n2 0 20 1\n",
        "\u{feff}1\t0\t10\t1\r\n2\t0\t20\t1\r\n",
        "1 0 10 1\t\n\n  2 \t0 20  1 \n",
        "# made by hand\n1 0 10 1\n#2 of 3\n2 0 20 1\n",
        "1 2.5 10 1\n1 2.5 9 0\n2 3 20 1.0\n",
        "query-id\tcorpus-id\tscore\n1\t10\t1\n2\t20\t1\n",
        "qid\tcid\tscore\n1\t10\t1\n2\t20\t1\n",
        "Query_ID doc-id Relevance\n1 10 1\n2 20 1\n",
        ",grade,docno,iteration,topic\n0,1.0,\"10\",0,\"1\"\n1,1.0,\"20\",0,\"2\"\n",
        "\"query-id\"\t\"corpus-id\"\t\"score\"\n\"1\"\t\"10\"\t1\n\"2\"\t\"20\"\t1\n",
    ] {
        assert_eq!(mrr(&folder, qrels, run, ""), 0.75, "{qrels:?}");
    }
}

#[test]
fn text_of_runs_as_other_programs_write_it() {
    let folder = Folder::empty();
    let qrels = "1 0 b 1\n2 0 c 1\n";
    for run in [
        "1 Q0 a 1 3 t\n1 Q0 b 2 2 t\n2 Q0 c 1 5 t\n",
        "1\tQ0 a\t1 3  t\n1 Q0 b 2 2 t \n\n2 Q0 c 1 5 t\n",
        "1\ta\t1\n1\tb\t2\n2\tc\t1\n",
        "1 a 1 30\n1 b 2 20\n2 c 1 50\n",
        // Ranks from 0, all 0 as BEIR has them, and none at all.
        "1 Q0 a 0 3 t\n1 Q0 b 1 2 t\n2 Q0 c 0 5 t\n",
        "1 Q0 a 0 3 t\n1 Q0 b 0 2 t\n2 Q0 c 0 5 t\n",
        "1\ta\t0\n1\tb\t1\n2\tc\t0\n",
        "qid docno score\n1 a 3.5\n1 b 2.5\n2 c 5\n",
        "score,rank,doc_id,query_id,name\n3,1,a,1,\"x, y\"\n2,2,b,1,z\n5,1,c,2,z\n",
        "query_id\tcorpus_id\trank\n1\ta\t1\n1\tb\t2\n2\tc\t1\n",
    ] {
        assert_eq!(mrr(&folder, qrels, run, ""), 0.75, "{run:?}");
        if run.starts_with("1 Q0") {
            assert_eq!(mrr(&folder, qrels, run, "--order score"), 0.75, "{run:?}");
        }
    }
}

#[test]
fn ids_are_taken_whole() {
    let folder = Folder::empty();
    let run = "#1 Q0 d#1_2 1 2 t\né\u{a0}x Q0 \"q\" 1 2 t\n";
    folder.write("q", "#1 0 d#1_2 1\né\u{a0}x 0 \"q\" 1\n# no row\n");
    folder.write("r", run);
    let done = folder.run("score --qrels q --format tsv -m MRR r").ok();
    check(&values(done.text()), &[("MRR", 1.0)]);
    done.check(done.stderr.contains("q: 1 lines begin with # and have the columns"), "should tell of it");
    assert_eq!(mrr(&folder, "a b\t0\tx y\t1\n", "a b\tx y\t1\n", ""), 1.0);
}

#[test]
fn lists_without_ranks_must_be_sorted_unless_scores_are_the_order() {
    let folder = Folder::empty();
    let unsorted = "1 Q0 b 0 2 t\n1 Q0 a 0 3 t\n";
    folder.write("q", "1 0 b 1\n");
    folder.write("r", unsorted);
    folder.run("score --qrels q r").fails(&["r: row 1: ", "score 3 of query 1 follows 2", "--order score"]);
    assert_eq!(mrr(&folder, "1 0 b 1\n", unsorted, "--order score"), 0.5);
    folder.write("r", "1 Q0 b 0 2 t\n2 Q0 a 0 3 t\n1 Q0 c 0 1 t\n");
    folder.run("score --qrels q r").fails(&["r: row 2: query 1 comes again"]);
}

#[test]
fn a_run_and_judgements_that_are_swapped() {
    let folder = Folder::empty();
    for (qrels, run) in [
        ("1\t0\ta\t1\n", "1\ta\t1\n"),
        ("1 0 7 1\n", "1 Q0 7 1 2.5 t\n"),
        ("query-id\tcorpus-id\tscore\n1\ta\t1\n", "1 a 1 2.5\n"),
        ("1 2.5 a 1\n", "qid docno rank score\n1 a 1 2\n"),
    ] {
        folder.write("q", qrels);
        folder.write("r", run);
        folder.run("score --qrels q r").ok();
        folder.run("score --qrels r r").fails(&["r: expected qrels, found run"]);
        folder.run("score --qrels q q").fails(&["q: expected run, found qrels"]);
    }
}

#[test]
fn tables_of_other_programs() {
    let folder = Folder::empty();
    folder.write("qrels.tsv", "1 0 10 1\n2 0 20 1\n");
    folder.write("run.trec", "1 Q0 9 1 3 t\n1 Q0 10 2 2 t\n2 Q0 20 1 5 t\n");
    let mrr = |qrels: &str, run: &str| {
        let done = folder.run(&format!("score --qrels {qrels} --format tsv -m MRR {run}")).ok();
        values(done.text())["MRR"]
    };
    let docs = |docs: [&'static str; 3]| column("docno", StringArray::from(docs.to_vec()));
    for columns in [
        vec![
            column("qid", UInt32Array::from(vec![1, 1, 2])),
            docs(["9", "10", "20"]),
            column("score", Float64Array::from(vec![3.0, 2.0, 5.0])),
        ],
        vec![
            column("index", Int64Array::from(vec![0, 1, 2])),
            column("query_id", Float64Array::from(vec![1.0, 1.0, 2.0])),
            column("pid", vec!["9", "10", "20"].into_iter().collect::<DictionaryArray<Int32Type>>()),
            column("rank", Int64Array::from(vec![1, 2, 1])),
        ],
        vec![
            column("topic", StringArray::from(vec!["1", "1", "2"])),
            docs(["9", "10", "20"]),
            column("rank", Int64Array::from(vec![0, 1, 0])),
            column("sim", Float32Array::from(vec![3.0, 2.0, 5.0])),
        ],
    ] {
        save(&folder.path("run.parquet"), columns);
        assert_eq!(mrr("qrels.tsv", "run.parquet"), 0.75);
    }
    for (query, doc, grade) in [("query-id", "corpus-id", "score"), ("qid", "docid", "label")] {
        let columns = vec![
            column(query, Int64Array::from(vec![1, 2])),
            column(doc, StringArray::from(vec!["10", "20"])),
            column(grade, Float64Array::from(vec![1.0, 1.0])),
        ];
        save(&folder.path("qrels.arrow"), columns);
        assert_eq!(mrr("qrels.arrow", "run.trec"), 0.75);
        assert_eq!(mrr("qrels.arrow", "run.parquet"), 0.75);
    }
    let queries = column("query_id", Float64Array::from(vec![1.0, 1.5, 2.0]));
    let grades = column("relevance", Int64Array::from(vec![1, 1, 1]));
    save(&folder.path("qrels.parquet"), vec![queries, docs(["9", "10", "20"]), grades]);
    folder.run("score --qrels qrels.parquet run.trec").fails(&["qrels.parquet: row 1: column query_id is 1.5"]);
    save(&folder.path("qrels.parquet"), vec![docs(["9", "10", "20"])]);
    folder
        .run("score --qrels qrels.parquet run.trec")
        .fails(&["expected qrels with columns query_id, doc_id, relevance"]);
}

#[test]
fn integer_ids_of_other_programs() {
    let folder = Folder::made();
    let integers = |name: &str, value: &str| {
        let records = Records::open(&folder.path(name));
        let values = records.rows.column_by_name(value).unwrap().clone();
        let ids = |name: &'static str| column(name, Int64Array::from(records.i64s(name)));
        (ids("query_id"), ids("doc_id"), values)
    };
    let (query, doc, grade) = integers("dev.qrels.parquet", "relevance");
    save(&folder.path("qrels.parquet"), vec![query, doc, ("relevance", grade)]);
    let (query, doc, rank) = integers("dev.run.parquet", "rank");
    save(&folder.path("run.parquet"), vec![query, doc, ("rank", rank)]);
    let line = |qrels: &str, run: &str| format!("score --qrels {qrels} --format tsv -m MRR@10 {run}");
    let right = values(folder.run(&line("dev.qrels.parquet", "dev.run.parquet")).ok().text())["MRR@10"];
    // Where both are integers, equal ones are the same id.
    let done = folder.run(&line("qrels.parquet", "run.parquet")).ok();
    check(&values(done.text()), &[("MRR@10", right)]);
    done.check(
        done.stderr.contains("qrels.parquet: its integer ids were taken for the collection's own"),
        "should say so",
    );
    // Where one is ours, they may not be.
    for line in [line("qrels.parquet", "dev.run.parquet"), line("dev.qrels.parquet", "run.parquet")] {
        folder.run(&line).fails(&["internal ids", "official ids", "remap-ids", "--ids internal"]);
        let done = folder.run(&line).args(["--ids", "internal"]).ok();
        check(&values(done.text()), &[("MRR@10", right)]);
        done.check(!done.stderr.contains("integer ids"), "should not be in doubt");
    }
}

#[test]
fn a_document_that_is_its_query_can_be_left_out() {
    let folder = Folder::empty();
    folder.write("q", "a 0 x 1\nb 0 y 1\n");
    folder.write("r", "a Q0 a 1 1.0 t\na Q0 x 2 0.8 t\nb Q0 b 1 1.0 t\nb Q0 y 2 0.7 t\n");
    for order in ["rank", "score"] {
        let line = format!("score --qrels q --format tsv -m MRR --order {order} r");
        let done = folder.run(&line).ok();
        check(&values(done.text()), &[("MRR", 0.5)]);
        done.check(done.stderr.contains("2 of 2 queries find a document of the same id first"), "should tell of it");
        let done = folder.run(&format!("{line} --exclude-self")).ok();
        check(&values(done.text()), &[("MRR", 1.0)]);
        done.check(!done.stderr.contains("same id"), "should not tell of it");
    }
    let folder = Folder::made();
    let line = "score --qrels dev.qrels.parquet dev.run.parquet --exclude-self";
    folder.run(line).fails(&["dev.run.parquet", "rows of the same tokens file", "remap-ids --to official"]);
}

#[test]
fn a_metric_that_there_is_none_of_fails_as_wrong_usage() {
    let folder = folder();
    for metric in ["MRR@0", "Recall", "BLEU@4", "nDCG@x"] {
        folder.run("score --qrels qrels.tsv run.trec -m").arg(metric).fails_as_wrong_usage(&[metric]);
    }
}

#[test]
fn metrics_with_parentheses_and_names_of_trec_eval() {
    let folder = folder();
    let line = "score --qrels qrels.tsv --format tsv run.trec -m";
    let done = folder.run(line).arg("MRR(rel=2),RBP(p=0.5)@2,nDCG(gains={1:1,2:5})@10,P_10").ok();
    let best = 5.0 + 1.0 / 3f64.log2();
    let expected = [
        ("MRR(rel=2)", 1.0 / 3.0 / 3.0),
        ("RBP(p=0.5)@2", (0.25 + 0.5) / 3.0),
        ("nDCG(gains={1:1,2:5})@10", ((1.0 / 3f64.log2() + 5.0 / 2.0) / best + 1.0) / 3.0),
        ("P@10", 0.1),
    ];
    check(&values(done.text()), &expected);
    let done = folder.run(line).arg("ERR@10,nDCG(dcg='exp-log2')@10").ok();
    let best = 3.0 + 1.0 / 3f64.log2();
    let expected = [
        // Satisfied by grade 1 with probability 1/16, by grade 2 with 3/16.
        ("ERR@10", (1.0 / 16.0 / 2.0 + 15.0 / 16.0 * 3.0 / 16.0 / 3.0 + 1.0 / 16.0) / 3.0),
        ("nDCG(dcg='exp-log2')@10", ((1.0 / 3f64.log2() + 3.0 / 2.0) / best + 1.0) / 3.0),
    ];
    check(&values(done.text()), &expected);
    folder.write("high.tsv", "1 0 a 5\n");
    let line = "score --qrels high.tsv run.trec -m";
    folder.run(line).arg("ERR@10").fails(&["high.tsv: has grade 5", "ERR@10 has none above 4", "max_rel"]);
    folder.run(line).arg("ERR(max_rel=5)@10").ok();
}

#[test]
fn unjudged_documents_can_be_taken_out() {
    let folder = folder();
    let line = "score --qrels qrels.tsv --format tsv -m MRR,P@2,Judged@3,NumRet run.trec";
    let expected =
        [("MRR", 0.5), ("P@2", 0.5 / 3.0 + 0.5 / 3.0), ("Judged@3", (2.0 / 3.0 + 0.5) / 3.0), ("NumRet", 5.0)];
    check(&values(folder.run(line).ok().text()), &expected);
    for order in ["rank", "score"] {
        let done = folder.run(&format!("{line} --judged-only --complete --order {order}")).ok();
        let expected = [("MRR", 2.0 / 3.0), ("P@2", 0.5), ("Judged@3", 2.0 / 3.0), ("NumRet", 3.0)];
        check(&values(done.text()), &expected);
    }
}

#[test]
fn lists_too_short_for_the_cut() {
    let folder = folder();
    let note = "run: 2 of 2 lists are shorter than 50 documents (the longest has 3), too short for P@50";
    let line = "score --qrels qrels.tsv run.trec -m";
    // Nothing relevant is missing from the lists.
    let done = folder.run(&format!("{line} P@50")).ok();
    done.check(!done.stderr.contains("shorter"), "should not tell of it");
    folder.write("qrels.tsv", format!("{QRELS}2 0 z 1\n"));
    let done = folder.run(&format!("{line} P@50,R@2,MAP")).ok();
    done.check(done.stderr.contains(note), "should tell of it");
    for quiet in ["R@2", "MAP", "Judged@50", "R@50 --judged-only"] {
        let done = folder.run(&format!("{line} {quiet}")).ok();
        done.check(!done.stderr.contains("shorter"), "should not tell of it");
    }
}

#[test]
fn columns_that_are_swapped() {
    let folder = folder();
    folder.write("run.tsv", "x\t1\t1\na\t1\t2\nb\t1\t3\nc\t2\t1\ny\t2\t2\n");
    folder.run("score --qrels qrels.tsv run.tsv").fails(&["none of its 5 queries is judged", "are columns swapped?"]);
    folder.write("run.tsv", "x\t9\t1\n");
    folder.run("score --qrels qrels.tsv run.tsv").fails(&["none of its 1 queries", "another split"]);
    // Numbers that are both queries and documents.
    folder.write("qrels.tsv", "1 0 11 1\n2 0 12 1\n3 0 13 1\n4 0 1 1\n");
    folder.write("run.tsv", "11\t1\t1\n12\t2\t1\n13\t3\t1\n1\t4\t1\n");
    let done = folder.run("score --qrels qrels.tsv run.tsv").ok();
    done.check(done.stderr.contains("run.tsv: its columns look swapped"), "should tell of it");
    folder.write("run.tsv", "1\t11\t1\n2\t12\t1\n3\t13\t1\n4\t1\t1\n");
    let done = folder.run("score --qrels qrels.tsv run.tsv").ok();
    done.check(!done.stderr.contains("swapped"), "should not tell of it");
}
