//! The figures of trec_eval and msmarco_eval for the same runs and judgements.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use hardmine_evaluation::{
    Evaluation, Judgements, Metric, Order, Ranking, ReportFormat, RunOptions, RunScores, render,
};
use hardmine_files::Input;
use serde_json::Value;

/// Our name of each of trec_eval's measures that we have.
const NAMES: [(&str, &str); 13] = [
    ("Rprec", "Rprec"),
    ("bpref", "Bpref"),
    ("P_10", "P@10"),
    ("map", "MAP"),
    ("ndcg", "nDCG"),
    ("ndcg_cut_10", "nDCG@10"),
    ("ndcg_cut_100", "nDCG@100"),
    ("recall_10", "R@10"),
    ("recall_100", "R@100"),
    ("recall_1000", "R@1000"),
    ("recip_rank", "MRR"),
    ("success_1", "Success@1"),
    ("success_10", "Success@10"),
];

fn folder(fixture: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/evaluation").join(fixture)
}

fn input(fixture: &str, file: &str) -> Input {
    Input::Path(folder(fixture).join(file))
}

fn expected(fixture: &str) -> Value {
    let text = std::fs::read_to_string(folder(fixture).join("expected.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn score(fixture: &str, run: &str, order: Order, level: i32, complete: bool, metrics: &[&str]) -> RunScores {
    let reading = RunOptions { order, ids: None, exclude_self: false, judged_only: false, is_part: false };
    score_as_read(fixture, run, reading, level, complete, metrics)
}

fn score_as_read(
    fixture: &str,
    run: &str,
    reading: RunOptions,
    level: i32,
    complete: bool,
    metrics: &[&str],
) -> RunScores {
    let judgements = Arc::new(Judgements::open(&input(fixture, "qrels.txt"), None).unwrap());
    let ranking = Ranking::open(&input(fixture, run), &judgements, reading).unwrap();
    let metrics: Vec<Metric> = metrics.iter().map(|name| name.parse().unwrap()).collect();
    Evaluation::new(reading.order, level, complete).unwrap().score("run", &ranking, &metrics).unwrap()
}

fn assert_near(ours: f64, theirs: f64, what: &str) {
    let difference = (ours - theirs).abs();
    assert!(difference < 1e-9, "{what}: ours {ours}, theirs {theirs}");
    println!("{what}: off by {difference:e}");
}

fn agrees_with_trec_eval(fixture: &str, level: i32) {
    let expected = &expected(fixture)[format!("trec_eval -l {level}")];
    let metrics: Vec<&str> = NAMES.iter().map(|(_, ours)| *ours).collect();
    let mut compared = 0;
    for (complete, means) in [(false, &expected["mean"]), (true, &expected["mean_over_all_judged_queries (-c)"])] {
        let ours = score(fixture, "run.trec", Order::Score, level, complete, &metrics);
        assert!(complete || ours.queries.len() as u64 == expected["queries"].as_u64().unwrap());
        let queries: Vec<_> = (0..ours.queries.len()).map(|row| ours.queries.text(row)).collect();
        for ((theirs, _), ((metric, values), (_, mean))) in NAMES.iter().zip(ours.values.iter().zip(ours.means())) {
            // With level 2 the fixtures leave some measures out.
            let Some(value) = means[theirs].as_f64() else { continue };
            assert_near(mean, value, &format!("{fixture}, level {level}, mean of {metric}"));
            for (query, value) in queries.iter().zip(values) {
                if let Some(theirs) = expected["per_query"][query.as_ref()][theirs].as_f64() {
                    assert_near(*value, theirs, &format!("{fixture}, level {level}, {metric} of {query}"));
                    compared += 1;
                }
            }
        }
    }
    assert!(compared > 2 * 8 * 39, "only {compared} values were compared");
}

#[test]
fn score_order_agrees_with_trec_eval() {
    agrees_with_trec_eval("dl19", 1);
    agrees_with_trec_eval("dl19", 2);
}

#[test]
fn score_order_agrees_with_trec_eval_where_many_scores_are_equal() {
    agrees_with_trec_eval("dl19_ties", 1);
    agrees_with_trec_eval("dl19_ties", 2);
}

/// The figures of `measures.json`, which tests/fixtures/evaluation/figures.py made with trec_eval and ir_measures.
fn agrees_with_measures(fixture: &str) {
    let text = std::fs::read_to_string(folder(fixture).join("measures.json")).unwrap();
    let expected: Value = serde_json::from_str(&text).unwrap();
    for (setting, by_metric) in expected.as_object().unwrap() {
        let level = setting.trim_start_matches("level ")[..1].parse().unwrap();
        let judged_only = setting.ends_with("judged only");
        let reading = RunOptions { order: Order::Score, ids: None, exclude_self: false, judged_only, is_part: false };
        let by_metric = by_metric.as_object().unwrap();
        let names: Vec<&str> = by_metric.keys().map(String::as_str).collect();
        let ours = score_as_read(fixture, "run.trec", reading, level, false, &names);
        for (name, (_, values)) in names.iter().zip(&ours.values) {
            for (row, value) in values.iter().enumerate() {
                // gdeval has no value where no document is relevant; there ours is 0.
                let query = ours.queries.text(row);
                let theirs = by_metric[*name].get(query.as_ref()).map_or(0.0, |value| value.as_f64().unwrap());
                assert_near(*value, theirs, &format!("{fixture}, {setting}, {name} of {query}"));
            }
        }
    }
}

#[test]
fn all_measures_agree_with_trec_eval_and_ir_measures() {
    agrees_with_measures("dl19");
    agrees_with_measures("dl19_ties");
    agrees_with_measures("pooled");
}

/// trec_eval's gm_map of all queries is e to the mean of those of the queries, and its counts are added up.
#[test]
fn what_values_of_queries_come_to() {
    let ours = score("dl19", "run.trec", Order::Score, 1, false, &["MAP", "gMAP", "NumRet", "NumRelRet"]);
    let mut means = ours.means().map(|(_, mean)| mean);
    let logarithms = ours.values[0].1.iter().map(|value| value.max(0.00001).ln());
    let expected = (logarithms.sum::<f64>() / ours.queries.len() as f64).exp();
    assert!(means.next().unwrap() > expected);
    assert_near(means.next().unwrap(), expected, "gMAP");
    assert_eq!(means.next(), Some(ours.values[2].1.iter().sum()));
}

/// msmarco_eval takes every judged document for relevant, which is level 0.
#[test]
fn rank_order_prints_what_msmarco_eval_prints() {
    for fixture in ["dl19", "dl19_ties"] {
        for (cut, metric) in [("10", "MRR@10"), ("100", "MRR@100")] {
            let ours = score(fixture, "run.tsv", Order::Rank, 0, false, &[metric]);
            let theirs = &expected(fixture)[format!("msmarco_eval {cut}")];
            assert_eq!(render(&[ours], None, ReportFormat::Msmarco).unwrap(), theirs.as_str().unwrap());
        }
    }
}

#[test]
fn judged_as_not_relevant_is_not_relevant() {
    let ours = score("dl19", "run.tsv", Order::Rank, 1, false, &["MRR@10"]);
    let (_, mean) = ours.means().next().unwrap();
    assert_eq!(ours.queries.len(), 43);
    assert_near(mean, 33.916666666666664 / 43.0, "MRR@10");
}

/// The ranks of the TSV are those of the TREC file, so both orders of a run without ties agree per query.
#[test]
fn both_orders_agree_on_a_run_without_equal_scores() {
    let metrics = ["MRR@10", "R@100", "nDCG@10", "MAP"];
    let (by_rank, by_score) = (
        score("dl19", "run.tsv", Order::Rank, 1, true, &metrics),
        score("dl19", "run.trec", Order::Score, 1, true, &metrics),
    );
    for ((metric, one), (_, two)) in by_rank.means().zip(by_score.means()) {
        assert_near(one, two, &metric.to_string());
    }
}
