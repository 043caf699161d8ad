//! Queries over files, and what a query may not do.

use std::path::{Path, PathBuf};

use hardmine_evaluation::{NamedTable, ResultFormat, query};

fn table(name: &str, path: &Path) -> NamedTable {
    NamedTable::parse(format!("{name}={}", path.display()).as_ref()).unwrap()
}

fn csv(folder: &Path, tables: &[NamedTable], sql: &str) -> Result<String, String> {
    let path = folder.join("result.csv");
    query(tables, sql, 1, ResultFormat::Csv, &path).map_err(|e| e.to_string())?;
    Ok(std::fs::read_to_string(path).unwrap())
}

fn files(folder: &Path) -> [PathBuf; 2] {
    let (run, qrels) = (folder.join("run.tsv"), folder.join("qrels.txt"));
    std::fs::write(&run, "a\tx\t1\na\ty\t2\nb\tx\t1\n").unwrap();
    std::fs::write(&qrels, "a 0 y 1\nb 0 y 1\n").unwrap();
    [run, qrels]
}

#[test]
fn text_is_a_run_or_qrels_by_its_columns() {
    let folder = tempfile::tempdir().unwrap();
    let [run, qrels] = files(folder.path());
    let sql = "SELECT query_id, min(rank) AS first FROM qrels LEFT JOIN run USING (query_id, doc_id) \
               GROUP BY query_id ORDER BY first NULLS FIRST";
    let rows = csv(folder.path(), &[table("run", &run), table("qrels", &qrels)], sql).unwrap();
    assert_eq!(rows, "query_id,first\nb,\na,2\n");
}

#[test]
fn a_folder_and_a_glob_of_parquet_are_tables() {
    let folder = tempfile::tempdir().unwrap();
    let [run, _] = files(folder.path());
    for name in ["a.parquet", "b.parquet"] {
        query(&[table("run", &run)], "SELECT * FROM run", 1, ResultFormat::Parquet, &folder.path().join(name)).unwrap();
    }
    for path in [folder.path().to_owned(), folder.path().join("*.parquet")] {
        let rows = csv(folder.path(), &[table("all", &path)], "SELECT count(*) AS n FROM \"all\"").unwrap();
        assert_eq!(rows, "n\n6\n");
    }
    let nothing = folder.path().join("*.pq");
    let error = csv(folder.path(), &[table("t", &nothing)], "SELECT 1").unwrap_err();
    assert!(error.ends_with("matches no file"), "{error}");
}

#[test]
fn a_query_can_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let [run, _] = files(folder.path());
    for sql in [
        "COPY run TO 'copy.csv'",
        "INSERT INTO run VALUES ('a', 'b', 1, 1.0)",
        "CREATE EXTERNAL TABLE t STORED AS CSV LOCATION 'x.csv'",
        "CREATE TABLE t AS SELECT * FROM run",
        "DROP TABLE run",
        "SET datafusion.execution.batch_size = 1",
    ] {
        let error = csv(folder.path(), &[table("run", &run)], sql).unwrap_err();
        assert!(error.ends_with("a query can read, and change nothing"), "{sql}: {error}");
    }
    assert!(!folder.path().join("result.csv").exists());
}

#[test]
fn errors_are_one_line_and_have_their_place() {
    let folder = tempfile::tempdir().unwrap();
    let [run, _] = files(folder.path());
    let broken = folder.path().join("broken.tsv");
    std::fs::write(&broken, "a\tx\t1\n".repeat(700_000) + "a\tx\n").unwrap();
    let odd = folder.path().join("with: a colon.tsv");
    std::fs::copy(&broken, &odd).unwrap();
    for (path, sql, place) in [
        (&run, "SELECT rank\nFROM runs", "query: line 2, column 6: "),
        (&run, "SELECT rnk FROM run", "query: line 1, column 8: "),
        (&run, "SELECT FROM WHERE", "query: "),
        (&broken, "SELECT count(*) FROM run", "broken.tsv: line 700001: "),
        (&odd, "SELECT count(*) FROM run", "with: a colon.tsv: line 700001: "),
    ] {
        let error = csv(folder.path(), &[table("run", path)], sql).unwrap_err();
        assert!(error.contains(place) && !error.contains('\n'), "{sql}: {error}");
    }
}
