//! Where results go: files, links to files, and what can only be written to: pipes, devices, descriptors.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, symlink};

use crate::common::{Folder, TRAINING};

/// Every command that writes a file with `-o`, and an ending of that file.
const WRITERS: [(&str, &str); 9] = [
    ("tokenize --tokenizer bert collection.tsv", "arrow"),
    ("embed --model bert dev.tokens.arrow", "arrow"),
    ("index docs.arrow", "faiss"),
    ("rank --index docs.arrow dev.arrow", "parquet"),
    ("mine-negatives --qrels train.qrels.parquet train.run.parquet", "arrows"),
    ("remap-ids --queries dev.tokens.arrow --docs docs.tokens.arrow --to official dev.run.parquet", "trec"),
    ("score --qrels qrels.dev.small.tsv dev.official.parquet", "txt"),
    ("sql -t run=dev.run.parquet -f all.sql", "csv"),
    ("sql -t run=dev.run.parquet -f all.sql", "parquet"),
];

fn folder() -> Folder {
    let folder = Folder::made();
    folder.write("all.sql", "SELECT * FROM run");
    folder
}

#[test]
fn pipes_get_the_bytes_of_a_file_and_stay() {
    let folder = folder();
    for (line, ending) in WRITERS {
        folder.sh(&format!("{line} -o plain.{ending}; mkfifo pipe.{ending}")).ok();
        folder.sh(&format!("cat pipe.{ending} > got & {line} -o pipe.{ending}; wait")).ok();
        let is_fifo = folder.path(&format!("pipe.{ending}")).metadata().unwrap().file_type().is_fifo();
        assert!(is_fifo, "{line} replaced the pipe");
        assert!(folder.read("got") == folder.read(&format!("plain.{ending}")), "{line}: other bytes");
        folder.sh(&format!("rm pipe.{ending} plain.{ending}")).ok();
    }
}

#[test]
fn descriptors_and_devices_are_written_to() {
    let folder = folder();
    let names = folder.names();
    for (line, _) in WRITERS {
        let plain = folder.run(line).ok().stdout;
        for path in ["-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"] {
            let done = folder.run(line).args(["-o", path]).ok();
            done.check(done.stdout == plain, "should write to standard output");
        }
        folder.sh(&format!("{line} -o /dev/fd/3 3> third; printf kept > fourth; {line} -o /dev/fd/4 4>> fourth")).ok();
        assert!(folder.read("third") == plain, "{line}");
        assert!(folder.read("fourth") == [b"kept", &plain[..]].concat(), "{line}");
        folder.run(line).args(["-o", "/dev/null"]).ok();
        assert!(std::fs::metadata("/dev/null").unwrap().file_type().is_char_device(), "{line} replaced /dev/null");
        folder.run(line).args(["-o", "/dev/full"]).fails(&["/dev/full: no space left on device"]);
        folder.run(line).args(["-o", "/dev/fd/99"]).fails(&["/dev/fd/99: bad file descriptor"]);
        folder.sh("rm third fourth").ok();
    }
    let line = "score --qrels qrels.dev.small.tsv dev.official.parquet -o means.txt --per-query";
    let piped = folder.run(line).arg("/dev/stdout").ok().stdout;
    folder.run(line).arg("per-query.arrows").ok();
    assert!(piped == folder.read("per-query.arrows"));
    folder.sh("rm means.txt per-query.arrows").ok();
    assert_eq!(folder.names(), names);
}

#[test]
fn a_link_stays_and_its_target_is_replaced_as_a_whole() {
    let folder = folder();
    std::fs::create_dir(folder.path("elsewhere")).unwrap();
    for (line, ending) in WRITERS {
        let (link, file) = (format!("link.{ending}"), format!("elsewhere/file.{ending}"));
        symlink(&file, folder.path(&link)).unwrap();
        folder.run(line).args(["-o", &link]).ok();
        let made = folder.read(&file);
        folder.write(&file, "old");
        folder.run(line).args(["-o", &link]).ok();
        assert!(folder.path(&link).is_symlink(), "{line}");
        assert!(folder.read(&file) == made, "{line}");
        folder.sh(&format!("rm {link} {file}")).ok();
    }
    symlink("elsewhere/nowhere/x.arrow", folder.path("lost.arrow")).unwrap();
    folder.run(&format!("{} -o lost.arrow", WRITERS[0].0)).fails(&["elsewhere/nowhere"]);
    symlink("round.arrow", folder.path("round.arrow")).unwrap();
    folder.run(&format!("{} -o round.arrow", WRITERS[0].0)).fails(&["round.arrow"]);
}

