//! `tokenize`: every form of text, every kind of tokenizer, and what is done to a text.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, StringArray};

use crate::common::{Folder, Records, column, fixture, save};

pub const CLS: i32 = 2;
pub const SEP: i32 = 3;

/// Word → id of the tiny BERT.
pub fn vocabulary(folder: &Folder) -> HashMap<String, i32> {
    let tokenizer: serde_json::Value = serde_json::from_str(&folder.text("bert/tokenizer.json")).unwrap();
    serde_json::from_value(tokenizer["model"]["vocab"].clone()).unwrap()
}

fn fields(text: &str) -> Vec<Vec<&str>> {
    text.lines().map(|line| line.split('\t').collect()).collect()
}

#[test]
fn a_collection_in_ms_marcos_form() {
    let folder = Folder::new();
    folder.run("tokenize --tokenizer bert --max-length 512 collection.tsv -o tokens.arrow").ok();
    let tokens = Records::open(&folder.path("tokens.arrow"));
    let collection = folder.text("collection.tsv");
    let keys: Vec<&str> = fields(&collection).iter().map(|line| line[0]).collect();
    assert_eq!(tokens.texts("key"), keys);
    assert_eq!(tokens.i64s("id"), (0..keys.len() as i64).collect::<Vec<_>>());

    let ids = vocabulary(&folder);
    let words: HashMap<i32, &String> = ids.iter().map(|(word, &id)| (id, word)).collect();
    for (text, found) in fields(&collection).iter().map(|line| line[1]).zip(tokens.token_ids()) {
        assert_eq!((found[0], *found.last().unwrap()), (CLS, SEP));
        // Put together again, the pieces are the text without its spaces.
        let pieces: String = found[1..found.len() - 1].iter().map(|id| words[id].trim_start_matches("##")).collect();
        let plain: String = text.to_lowercase().chars().filter(|c| !c.is_whitespace()).collect();
        if plain.is_ascii() && !plain.contains("##") {
            assert_eq!(pieces, plain);
        }
    }
}

#[test]
fn documents_are_url_title_and_body() {
    let folder = Folder::new();
    folder.write("docs.tsv", "D1\tazure vm\tcreate\tdisk list \nD2\tazure\t\tvm\n");
    folder.write("texts.tsv", "D1\tazure vm create disk list\nD2\tazure vm\n");
    folder.run("tokenize --tokenizer bert --kind document docs.tsv -o docs.arrow").ok();
    folder.run("tokenize --tokenizer bert texts.tsv -o texts.arrow").ok();
    let [docs, texts] = ["docs.arrow", "texts.arrow"].map(|name| Records::open(&folder.path(name)));
    assert_eq!(docs.token_ids(), texts.token_ids());
    assert_eq!(docs.texts("key"), ["D1", "D2"]);
    assert_eq!(docs.metadata["hardmine.text_kind"], "document");
}

#[test]
fn the_same_texts_in_any_form_give_the_same_tokens() {
    let folder = Folder::new();
    let collection = folder.text("collection.tsv");
    let rows = fields(&collection);
    let json: String = rows
        .iter()
        .map(|row| serde_json::json!({"_id": row[0], "title": "", "text": row[1]}).to_string() + "\n")
        .collect();
    folder.write("corpus.jsonl", json);
    let column = |index: usize| rows.iter().map(|row| row[index]).collect::<Vec<_>>();
    let texts = || Arc::new(StringArray::from(column(1))) as ArrayRef;
    save(&folder.path("texts.parquet"), vec![("id", Arc::new(StringArray::from(column(0)))), ("text", texts())]);
    let numbers: Vec<i64> = column(0).iter().map(|id| id.parse().unwrap()).collect();
    save(&folder.path("numbers.parquet"), vec![("text", texts()), ("id", Arc::new(Int64Array::from(numbers)))]);
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(collection.as_bytes()).unwrap();
    folder.write("collection.tsv.gz", packed.finish().unwrap());
    folder.write("windows.tsv", collection.replace('\n', "\r\n"));

    let tokens = |name: &str| {
        Records::stream(&folder.run(&format!("tokenize --tokenizer bert --max-length 512 {name}")).ok().stdout)
    };
    let expected = tokens("collection.tsv");
    for name in ["corpus.jsonl", "texts.parquet", "numbers.parquet", "collection.tsv.gz", "windows.tsv"] {
        let found = tokens(name);
        assert!(found.rows == expected.rows, "{name}");
        assert_eq!(found.metadata["hardmine.keys"], expected.metadata["hardmine.keys"], "{name}");
    }
    let stdin = folder.run("tokenize --tokenizer bert --max-length 512").stdin(collection.clone()).ok();
    assert!(Records::stream(&stdin.stdout).rows == expected.rows);
    let file = folder.run("tokenize --tokenizer bert/tokenizer.json --max-length 512 -").stdin(collection).ok();
    assert!(Records::stream(&file.stdout).rows == expected.rows);
}

