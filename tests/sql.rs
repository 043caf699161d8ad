//! `sql`: any of our files as a table, any form of rows.

use crate::common::{Folder, Records, TRAINING};

#[test]
fn every_kind_of_file_is_a_table() {
    let folder = Folder::made();
    folder.run(&format!("train inbatch {TRAINING} --steps 2 --batch-size 8 -o model")).ok();
    for (file, rows) in [
        ("docs.tokens.arrow", 300),
        ("docs.arrow", 300),
        ("dev.run.parquet", 3000),
        ("dev.qrels.parquet", 66),
        ("qrels.dev.small.tsv", 66),
        ("2019qrels-pass.txt", 53),
        ("train.negatives.parquet", 3000),
        ("dev.metrics.parquet", 122),
        ("model/training-log.parquet", 2),
    ] {
        let line = format!("sql --format csv -t t={file}");
        let done = folder.run(&line).arg("SELECT count(*) AS n FROM t").ok();
        assert_eq!(done.text(), format!("n\n{rows}\n"), "{file}");
    }
}

#[test]
fn rows_in_every_form() {
    let folder = Folder::made();
    let query = "SELECT doc_id, rank, score > 0 AS up FROM run WHERE query_id = 3 AND rank < 3 ORDER BY rank";
    let sql = |format: &str| folder.run(&format!("sql -t run=dev.run.parquet --format {format}")).arg(query);
    let csv = sql("csv").ok();
    let lines: Vec<&str> = csv.text().lines().collect();
    assert_eq!(lines[0], "doc_id,rank,up");
    assert_eq!(lines.len(), 3);
    let json: Vec<serde_json::Value> = serde_json::from_str(sql("json").ok().text()).unwrap();
    assert_eq!(json[0]["rank"], 1);
    assert_eq!(format!("{},1,{}", json[0]["doc_id"], json[0]["up"]), lines[1]);
    let table = sql("table").ok();
    assert!(table.text().contains("| doc_id | rank | up"), "{}", table.text());
    sql("parquet").args(["-o", "rows.parquet"]).ok();
    let rows = Records::open(&folder.path("rows.parquet"));
    assert_eq!(rows.i32s("rank"), [1, 2]);
}

#[test]
fn texts_in_any_form_are_a_table_of_id_title_and_text() {
    let folder = Folder::made();
    folder.write("texts.tsv", "id\ttext\n007\tan  apple \n8\t\n");
    folder.write("docs.tsv", "007\tu\t\tan  apple \n8\tu\tT\t\n");
    folder.write(
        "texts.jsonl",
        "{\"_id\": \"007\", \"text\": \"an  apple \", \"id\": 1}\n\n{\"_id\": 8, \"text\": \"\"}\n",
    );
    folder.sh("sql -q -t t=texts.tsv 'SELECT id, text FROM t' -o texts.parquet; gzip -k texts.jsonl").ok();
    let query = "SELECT id, title IS NULL OR title = '' AS untitled, text FROM t LIMIT 1";
    for name in ["texts.tsv", "docs.tsv", "texts.jsonl", "texts.jsonl.gz", "texts.parquet"] {
        let done = folder.run(&format!("sql -q --format csv -t t={name}")).arg(query).ok();
        assert_eq!(done.text(), "id,untitled,text\n007,true,an  apple \n", "{name}");
        let done = folder.run(&format!("sql -q --format csv -t t={name}")).arg("SELECT count(*) AS n FROM t").ok();
        assert_eq!(done.text(), "n\n2\n", "{name}");
    }
    let done = folder.run("sql -q --format csv -t t=-").arg(query).stdin(folder.read("texts.jsonl")).ok();
    assert_eq!(done.text(), "id,untitled,text\n007,true,an  apple \n");
    folder.write("texts.tsv", "1\ta\n2\tb\n".repeat(60) + "3\n");
    folder.run("sql -t t=texts.tsv").arg("SELECT count(*) FROM t").fails(&["texts.tsv: line 121: expected 2 columns"]);
}

