//! Laws that hold for any input, tried on inputs drawn at random from a fixed seed.

use std::collections::{HashMap, HashSet};

use arrow::array::{Float32Array, Int32Array, Int64Array, StringArray};
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64;

use crate::common::{Folder, Records, column, numbers, save, save_stream, vectors};

/// A run in one id space, sorted as runs are.
struct Run {
    queries: Vec<i64>,
    docs: Vec<i64>,
    ranks: Vec<i32>,
    scores: Vec<f32>,
}

impl Run {
    /// Lists of different lengths for some of `queries`, out of `docs` documents.
    fn draw(random: &mut Pcg64, queries: i64, docs: i64) -> Run {
        let mut run = Run { queries: vec![], docs: vec![], ranks: vec![], scores: vec![] };
        for query in 0..queries {
            let mut all: Vec<i64> = (0..docs).collect();
            all.shuffle(random);
            let length = random.random_range(0..=docs.min(40));
            let mut score = 10.0;
            for (place, &doc) in all[..length as usize].iter().enumerate() {
                score -= random.random::<f32>();
                run.queries.push(query);
                run.docs.push(doc);
                run.ranks.push(place as i32 + 1);
                run.scores.push(score);
            }
        }
        run
    }

    fn save(&self, folder: &Folder, name: &str) {
        let columns = vec![
            column("query_id", Int64Array::from(self.queries.clone())),
            column("doc_id", Int64Array::from(self.docs.clone())),
            column("rank", Int32Array::from(self.ranks.clone())),
            column("score", Float32Array::from(self.scores.clone())),
        ];
        save(&folder.path(name), columns);
    }
}

/// Judgements of documents, some of them irrelevant: query → document → grade.
fn draw_qrels(random: &mut Pcg64, queries: i64, docs: i64) -> Vec<(i64, i64, i32)> {
    let mut rows = HashMap::new();
    for _ in 0..queries * 6 {
        let pair = (random.random_range(0..queries), random.random_range(0..docs));
        rows.insert(pair, random.random_range(0..4) - 1);
    }
    let mut rows: Vec<_> = rows.into_iter().map(|((query, doc), grade)| (query, doc, grade)).collect();
    rows.sort();
    rows
}

fn qrels_text(rows: &[(i64, i64, i32)]) -> String {
    rows.iter().map(|(query, doc, grade)| format!("{query} 0 {doc} {grade}\n")).collect()
}

/// Tokens files `queries.arrow` and `docs.arrow` whose keys are in no order.
fn save_tokens(folder: &Folder, random: &mut Pcg64, queries: usize, docs: usize) {
    for (name, count) in [("queries", queries), ("docs", docs)] {
        let mut keys: Vec<usize> = (0..count).collect();
        keys.shuffle(random);
        let texts: String = keys.iter().map(|key| format!("k{key} é\tvm\n")).collect();
        folder.write("texts.tsv", texts);
        folder.run(&format!("tokenize --tokenizer bert texts.tsv -o {name}.arrow")).ok();
    }
}

#[test]
fn ids_there_and_back_are_the_same() {
    let folder = Folder::new();
    let mut random = Pcg64::seed_from_u64(1);
    save_tokens(&folder, &mut random, 30, 80);
    let tokens = "--queries queries.arrow --docs docs.arrow";
    for round in 0..3 {
        Run::draw(&mut random, 30, 80).save(&folder, "run.parquet");
        let line = format!(
            "remap-ids {tokens} --ids internal --to official run.parquet | remap-ids {tokens} --to internal -o back.arrow"
        );
        folder.sh(&line).ok();
        let [run, back] = ["run.parquet", "back.arrow"].map(|name| Records::open(&folder.path(name)));
        assert_eq!(run.rows.columns(), back.rows.columns(), "round {round}");
    }
}