#[test]
fn columns_of_other_names_give_the_same_tokens() {
    let folder = Folder::new();
    folder.write(
        "beir.jsonl",
        "{\"_id\": \"007\", \"title\": \"azure vm\", \"text\": \"create \"}\n{\"_id\": 8, \"title\": \"\", \"text\": \" disk\"}\n",
    );
    folder.write("named.jsonl", "{\"n\": \"007\", \"id\": 1, \"head\": \"azure vm\", \"body\": \"create \"}\n{\"n\": 8, \"head\": null, \"body\": \" disk\"}\n");
    folder.write("named.tsv", "body\tother\tn\thead\ncreate \tx\t007\tazure vm\n disk\t\t8\t\n");
    let strings = |values: &[Option<&str>]| Arc::new(StringArray::from(values.to_vec())) as ArrayRef;
    save(
        &folder.path("named.parquet"),
        vec![
            ("head", strings(&[Some("azure vm"), None])),
            ("body", strings(&[Some("create "), Some(" disk")])),
            ("n", strings(&[Some("007"), Some("8")])),
        ],
    );
    let tokens = |line: &str| Records::stream(&folder.run(&format!("tokenize --tokenizer bert {line}")).ok().stdout);
    let expected = tokens("beir.jsonl");
    for name in ["named.jsonl", "named.tsv", "named.parquet"] {
        for columns in ["--text-column head,body", "--text-column head --text-column body"] {
            assert!(tokens(&format!("--id-column n {columns} {name}")).rows == expected.rows, "{name}");
        }
        let only = tokens(&format!("--id-column n --text-column body {name}"));
        assert_eq!(only.token_ids()[1], expected.token_ids()[1], "{name}");
        assert_eq!(only.token_ids()[0].len(), 3, "{name}");
    }
    for (line, texts) in [
        (
            "--id-column m --text-column body named.tsv",
            &["named.tsv: line 1: expected columns m and body, found body, other"][..],
        ),
        ("--id-column m --text-column body named.parquet", &["expected columns m and body, found head, body, n"]),
        ("--id-column m --text-column body named.jsonl", &["named.jsonl: line 1: missing field `m`"]),
        ("--id-column n --text-column tail,body named.jsonl", &["named.jsonl: no line has the field `tail`"]),
        ("--id-column n --text-column head named.jsonl", &["named.jsonl: line 2: missing field `head`"]),
        ("--id-column n --text-column head named.parquet", &["named.parquet: row 1: column head is null"]),
        (
            "--text-column text collection.tsv",
            &["line 1: expected columns id and text", "first line of a TSV file is a header"],
        ),
    ] {
        folder.run(&format!("tokenize --tokenizer bert {line}")).fails(texts);
    }
    folder.write("short.tsv", "n\tbody\n1\n");
    folder
        .run("tokenize --tokenizer bert --id-column n --text-column body short.tsv")
        .fails(&["line 2: expected 2 fields"]);
}

