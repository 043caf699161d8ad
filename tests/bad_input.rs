//! Bad input: one clear line that names the place, and nothing harmed.

use std::collections::HashMap;

use arrow::array::{Int32Array, Int64Array, RecordBatch, StringArray};

use crate::common::{Folder, Records, TRAINING, column, messages, save, save_stream, vectors};

const TOKENIZE: &str = "tokenize --tokenizer bert";
const REMAP: &str = "remap-ids --queries dev.tokens.arrow --docs docs.tokens.arrow";

/// Runs `line` with an output that is there already: it fails with all of `texts` in its one line, and
/// leaves everything as it was.
#[track_caller]
fn refused(folder: &Folder, line: &str, texts: &[&str]) {
    let output = match line.split(' ').next().unwrap() {
        "index" => "precious.faiss",
        "train" => "precious",
        _ => "precious.arrow",
    };
    if output == "precious" {
        folder.copy_model("trained", output);
    } else {
        folder.write(output, "precious");
    }
    let names = folder.names();
    let command = match line.split(' ').next().unwrap() {
        "score" => folder.run(line).args(["--per-query", output]),
        _ => folder.run(line).args(["-o", output]),
    };
    let done = command.fails(texts);
    done.check(folder.names() == names, "should leave no file behind");
    if output == "precious" {
        done.check(folder.read("precious/config.json") == folder.read("trained/config.json"), "should harm no model");
        std::fs::remove_dir_all(folder.path(output)).unwrap();
    } else {
        done.check(folder.text(output) == "precious", "should harm no output");
    }
}

/// Every input of every command, as FILE in its command line.
fn inputs() -> Vec<String> {
    let adore = TRAINING.replace("--max-doc-length 32", "");
    let mut lines = vec![
        format!("{TOKENIZE} FILE"),
        format!("{TOKENIZE} --kind query --judged FILE queries.dev.small.tsv"),
        "embed --model bert FILE".into(),
        "index FILE".into(),
        "rank --index docs.arrow FILE".into(),
        "rank --index FILE dev.arrow".into(),
        "mine-negatives --qrels FILE train.run.parquet".into(),
        "mine-negatives --qrels train.qrels.parquet FILE".into(),
        format!("{REMAP} --to official FILE"),
        "remap-ids --queries FILE --docs docs.tokens.arrow --to official dev.run.parquet".into(),
        "remap-ids --queries dev.tokens.arrow --docs FILE --to official dev.run.parquet".into(),
        "score --qrels FILE dev.official.parquet".into(),
        "score --qrels qrels.dev.small.tsv FILE".into(),
        format!("train adore {adore} --embeddings FILE"),
        format!("train star {TRAINING} --negatives FILE"),
    ];
    for name in ["train.tokens.arrow", "docs.tokens.arrow", "train.qrels.parquet"] {
        lines.push(format!("train inbatch {}", TRAINING.replace(name, "FILE")));
    }
    lines
}

#[test]
fn files_that_are_missing_empty_or_folders() {
    let folder = Folder::made();
    folder.write("empty.arrow", "");
    std::fs::create_dir(folder.path("folder.arrow")).unwrap();
    for line in inputs() {
        refused(&folder, &line.replace("FILE", "missing.arrow"), &["missing.arrow: no such file"]);
        refused(&folder, &line.replace("FILE", "empty.arrow"), &["empty.arrow: is empty"]);
        refused(&folder, &line.replace("FILE", "folder.arrow"), &["folder.arrow: is a folder"]);
    }
    folder.run("sql -t t=missing.parquet").arg("SELECT 1").fails(&["missing.parquet"]);
    folder.run("sql -t t=empty.arrow").arg("SELECT * FROM t").fails(&["empty.arrow: is empty"]);
    folder.run("sql -t t=folder.arrow").arg("SELECT * FROM t").fails(&["folder.arrow: is a folder"]);
    folder.run("sql -f missing.sql").fails(&["missing.sql: no such file"]);
    for command in [TOKENIZE, "embed --model bert", "index -o x.faiss", "score --qrels qrels.dev.small.tsv"] {
        folder.run(command).fails(&["standard input: is empty"]);
    }
}

