//! Streams and files that are cut off or have flipped bytes.

use super::{TOKENIZE, refused};
use crate::common::{Folder, Records, messages, save_stream};

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