#[test]
fn no_negative_is_judged_and_none_is_left_out() {
    let folder = Folder::empty();
    let mut random = Pcg64::seed_from_u64(2);
    for top_k in [1, 5, 100] {
        let run = Run::draw(&mut random, 30, 60);
        run.save(&folder, "run.arrow");
        let qrels = draw_qrels(&mut random, 30, 60);
        folder.write("qrels.txt", qrels_text(&qrels));
        let columns = |of: fn(&(i64, i64, i32)) -> i64| Int64Array::from_iter_values(qrels.iter().map(of));
        let grades = Int32Array::from_iter_values(qrels.iter().map(|row| row.2));
        let columns = vec![
            column("query_id", columns(|row| row.0)),
            column("doc_id", columns(|row| row.1)),
            column("relevance", grades),
        ];
        save(&folder.path("qrels.parquet"), columns);
        let line = format!("mine-negatives --ids internal --qrels qrels.parquet --top-k {top_k} run.arrow");
        let negatives = Records::stream(&folder.run(&line).ok().stdout);

        let judged: HashSet<(i64, i64)> = qrels.iter().map(|row| (row.0, row.1)).collect();
        let mut counts = HashMap::new();
        let mut expected = Vec::new();
        for (place, pair) in run.queries.iter().copied().zip(run.docs.iter().copied()).enumerate() {
            let count = counts.entry(pair.0).or_insert(0);
            if !judged.contains(&pair) && *count < top_k {
                *count += 1;
                expected.push((pair.0, pair.1, *count, run.scores[place]));
            }
        }
        let ids = negatives.i64s("query_id").into_iter().zip(negatives.i64s("doc_id"));
        let rest = negatives.i32s("rank").into_iter().zip(negatives.f32s("score"));
        let found: Vec<_> = ids.zip(rest).map(|((query, doc), (rank, score))| (query, doc, rank, score)).collect();
        assert_eq!(found, expected, "top {top_k}");
    }
}

/// Whatever the rules, no negative is relevant, each list is in the order of the run, and the same rows in other batches
/// give the same negatives.
#[test]
fn rules_hold_in_batches_of_any_size() {
    let folder = Folder::empty();
    let mut random = Pcg64::seed_from_u64(5);
    for round in 0..12 {
        let run = Run::draw(&mut random, 25, 60);
        run.save(&folder, "run.arrow");
        let qrels = draw_qrels(&mut random, 25, 60);
        folder.write("qrels.txt", qrels_text(&qrels));
        let positives: String = qrels
            .iter()
            .map(|(query, doc, _)| format!("{query} Q0 {doc} 1 {} t\n", random.random_range(-9.0..9.0_f32)))
            .collect();
        folder.write("positives.trec", positives);
        let mut options = format!(" --top-k {} --seed {round}", random.random_range(1..30));
        for option in [
            format!(" --relative-margin {}", random.random_range(0.0..2.0_f32)),
            format!(" --absolute-margin {}", random.random_range(-9.0..9.0_f32)),
            format!(" --max-score {}", random.random_range(0.0..9.0_f32)),
            format!(" --min-score {}", random.random_range(-9.0..0.0_f32)),
            format!(" --skip-first {} --depth {}", random.random_range(0..4), random.random_range(5..40)),
            " --sample random".to_owned(),
            " --keep-judged".to_owned(),
        ] {
            if random.random_range(0..3) == 0 {
                options += &option;
            }
        }
        let line =
            format!("mine-negatives --qrels qrels.txt --positives positives.trec --report report.arrow{options}");
        let whole = Records::stream(&folder.run(&format!("{line} run.arrow")).ok().stdout);
        let rows = Records::open(&folder.path("run.arrow")).rows;
        let report = folder.read("report.arrow");
        for size in [1, 7, 64] {
            folder.write("run.arrows", save_stream(&rows, size, HashMap::new()));
            let parts = folder.run(&format!("{line} run.arrows")).ok().stdout;
            assert!(Records::stream(&parts).rows == whole.rows, "batches of {size}:{options}");
            let rows = |bytes: &[u8]| {
                folder.write("other.arrow", bytes);
                Records::open(&folder.path("other.arrow")).rows
            };
            assert!(rows(&report) == rows(&folder.read("report.arrow")), "batches of {size}:{options}");
        }
        let relevant: HashSet<(String, String)> =
            qrels.iter().filter(|row| row.2 > 0).map(|row| (row.0.to_string(), row.1.to_string())).collect();
        let pairs: Vec<(String, String)> = whole.texts("query_id").into_iter().zip(whole.texts("doc_id")).collect();
        assert!(pairs.iter().all(|pair| !relevant.contains(pair)), "{options}");
        let ranked: Vec<(String, i32, f32)> = whole
            .texts("query_id")
            .into_iter()
            .zip(whole.i32s("rank"))
            .zip(whole.f32s("score"))
            .map(|((query, rank), score)| (query, rank, score))
            .collect();
        for pair in ranked.windows(2).filter(|pair| pair[0].0 == pair[1].0) {
            assert!(pair[0].1 + 1 == pair[1].1 && pair[0].2 >= pair[1].2, "{options}");
        }
    }
}

const METRICS: &str = "-m MRR@10,R@5,nDCG@10,MAP,P@3,Success@2 \
    -m Rprec,Bpref,infAP,gMAP,IPrec@0.2,RBP@20,ERR@10,Judged@10,SetF,SetAP,SetRelP --format tsv -q";

