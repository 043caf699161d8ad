//! The rules of `mine-negatives`, and its report.

use std::collections::{BTreeMap, HashMap};

use arrow::array::{Float32Array, Int32Array, Int64Array};
use safetensors::SafeTensors;
use serde_json::Value;

use crate::common::{Folder, Records, column, fixture, save, vectors};

/// A folder with what sentence-transformers mined: embeddings, `qrels.parquet`, a `run.arrow` of all documents, and
/// `positives.parquet`.
fn reference() -> (Folder, Value) {
    let folder = Folder::empty();
    let read = |name: &str| std::fs::read(fixture("mining").join(name)).unwrap();
    let bytes = read("embeddings.safetensors");
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    for name in ["queries", "docs"] {
        let tensor = tensors.tensor(name).unwrap();
        let numbers = tensor.data().chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap()));
        let numbers: Vec<f32> = numbers.collect();
        let rows: Vec<Vec<f32>> = numbers.chunks(tensor.shape()[1]).map(<[f32]>::to_vec).collect();
        let ids = Int64Array::from_iter_values(0..rows.len() as i64);
        save(&folder.path(&format!("{name}.arrow")), vec![column("id", ids), column("embedding", vectors(&rows))]);
    }
    let text = String::from_utf8(read("qrels.tsv")).unwrap();
    let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split('\t').collect()).collect();
    let ids = |field: usize| Int64Array::from_iter_values(rows.iter().map(|row| number(row[field])));
    let grades = Int32Array::from(vec![1; rows.len()]);
    let columns = vec![column("query_id", ids(0)), column("doc_id", ids(2)), column("relevance", grades)];
    save(&folder.path("qrels.parquet"), columns);
    folder.run("rank --index docs.arrow --top-k 90 queries.arrow -o run.arrow").ok();
    folder.run("rank --index docs.arrow --pairs qrels.parquet --ids internal queries.arrow -o positives.parquet").ok();
    (folder, serde_json::from_slice(&read("mined.json")).unwrap())
}

/// The number in an id such as d17.
fn number(id: &str) -> i64 {
    id[1..].parse().unwrap()
}

/// The negatives of each query with their scores.
fn lists(negatives: &Records) -> BTreeMap<i64, Vec<(i64, f32)>> {
    let mut lists: BTreeMap<i64, Vec<(i64, f32)>> = BTreeMap::new();
    let rows = negatives.i64s("query_id").into_iter().zip(negatives.i64s("doc_id")).zip(negatives.f32s("score"));
    for (((query, doc), score), rank) in rows.zip(negatives.i32s("rank")) {
        let list = lists.entry(query).or_default();
        list.push((doc, score));
        assert_eq!(rank as usize, list.len(), "query {query}");
    }
    lists
}

#[test]
fn selections_are_those_of_sentence_transformers() {
    let (folder, mined) = reference();
    for (name, case) in mined.as_object().unwrap() {
        let settings = &case["settings"];
        let count = settings["num_negatives"].as_i64().unwrap();
        let skipped = settings["range_min"].as_i64().unwrap_or(0);
        let has_limit = ["relative_margin", "absolute_margin", "max_score"].iter().any(|key| settings[key].is_number());
        let default = if has_limit { 10 * count } else { skipped + 3 + count };
        let depth = settings["range_max"].as_i64().unwrap_or(default);
        let mut line = format!(
            "mine-negatives --ids internal --qrels qrels.parquet --positives positives.parquet run.arrow --top-k {count} \
             --skip-first {skipped} --depth {depth}"
        );
        for option in ["relative-margin", "absolute-margin", "max-score", "min-score"] {
            if let Some(value) = settings[option.replace('-', "_")].as_f64() {
                line += &format!(" --{option} {value}");
            }
        }
        let found = folder.run(&line).ok().stdout;
        let negatives = lists(&Records::stream(&found));
        for row in case["rows"].as_array().unwrap() {
            let query = number(row["query"].as_str().unwrap());
            let expected = row["negatives"].as_array().unwrap().iter().map(|doc| number(doc.as_str().unwrap()));
            let scores = row["scores"].as_array().unwrap().iter().map(|score| score.as_f64().unwrap());
            let none = Vec::new();
            let found = negatives.get(&query).unwrap_or(&none);
            assert_eq!(
                found.iter().map(|pair| pair.0).collect::<Vec<_>>(),
                expected.collect::<Vec<_>>(),
                "{name}, query {query}"
            );
            for (found, expected) in found.iter().zip(scores) {
                assert!((f64::from(found.1) - expected).abs() < 2e-6, "{name}, query {query}: {found:?}, {expected}");
            }
        }
        // The run has every positive, so that nobody need score them.
        let without = folder.run(&line.replace("--positives positives.parquet ", "")).ok().stdout;
        assert!(Records::stream(&without).rows == Records::stream(&found).rows, "{name}");
    }
}