#[test]
fn a_standard_output_that_is_closed_or_full_is_an_error() {
    let folder = folder();
    for (line, _) in WRITERS {
        folder.sh(&format!("{line} >&-")).fails(&["standard output: is closed"]);
        folder.sh(&format!("{line} > /dev/full")).fails(&["standard output: no space left on device"]);
        folder.sh(&format!("{line} -o /dev/stdout >&-")).fails(&["is closed"]);
    }
    folder.sh("score --help >&-").fails(&["standard output"]);
    folder.sh("train --version > /dev/full").fails(&["standard output"]);
    // Nobody misses it where the output is a file.
    folder.sh("sql -t run=dev.run.parquet -f all.sql -o rows.csv >&- 2>&-").ok();
}

#[test]
fn a_standard_input_that_is_closed_is_an_error() {
    let folder = folder();
    for line in [
        "tokenize --tokenizer bert",
        "embed --model bert",
        "index",
        "rank --index docs.arrow",
        "rank --index - dev.arrow",
        "mine-negatives --qrels train.qrels.parquet",
        "remap-ids --queries dev.tokens.arrow --docs docs.tokens.arrow --to official",
        "score --qrels qrels.dev.small.tsv",
        "sql -t run=/dev/stdin -f all.sql",
        &format!("train inbatch {} -o model", TRAINING.replace("docs.tokens.arrow", "-")),
    ] {
        folder.sh(&format!("{line} <&-")).fails(&["standard input: is closed"]);
    }
}

#[test]
fn two_outputs_at_one_place_are_wrong_usage() {
    let folder = folder();
    let line = "score --qrels qrels.dev.small.tsv dev.official.parquet --per-query";
    symlink("same.arrow", folder.path("link.arrow")).unwrap();
    for options in [
        "-",
        "- -o -",
        "/dev/stdout",
        "- -o /dev/stdout",
        "same.arrow -o same.arrow",
        "same.arrow -o ./same.arrow",
        "same.arrow -o link.arrow",
        "/dev/fd/1 -o -",
    ] {
        folder.run(&format!("{line} {options}")).fails_as_wrong_usage(&["same place"]);
    }
    folder.run(&format!("{line} - -o means.txt")).ok();
}

#[test]
fn what_has_no_such_form_is_refused() {
    let folder = folder();
    for ending in ["parquet", "arrow", "arrows"] {
        let line = format!("score --qrels qrels.dev.small.tsv dev.official.parquet -o means.{ending}");
        folder.run(&line).fails_as_wrong_usage(&["--per-query"]);
    }
    folder.run(&format!("train inbatch --steps 1 {TRAINING} -o -")).fails(&["--output -", "folder"]);
}

#[test]
fn names_need_not_be_utf_8() {
    let folder = folder();
    let name = |ending: &[u8]| OsStr::from_bytes(&[b"gr\xfc\xdfe", ending].concat()).to_owned();
    let save = |from: &str, name: &OsStr| std::fs::copy(folder.path(from), folder.path("").join(name)).unwrap();
    save("docs.tokens.arrow", &name(b".tokens.arrow"));
    save("dev.official.parquet", &name(b".parquet"));
    let made = name(b".arrow");
    folder.run("embed --model bert -o").args([&made, &name(b".tokens.arrow")]).ok();
    folder.run("index -o").args([&name(b".faiss"), &made]).ok();
    folder.run("rank dev.arrow -o run.parquet --index").arg(name(b".faiss")).ok();
    let values = |run: &OsStr| -> Vec<String> {
        let done = folder.run("score --format tsv --qrels qrels.dev.small.tsv").arg(run).ok();
        done.text().lines().map(|line| line.rsplit('\t').next().unwrap().to_owned()).collect()
    };
    assert_eq!(values(&name(b".parquet")), values(OsStr::new("dev.official.parquet")));
    let table = [OsStr::new("t="), &name(b".parquet")].join(OsStr::new(""));
    let counted =
        folder.run("sql --format csv -t").args([table.as_os_str(), OsStr::new("SELECT count(*) AS n FROM t")]).ok();
    assert_eq!(counted.text(), "n\n3000\n");
    folder.run("train inbatch --steps 1 --batch-size 8").args(TRAINING.split(' ')).arg("-o").arg(name(b"")).ok();
    folder.run("embed -o missing.arrow --model bert").arg(name(b".missing")).fails(&["missing"]);
    folder.run("sql").arg(name(b"")).fails_as_wrong_usage(&["UTF-8"]);
    folder.run("embed --precision").arg(name(b"")).fails_as_wrong_usage(&["UTF-8"]);
}
