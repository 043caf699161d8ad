//! `rank`: exact lists, in order, straight off an embeddings file.

use std::collections::HashMap;

use crate::common::{Folder, Records, column, save, vectors};
use arrow::array::Int64Array;

/// Scores of every document for a query, computed here, best first and equal ones by id.
fn expected(query: &[f32], docs: &[Vec<f32>]) -> Vec<(i64, f64)> {
    let dot = |doc: &Vec<f32>| query.iter().zip(doc).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>();
    let mut scores: Vec<(i64, f64)> = docs.iter().enumerate().map(|(id, doc)| (id as i64, dot(doc))).collect();
    scores.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    scores
}

#[test]
fn lists_are_those_of_a_search_by_hand() {
    let folder = Folder::made();
    let run = Records::stream(&folder.run("rank --index docs.arrow --top-k 20 dev.arrow").ok().stdout);
    let [docs, queries] = ["docs.arrow", "dev.arrow"].map(|name| Records::open(&folder.path(name)).vectors());
    assert_eq!(run.len(), queries.len() * 20);
    let (query_ids, doc_ids, scores) = (run.i64s("query_id"), run.i64s("doc_id"), run.f32s("score"));
    for (number, query) in queries.iter().enumerate() {
        let all = expected(query, &docs);
        let score_of = |doc: i64| all.iter().find(|(id, _)| *id == doc).unwrap().1;
        for (place, (_, best)) in all.iter().take(20).enumerate() {
            let row = number * 20 + place;
            assert_eq!((query_ids[row], run.i32s("rank")[row]), (number as i64, place as i32 + 1));
            assert!((f64::from(scores[row]) - best).abs() < 1e-3, "query {number}, rank {}", place + 1);
            assert!((score_of(doc_ids[row]) - best).abs() < 1e-3, "query {number}, rank {}", place + 1);
            let same_list = place > 0;
            if same_list {
                let before = (scores[row - 1], -doc_ids[row - 1]);
                assert!(before > (scores[row], -doc_ids[row]), "row {row}: score descending, then id ascending");
            }
        }
    }
}

#[test]
fn equal_scores_are_in_the_order_of_ids() {
    let folder = Folder::empty();
    let docs: Vec<Vec<f32>> = (0..50).map(|doc| vec![(doc % 3) as f32, 1.0]).collect();
    save(
        &folder.path("docs.parquet"),
        vec![column("id", Int64Array::from_iter_values(0..50)), column("embedding", vectors(&docs))],
    );
    let query = [vec![1.0, 0.5]];
    save(
        &folder.path("query.arrow"),
        vec![column("id", Int64Array::from(vec![7])), column("embedding", vectors(&query))],
    );
    let run = Records::stream(&folder.run("rank --index docs.parquet --top-k 50 query.arrow").ok().stdout);
    let expected: Vec<i64> =
        [2, 1, 0].into_iter().flat_map(|rest| (0..50).filter(move |doc| doc % 3 == rest)).collect();
    assert_eq!(run.i64s("doc_id"), expected);
    assert_eq!(run.i64s("query_id"), [7; 50]);
    assert_eq!(run.f32s("score")[..17], [2.5; 16].iter().copied().chain([1.5]).collect::<Vec<f32>>());
}

#[test]
fn embeddings_come_in_any_form() {
    let folder = Folder::made();
    folder.run("embed --model bert docs.tokens.arrow -o docs.parquet").ok();
    folder.run("embed --model bert docs.tokens.arrow -o docs.arrows").ok();
    let ranked =
        |index: &str| Records::stream(&folder.run(&format!("rank --index {index} dev.arrow")).ok().stdout).rows;
    let file = ranked("docs.arrow");
    assert!(file == ranked("docs.parquet"));
    assert!(file == ranked("docs.arrows"));
}