const QRELS: &str = "a 0 p1 1\na 0 p2 2\na 0 bad 0\nb 0 p3 1\nc 0 worse -1\n";
const RUN: &str = "a Q0 n1 1 9 t\na Q0 p1 2 8 t\na Q0 bad 3 7 t\na Q0 n2 4 6 t\na Q0 p2 5 5 t\na Q0 n3 6 4 t\n\
    a Q0 n4 7 3 t\nb Q0 n1 1 9 t\nb Q0 n2 2 8 t\nc Q0 worse 1 9 t\nc Q0 n1 2 8 t\n";

fn folder() -> Folder {
    let folder = Folder::empty();
    folder.write("qrels.txt", QRELS);
    folder.write("run.trec", RUN);
    folder
}

/// Documents of each query, as `a:n1,n2 b:n3`.
fn mined(folder: &Folder, options: &str) -> String {
    folder.run(&format!("mine-negatives --qrels qrels.txt run.trec {options} -o mined.parquet")).ok();
    let mined = Records::open(&folder.path("mined.parquet"));
    let mut lists: Vec<(String, Vec<String>)> = Vec::new();
    for (query, doc) in mined.texts("query_id").into_iter().zip(mined.texts("doc_id")) {
        match lists.last_mut() {
            Some((last, docs)) if *last == query => docs.push(doc),
            _ => lists.push((query, vec![doc])),
        }
    }
    let lists: Vec<String> = lists.into_iter().map(|(query, docs)| format!("{query}:{}", docs.join(","))).collect();
    lists.join(" ")
}

#[test]
fn judged_documents_are_no_negatives_unless_asked_for() {
    let folder = folder();
    assert_eq!(mined(&folder, ""), "a:n1,n2,n3,n4 b:n1,n2 c:n1");
    assert_eq!(mined(&folder, "--keep-judged"), "a:n1,bad,n2,n3,n4 b:n1,n2 c:worse,n1");
    let done = folder.run("mine-negatives --qrels qrels.txt run.trec -o mined.parquet").ok();
    done.check(done.stderr.contains("2 documents left out that were judged irrelevant"), "should count them");
}

#[test]
fn windows_are_of_what_is_left() {
    let folder = folder();
    assert_eq!(mined(&folder, "--skip-first 1"), "a:n2,n3,n4 b:n2");
    assert_eq!(mined(&folder, "--skip-first 1 --depth 2"), "a:n2 b:n2");
    // A query may have two relevant documents, so that the list of a is cut to 1 + 2, the third of which is n2. Judged
    // documents that are not relevant do not count.
    assert_eq!(mined(&folder, "--max-score 6.5 --depth 1"), "a:n2");
    assert_eq!(mined(&folder, "--max-score 4.5 --depth 2"), "");
    assert_eq!(mined(&folder, "--max-score 4.5 --depth 3"), "a:n3");
    assert_eq!(mined(&folder, "--min-score 4 --max-score 6"), "a:n2,n3");
    folder
        .run("mine-negatives --qrels qrels.txt run.trec --depth 3 --skip-first 3")
        .fails_as_wrong_usage(&["--depth 3"]);
    let line = "mine-negatives --qrels qrels.txt run.trec --min-score 3 --max-score -3";
    folder.run(line).fails_as_wrong_usage(&["--min-score 3 is above --max-score -3"]);
    for bad in ["--relative-margin -0.1", "--relative-margin nan", "--max-score inf", "--depth 0", "--top-k 0"] {
        folder
            .run(&format!("mine-negatives --qrels qrels.txt run.trec {bad}"))
            .fails_as_wrong_usage(&["invalid value"]);
    }
}