#[test]
fn a_run_has_one_score_in_every_form_and_order() {
    let folder = Folder::empty();
    let mut random = Pcg64::seed_from_u64(3);
    for round in 0..2 {
        let run = Run::draw(&mut random, 40, 60);
        run.save(&folder, "run.parquet");
        run.save(&folder, "run.arrow");
        let mut lines: Vec<String> = (0..run.docs.len())
            .map(|row| format!("{} Q0 {} {} {} t\n", run.queries[row], run.docs[row], run.ranks[row], run.scores[row]))
            .collect();
        folder.write("run.trec", lines.concat());
        lines.shuffle(&mut random);
        folder.write("run.txt", lines.concat());
        let text: String = (0..run.docs.len())
            .map(|row| format!("{}\t{}\t{}\n", run.queries[row], run.docs[row], run.ranks[row]))
            .collect();
        folder.write("run.tsv", text);
        let mut qrels = draw_qrels(&mut random, 40, 60);
        folder.write("qrels.txt", qrels_text(&qrels));
        qrels.shuffle(&mut random);
        folder.write("other.txt", qrels_text(&qrels));
        for order in ["rank", "score"] {
            let score = |files: &str| -> Vec<f64> {
                let done = folder.run(&format!("score --order {order} {METRICS} --qrels {files}")).ok();
                done.text().lines().skip(1).map(|line| line.rsplit('\t').next().unwrap().parse().unwrap()).collect()
            };
            let expected = score("qrels.txt run.parquet");
            assert!(expected.iter().all(|value| (0.0..=1.0).contains(value)), "{expected:?}");
            for files in [
                "qrels.txt run.arrow",
                "qrels.txt run.trec",
                "qrels.txt run.txt",
                "qrels.txt run.tsv",
                "other.txt run.arrow",
            ] {
                for (found, expected) in score(files).iter().zip(&expected) {
                    assert!((found - expected).abs() < 1e-12, "round {round}, {order}, {files}: {found}, {expected}");
                }
            }
        }
    }
}

#[test]
fn a_better_list_has_a_better_score() {
    let folder = Folder::empty();
    let mut random = Pcg64::seed_from_u64(4);
    let qrels = draw_qrels(&mut random, 20, 40);
    folder.write("qrels.txt", qrels_text(&qrels));
    let perfect: String = (0..20)
        .flat_map(|query| {
            let mut docs: Vec<_> = qrels.iter().filter(|row| row.0 == query).collect();
            docs.sort_by_key(|row| -row.2);
            docs.into_iter()
                .enumerate()
                .map(|(place, row)| format!("{query}\t{}\t{}\n", row.1, place + 1))
                .collect::<Vec<_>>()
        })
        .collect();
    folder.write("perfect.tsv", perfect);
    let done =
        folder.run("score --qrels qrels.txt -m nDCG@10 -m MRR@10 -m R@100 -m MAP --format json perfect.tsv").ok();
    let values: Vec<serde_json::Value> = serde_json::from_str(done.text()).unwrap();
    let judged: HashSet<i64> = qrels.iter().map(|row| row.0).collect();
    let relevant: HashSet<i64> = qrels.iter().filter(|row| row.2 > 0).map(|row| row.0).collect();
    for value in values {
        let expected = relevant.len() as f64 / judged.len() as f64;
        assert!((value["value"].as_f64().unwrap() - expected).abs() < 1e-12, "{value}, expected {expected}");
    }
}

#[test]
fn search_finds_the_best_of_random_vectors() {
    let folder = Folder::empty();
    let mut random = Pcg64::seed_from_u64(5);
    for (docs, queries, dim) in [(1, 1, 1), (700, 9, 5), (2049, 3, 33)] {
        let mut draw = |count: usize| -> Vec<Vec<f32>> { (0..count).map(|_| numbers(&mut random, dim, 1.0)).collect() };
        let (docs, queries) = (draw(docs), draw(queries));
        for (name, rows) in [("docs.arrow", &docs), ("queries.arrow", &queries)] {
            let ids = Int64Array::from_iter_values(0..rows.len() as i64);
            save(&folder.path(name), vec![column("id", ids), column("embedding", vectors(rows))]);
        }
        let run = Records::stream(&folder.run("rank --index docs.arrow --top-k 17 queries.arrow").ok().stdout);
        let kept = docs.len().min(17);
        assert_eq!(run.len(), kept * queries.len());
        for (number, query) in queries.iter().enumerate() {
            let dot = |doc: &Vec<f32>| query.iter().zip(doc).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>();
            let mut expected: Vec<f64> = docs.iter().map(dot).collect();
            expected.sort_by(|a, b| b.total_cmp(a));
            let found = &run.f32s("score")[number * kept..(number + 1) * kept];
            for (found, expected) in found.iter().zip(&expected) {
                assert!((f64::from(*found) - expected).abs() < 1e-4, "{found} instead of {expected}");
            }
        }
    }
}

