//! The pipes of bins/README.md and the queries of `sql --help`, as they stand there but for the paths; and pipes in
//! place of any input file.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::Write;

use crate::common::{Folder, Records, TRAINING};

#[test]
fn texts_to_embeddings() {
    let folder = Folder::made();
    folder.sh("tokenize --tokenizer bert collection.tsv | embed --model bert -o piped.arrow").ok();
    let [piped, made] = ["piped.arrow", "docs.arrow"].map(|name| Records::open(&folder.path(name)));
    assert!(piped.rows == made.rows);
    assert_eq!(piped.metadata["hardmine.keys"], made.metadata["hardmine.keys"]);
}

#[test]
fn queries_to_a_run_with_official_ids() {
    let folder = Folder::made();
    folder
        .sh("tokenize --tokenizer bert --kind query queries.dev.small.tsv | embed --model bert \
             | rank --index docs.arrow --top-k 100 \
             | remap-ids --queries dev.tokens.arrow --docs docs.tokens.arrow --to official -o run.trec")
        .ok();
    let run = folder.text("run.trec");
    let lines: Vec<Vec<&str>> = run.lines().map(|line| line.split(' ').collect()).collect();
    assert_eq!(lines.len(), 60 * 100);
    let official = Records::open(&folder.path("dev.official.parquet"));
    let first: Vec<String> = official.texts("doc_id");
    assert_eq!(lines[..50].iter().map(|line| line[2]).collect::<Vec<_>>(), first[..50]);
    assert_eq!(lines[100][3], "1");
    folder.run("score --qrels qrels.dev.small.tsv run.trec").ok();
}

#[test]
fn a_packed_run_to_a_score() {
    let folder = Folder::made();
    let tokens = "--queries dev.tokens.arrow --docs docs.tokens.arrow";
    folder.run(&format!("remap-ids {tokens} --to official dev.run.parquet -o run.tsv")).ok();
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(&folder.read("run.tsv")).unwrap();
    folder.write("run.tsv.gz", packed.finish().unwrap());
    let piped = folder.sh("zcat run.tsv.gz | score --qrels qrels.dev.small.tsv -m MRR@10 --format tsv").ok();
    let file = folder.run("score --qrels qrels.dev.small.tsv -m MRR@10 --format tsv run.tsv.gz").ok();
    let value = |text: &str| text.trim().rsplit('\t').next().unwrap().to_owned();
    assert_eq!(value(piped.text()), value(file.text()));
    let expected = reciprocal_ranks(&folder).values().sum::<f64>() / 60.0;
    assert!((value(piped.text()).parse::<f64>().unwrap() - expected).abs() < 1e-12);
    assert!(expected > 0.1, "a model that finds nothing tests nothing: {expected}");
}

/// 1 / rank of the first relevant document of each query, to rank 10.
fn reciprocal_ranks(folder: &Folder) -> BTreeMap<String, f64> {
    let run = Records::open(&folder.path("dev.official.parquet"));
    let judged = folder.text("qrels.dev.small.tsv");
    let fields = judged.lines().map(|line| line.split('\t').collect::<Vec<_>>());
    let relevant: HashSet<(String, String)> = fields.map(|line| (line[0].into(), line[2].into())).collect();
    let mut best: BTreeMap<String, f64> = relevant.iter().map(|(query, _)| (query.clone(), 0.0)).collect();
    for ((query, doc), rank) in run.texts("query_id").into_iter().zip(run.texts("doc_id")).zip(run.i32s("rank")) {
        if rank <= 10 && relevant.contains(&(query.clone(), doc)) {
            let value = best.get_mut(&query).unwrap();
            *value = value.max(1.0 / f64::from(rank));
        }
    }
    best
}

/// Rows of a query as CSV, its header left out.
fn rows(folder: &Folder, tables: &str, query: &str) -> Vec<Vec<String>> {
    let done = folder.run(&format!("sql --format csv {tables}")).arg(query).ok();
    done.text().lines().skip(1).map(|line| line.split(',').map(str::to_owned).collect()).collect()
}