#[test]
fn a_margin_needs_the_scores_of_relevant_documents() {
    let folder = folder();
    // The list of b lacks p3; those of a and c have all that is relevant.
    let line = "mine-negatives --qrels qrels.txt run.trec --relative-margin 0.2 -o mined.parquet";
    folder.run(line).fails(&["run.trec: row 7: ", "query b", "relevant document p3", "rank --pairs", "--positives"]);
    folder.write("positives.trec", "a Q0 p1 1 8 t\na Q0 p2 2 5 t\nb Q0 p3 1 10 t\n");
    // a: the lowest is 5, less a fifth; b: 10 less a fifth. c has no relevant document, and so no margin.
    assert_eq!(mined(&folder, "--positives positives.trec --relative-margin 0.2"), "a:n3,n4 b:n2 c:n1");
    assert_eq!(mined(&folder, "--positives positives.trec --absolute-margin 1.5"), "a:n4 b:n2 c:n1");
    assert_eq!(mined(&folder, "--positives positives.trec --absolute-margin -1"), "a:n2,n3,n4 b:n1,n2 c:n1");
    folder.write("positives.trec", "a Q0 p1 1 8 t\na Q0 p2 2 5 t\n");
    folder.run(&format!("{line} --positives positives.trec")).fails(&["positives.trec: ", "p3", "rank --pairs"]);
    // Ranks are no scores.
    folder.write("run.tsv", "a\tn1\t1\na\tp1\t2\na\tp2\t3\n");
    for rule in ["--relative-margin 0.1", "--max-score 3", "--report report.parquet"] {
        let line = format!("mine-negatives --qrels qrels.txt run.tsv -o mined.parquet {rule}");
        folder.run(&line).fails(&["run.tsv: has no scores"]);
    }
    let line = "mine-negatives --qrels qrels.txt run.trec --absolute-margin 1 --positives run.tsv -o mined.parquet";
    folder.run(line).fails(&["run.tsv: has no scores"]);
    assert!(!folder.path("report.parquet").exists());
}

#[test]
fn rules_can_be_about_the_teachers_scores() {
    let folder = folder();
    let teacher = "a Q0 p1 1 5 t\na Q0 p2 1 4 t\na Q0 n1 1 1 t\na Q0 n2 1 9 t\na Q0 n3 1 3 t\na Q0 n4 1 3.9 t\n\
        b Q0 p3 1 2 t\nb Q0 n1 1 -1 t\nb Q0 n2 1 7 t\nc Q0 n1 1 0 t\n";
    folder.write("teacher.trec", teacher);
    let options = "--teacher teacher.trec --filter-by teacher --absolute-margin 0.5";
    assert_eq!(mined(&folder, options), "a:n1,n3 b:n1 c:n1");
    assert_eq!(Records::open(&folder.path("mined.parquet")).f32s("teacher"), [1.0, 3.0, -1.0, 0.0]);
    assert_eq!(mined(&folder, "--teacher teacher.trec --max-score 5"), "a:n3,n4");
    folder.write("teacher.trec", teacher.replace("a Q0 n4 1 3.9 t\n", ""));
    let line = format!("mine-negatives --qrels qrels.txt run.trec {options} --top-k 1 -o mined.parquet");
    folder.run(&line).fails(&["run.trec: row 6: teacher.trec has no score for document n4 and query a"]);
    let line = "mine-negatives --qrels qrels.txt run.trec --filter-by teacher";
    folder.run(line).fails_as_wrong_usage(&["--teacher RUN"]);
}

#[test]
fn scores_of_another_model_are_refused() {
    let folder = Folder::made();
    folder.copy_model("bert", "other");
    let mut weights = folder.read("other/model.safetensors");
    *weights.last_mut().unwrap() ^= 1;
    folder.write("other/model.safetensors", weights);
    for name in ["train", "docs"] {
        folder.run(&format!("embed --model other {name}.tokens.arrow -o other.{name}.arrow")).ok();
    }
    let rank = "rank --index other.docs.arrow --pairs train.qrels.parquet other.train.arrow -o positives.parquet";
    folder.run(rank).ok();
    let line = "mine-negatives --qrels train.qrels.parquet --positives positives.parquet --relative-margin 0.05";
    let refused = ["positives.parquet: its scores are not by the model that made"];
    folder.run(&format!("{line} train.run.parquet -o negatives.parquet")).fails(&refused);
    folder.sh(&format!("rank -q --index docs.arrow train.arrow | {line} -o negatives.parquet")).fails(&refused);
    assert!(!folder.path("negatives.parquet").exists());
}

