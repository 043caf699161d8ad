//! Which runs and judgements go together, and what is refused.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Float32Array, Int32Array, Int64Array, RecordBatch};
use arrow::datatypes::Float64Type;
use hardmine_evaluation::{Evaluation, Judgements, Metric, Order, Ranking, RunOptions, RunScores, write_per_query};
use hardmine_files::{Input, Output, Table, Writer};
use hardmine_records::{IdSpace, KeyHasher, Kind, Provenance, provenance, schema};

fn text(folder: &Path, name: &str, lines: &str) -> Input {
    let path = folder.join(name);
    std::fs::write(&path, lines).unwrap();
    Input::Path(path)
}

fn output(path: &Path) -> Output {
    Output::parse(path.as_os_str()).unwrap()
}

/// Three documents of query 7 and one of query 8, with internal ids, of the tokens whose keys are `keys`.
fn internal(folder: &Path, kind: Kind, keys: Option<&str>) -> Input {
    let path: PathBuf = folder.join(format!("{kind}-{}.parquet", keys.unwrap_or("none")));
    let ids = |ids: [i64; 4]| Arc::new(Int64Array::from(ids.to_vec())) as ArrayRef;
    let mut columns = vec![ids([7, 7, 7, 8]), ids([1, 2, 3, 1])];
    let mut schema = schema::qrels(IdSpace::Internal);
    if kind == Kind::Run {
        columns.push(Arc::new(Int32Array::from(vec![1, 2, 3, 1])));
        columns.push(Arc::new(Float32Array::from(vec![3.0, 2.0, 1.0, 5.0])));
        schema = schema::run(IdSpace::Internal);
    } else {
        columns.push(Arc::new(Int32Array::from(vec![0, 1, 0, 1])));
    }
    let mut about = Provenance::default();
    if let Some(keys) = keys {
        let mut hasher = KeyHasher::default();
        hasher.update(keys);
        let fingerprint = hasher.finish();
        about.set(provenance::QUERIES, fingerprint);
        about.set(provenance::DOCS, fingerprint);
    }
    let mut writer = Writer::create(&output(&path), kind, schema.clone(), about).unwrap();
    writer.write(&RecordBatch::try_new(schema, columns).unwrap()).unwrap();
    writer.finish().unwrap();
    Input::Path(path)
}

fn score(qrels: &Input, run: &Input) -> Result<RunScores, String> {
    let judgements = Arc::new(Judgements::open(qrels, None).map_err(|e| e.to_string())?);
    let reading = RunOptions { order: Order::Rank, ids: None, exclude_self: false, judged_only: false, is_part: false };
    let ranking = Ranking::open(run, &judgements, reading).map_err(|e| e.to_string())?;
    let metric: Metric = "MRR@10".parse().unwrap();
    Evaluation::new(Order::Rank, 1, false).unwrap().score("run", &ranking, &[metric]).map_err(|e| e.to_string())
}

fn mrr(qrels: &Input, run: &Input) -> f64 {
    score(qrels, run).unwrap().means().next().unwrap().1
}

#[test]
fn row_numbers_of_the_same_tokens_go_together() {
    let folder = tempfile::tempdir().unwrap();
    let (run, qrels) = (internal(folder.path(), Kind::Run, Some("a")), internal(folder.path(), Kind::Qrels, Some("a")));
    assert_eq!(mrr(&qrels, &run), 0.75);
}

#[test]
fn row_numbers_of_other_tokens_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (run, qrels) = (internal(folder.path(), Kind::Run, Some("a")), internal(folder.path(), Kind::Qrels, Some("b")));
    let error = score(&qrels, &run).err().unwrap();
    assert!(error.contains("run-a.parquet") && error.contains("qrels-b.parquet"), "{error}");
}