#[test]
fn the_ten_hardest_queries() {
    let folder = Folder::made();
    let query = "
        SELECT query_id, min(rank) AS first_relevant
        FROM qrels LEFT JOIN run USING (query_id, doc_id)
        WHERE relevance > 0 GROUP BY query_id
        ORDER BY first_relevant DESC NULLS FIRST, query_id LIMIT 10";
    let found = rows(&folder, "-t run=dev.run.parquet -t qrels=dev.qrels.parquet", query);
    assert_eq!(found.len(), 10);
    let run = Records::open(&folder.path("dev.run.parquet"));
    let ranks: HashMap<(i64, i64), i32> =
        run.i64s("query_id").into_iter().zip(run.i64s("doc_id")).zip(run.i32s("rank")).collect();
    let qrels = Records::open(&folder.path("dev.qrels.parquet"));
    let mut firsts: BTreeMap<i64, i32> = BTreeMap::new();
    for pair in qrels.i64s("query_id").into_iter().zip(qrels.i64s("doc_id")) {
        let first = firsts.entry(pair.0).or_insert(i32::MAX);
        *first = (*first).min(ranks.get(&pair).copied().unwrap_or(i32::MAX));
    }
    let mut hardest: Vec<(i64, i32)> = firsts.into_iter().collect();
    hardest.sort_by_key(|&(query, rank)| (-i64::from(rank), query));
    let expected: Vec<Vec<String>> = hardest[..10]
        .iter()
        .map(|(query, rank)| vec![query.to_string(), if *rank == i32::MAX { String::new() } else { rank.to_string() }])
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn the_overlap_of_two_runs() {
    let folder = Folder::made();
    folder.run("index docs.arrow --factory PQ4x4 -o docs.faiss").ok();
    folder.run("rank --index docs.faiss --top-k 50 dev.arrow -o other.parquet").ok();
    let query = "
        SELECT avg(shared) AS shared FROM (
            SELECT a.query_id, count(b.doc_id) AS shared
            FROM a LEFT JOIN b ON a.query_id = b.query_id AND a.doc_id = b.doc_id AND b.rank <= 10
            WHERE a.rank <= 10 GROUP BY a.query_id)";
    let found: f64 = rows(&folder, "-t a=dev.run.parquet -t b=other.parquet", query)[0][0].parse().unwrap();
    let top = |name: &str| -> HashSet<(i64, i64)> {
        let run = Records::open(&folder.path(name));
        let pairs = run.i64s("query_id").into_iter().zip(run.i64s("doc_id")).zip(run.i32s("rank"));
        pairs.filter(|(_, rank)| *rank <= 10).map(|(pair, _)| pair).collect()
    };
    let (one, other) = (top("dev.run.parquet"), top("other.parquet"));
    let queries: HashSet<i64> = one.iter().map(|(query, _)| *query).collect();
    assert_eq!(found, one.intersection(&other).count() as f64 / queries.len() as f64);
}

#[test]
fn negatives_per_query() {
    let folder = Folder::made();
    let query = "
        SELECT negatives, count(*) AS queries
        FROM (SELECT count(*) AS negatives FROM negatives GROUP BY query_id)
        GROUP BY negatives ORDER BY negatives";
    let found = rows(&folder, "-t negatives=train.negatives.parquet", query);
    assert_eq!(found, [["20", "150"]]);
}

#[test]
fn hard_negatives_from_texts_in_one_pipe() {
    let folder = Folder::made();
    folder
        .sh("tokenize --tokenizer bert --kind query --judged qrels.train.tsv queries.train.tsv | embed --model bert \
             | rank --index docs.arrow --top-k 50 | mine-negatives --qrels train.qrels.parquet --top-k 20 -o piped.parquet")
        .ok();
    let [piped, made] = ["piped.parquet", "train.negatives.parquet"].map(|name| Records::open(&folder.path(name)));
    assert!(piped.rows == made.rows);
}

/// Every command, and those of its inputs that are files.
fn readers() -> Vec<(String, Vec<&'static str>)> {
    let adore = TRAINING.replace("--max-doc-length 32", "--embeddings docs.arrow");
    let train = "--steps 2 --batch-size 8 --optimizer adamw -o OUT";
    let of = |line: &str, inputs: &[&'static str]| (line.to_owned(), inputs.to_vec());
    vec![
        of("tokenize --tokenizer bert collection.tsv -o OUT.arrow", &["collection.tsv"]),
        of("tokenize --tokenizer bert texts.parquet -o OUT.arrow", &["texts.parquet"]),
        of(
            "tokenize --tokenizer bert --kind query --judged qrels.train.tsv queries.train.tsv -o OUT.arrow",
            &["qrels.train.tsv", "queries.train.tsv"],
        ),
        of("embed --model bert dev.tokens.arrow -o OUT.arrow", &["dev.tokens.arrow"]),
        of("index docs.arrow -o OUT.faiss", &["docs.arrow"]),
        of("index docs.arrow --factory IVF4,Flat -o OUT.faiss", &["docs.arrow"]),
        of("rank --index docs.arrow dev.arrow -o OUT.parquet", &["docs.arrow", "dev.arrow"]),
        of("rank --index docs.faiss dev.arrow -o OUT.parquet", &["docs.faiss", "dev.arrow"]),
        of(
            "mine-negatives --qrels train.qrels.parquet train.run.parquet -o OUT.parquet",
            &["train.qrels.parquet", "train.run.parquet"],
        ),
        of(
            "remap-ids --queries dev.tokens.arrow --docs docs.tokens.arrow --to official dev.run.parquet -o OUT.tsv",
            &["dev.tokens.arrow", "docs.tokens.arrow", "dev.run.parquet"],
        ),
        of(
            "score --qrels qrels.dev.small.tsv dev.official.parquet -m MRR@10 --format msmarco -o OUT.txt",
            &["qrels.dev.small.tsv", "dev.official.parquet"],
        ),
        of(
            "sql -t a=dev.run.parquet -t b=dev.tokens.arrow -f join.sql -o OUT.csv",
            &["dev.run.parquet", "dev.tokens.arrow", "join.sql"],
        ),
        of("sql -t a=run.trec -t b=qrels.dev.small.tsv -f join.sql -o OUT.csv", &["run.trec", "qrels.dev.small.tsv"]),
        of(
            "sql -t a=dev.metrics.parquet -t b=dev.stream.arrows -f join.sql -o OUT.csv",
            &["dev.metrics.parquet", "dev.stream.arrows"],
        ),
        of(
            &format!("train star --negatives train.negatives.parquet {TRAINING} {train}"),
            &["train.tokens.arrow", "docs.tokens.arrow", "train.qrels.parquet", "train.negatives.parquet"],
        ),
        of(&format!("train adore {adore} {train}"), &["docs.arrow", "docs.tokens.arrow"]),
    ]
}

#[test]
fn any_input_may_be_a_pipe() {
    let folder = Folder::made();
    folder.run("index docs.arrow --factory HNSW8 -o docs.faiss").ok();
    folder.run("tokenize --tokenizer bert --kind query queries.dev.small.tsv -o dev.stream.arrows").ok();
    folder.sh("sql -t t=docs.tokens.arrow 'SELECT key AS id, key AS text FROM t' -o texts.parquet").ok();
    let tokens = "--queries dev.tokens.arrow --docs docs.tokens.arrow";
    folder.run(&format!("remap-ids {tokens} --to official dev.run.parquet -o run.trec")).ok();
    // One of the tables is read twice.
    folder
        .write("join.sql", "SELECT (SELECT count(*) FROM a) x, (SELECT count(*) FROM b) y, (SELECT count(*) FROM a) z");
    // Without the provenance, which has the command line and so the name of the pipe.
    let records = |name: String| Records::open(&folder.path(&name)).rows;
    let index = |name: String| {
        let mut bytes = folder.read(&name);
        let end = bytes.split_off(bytes.len() - 16);
        let provenance = u64::from_le_bytes(end[..8].try_into().unwrap()) as usize;
        bytes.truncate(bytes.len() - provenance);
        bytes
    };
    let is_same = |ending: &str| match ending {
        "" => folder.read("OUT/model.safetensors") == folder.read("PLAIN/model.safetensors"),
        ".arrow" | ".parquet" => records(format!("OUT{ending}")) == records(format!("PLAIN{ending}")),
        ".faiss" => index("OUT.faiss".into()) == index("PLAIN.faiss".into()),
        ending => folder.read(&format!("OUT{ending}")) == folder.read(&format!("PLAIN{ending}")),
    };
    for (line, inputs) in readers() {
        let ending = line.split(' ').find_map(|word| word.strip_prefix("OUT")).unwrap();
        folder.sh(&format!("rm -rf OUT* PLAIN*; {line}; mv OUT{ending} PLAIN{ending}")).ok();
        for input in inputs {
            let line = line.replacen(input, &format!("<(cat {input})"), 1);
            folder.sh(&format!("rm -rf OUT*; {line}")).ok();
            assert!(is_same(ending), "{line}: other results");
        }
    }
}

#[test]
fn an_input_that_is_read_once_can_be_named_once() {
    let folder = Folder::made();
    folder.sh("mkfifo pipe").ok();
    for (line, inputs) in readers().into_iter().filter(|(_, inputs)| inputs.len() > 1) {
        let both = |one: &str, other: &str| line.replacen(inputs[0], one, 1).replacen(inputs[1], other, 1);
        for (one, other) in [("-", "-"), ("-", "/dev/stdin"), ("/dev/fd/0", "/proc/self/fd/0"), ("pipe", "./pipe")] {
            folder.run(&both(one, other)).fails_as_wrong_usage(&["can be only one of the inputs"]);
        }
    }
}