#[test]
fn random_negatives_depend_on_the_seed_alone() {
    let (folder, _) = reference();
    let draw = |run: &str, options: &str| {
        let line = format!(
            "mine-negatives --ids internal --qrels qrels.parquet {run} --sample random --depth 40 --top-k 5 {options}"
        );
        lists(&Records::stream(&folder.run(&line).ok().stdout))
    };
    let drawn = draw("run.arrow", "");
    assert_eq!(drawn, draw("run.arrow", "--seed 42"));
    assert!(drawn != draw("run.arrow", "--seed 43"));
    for list in drawn.values() {
        assert_eq!(list.len(), 5);
        assert!(list.is_sorted_by(|one, next| one.1 >= next.1), "best first");
    }
    // The same for queries that come alone, or in another order.
    let run = Records::open(&folder.path("run.arrow"));
    let rows = (0..run.len()).rev().collect::<Vec<_>>();
    let mut by_query: Vec<&[usize]> = rows.chunks(90).collect();
    by_query.truncate(7);
    let rows: Vec<usize> = by_query.iter().flat_map(|list| list.iter().rev().copied()).collect();
    let of = |all: Vec<i64>| Int64Array::from_iter_values(rows.iter().map(|&row| all[row]));
    let ranks = Int32Array::from_iter_values(rows.iter().map(|&row| run.i32s("rank")[row]));
    let scores = Float32Array::from_iter_values(rows.iter().map(|&row| run.f32s("score")[row]));
    let columns = vec![
        column("query_id", of(run.i64s("query_id"))),
        column("doc_id", of(run.i64s("doc_id"))),
        column("rank", ranks),
        column("score", scores),
    ];
    save(&folder.path("some.arrow"), columns);
    let some = draw("some.arrow", "");
    assert_eq!(some.len(), 7);
    assert!(some.iter().all(|(query, list)| drawn[query] == *list));
}

/// The facts of a report: section, name, query, document → value and text.
fn facts(folder: &Folder, name: &str) -> HashMap<[String; 4], (f64, String)> {
    let query = "SELECT section, name, coalesce(query_id, '') AS query, coalesce(doc_id, '') AS doc, value, \
        coalesce(text, '') AS text FROM report";
    let done = folder.run(&format!("sql -q --format json -t report={name}")).arg(query).ok();
    let rows: Vec<Value> = serde_json::from_str(done.text()).unwrap();
    let text = |row: &Value, name: &str| row[name].as_str().unwrap().to_owned();
    let key = |row: &Value| ["section", "name", "query", "doc"].map(|name| text(row, name));
    rows.iter().map(|row| (key(row), (row["value"].as_f64().unwrap(), text(row, "text")))).collect()
}