#[test]
fn long_texts_are_cut_and_keep_their_last_token() {
    let folder = Folder::new();
    let whole = Records::stream(&folder.run("tokenize --tokenizer bert collection.tsv").ok().stdout).token_ids();
    let cut = Records::stream(&folder.run("tokenize --tokenizer bert --max-length 9 collection.tsv").ok().stdout);
    assert_eq!(cut.metadata["hardmine.max_length"], "9");
    assert!(whole.iter().any(|ids| ids.len() > 9) && whole.iter().any(|ids| ids.len() <= 9));
    for (whole, cut) in whole.iter().zip(cut.token_ids()) {
        match whole.len() {
            ..=9 => assert_eq!(*whole, cut),
            _ => assert_eq!(cut, [&whole[..8], &[SEP]].concat()),
        }
    }
}

#[test]
fn queries_without_a_judgement_are_left_out_when_asked() {
    let folder = Folder::new();
    let queries = folder.text("queries.dev.small.tsv");
    folder.write("more.tsv", format!("extra\tvm list\n{queries}x\tvm\n"));
    let done = folder.run("tokenize --tokenizer bert --kind query --judged qrels.dev.small.tsv more.tsv").ok();
    let keys: Vec<&str> = fields(&queries).iter().map(|row| row[0]).collect();
    let tokens = Records::stream(&done.stdout);
    assert_eq!(tokens.texts("key"), keys);
    assert_eq!(tokens.i64s("id").last(), Some(&(keys.len() as i64 - 1)));
    done.check(done.stderr.contains("2 queries without judgements left out"), "should say what was left out");
    let same = Records::stream(&folder.run("tokenize --tokenizer bert --kind query queries.dev.small.tsv").ok().stdout);
    assert_eq!(same.metadata["hardmine.keys"], tokens.metadata["hardmine.keys"]);
}

#[test]
fn empty_texts_are_special_tokens_and_counted() {
    let folder = Folder::new();
    folder.write("texts.tsv", "a\tvm\nb\t\nc\t  \n");
    let done = folder.run("tokenize --tokenizer bert texts.tsv").ok();
    assert_eq!(Records::stream(&done.stdout).token_ids()[1..], [[CLS, SEP], [CLS, SEP]]);
    done.check(done.stderr.contains("2 empty texts"), "should count them");
    let done = folder.run("tokenize --tokenizer dot --compat transformers-2 texts.tsv").ok();
    assert_eq!(Records::stream(&done.stdout).token_ids()[1..], [[0, 2], [0, 2]]);
}

#[test]
fn compat_gives_the_ids_of_transformers_2() {
    let folder = Folder::new();
    let packed = std::fs::File::open(fixture("tokenization/roberta-transformers2.jsonl.gz")).unwrap();
    let mut lines = String::new();
    flate2::read::GzDecoder::new(packed).read_to_string(&mut lines).unwrap();
    let rows: Vec<serde_json::Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut compared = 0;
    for max_length in [24, 64, 512] {
        let mut json = String::new();
        let mut expected: Vec<Vec<i32>> = Vec::new();
        // The fixture has texts as the tokenizer is given them: stripped at the end by the reference's own reader.
        for row in rows.iter().filter(|row| row["max_length"] == max_length) {
            let text = row["text"].as_str().unwrap();
            if !text.is_empty() && text.trim_end() == text {
                json += &format!("{}\n", serde_json::json!({"_id": expected.len().to_string(), "text": text}));
                expected.push(serde_json::from_value(row["token_ids"].clone()).unwrap());
            }
        }
        folder.write("texts.jsonl", json);
        let line = format!(
            "tokenize --tokenizer dot --compat transformers-2 --kind query --max-length {max_length} texts.jsonl"
        );
        let found = Records::stream(&folder.run(&line).ok().stdout);
        assert_eq!(found.metadata["hardmine.compat"], "transformers-2");
        for (row, (found, expected)) in found.token_ids().iter().zip(&expected).enumerate() {
            assert_eq!(found, expected, "row {row} of those cut at {max_length}");
        }
        compared += expected.len();
    }
    assert!(compared > 400, "{compared}");
}