#[test]
fn row_numbers_and_official_ids_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let run = internal(folder.path(), Kind::Run, Some("a"));
    let qrels = text(folder.path(), "qrels.tsv", "7\t0\t2\t1\n");
    let error = score(&qrels, &run).err().unwrap();
    assert!(error.contains("remap-ids"), "{error}");

    let run = text(folder.path(), "run.tsv", "7\t2\t1\n");
    let error = score(&internal(folder.path(), Kind::Qrels, Some("a")), &run).err().unwrap();
    assert!(error.contains("remap-ids"), "{error}");
}

#[test]
fn a_query_without_relevant_documents_or_without_a_list_counts_zero() {
    let folder = tempfile::tempdir().unwrap();
    let qrels = text(folder.path(), "qrels.tsv", "a\t0\tx\t1\nb\t0\tx\t0\nc\t0\tx\t-3\nd\t0\tx\t2000000000\n");
    let run = text(folder.path(), "run.tsv", "unjudged\tx\t1\nb\tx\t1\na\tx\t2\nc\tx\t1\n");
    assert_eq!(mrr(&qrels, &run), 0.5 / 4.0);
}

#[test]
fn rows_of_a_query_need_not_stand_together() {
    let folder = tempfile::tempdir().unwrap();
    let qrels = text(folder.path(), "qrels.tsv", "a\t0\tx\t1\nb\t0\ty\t1\n");
    let run = text(folder.path(), "run.tsv", "a\ty\t1\nb\ty\t1\na\tx\t2\nb\tx\t2\n");
    assert_eq!(mrr(&qrels, &run), 0.75);
}

#[test]
fn faulty_lists_and_judgements_are_refused_with_their_place() {
    let folder = tempfile::tempdir().unwrap();
    let good = text(folder.path(), "qrels.tsv", "a\t0\tx\t1\na\t0\tx\t1\n");
    for (lines, message) in [
        ("a\tx\t1\na\ty\t2\na\tx\t3\n", "query 'a' has document 'x' twice, at ranks 1 and 3"),
        ("a\tx\t1\na\ty\t1\n", "query 'a' has rank 1 twice"),
        ("a Q0 x 1 2.5 t\na Q0 y 0 2 t\n", "row 1: rank 0 is less than 1"),
        ("b\tx\t1\n", "none of its 1 queries is judged"),
    ] {
        let error = score(&good, &text(folder.path(), "run.tsv", lines)).err().unwrap();
        assert!(error.contains("run.tsv: ") && error.contains(message), "{error}");
    }
    let run = text(folder.path(), "run.tsv", "a\tx\t1\n");
    let error = score(&text(folder.path(), "qrels.tsv", "a\t0\tx\t1\na\t0\tx\t2\n"), &run).err().unwrap();
    assert!(error.contains("query 'a' has document 'x' twice, with grades 1 and 2"), "{error}");
}

#[test]
fn values_are_written_query_by_query_and_the_same_each_time() {
    let folder = tempfile::tempdir().unwrap();
    let qrels = text(folder.path(), "qrels.tsv", "a\t0\tx\t1\nb\t0\ty\t1\n");
    let run = text(folder.path(), "run.tsv", "b\tx\t1\nb\ty\t2\na\tx\t1\n");
    let [one, two] = ["one.parquet", "two.parquet"].map(|name| {
        let path = folder.path().join(name);
        let rows = write_per_query(&output(&path), &[score(&qrels, &run).unwrap()]).unwrap();
        assert_eq!(rows, 3);
        path
    });
    assert_eq!(std::fs::read(&one).unwrap(), std::fs::read(two).unwrap());

    let batches: Vec<RecordBatch> =
        Table::open(&Input::Path(one), &[Kind::Metrics]).unwrap().collect::<Result<_, _>>().unwrap();
    let queries: Vec<_> = batches.iter().flat_map(|batch| batch["query_id"].as_string::<i32>()).collect();
    let values: Vec<_> =
        batches.iter().flat_map(|batch| batch["value"].as_primitive::<Float64Type>().values()).collect();
    assert_eq!(queries, [Some("b"), Some("a"), None]);
    assert_eq!(values, [&0.5, &1.0, &0.75]);
}