#[test]
fn the_wrong_kind_of_record() {
    let folder = Folder::made();
    for (line, expected, file, found) in [
        ("embed --model bert", "tokens", "dev.run.parquet", "run"),
        ("embed --model bert", "tokens", "docs.arrow", "embeddings"),
        ("index", "embeddings", "docs.tokens.arrow", "tokens"),
        ("rank --index docs.arrow", "embeddings", "dev.tokens.arrow", "tokens"),
        ("rank --index", "embeddings", "docs.tokens.arrow", "tokens"),
        ("mine-negatives --qrels train.qrels.parquet", "run", "train.negatives.parquet", "negatives"),
        ("mine-negatives --qrels", "qrels", "train.run.parquet", "run"),
        (
            "remap-ids --to official --queries dev.tokens.arrow --docs docs.tokens.arrow",
            "run",
            "docs.arrow",
            "embeddings",
        ),
        ("score --qrels qrels.dev.small.tsv", "run", "dev.metrics.parquet", "metrics"),
        ("score --qrels", "qrels", "dev.official.parquet", "run"),
    ] {
        let rest = match line {
            "rank --index" => "dev.arrow",
            "mine-negatives --qrels" => "train.run.parquet",
            "score --qrels" => "dev.official.parquet",
            _ => "",
        };
        let (expected, found) = (format!("{file}: expected {expected}"), format!("found {found}"));
        refused(&folder, &format!("{line} {file} {rest}"), &[&expected, &found, "; hint: "]);
    }
    refused(&folder, &format!("{TOKENIZE} docs.arrow"), &["docs.arrow: expected texts"]);
    let line = format!("train inbatch {}", TRAINING.replace("train.tokens.arrow", "train.arrow"));
    refused(&folder, &line, &["train.arrow: expected tokens, found embeddings"]);
    refused(
        &folder,
        &format!("train star {TRAINING} --negatives train.run.parquet"),
        &["train.run.parquet: expected negatives"],
    );
    refused(&folder, "embed --model bert collection.tsv", &["collection.tsv: expected tokens", "found text"]);
    // Files of other programs are known by their columns.
    save(
        &folder.path("plain.parquet"),
        vec![column("id", Int64Array::from(vec![0])), column("text", StringArray::from(vec!["a"]))],
    );
    refused(
        &folder,
        "embed --model bert plain.parquet",
        &["plain.parquet: expected tokens with columns id, key, token_ids, found id, text"],
    );
}

#[test]
fn dimensions_that_differ() {
    let folder = Folder::made();
    folder.run("index docs.arrow -o docs.faiss").ok();
    folder.sh("tokenize --tokenizer dot --kind query queries.dev.small.tsv | embed --model dot -o wide.arrow").ok();
    for index in ["docs.arrow", "docs.faiss"] {
        refused(&folder, &format!("rank --index {index} wide.arrow"), &["wide.arrow", index, "24", "32"]);
    }
    folder.sh("tokenize --tokenizer dot collection.tsv | embed --model dot -o wide.docs.arrow").ok();
    let adore = TRAINING.replace("--max-doc-length 32", "--embeddings wide.docs.arrow");
    refused(&folder, &format!("train adore {adore}"), &["wide.docs.arrow", "24", "32"]);
    let rows: Vec<Vec<f32>> = vec![vec![1.0; 3], vec![1.0; 4]];
    let mut lists = arrow::array::ListBuilder::new(arrow::array::Float32Builder::new());
    rows.iter().for_each(|row| lists.append_value(row.iter().copied().map(Some)));
    let columns = vec![column("id", Int64Array::from(vec![0, 1])), column("embedding", lists.finish())];
    save(&folder.path("uneven.parquet"), columns);
    refused(&folder, "index uneven.parquet", &["uneven.parquet: row 1: has 4 dimensions, expected 3"]);
}