#[test]
fn vocab_and_merges_make_a_tokenizer() {
    let folder = Folder::new();
    folder.write("texts.tsv", "a\tHello world\nb\thello world\n");
    let ids = Records::stream(&folder.run("tokenize --tokenizer dot texts.tsv").ok().stdout).token_ids();
    let vocabulary: HashMap<String, i32> = serde_json::from_str(&folder.text("dot/vocab.json")).unwrap();
    assert_eq!(ids[0], [0, vocabulary["Hello"], vocabulary["Ġworld"], 2]);
    assert_ne!(ids[0], ids[1]);
    // Lower-cased, with a space in front.
    let old = Records::stream(&folder.run("tokenize --tokenizer dot --compat transformers-2 texts.tsv").ok().stdout);
    assert_eq!(old.token_ids(), [[0, vocabulary["Ġhello"], vocabulary["Ġworld"], 2]; 2]);
}

#[test]
fn corpora_as_people_write_them() {
    let folder = Folder::new();
    folder.write("texts.tsv", "1\tvm\n2\t\"disk\" list\n3\t\n");
    let expected = Records::stream(&folder.run("tokenize --tokenizer bert texts.tsv").ok().stdout);
    for (name, content) in [
        ("blank.tsv", "\n1\tvm\n  \n2\t\"disk\" list\r\n\r\n3\t\n\n"),
        ("header.tsv", "pid\tpassage\n1\tvm\n2\t\"disk\" list\n3\t\n"),
        (
            "python.jsonl",
            "{\"_id\": \"1\", \"text\": \"vm\", \"score\": NaN}\n\n{\"_id\": 2, \"id\": 7, \"text\": \"\\\"disk\\\" list\", \
             \"m\": {\"a\": [-Infinity]}}\r\n  \n{\"id\": \"3\", \"text\": \"\", \"title\": null, \"x\": \"\\ud83d\"}\n",
        ),
    ] {
        folder.write(name, content);
        let done = folder.run(&format!("tokenize --tokenizer bert {name}")).ok();
        assert!(Records::stream(&done.stdout).rows == expected.rows, "{name}");
        let warnings = done.stderr.lines().count() - 1;
        match name {
            "header.tsv" => {
                done.check(done.stderr.contains("header.tsv: line 1: has the names of columns"), "should say so")
            }
            "python.jsonl" => {
                done.check(done.stderr.contains("line 3: has both _id and id, of which _id"), "should say so")
            }
            _ => done.check(warnings == 0, "should say nothing"),
        }
    }
}

#[test]
fn judgements_of_other_programs_name_the_judged_queries() {
    let folder = Folder::new();
    folder.write("queries.tsv", "\u{feff}1\tcreate a vm\n2\tdelete a vm\n3\tlist\n");
    folder.write("qrels.tsv", "\u{feff}query-id\tcorpus-id\tscore\n1\td1\t1\n3\td2\t0\n");
    let columns = vec![
        column("query_id", Int64Array::from(vec![1, 3])),
        column("doc_id", StringArray::from(vec!["d1", "d2"])),
        column("relevance", Int64Array::from(vec![1, 0])),
    ];
    save(&folder.path("qrels.parquet"), columns);
    for qrels in ["qrels.tsv", "qrels.parquet"] {
        let line = format!("tokenize --tokenizer bert --kind query --judged {qrels} queries.tsv");
        assert_eq!(Records::stream(&folder.run(&line).ok().stdout).texts("key"), ["1", "3"], "{qrels}");
    }
    let columns = ["query_id", "doc_id", "relevance"].map(|name| column(name, Int64Array::from(vec![1])));
    save(&folder.path("rows.parquet"), columns.into());
    let line = "tokenize --tokenizer bert --kind query --judged rows.parquet queries.tsv";
    folder.run(line).ok();
    folder.run(line).args(["--ids", "internal"]).fails(&["rows.parquet: its ids are row numbers"]);
}