#[test]
fn more_than_there_is_gives_all_of_it() {
    let folder = Folder::made();
    let done = folder.run("rank --index docs.arrow --top-k 1000 dev.arrow").ok();
    let queries = Records::open(&folder.path("dev.arrow")).len();
    assert_eq!(Records::stream(&done.stdout).len(), 300 * queries);
}

#[test]
fn half_precision_embeddings_are_searched() {
    let folder = Folder::made();
    folder.run("embed --model bert --output-type f16 docs.tokens.arrow -o half.arrow").ok();
    let half = Records::stream(&folder.run("rank --index half.arrow --top-k 1 dev.arrow").ok().stdout);
    let whole = Records::stream(&folder.run("rank --index docs.arrow --top-k 1 dev.arrow").ok().stdout);
    let near = half.f32s("score").into_iter().zip(whole.f32s("score")).all(|(a, b)| (a - b).abs() < 0.1);
    assert!(near);
}

#[test]
fn queries_of_another_model_are_refused() {
    let folder = Folder::made();
    folder.copy_model("bert", "other");
    let mut weights = folder.read("other/model.safetensors");
    *weights.last_mut().unwrap() ^= 1;
    folder.write("other/model.safetensors", weights);
    folder.run("embed --model other dev.tokens.arrow -o other.arrow").ok();
    folder.run("rank --index docs.arrow other.arrow").fails(&["other.arrow", "docs.arrow", "model"]);
    folder.run("index docs.arrow -o docs.faiss").ok();
    folder.run("rank --index docs.faiss other.arrow").fails(&["other.arrow", "docs.faiss", "model"]);
}

#[test]
fn texts_are_left_out_of_their_own_lists() {
    let folder = Folder::made();
    folder.run("index docs.arrow -o docs.faiss").ok();
    for index in ["docs.arrow", "docs.faiss"] {
        let line = format!("rank --index {index} docs.arrow --top-k");
        let [with, without] =
            [format!("{line} 6"), format!("{line} 5 --exclude-self")].map(|line| folder.run(&line).ok().stdout);
        let lists = |stdout: &[u8]| {
            let run = Records::stream(stdout);
            let pairs: Vec<(i64, i64)> = run.i64s("query_id").into_iter().zip(run.i64s("doc_id")).collect();
            (pairs, run.i32s("rank"))
        };
        let (pairs, ranks) = lists(&without);
        assert_eq!(ranks, [1, 2, 3, 4, 5].repeat(300), "{index}");
        let (all, _) = lists(&with);
        let expected: Vec<(i64, i64)> = all
            .chunks(6)
            .flat_map(|list| list.iter().filter(|(query, doc)| query != doc).take(5).copied().collect::<Vec<_>>())
            .collect();
        assert_eq!(pairs, expected, "{index}");
        let line = format!("rank --index {index} dev.arrow --exclude-self -o run.parquet");
        folder.run(&line).fails(&["dev.arrow", "rows of the same tokens file", "remap-ids --to official"]);
    }
    let line = "embed -q --model bert dev.tokens.arrow | rank --index docs.arrow --exclude-self -o run.parquet";
    folder.sh(line).fails(&["rank: standard input", "rows of the same tokens file"]);
    assert!(!folder.path("run.parquet").exists());
}