#[test]
fn the_report_has_what_every_rule_did() {
    let folder = folder();
    folder.write("positives.trec", "a Q0 p1 1 8 t\na Q0 p2 2 5 t\nb Q0 p3 1 8 t\n");
    folder.write("earlier.trec", "a Q0 n4 1 9 t\na Q0 n1 2 8 t\nb Q0 n7 1 9 t\nd Q0 n1 1 9 t\n");
    folder.write("texts.tsv", "n1\tone  two\nn2\tTwo\np1\tthree\np3\tone two \nn3\tthree\nn4\tfour\np2\tfive\n");
    folder.write(
        "queries.jsonl",
        "{\"_id\": \"a\", \"text\": \"what is a?\"}\n{\"_id\": \"b\", \"text\": \"what is b?\"}\n",
    );
    let options = "--positives positives.trec --max-score 9 --min-score 3.5 --report report.parquet --top-k 3 --compare \
        earlier.trec --texts texts.tsv --query-texts queries.jsonl";
    assert_eq!(mined(&folder, options), "a:n1,n2,n3 b:n1,n2 c:n1");
    let facts = facts(&folder, "report.parquet");
    let of = |section: &str, name: &str, query: &str, doc: &str| {
        let key = [section, name, query, doc].map(str::to_owned);
        facts.get(&key).unwrap_or_else(|| panic!("{key:?} in {facts:?}"))
    };
    let total = |section: &str, name: &str| of(section, name, "", "").0;
    assert_eq!(["relevant", "judged", "min-score", "max-score"].map(|rule| total("rules", rule)), [2.0, 2.0, 1.0, 0.0]);
    assert_eq!(["queries", "negatives", "short", "unjudged"].map(|name| total("counts", name)), [3.0, 6.0, 2.0, 0.0]);
    assert_eq!((of("short", "negatives", "b", "").0, of("short", "negatives", "c", "").0), (2.0, 1.0));
    // Positives 5, 8, 8; negatives 9, 6, 4, 9, 8, 8.
    assert_eq!(["min", "q1", "median", "max"].map(|name| total("positive-scores", name)), [5.0, 6.5, 8.0, 8.0]);
    assert_eq!(["count", "q1", "q3"].map(|name| total("negative-scores", name)), [6.0, 6.5, 8.75]);
    // Of a: 5 less 9, 6, 4; of b: 8 less 9, 8. c has no positive.
    assert_eq!(["count", "min", "median"].map(|name| total("differences", name)), [5.0, -4.0, -1.0]);
    // n2 scores as p3 does; n1 has its text, and n3 that of p1.
    assert_eq!((total("counts", "twins-by-score"), total("counts", "twins-by-text")), (1.0, 2.0));
    assert_eq!(*of("twins", "score", "b", "n2"), (8.0, "Two".to_owned()));
    assert_eq!(of("twins", "text", "b", "n1").1, "one  two");
    assert_eq!(of("twins", "text", "a", "n3").0, 4.0);
    assert_eq!(*of("suspicious", "negative", "a", "n1"), (9.0, "one  two".to_owned()));
    assert_eq!(*of("suspicious", "positive", "a", "p2"), (5.0, "five".to_owned()));
    assert_eq!(of("suspicious", "query", "b", "").1, "what is b?");
    // Then a had n4 and n1; n1 went from the second place to the first. b had another.
    assert_eq!((of("overlaps", "query", "a", "").0 * 3.0).round(), 1.0);
    assert_eq!((of("overlaps", "query", "b", "").0, total("overlaps", "count")), (0.0, 2.0));
    assert_eq!((total("rank-shifts", "count"), total("rank-shifts", "median")), (1.0, -1.0));
    assert_eq!(["negatives-now", "negatives-then", "in-both"].map(|name| total("compared", name)), [5.0, 3.0, 1.0]);
}

#[test]
fn a_report_goes_with_the_negatives_of_the_pipeline() {
    let folder = Folder::made();
    let line = "mine-negatives --qrels train.qrels.parquet --top-k 20 --texts collection.tsv --query-texts queries.train.tsv \
        --compare train.negatives.parquet --report report.arrow train.run.parquet -o negatives.parquet";
    let done = folder.run(line).ok();
    done.check(done.stderr.contains("100 % of the negatives were among the earlier ones"), "should compare");
    done.check(done.stderr.contains("median score"), "should tell the medians");
    let [same, before, report] =
        ["negatives.parquet", "train.negatives.parquet", "report.arrow"].map(|name| Records::open(&folder.path(name)));
    assert!(same.rows == before.rows);
    assert_eq!(report.kind(), "mining-report");
    assert_eq!(report.metadata["hardmine.docs"], before.metadata["hardmine.docs"]);
    // Row numbers mean the texts that were tokenized, and no others.
    folder.write("collection.tsv", folder.text("collection.tsv").replacen("\t", "x\t", 1));
    std::fs::remove_file(folder.path("report.arrow")).unwrap();
    folder.run(line).fails(&["collection.tsv: its ids", "row numbers in train.run.parquet"]);
    folder.run(&line.replace("report.arrow", "negatives.parquet")).fails(&["negatives.parquet", "same place"]);
    folder
        .run(&line.replace("report.arrow", "report.tsv"))
        .fails(&["report.tsv", "mining-report can't be written as TSV"]);
    let line = "mine-negatives --qrels train.qrels.parquet --texts collection.tsv train.run.parquet";
    folder.run(line).fails_as_wrong_usage(&["--report"]);
    assert!(!folder.path("report.arrow").exists());
}