#[test]
fn lists_do_not_depend_on_what_else_is_asked() {
    let folder = Folder::made();
    let all = Records::open(&folder.path("dev.run.parquet"));
    let queries = Records::open(&folder.path("dev.arrow"));
    let mut parts = Vec::new();
    for (start, length) in [(0, 1), (1, 20), (21, 39)] {
        let part = queries.rows.slice(start, length);
        let columns = vec![("id", part["id"].clone()), ("embedding", part["embedding"].clone())];
        save(&folder.path("part.arrow"), columns);
        parts.push(Records::stream(&folder.run("rank --index docs.arrow --top-k 50 part.arrow").ok().stdout).rows);
    }
    let together = arrow::compute::concat_batches(&parts[0].schema(), &parts).unwrap();
    assert_eq!(together.columns(), all.rows.columns());
    let memory = folder.run("rank --index docs.arrow --top-k 50 --memory 16 dev.arrow").ok();
    assert_eq!(Records::stream(&memory.stdout).rows, all.rows);
    // A shorter list is the beginning of a longer one.
    let short = Records::stream(&folder.run("rank --index docs.arrow --top-k 7 dev.arrow").ok().stdout);
    let long: Vec<i64> = all.i64s("doc_id").chunks(50).flat_map(|list| list[..7].to_vec()).collect();
    assert_eq!(short.i64s("doc_id"), long);
}

#[test]
fn vectors_do_not_depend_on_batches() {
    let folder = Folder::made();
    let expected = Records::open(&folder.path("dev.arrow"));
    for size in ["1", "57", "100000"] {
        let found =
            Records::stream(&folder.run("embed --model bert dev.tokens.arrow --batch-tokens").arg(size).ok().stdout);
        assert_eq!(found.i64s("id"), expected.i64s("id"));
        let pairs = found.vectors().concat().into_iter().zip(expected.vectors().concat());
        assert!(pairs.into_iter().all(|(a, b)| (a - b).abs() < 1e-5), "{size}");
    }
}

#[test]
fn tokens_do_not_depend_on_other_texts() {
    let folder = Folder::new();
    let collection = folder.text("collection.tsv");
    let all = Records::stream(&folder.run("tokenize --tokenizer bert collection.tsv").ok().stdout).token_ids();
    let mut lines: Vec<(usize, &str)> = collection.lines().enumerate().collect();
    lines.shuffle(&mut Pcg64::seed_from_u64(6));
    folder.write("shuffled.tsv", lines.iter().map(|(_, line)| format!("{line}\n")).collect::<String>());
    let shuffled = Records::stream(&folder.run("tokenize --tokenizer bert shuffled.tsv").ok().stdout).token_ids();
    let expected: Vec<Vec<i32>> = lines.iter().map(|(number, _)| all[*number].clone()).collect();
    assert_eq!(shuffled, expected);
}

#[test]
fn official_ids_may_be_anything_that_is_text() {
    let folder = Folder::empty();
    let ids = ["D 1", "日本", "a\"b", "0", "-5", "x'y", "%s", "nul"];
    let repeat = |id: &str| vec![id.to_owned(); ids.len()];
    let queries: Vec<String> = ids.iter().flat_map(|id| repeat(id)).collect();
    let docs: Vec<String> = ids.iter().flat_map(|_| ids.map(str::to_owned)).collect();
    let ranks = Int32Array::from_iter_values((0..queries.len()).map(|row| (row % ids.len()) as i32 + 1));
    let scores = Float32Array::from_iter_values((0..queries.len()).map(|row| -((row % ids.len()) as f32)));
    let columns = vec![
        column("query_id", StringArray::from(queries)),
        column("doc_id", StringArray::from(docs)),
        column("rank", ranks),
        column("score", scores),
    ];
    save(&folder.path("run.parquet"), columns);
    let qrels: String = ids.iter().map(|id| format!("{id}\t0\t{id}\t1\n")).collect();
    folder.write("qrels.tsv", qrels);
    let done = folder.run("score --qrels qrels.tsv -m MRR@10 --format tsv run.parquet").ok();
    let expected = (1..=ids.len()).map(|rank| 1.0 / rank as f64).sum::<f64>() / ids.len() as f64;
    let found: f64 = done.text().trim().rsplit('\t').next().unwrap().parse().unwrap();
    assert!((found - expected).abs() < 1e-12);
    folder.run("mine-negatives --qrels qrels.tsv run.parquet -o negatives.tsv").ok();
    assert!(folder.text("negatives.tsv").contains("日本\ta\"b\t2\n"));
    folder
        .run("mine-negatives --qrels qrels.tsv run.parquet -o negatives.trec")
        .fails(&["id 'D 1' can't stand in a TREC file"]);
}
