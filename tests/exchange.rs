//! Training data with texts, for other trainers and from them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::common::{Folder, fixture};

const TRAINERS: [&str; 3] = ["sentence-transformers", "flagembedding", "tevatron"];

fn sql(name: &str) -> String {
    format!("{}/lib/evaluation/sql/{name}.sql", env!("CARGO_MANIFEST_DIR"))
}

/// A folder with `beir` (a collection) and `negatives.parquet` for its training queries, some of which have none.
fn folder() -> Folder {
    let folder = Folder::empty();
    folder.sh(&format!("cp -r '{}' beir", fixture("beir").display())).ok();
    let query =
        "SELECT query_id, doc_id, CAST(row_number() OVER (PARTITION BY query_id ORDER BY place) AS INT) AS rank,
        CAST(1.0 AS REAL) AS score
        FROM (SELECT query_id, id AS doc_id, sha256(query_id || id) AS place
            FROM (SELECT DISTINCT query_id FROM qrels) CROSS JOIN docs)
        WHERE place < '02' AND doc_id <> 'nothing'";
    let tables = "-t qrels=beir/qrels/train.tsv -t docs=beir/corpus.jsonl";
    folder.run(&format!("sql -q {tables} -o negatives.parquet")).arg(query).ok();
    folder
}

/// The lines that are exported from the collection `from` with `negatives`.
fn exported(folder: &Folder, trainer: &str, from: &str, negatives: &str) -> Vec<Value> {
    let tables = format!("-t docs={from}/corpus.jsonl -t queries={from}/queries.jsonl -t qrels={from}/qrels/train.tsv");
    let query = sql(&format!("export/{trainer}"));
    let done = folder.run(&format!("sql -q {tables} -t negatives={negatives} --format jsonl -f {query}")).ok();
    done.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Makes a collection in `to` of the training data in `file`, as make import-TRAINER does.
fn import(folder: &Folder, trainer: &str, file: &str, to: &str) {
    folder.sh(&format!("mkdir -p {to}/qrels")).ok();
    for name in ["queries.jsonl", "corpus.jsonl", "qrels/train.tsv", "negatives.parquet"] {
        let query = sql(&format!("import/{trainer}/{}", name.split(['.', '/']).next().unwrap()));
        folder.run(&format!("sql -q -t data={file} -f {query} -o {to}/{name}")).ok();
    }
}

fn lines(values: &[Value]) -> String {
    values.iter().map(|value| value.to_string() + "\n").collect()
}

/// The texts of the collection, titles in front; by id.
fn texts(folder: &Folder, name: &str) -> BTreeMap<String, String> {
    let read = |line: &str| {
        let line: Value = serde_json::from_str(line).unwrap();
        let (title, text) = (line["title"].as_str().unwrap_or_default(), line["text"].as_str().unwrap());
        let whole = if title.is_empty() { text.to_owned() } else { format!("{title} {text}").trim().to_owned() };
        (line["_id"].as_str().unwrap().to_owned(), whole)
    };
    folder.text(name).lines().map(read).collect()
}

/// Relevant documents and negatives of each training query.
fn pairs(folder: &Folder) -> BTreeMap<String, (Vec<String>, Vec<String>)> {
    let mut pairs: BTreeMap<String, (Vec<String>, Vec<String>)> = BTreeMap::new();
    let rows = |table: &str, query: &str| -> Vec<Value> {
        let done = folder.run(&format!("sql -q --format json -t t={table}")).arg(query).ok();
        serde_json::from_str(done.text()).unwrap()
    };
    let id = |row: &Value, name: &str| row[name].as_str().unwrap().to_owned();
    for row in rows("beir/qrels/train.tsv", "SELECT * FROM t WHERE relevance > 0 ORDER BY query_id, doc_id") {
        pairs.entry(id(&row, "query_id")).or_default().0.push(id(&row, "doc_id"));
    }
    for row in rows("negatives.parquet", "SELECT * FROM t ORDER BY query_id, rank") {
        pairs.entry(id(&row, "query_id")).or_default().1.push(id(&row, "doc_id"));
    }
    pairs
}

#[test]
fn each_trainer_gets_its_form() {
    let folder = folder();
    let (docs, queries) = (texts(&folder, "beir/corpus.jsonl"), texts(&folder, "beir/queries.jsonl"));
    let (mut triplets, mut lists, mut passages) = (Vec::new(), Vec::new(), Vec::new());
    for (query, (relevant, negatives)) in &pairs(&folder) {
        let text = |ids: &[String]| ids.iter().map(|id| docs[id].clone()).collect::<Vec<_>>();
        for (positive, negative) in relevant.iter().flat_map(|p| negatives.iter().map(move |n| (p, n))) {
            triplets.push(json!({"anchor": queries[query], "positive": docs[positive], "negative": docs[negative]}));
        }
        // The trainers can do nothing with a query that has no negatives.
        if !negatives.is_empty() {
            lists.push(json!({"query": queries[query], "pos": text(relevant), "neg": text(negatives)}));
            passages.push((query.clone(), relevant.clone(), negatives.clone()));
        }
    }
    assert!(passages.len() < pairs(&folder).len(), "a query without negatives is among them");
    assert!(passages.iter().any(|(_, relevant, _)| relevant.len() > 1));
    let found = |trainer: &str| exported(&folder, trainer, "beir", "negatives.parquet");
    assert_eq!(found("sentence-transformers"), triplets);
    assert_eq!(found("flagembedding"), lists);

    let whole: BTreeMap<String, Value> = folder
        .text("beir/corpus.jsonl")
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .map(|line| (line["_id"].as_str().unwrap().to_owned(), line))
        .collect();
    let passage = |id: &String| {
        let title = whole[id]["title"].as_str().unwrap_or_default();
        json!({"docid": id, "title": title, "text": whole[id]["text"]})
    };
    assert_eq!(found("tevatron").len(), passages.len());
    for (line, (query, relevant, negatives)) in found("tevatron").iter().zip(&passages) {
        let [relevant, negatives] = [relevant, negatives].map(|ids| ids.iter().map(passage).collect::<Vec<_>>());
        let text = &queries[query];
        assert_eq!(
            *line,
            json!({"query_id": query, "query": text, "positive_passages": relevant, "negative_passages": negatives})
        );
    }
}

/// A line with its lists as sets, where the order of documents is that of their ids.
fn unordered(line: &Value) -> Value {
    let mut line = line.clone();
    if let Some(relevant) = line.get_mut("pos").and_then(Value::as_array_mut) {
        relevant.sort_by_key(Value::to_string);
    }
    line
}

#[test]
fn what_was_exported_is_the_same_when_it_comes_back() {
    let folder = folder();
    for trainer in TRAINERS {
        let before = exported(&folder, trainer, "beir", "negatives.parquet");
        folder.write("train.jsonl", lines(&before));
        import(&folder, trainer, "train.jsonl", trainer);
        let after = exported(&folder, trainer, trainer, &format!("{trainer}/negatives.parquet"));
        let set = |values: &[Value]| values.iter().map(|line| unordered(line).to_string()).collect::<BTreeSet<_>>();
        assert_eq!(set(&before), set(&after), "{trainer}");
        assert_eq!(before.len(), after.len(), "{trainer}");
    }
    // The same text has the same id, whichever form it came in, and the programs take the files as they are.
    let ids: BTreeSet<String> = texts(&folder, "flagembedding/corpus.jsonl").into_keys().collect();
    assert!(texts(&folder, "sentence-transformers/corpus.jsonl").keys().all(|id| ids.contains(id)));
    let folder_with_models = Folder::new();
    let at = |name: &str| folder.path(name).display().to_string();
    for trainer in TRAINERS {
        let tokens = |kind: &str, name: &str, to: &str| {
            let line = format!("tokenize --tokenizer bert --kind {kind} {} -o {to}", at(&format!("{trainer}/{name}")));
            folder_with_models.run(&line).ok();
        };
        tokens("passage", "corpus.jsonl", "docs.arrow");
        tokens("query", "queries.jsonl", "queries.arrow");
        for name in ["qrels/train.tsv", "negatives.parquet --kind negatives"] {
            let ids = "--to internal --queries queries.arrow --docs docs.arrow";
            folder_with_models
                .run(&format!("remap-ids {ids} {} -o out.parquet", at(&format!("{trainer}/{name}"))))
                .ok();
        }
    }
}

#[test]
fn lines_without_negatives_and_lines_of_the_same_query() {
    let folder = Folder::empty();
    let rows = |trainer: &str, name: &str| {
        let query = sql(&format!("import/{trainer}/{name}"));
        folder.run(&format!("sql -q --format csv -t data=train.jsonl -f {query}")).ok().text().lines().count() - 1
    };
    folder.write(
        "train.jsonl",
        "{\"query\":\"a\",\"pos\":[\"x\"],\"neg\":[]}\n{\"query\":\"a\",\"pos\":[\"y\",\"x\"],\"neg\":[]}\n",
    );
    assert_eq!(["queries", "corpus", "qrels", "negatives"].map(|name| rows("flagembedding", name)), [1, 2, 2, 0]);
    let passage = "{\"docid\":7,\"title\":\"\",\"text\":\"x\"}";
    folder.write(
        "train.jsonl",
        format!("{{\"query_id\":1,\"query\":\"a\",\"positive_passages\":[{passage}],\"negative_passages\":[]}}\n"),
    );
    assert_eq!(["queries", "corpus", "qrels", "negatives"].map(|name| rows("tevatron", name)), [1, 1, 1, 0]);
    folder.write("train.jsonl", "{\"anchor\":\"a\",\"positive\":\"x\"}\n");
    let query = sql("import/sentence-transformers/negatives");
    folder.run(&format!("sql -t data=train.jsonl -f {query}")).fails(&["negative"]);
}