#[test]
fn given_pairs_get_the_scores_of_a_search() {
    let folder = Folder::made();
    let run = folder.run("rank --index docs.arrow --top-k 300 train.arrow").ok().stdout;
    let run = Records::stream(&run);
    let scores: HashMap<(i64, i64), u32> = pairs(&run).into_iter().zip(bits(&run)).collect();
    // Part by part and from any form, as the search does.
    let line = "rank --index docs.arrow --pairs train.qrels.parquet train.arrow -o pairs.arrow";
    folder.run(line).ok();
    let scored = Records::open(&folder.path("pairs.arrow"));
    let mut expected = pairs(&Records::open(&folder.path("train.qrels.parquet")));
    expected.sort();
    let mut found = pairs(&scored);
    assert!(found.is_sorted_by_key(|pair| pair.0));
    found.sort();
    assert_eq!(found, expected);
    assert!(pairs(&scored).iter().zip(bits(&scored)).all(|(pair, bits)| scores[pair] == bits));
    assert_eq!(scored.metadata["hardmine.queries"], run.metadata["hardmine.queries"]);
    assert_eq!(scored.metadata["hardmine.model"], run.metadata["hardmine.model"]);
    // A run that is scored anew is itself, in whatever order it comes, and from half the memory.
    folder.sh("sql -q -t run=train.run.parquet 'SELECT * FROM run ORDER BY doc_id, query_id' --format parquet -o run.parquet").ok();
    for line in [
        "rank -q --index docs.arrow --pairs train.run.parquet train.arrow",
        "rank -q --index docs.arrow --pairs run.parquet --ids internal train.arrow --memory 16",
        "rank -q --index docs.arrow --pairs <(cat train.run.parquet) <(cat train.arrow)",
        "embed -q --model bert train.tokens.arrow | rank -q --index <(cat docs.arrow) --pairs train.run.parquet",
    ] {
        let again = Records::stream(&folder.sh(line).ok().stdout);
        assert!(again.rows == Records::open(&folder.path("train.run.parquet")).rows, "{line}");
    }
}

#[test]
fn pairs_without_embeddings_are_refused() {
    let folder = Folder::made();
    let rank = "rank --index docs.arrow train.arrow -o pairs.parquet --pairs";
    let save_pairs = |queries: Vec<i64>, docs: Vec<i64>| {
        let grades = arrow::array::Int32Array::from(vec![1; queries.len()]);
        let columns = vec![
            column("query_id", Int64Array::from(queries)),
            column("doc_id", Int64Array::from(docs)),
            column("relevance", grades),
        ];
        save(&folder.path("qrels.parquet"), columns);
    };
    for (queries, docs, place) in [
        (vec![0, 1, 2], vec![5, 300, 7], "row 1: document 300 has no embedding in docs.arrow"),
        (vec![0, 9999], vec![5, 7], "row 1: query 9999 has no embedding in train.arrow"),
        (vec![0, 1, -1], vec![5, 6, 7], "row 2: query -1 has no embedding in train.arrow"),
    ] {
        save_pairs(queries, docs);
        folder.run(&format!("{rank} qrels.parquet --ids internal")).fails(&[place]);
        folder.run(&format!("{rank} qrels.parquet")).fails(&["qrels.parquet: its ids are official", "--ids internal"]);
    }
    folder.run(&format!("{rank} qrels.train.tsv")).fails(&["qrels.train.tsv: its ids are official", "remap-ids"]);
    folder.run(&format!("{rank} dev.qrels.parquet")).fails(&["dev.qrels.parquet: queries ", "train.arrow"]);
    folder.run(&format!("{rank} docs.arrow")).fails(&["docs.arrow", "expected qrels or run or negatives"]);
    folder.run("index docs.arrow -o docs.faiss").ok();
    let line = "rank --index docs.faiss --pairs train.qrels.parquet train.arrow -o pairs.parquet";
    folder.run(line).fails(&["docs.faiss: is a faiss index", "embeddings"]);
    assert!(!folder.path("pairs.parquet").exists());
    folder.run(&format!("{rank} train.qrels.parquet --top-k 3")).fails_as_wrong_usage(&["--top-k"]);
    folder.run("rank --index docs.arrow train.arrow --ids internal").fails_as_wrong_usage(&["--pairs"]);
}

fn pairs(records: &Records) -> Vec<(i64, i64)> {
    records.i64s("query_id").into_iter().zip(records.i64s("doc_id")).collect()
}

fn bits(records: &Records) -> Vec<u32> {
    records.f32s("score").into_iter().map(f32::to_bits).collect()
}