#[test]
fn id_spaces_and_splits_that_differ() {
    let folder = Folder::made();
    refused(
        &folder,
        "score --qrels train.qrels.parquet dev.run.parquet",
        &["dev.run.parquet", "train.qrels.parquet", "queries"],
    );
    refused(
        &folder,
        "score --qrels qrels.dev.small.tsv dev.run.parquet",
        &["dev.run.parquet", "internal", "remap-ids"],
    );
    refused(
        &folder,
        "score --qrels qrels.train.tsv dev.official.parquet",
        &["dev.official.parquet", "none of its 60 queries is judged"],
    );
    refused(
        &folder,
        "mine-negatives --qrels dev.qrels.parquet train.run.parquet",
        &["train.run.parquet", "dev.qrels.parquet"],
    );
    let options = TRAINING.replace("train.qrels", "dev.qrels");
    refused(&folder, &format!("train inbatch {options}"), &["dev.qrels.parquet", "train.tokens.arrow"]);
    let options = TRAINING.replace("train.tokens", "dev.tokens");
    refused(&folder, &format!("train inbatch {options}"), &["train.qrels.parquet", "dev.tokens.arrow"]);
    // The same texts without the first: other row numbers.
    let rest: String = folder.text("collection.tsv").lines().skip(1).map(|line| format!("{line}\n")).collect();
    folder.write("rest.tsv", rest);
    folder.sh("tokenize --tokenizer bert rest.tsv -o rest.tokens.arrow; embed --model bert rest.tokens.arrow -o rest.arrow").ok();
    let options = TRAINING.replace("docs.tokens", "rest.tokens");
    refused(&folder, &format!("train inbatch {options}"), &["train.qrels.parquet", "rest.tokens.arrow", "docs"]);
    let adore = TRAINING.replace("--max-doc-length 32", "--embeddings rest.arrow");
    refused(&folder, &format!("train adore {adore}"), &["rest.arrow"]);
    refused(
        &folder,
        "remap-ids --queries dev.tokens.arrow --docs rest.tokens.arrow --to official dev.run.parquet",
        &["dev.run.parquet", "rest.tokens.arrow"],
    );
}

#[test]
fn ids_that_are_unknown() {
    let folder = Folder::made();
    let qrels = folder.text("qrels.dev.small.tsv");
    let query = qrels.split('\t').next().unwrap();
    folder.write("doc.tsv", format!("{qrels}{query}\t0\tD99\t1\n"));
    refused(
        &folder,
        &format!("{REMAP} --to internal doc.tsv"),
        &["doc.tsv: row 66: id 'D99' is not a key of docs.tokens.arrow"],
    );
    folder.write("query.tsv", format!("Q7\t0\t1\t1\n{qrels}"));
    refused(
        &folder,
        &format!("{REMAP} --to internal query.tsv"),
        &["query.tsv: row 0: id 'Q7' is not a key of dev.tokens.arrow"],
    );
    let options = TRAINING.replace("train.qrels.parquet", "query.tsv");
    refused(&folder, &format!("train inbatch {options}"), &["query.tsv: row 0: id 'Q7'"]);
    let columns = |query: i64, doc: i64| {
        let id = |id: i64| Int64Array::from(vec![0, id]);
        vec![
            column("query_id", id(query)),
            column("doc_id", id(doc)),
            column("relevance", Int32Array::from(vec![1, 1])),
        ]
    };
    save(&folder.path("rows.parquet"), columns(1, 300));
    refused(
        &folder,
        &format!("{REMAP} --to official --ids internal rows.parquet"),
        &["rows.parquet: row 1: id 300", "docs.tokens.arrow", "300"],
    );
    let options = TRAINING.replace("train.qrels.parquet", "rows.parquet");
    let options = format!("{options} --ids internal");
    refused(&folder, &format!("train inbatch {options}"), &["rows.parquet: row 1: doc_id 300", "docs.tokens.arrow"]);
    save(&folder.path("rows.parquet"), columns(-1, 0));
    refused(&folder, &format!("{REMAP} --to official --ids internal rows.parquet"), &["rows.parquet: row 1: id -1"]);
    refused(&folder, &format!("train inbatch {options}"), &["rows.parquet: row 1: query_id -1"]);
}