#[test]
fn json_lines_are_a_table_with_lists_and_objects() {
    let folder = Folder::made();
    let lines = "{\"a\": 1, \"list\": [{\"x\": \"é\\n\"}], \"some\": 5, \"mixed\": {}}\n{\"list\": [], \"a\": 2.5, \"mixed\": [1], \"some\": \"q\"}\n";
    folder.write("lines.jsonl", lines);
    let done = folder.run("sql --format jsonl -t t=lines.jsonl").arg("SELECT a, list, some FROM t").ok();
    done.check(done.stderr.contains("lines.jsonl: the field `mixed` has values of different kinds"), "should warn");
    let found: Vec<serde_json::Value> = done.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(found[0], serde_json::json!({"a": 1.0, "list": [{"x": "é\n"}], "some": "5"}));
    assert_eq!(found[1], serde_json::json!({"a": 2.5, "list": [], "some": "q"}));
    let done = folder.run("sql -q -t t=lines.jsonl -o out.jsonl").arg("SELECT a FROM t WHERE a > 9").ok();
    assert_eq!((done.text(), folder.text("out.jsonl").as_str()), ("", ""));
    for (lines, text) in [
        ("{\"a\": 1}\n{\"a\": NaN}\n", "bad.jsonl: line 2: bad JSON at column 7"),
        ("{\"a\": 1}\n[1]\n", "bad.jsonl: line 2: bad JSON"),
        ("{\"a\": 1\n", "bad.jsonl: line 1: bad JSON"),
        ("{}\n", "bad.jsonl: has no field that could be a column"),
    ] {
        folder.write("bad.jsonl", lines);
        folder.run("sql -t t=bad.jsonl").arg("SELECT * FROM t").fails(&[text]);
    }
}

#[test]
fn sha256_is_that_of_the_text() {
    let folder = Folder::empty();
    let query = "SELECT left(sha256('abc'), 8) AS a, sha256(NULL) IS NULL AS b";
    assert_eq!(folder.run("sql -q --format csv").arg(query).ok().text(), "a,b\nba7816bf,true\n");
}

#[test]
fn a_query_from_a_file_and_rows_from_a_pipe() {
    let folder = Folder::made();
    folder.write("query.sql", "SELECT count(DISTINCT query_id) AS queries\nFROM run\n");
    let line = "rank --index docs.arrow --top-k 3 dev.arrow | sql -q --format csv -t run=- -f query.sql";
    assert_eq!(folder.sh(line).ok().text(), "queries\n60\n");
    let done = folder.run("sql --format csv -t run=dev.run.parquet -f -").stdin(folder.read("query.sql")).ok();
    assert_eq!(done.text(), "queries\n60\n");
}

#[test]
fn a_folder_or_a_glob_is_one_table() {
    let folder = Folder::made();
    std::fs::create_dir(folder.path("runs")).unwrap();
    for name in ["dev", "train"] {
        std::fs::copy(folder.path(&format!("{name}.run.parquet")), folder.path(&format!("runs/{name}.parquet")))
            .unwrap();
    }
    for path in ["runs", "runs/*.parquet", "runs/*"] {
        let done = folder.run(&format!("sql --format csv -t runs={path}")).arg("SELECT count(*) AS n FROM runs").ok();
        assert_eq!(done.text(), format!("n\n{}\n", (60 + 150) * 50), "{path}");
    }
}

#[test]
fn where_a_file_came_from() {
    let folder = Folder::made();
    let query = "SELECT value FROM provenance WHERE table_name = 'run' AND name = 'kind'";
    let done = folder.run("sql --format csv -t run=dev.run.parquet").arg(query).ok();
    assert_eq!(done.text(), "value\nrun\n");
}

#[test]
fn text_is_taken_for_what_every_command_takes_it() {
    let folder = Folder::empty();
    let qrels = "query_id,doc_id,relevance\n";
    let run = "query_id,doc_id,rank,score\n";
    for (text, header) in [
        ("\u{feff}1 4.5 7 2\n1 4.5 1 0\n", qrels),
        ("# by hand\nqid\tcid\tscore\n1\t7\t1\n", qrels),
        ("1 7 1 12.5\n", run),
        ("1 7 1 12\n1 8 2 11\n", run),
        ("qid docno score\n1 7 2.5\n1 8 3.5\n", run),
    ] {
        folder.write("list", text);
        let line = |path: &str| folder.run(&format!("sql --format csv -t t={path}")).arg("SELECT * FROM t LIMIT 0");
        assert_eq!(line("list").ok().text(), header, "{text:?}");
        assert_eq!(line("-").stdin(text).ok().text(), header, "{text:?}");
    }
    folder.write("list", "1 7 1 2\n");
    folder.run("sql -t t=list").arg("SELECT * FROM t").fails(&["list: can be read as a run", "a header line"]);
}

#[test]
fn mistakes_in_a_query_are_one_line() {
    let folder = Folder::made();
    for (query, text) in [
        ("SELECT nothing FROM run", "nothing"),
        ("SELECT * FROM other", "other"),
        ("SELEC 1", "SELEC"),
        ("SELECT 1 / 0", "ivide by zero"),
        ("CREATE TABLE x AS SELECT 1", "DDL"),
        ("COPY (SELECT 1) TO 'stolen.parquet'", "DML"),
        ("", ""),
    ] {
        folder.run("sql -t run=dev.run.parquet").arg(query).fails(&[text]);
    }
    assert!(!folder.path("stolen.parquet").exists());
}
