//! Lines of text: malformed, unusual, or in another encoding.

use arrow::array::Int64Array;

use super::{TOKENIZE, refused};
use crate::common::{Folder, Records, TRAINING, column, save, vectors};

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