#[test]
fn keys_that_come_twice() {
    let folder = Folder::made();
    folder.write("texts.tsv", "a\tone\nb\ttwo\na\tthree\n");
    refused(&folder, &format!("{TOKENIZE} texts.tsv"), &["texts.tsv: line 3: duplicate key 'a'"]);
    let tokens = Records::open(&folder.path("dev.tokens.arrow"));
    let mut columns: Vec<_> =
        ["id", "token_ids"].map(|name| (name, tokens.rows.column_by_name(name).unwrap().clone())).into();
    columns.push(column("key", StringArray::from(vec!["a"; tokens.len()])));
    save(&folder.path("twice.parquet"), columns);
    let line = "remap-ids --queries twice.parquet --docs docs.tokens.arrow --to internal qrels.dev.small.tsv";
    refused(&folder, line, &["twice.parquet: key 'a' occurs twice, at rows 0 and 1"]);
    let query = folder.text("qrels.dev.small.tsv").split('\t').next().unwrap().to_owned();
    folder.write("run.tsv", format!("{query}\t1\t1\n{query}\t1\t2\n"));
    refused(&folder, "score --qrels qrels.dev.small.tsv run.tsv", &["run.tsv", "1", "twice"]);
}

#[test]
fn lines_that_are_malformed() {
    let folder = Folder::made();
    for (content, text) in [
        (&b"1\tone\n2 two\n"[..], "line 2: expected 2 fields (id, text)"),
        (b"\n \r\n", "is empty"),
        (b"1\tone\n2\ttwo\tthree\n", "line 2: expected 2 fields"),
        (b"\tone\n", "line 1: the id is empty"),
        (b"1\tone\n2\t\xff\xfe\n", "line 2: is not UTF-8"),
        (b"{\"_id\": \"1\", \"text\": \"one\"}\n{\"_id\": \"2\", \"text\": }\n", "line 2: bad JSON at column 22"),
        (b"{\"_id\": \"1\", \"text\": \"one\"}\n{\"_id\": \"2\"}\n", "line 2: missing field `text`"),
        (b"{\"_id\": \"1\", \"text\": 1}\n", "line 1: text is 1, expected a string"),
        (b"{\"_id\": \"1\", \"text\": NaN}\n", "line 1: text is NaN"),
        (b"{\"_id\": \"1\", \"text\": \"a\\ud83d\"}\n", "line 1: bad JSON at column "),
        (b"{\"_id\": 1.0, \"text\": \"a\"}\n", "line 1: _id is the number 1.0, expected a string or a whole number"),
        (b"{\"_id\": null, \"text\": \"a\"}\n", "line 1: missing field `_id`, or it is null"),
        (b"{\"_id\": \"1\",\n\"text\": \"a\"}\n", "each line is one whole object"),
        (b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\x01", "texts: "),
        (b"\x28\xb5\x2f\xfd\x00", "texts: "),
    ] {
        folder.write("texts", content);
        refused(&folder, &format!("{TOKENIZE} texts"), &["texts: ", text]);
    }
    for (content, text) in [
        ("1 0 2 1\n1 0 2\n", "qrels: line 2: too few fields"),
        ("1 0 2 1\n1 0 2 1 9\n", "qrels: line 2: too many fields"),
        ("1 0 2 high\n", "qrels: line 1: relevance 'high' is not an integer"),
        ("1 0\n", "qrels: line 1: expected qrels"),
        ("1 0 2 0.5\n", "qrels: line 1: relevance '0.5' is not an integer"),
        ("query-id\tcorpus-id\tscore\n1\t2\t0.5\n", "qrels: line 2: relevance '0.5' is not an integer"),
        ("1 0 2 1\n1 0 3 99999999999\n", "qrels: line 2: relevance"),
        ("1 0 2 1\n1 0 2 0\n", "qrels: query '1' has document '2' twice, with grades 1 and 0"),
    ] {
        folder.write("qrels", content);
        refused(&folder, "score --qrels qrels dev.official.parquet", &[text]);
    }
    for (content, text) in [
        ("4 Q0 1 1 0.5 t\n4 Q0 2 2\n", "run: line 2: too few fields"),
        ("4 Q0 1 1 high t\n", "run: line 1: score 'high' is not a number"),
        ("4 Q0 1 1 NaN t\n", "run: line 1: score 'NaN' is not a number"),
        ("4\t1\tfirst\n", "run: line 1: rank 'first' is not an integer"),
        ("4 Q0 1 1 1e39 t\n", "run: line 1: score '1e39' is infinite"),
        ("4 Q0 1 1 -inf t\n", "run: line 1: score '-inf' is infinite"),
        ("4\t1\t-1\n", "run: line 1: rank -1 is less than 1"),
        ("4\t1\t1\n5\t1\t0\n", "run: row 1: rank 0 is less than 1"),
        ("qid\tdocno\trank\n\"4\n\"\t1\t1\n", "run: line 2: a quoted field does not end on its line"),
        ("hello\n", "run: line 1: expected run"),
        ("4\t\t1\n", "run: line 1: an id is empty"),
    ] {
        folder.write("run", content);
        refused(&folder, "score --qrels qrels.dev.small.tsv run", &[text]);
    }
}

#[test]
fn text_of_two_bytes_a_character() {
    let folder = Folder::made();
    let little: Vec<u8> = "\u{feff}1\t0\t2\t1\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let big: Vec<u8> = little.chunks(2).flat_map(|pair| [pair[1], pair[0]]).collect();
    for bytes in [little, big] {
        folder.write("wide.tsv", bytes);
        refused(&folder, "score --qrels wide.tsv dev.official.parquet", &["wide.tsv: is UTF-16"]);
        refused(&folder, &format!("{TOKENIZE} wide.tsv"), &["wide.tsv: is UTF-16"]);
    }
}

#[test]
fn lines_that_are_unusual_are_taken() {
    let folder = Folder::new();
    let long = "word ".repeat(2_000_000);
    folder.write("texts.tsv", format!("\u{feff}1\tone\r\n2\t{long}\n3\tlast"));
    let done = folder.run(&format!("{TOKENIZE} texts.tsv")).ok();
    let tokens = Records::stream(&done.stdout);
    assert_eq!(tokens.texts("key"), ["1", "2", "3"]);
    assert_eq!(tokens.token_ids()[1].len(), 64);
    folder.write("run.tsv", "4\t3521\t1\r\n20\t1320\t2\r\n\r\n");
    folder.write("qrels.tsv", "4\t0\t3521\t1\r\n20\t0\t1320\t1\r\n");
    let done = folder.run("score --qrels qrels.tsv -m MRR@10 --format tsv run.tsv").ok();
    assert_eq!(done.text(), "run\tmetric\tvalue\nrun\tMRR@10\t0.75\n");
}

#[test]
fn numbers_that_are_none() {
    let folder = Folder::made();
    for bad in [f32::NAN, f32::INFINITY] {
        let mut rows = Records::open(&folder.path("docs.arrow")).vectors();
        rows[17][3] = bad;
        let ids = Int64Array::from_iter_values(0..rows.len() as i64);
        save(&folder.path("nan.arrow"), vec![column("id", ids), column("embedding", vectors(&rows))]);
        refused(&folder, "index nan.arrow", &["nan.arrow: id 17: ", "NaN"]);
        refused(&folder, "rank --index nan.arrow dev.arrow", &["nan.arrow: id 17: ", "NaN"]);
        refused(&folder, "rank --index docs.arrow nan.arrow", &["nan.arrow: id 17: ", "NaN"]);
        let adore = TRAINING.replace("--max-doc-length 32", "--embeddings nan.arrow");
        refused(&folder, &format!("train adore {adore}"), &["nan.arrow: id 17: ", "NaN"]);
    }
}

#[test]
fn nulls_where_there_must_be_none() {
    let folder = Folder::made();
    let keys = column("key", StringArray::from(vec![Some("a"), None]));
    let mut lists = arrow::array::ListBuilder::new(arrow::array::Int32Builder::new());
    lists.append_value([Some(2), Some(3)]);
    lists.append_value([Some(2), None]);
    let ids = || column("id", Int64Array::from(vec![0, 1]));
    let lists = lists.finish();
    save(&folder.path("null.parquet"), vec![ids(), keys, column("token_ids", lists.clone())]);
    refused(&folder, "embed --model bert null.parquet", &["null.parquet: row 1: column key is null"]);
    save(
        &folder.path("null.parquet"),
        vec![ids(), column("key", StringArray::from(vec!["a", "b"])), column("token_ids", lists)],
    );
    refused(&folder, "embed --model bert null.parquet", &["null.parquet: column token_ids has a null"]);
}

#[test]
fn streams_that_are_cut_off() {
    let folder = Folder::made();
    let tokens = Records::open(&folder.path("docs.tokens.arrow"));
    let stream = save_stream(&tokens.rows, 50, tokens.metadata.clone());
    let ends: Vec<usize> = messages(&stream).iter().map(|range| range.end).collect();
    assert_eq!(ends.len(), 7, "a schema and six batches");
    folder.write("whole.arrows", &stream);
    folder.run("embed --model bert whole.arrows -o out.arrow").ok();
    for (end, text) in [
        (ends[3], "cut off between two batches, after 3 whole batches"),
        (ends[6], "cut off between two batches, after 6 whole batches"),
        (ends[0], "cut off between two batches, after 0 whole batches"),
        (ends[3] - 100, "cut off in the middle of a batch, after 2 whole batches"),
        (ends[3] + 3, "cut off in the middle of a batch, after 3 whole batches"),
        (ends[3] + 20, "cut off in the middle of a batch, after 3 whole batches"),
        (ends[6] + 4, "cut off in the middle of a batch, after 6 whole batches"),
        (ends[0] - 8, "cut off in the middle of a batch, after 0 whole batches"),
    ] {
        folder.write("cut.arrows", &stream[..end]);
        refused(&folder, "embed --model bert cut.arrows", &["cut.arrows: the stream is", text]);
    }
    folder.write("twice.arrows", [&stream[..], &stream].concat());
    refused(&folder, "embed --model bert twice.arrows", &["twice.arrows: goes on after the stream's end marker"]);
    folder.write("junk.arrows", [&stream[..ends[2]], b"nonsense, and more of it"].concat());
    refused(&folder, "embed --model bert junk.arrows", &["junk.arrows: is not an Arrow stream after 2 batches"]);
    // Whoever reads it, and by way of a pipe.
    for reader in [
        "embed -q --model bert -o x.arrow",
        "rank -q --index docs.arrow -o x.arrow",
        "mine-negatives -q --qrels train.qrels.parquet -o x.arrow",
    ] {
        let writer = match reader.split(' ').next().unwrap() {
            "embed" => "tokenize -q --tokenizer bert collection.tsv",
            "rank" => "embed -q --model bert dev.tokens.arrow",
            _ => "rank -q --index docs.arrow train.arrow",
        };
        folder.sh(&format!("{writer} | head -c 3000 | {reader}")).fails(&["standard input: the stream is cut off"]);
        assert!(!folder.path("x.arrow").exists());
    }
}

#[test]
fn a_producer_that_fails_is_not_taken_for_one_that_ended() {
    let folder = Folder::made();
    let many: String = (0..10_000).map(|id| format!("{id}\tcreate a vm\n")).collect();
    folder.write("texts.tsv", many + "no tab\n");
    let done = folder.sh("tokenize --tokenizer bert texts.tsv | embed --model bert --max-length 4 -o x.arrow").done();
    done.check(done.code == Some(1), "should fail");
    done.check(done.stderr.contains("tokenize: texts.tsv: line 10001: "), "should say what failed first");
    done.check(done.stderr.contains("embed: standard input: the stream is cut off"), "should not take it for the end");
    done.check(!folder.path("x.arrow").exists(), "should write nothing");
}

#[test]
fn files_that_are_cut_off() {
    let folder = Folder::made();
    folder.run(&format!("{TOKENIZE} collection.tsv -o docs.parquet")).ok();
    for (name, reader, text) in [
        ("docs.parquet", "embed --model bert", "truncated or broken Parquet file"),
        ("docs.tokens.arrow", "embed --model bert", "truncated Arrow file"),
        ("docs.arrow", "index", "truncated Arrow file"),
        ("docs.arrow", "rank --index docs.arrow", "truncated Arrow file"),
        ("train.run.parquet", "mine-negatives --qrels train.qrels.parquet", "truncated or broken Parquet file"),
        ("dev.official.parquet", "score --qrels qrels.dev.small.tsv", "truncated or broken Parquet file"),
    ] {
        let whole = folder.read(name);
        let cut = format!("cut.{}", name.rsplit('.').next().unwrap());
        for length in [whole.len() - 1, whole.len() / 2, 12] {
            folder.write(&cut, &whole[..length]);
            refused(&folder, &format!("{reader} {cut}"), &[&format!("{cut}: "), text]);
        }
    }
    let whole = folder.read("docs.parquet");
    folder.write("cut.parquet", &whole[..whole.len() / 2]);
    folder.run("sql -t t=cut.parquet").arg("SELECT * FROM t").fails(&["cut.parquet"]);
}

#[test]
fn bytes_that_are_flipped_never_panic() {
    let folder = Folder::made();
    for (name, damaged) in [
        ("docs.tokens.arrow", "remap-ids --queries dev.tokens.arrow --docs DAMAGED --to official dev.run.parquet"),
        ("dev.run.parquet", "remap-ids --queries dev.tokens.arrow --docs docs.tokens.arrow --to official DAMAGED"),
        ("dev.official.parquet", "score --qrels qrels.dev.small.tsv DAMAGED"),
    ] {
        let whole = folder.read(name);
        for place in (0..whole.len()).step_by(whole.len() / 60) {
            let mut content = whole.clone();
            content[place] ^= 0x55;
            folder.write("damaged", content);
            let done = folder.run(&damaged.replace("DAMAGED", "damaged")).done();
            done.check(matches!(done.code, Some(0 | 1)), &format!("should end by itself, with byte {place} flipped"));
            done.check(!done.stderr.contains("internal error"), &format!("should not panic at byte {place}"));
            done.check(done.stderr.lines().count() == 1, "should say one line");
        }
    }
}

#[test]
fn models_that_are_not_whole() {
    let folder = Folder::made();
    let lines = |model: &str| {
        [
            format!("embed --model {model} dev.tokens.arrow"),
            format!("train inbatch {}", TRAINING.replace("--init bert", &format!("--init {model}"))),
        ]
    };
    let both = |change: &dyn Fn(&str), texts: &[&str]| {
        drop(std::fs::remove_dir_all(folder.path("model")));
        folder.copy_model("bert", "model");
        change("model");
        for line in lines("model") {
            refused(&folder, &line, texts);
        }
    };
    let remove = |name: &'static str| move |model: &str| std::fs::remove_file(format!("{model}/{name}")).unwrap();
    let at = |model: &str| folder.path(model).to_str().unwrap().to_owned();
    both(&|model| remove("config.json")(&at(model)), &["model/config.json: no such file"]);
    both(&|model| remove("model.safetensors")(&at(model)), &["model", ": no model.safetensors or pytorch_model.bin"]);
    both(&|model| remove("1_Pooling/config.json")(&at(model)), &["model/1_Pooling/config.json: no such file"]);
    let replace = |name: &'static str, from: &'static str, to: &'static str| {
        let folder = &folder;
        move |model: &str| {
            let name = format!("{model}/{name}");
            let text = folder.text(&name);
            assert!(text.contains(from));
            folder.write(&name, text.replace(from, to));
        }
    };
    both(&replace("config.json", "\"hidden_size\": 32", "\"hidden_size\": 64"), &["model", "32", "64"]);
    both(&replace("config.json", "\"num_hidden_layers\": 2", "\"num_hidden_layers\": 3"), &["model", "layer.2."]);
    both(&replace("config.json", "\"bert\"", "\"gpt2\""), &["model/config.json", "gpt2"]);
    both(
        &|model| folder.write(&format!("{model}/config.json"), r#"{"model_type": "bloom", "dim": 32}"#),
        &["model/config.json: model_type 'bloom' is not known; expected bert"],
    );
    both(&replace("config.json", "{", "["), &["model/config.json"]);
    both(&replace("modules.json", "models.Pooling", "models.WordWeights"), &["model/modules.json", "WordWeights"]);
    for part in [2, 50, 1000] {
        both(
            &|model| {
                let name = format!("{model}/model.safetensors");
                let whole = folder.read(&name);
                folder.write(&name, &whole[..whole.len() / part]);
            },
            &["model/model.safetensors"],
        );
    }
    for line in lines("missing") {
        refused(&folder, &line, &["missing"]);
    }
    for line in lines("collection.tsv") {
        refused(&folder, &line, &["collection.tsv"]);
    }
}

#[test]
fn tokenizers_that_are_not_whole() {
    let folder = Folder::new();
    folder.copy_model("bert", "model");
    folder.write("model/tokenizer.json", "{\"version\": \"1.0\"");
    refused(&folder, "tokenize --tokenizer model collection.tsv", &["model/tokenizer.json: "]);
    std::fs::remove_file(folder.path("model/tokenizer.json")).unwrap();
    refused(&folder, "tokenize --tokenizer model collection.tsv", &["model: no tokenizer"]);
    folder.write("model/sentencepiece.bpe.model", "");
    refused(
        &folder,
        "tokenize --tokenizer model collection.tsv",
        &["model/sentencepiece.bpe.model: is a SentencePiece model", "; hint: transformers writes"],
    );
    refused(&folder, "tokenize --tokenizer missing collection.tsv", &["missing: no such file"]);
    refused(
        &folder,
        "tokenize --tokenizer bert --compat transformers-2 collection.tsv",
        &["bert: no vocab.json there"],
    );
}

#[test]
fn texts_that_the_model_cannot_take() {
    let folder = Folder::made();
    folder.run("tokenize --tokenizer dot collection.tsv -o other.arrow").ok();
    refused(
        &folder,
        "embed --model bert other.arrow",
        &["other.arrow: made with tokenizer ", "; hint: tokenize --tokenizer bert"],
    );
    // RoBERTa's vocabulary is larger than the tiny BERT's, and nothing says where these tokens are from.
    let tokens = Records::open(&folder.path("other.arrow"));
    let columns = ["id", "key", "token_ids"].map(|name| (name, tokens.rows.column_by_name(name).unwrap().clone()));
    save(&folder.path("large.arrow"), columns.into());
    refused(&folder, "embed --model bert large.arrow", &["large.arrow: row 0: token id", "vocabulary"]);
    refused(&folder, "embed --model bert --max-length 100 dev.tokens.arrow", &["--max-length 100", "64"]);
    let options =
        TRAINING.replace("docs.tokens.arrow", "large.arrow").replace("train.qrels.parquet", "qrels.train.tsv");
    refused(&folder, &format!("train inbatch {options} --steps 3 --batch-size 8"), &["large.arrow"]);
    let options = TRAINING.replace("--max-doc-length 32", "--max-doc-length 500");
    refused(&folder, &format!("train inbatch {options}"), &["--max-doc-length", "500", "64"]);
}

#[test]
fn queries_without_a_relevant_document() {
    let folder = Folder::made();
    let qrels: String =
        folder.text("qrels.train.tsv").lines().map(|line| format!("{}0\n", &line[..line.len() - 1])).collect();
    folder.write("nothing.tsv", qrels);
    let options = TRAINING.replace("train.qrels.parquet", "nothing.tsv");
    refused(&folder, &format!("train inbatch {options}"), &["nothing.tsv: no relevant document for any query"]);
    refused(
        &folder,
        &format!("{TOKENIZE} --kind query --judged qrels.train.tsv queries.dev.small.tsv"),
        &["queries.dev.small.tsv: none of its 60 queries"],
    );
    let negatives = Records::open(&folder.path("train.negatives.parquet"));
    let some: RecordBatch = negatives.rows.slice(0, 20);
    folder.write("some.arrows", save_stream(&some, 20, HashMap::from([("hardmine.kind".into(), "negatives".into())])));
    let done =
        folder.run(&format!("train star {TRAINING} --negatives some.arrows --steps 2 --batch-size 8 -o out")).done();
    done.check(matches!(done.code, Some(0 | 1)) && done.stderr.lines().count() == 1, "should end with one line");
}

#[test]
fn a_collection_smaller_than_top_k() {
    let folder = Folder::made();
    folder.run("index docs.arrow -o docs.faiss").ok();
    for index in ["docs.arrow", "docs.faiss"] {
        let done = folder.run(&format!("rank --index {index} --top-k 500 dev.arrow")).ok();
        let run = Records::stream(&done.stdout);
        assert_eq!(run.len(), 60 * 300, "{index}");
        assert!(run.i64s("doc_id").iter().all(|doc| (0..300).contains(doc)), "{index}");
    }
    let adore = TRAINING.replace("--max-doc-length 32", "--embeddings docs.arrow");
    folder.run(&format!("train adore {adore} --top-k 500 --steps 1 --batch-size 8 -o out")).ok();
    let done = folder.run("mine-negatives --qrels train.qrels.parquet --top-k 500 train.run.parquet").ok();
    done.check(done.stderr.contains("150 of 150 queries have fewer than 500 negatives"), "should say so");
}
