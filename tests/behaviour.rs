//! What all commands promise: exit codes, one line on failure, whole files or none, quiet pipes.

use std::os::unix::fs::PermissionsExt;

use serde_json::Value;

use crate::common::{BINARIES, Folder, Records, TRAINING, Terminal};

/// Commands that write records or an index, but for their output.
const WRITERS: [&str; 6] = [
    "tokenize --tokenizer bert collection.tsv",
    "embed --model bert docs.tokens.arrow",
    "index docs.arrow",
    "rank --index docs.arrow dev.arrow",
    "mine-negatives --qrels train.qrels.parquet train.run.parquet",
    "remap-ids --queries dev.tokens.arrow --docs docs.tokens.arrow --to official dev.run.parquet",
];

fn is_index(line: &str) -> bool {
    line.starts_with("index")
}

fn output(line: &str) -> &'static str {
    if is_index(line) { "out.faiss" } else { "out.arrow" }
}

#[test]
fn help_and_version_are_no_failures() {
    let folder = Folder::empty();
    for name in BINARIES {
        let version = folder.run(&format!("{name} --version")).ok();
        assert_eq!(version.text(), format!("{name} {}\n", env!("CARGO_PKG_VERSION")));
        for option in ["-h", "--help"] {
            let help = folder.run(&format!("{name} {option}")).ok();
            help.check(help.text().contains("Usage: ") && help.stderr.is_empty(), "should say how it is used");
        }
        let done = folder.run(&format!("{name} --help")).into_closed_pipe();
        done.check(done.code == Some(0) && done.stderr.is_empty(), "should end quietly");
    }
}

#[test]
fn wrong_usage_is_code_2() {
    let folder = Folder::made();
    for name in BINARIES {
        folder.run(&format!("{name} --no-such-option")).fails_as_wrong_usage(&["--no-such-option", "--help"]);
    }
    for line in WRITERS.into_iter().filter(|line| !is_index(line)) {
        folder.run(line).args(["-o", "out.doc"]).fails_as_wrong_usage(&["out.doc", ".parquet"]);
    }
    folder.run("tokenize").fails_as_wrong_usage(&["--tokenizer"]);
    folder.run("tokenize --tokenizer bert --kind poem").fails_as_wrong_usage(&["poem", "passage"]);
    folder.run("embed --model bert --precision f8").fails_as_wrong_usage(&["f8", "bf16"]);
    folder.run("embed --model bert --device tpu").fails_as_wrong_usage(&["tpu"]);
    folder.run("rank --index docs.arrow --top-k 0").fails_as_wrong_usage(&["--top-k"]);
    folder.run("remap-ids --queries a --docs b --to both c").fails_as_wrong_usage(&["both", "official"]);
    folder.run("train").fails_as_wrong_usage(&["Usage: "]);
    folder.run(&format!("train magic {TRAINING} -o x")).fails_as_wrong_usage(&["magic"]);
    folder.run(&format!("train inbatch {TRAINING} -o x --learning-rate much")).fails_as_wrong_usage(&["much"]);
    folder.run("sql").fails_as_wrong_usage(&["Usage: "]);
    folder.run("sql -t run").arg("SELECT 1").fails_as_wrong_usage(&["name=path"]);
}

#[test]
fn a_gpu_that_is_not_there_is_a_clear_error() {
    let folder = Folder::made();
    let line = "embed --model bert --device cuda:7 docs.tokens.arrow -o out.arrow";
    folder.run(line).fails(&["--device cuda:7"]);
    folder.run("rank --index docs.arrow --device cuda:7 dev.arrow -o out.arrow").fails(&["--device cuda:7"]);
}

#[test]
fn a_closed_pipe_is_quiet() {
    let folder = Folder::made();
    let text = [
        "score --qrels qrels.dev.small.tsv dev.official.parquet",
        "sql -t run=dev.run.parquet --format csv -f all.sql",
        "sql -t run=dev.run.parquet --format parquet -f all.sql",
        "sql -t run=dev.run.parquet --format json -f all.sql",
        "sql -t run=dev.run.parquet -f all.sql",
    ];
    folder.write("all.sql", "SELECT * FROM run");
    for line in WRITERS.into_iter().chain(text) {
        let done = folder.run(line).into_closed_pipe();
        done.check(done.code == Some(0) && done.stderr.is_empty(), "should end quietly");
        let done = folder.sh(&format!("{line} -q | head -c 10")).ok();
        done.check(done.stdout.len() == 10 && done.stderr.is_empty(), "should end quietly");
    }
}

#[test]
fn binary_data_is_never_shown_on_a_terminal() {
    let folder = Folder::made();
    for line in WRITERS {
        let (done, shown) = folder.run(line).on_terminal(&[Terminal::Stdout]);
        done.check(done.code == Some(1) && shown.is_empty(), "should refuse and show nothing");
        done.check(done.stderr.lines().count() == 1, "should say one line");
        done.check(done.stderr.contains("standard output: is a terminal"), "should say why");
    }
    folder.write("all.sql", "SELECT * FROM run");
    let (done, shown) =
        folder.run("sql -t run=dev.run.parquet --format parquet -f all.sql").on_terminal(&[Terminal::Stdout]);
    done.check(done.code == Some(1) && shown.is_empty(), "should refuse and show nothing");
    let (done, shown) = folder.run("sql -t run=dev.run.parquet -f all.sql").on_terminal(&[Terminal::Stdout]);
    done.check(done.code == Some(0) && shown.contains("| query_id | doc_id"), "should show a table");
}

#[test]
fn a_terminal_is_no_input() {
    let folder = Folder::made();
    for line in [
        "tokenize --tokenizer bert -o out.arrow",
        "embed --model bert -o out.arrow",
        "index -o out.faiss",
        "rank --index docs.arrow -o out.arrow",
        "mine-negatives --qrels train.qrels.parquet -o out.arrow",
        "remap-ids --queries dev.tokens.arrow --docs docs.tokens.arrow --to official -o out.arrow",
        "score --qrels qrels.dev.small.tsv",
    ] {
        let (done, _) = folder.run(line).on_terminal(&[Terminal::Stdin]);
        done.check(done.code == Some(1), "should fail");
        done.check(done.stderr.contains("standard input: is a terminal"), "should say why");
        done.check(done.stderr.lines().count() == 1, "should say one line");
    }
}

#[test]
fn the_closing_line_says_rows_time_and_memory() {
    let folder = Folder::made();
    for (line, rows) in WRITERS.into_iter().zip([300, 300, 300, 60 * 300, 150 * 50, 60 * 50]) {
        let done = folder.run(line).args(["-o", output(line)]).ok();
        let name = line.split(' ').next().unwrap();
        let fields: Vec<&str> = done.stderr.trim_end().split(", ").collect();
        done.check(done.stderr.lines().count() == 1, "should say one line");
        done.check(
            fields[0].starts_with(&format!("{name}: ")) && fields[0].ends_with(" rows"),
            "should begin with rows",
        );
        if name != "rank" {
            done.check(fields[0] == format!("{name}: {rows} rows"), &format!("should count {rows} rows"));
        }
        done.check(fields[1].ends_with(" s") && fields[2].ends_with(" rows/s"), "should tell time and speed");
        let memory: u64 = fields[3].trim_start_matches("peak memory ").trim_end_matches(" MiB").parse().unwrap();
        done.check((1..4000).contains(&memory), "should tell the peak memory");
    }
}

#[test]
fn messages_can_be_silenced_or_json() {
    let folder = Folder::made();
    for line in WRITERS {
        let done = folder.run(line).args(["-o", output(line), "-q"]).ok();
        done.check(done.stderr.is_empty() && done.stdout.is_empty(), "should say nothing");
        let done = folder.run(line).args(["-o", output(line), "--log-format", "json"]).ok();
        let said: Value = serde_json::from_str(&done.stderr).unwrap();
        done.check(said["command"] == line.split(' ').next().unwrap(), "should name the command");
        for number in ["rows", "seconds", "rows_per_second", "peak_memory_mib"] {
            done.check(said[number].is_number(), number);
        }
    }
    let done = folder.run("embed --model bert missing.arrow -q --log-format json").done();
    let said: Value = serde_json::from_str(&done.stderr).unwrap();
    done.check(done.code == Some(1) && said["level"] == "ERROR", "should be an error");
    done.check(said["message"].as_str().unwrap().starts_with("missing.arrow: "), "should name the place");
    let done = folder.run("tokenize --tokenizer bert -vv collection.tsv -o out.arrow").ok();
    done.check(
        done.stderr.lines().last().unwrap().starts_with("tokenize: 300 rows"),
        "should end with the closing line",
    );
}

#[test]
fn a_progress_bar_is_for_terminals_only() {
    let folder = Folder::made();
    let line = format!("train inbatch {TRAINING} --steps 40 --batch-size 32 -o model");
    let (done, shown) = folder.run(&line).on_terminal(&[Terminal::Stderr]);
    done.check(done.code == Some(0) && shown.contains("train: 1200 rows"), &format!("should end well: {shown}"));
    done.check(shown.contains("/1,200 queries"), &format!("should show how far it is: {shown:?}"));
    let (_, shown) = folder.run(&line).arg("-q").on_terminal(&[Terminal::Stderr]);
    done.check(shown.is_empty(), &format!("should be quiet: {shown:?}"));
    folder.run(&line).ok().check(!folder.run(&line).ok().stderr.contains('\x1b'), "should have no control codes");
}

#[test]
fn an_output_is_never_one_of_the_inputs() {
    let folder = Folder::made();
    for name in ["docs.tokens.arrow", "docs.arrow", "dev.run.parquet", "train.run.parquet", "dev.tokens.arrow"] {
        let content = folder.read(name);
        folder.write(name, content);
    }
    folder.write("texts.txt", folder.read("collection.tsv"));
    std::fs::hard_link(folder.path("docs.arrow"), folder.path("same.arrow")).unwrap();
    for (line, output) in [
        ("tokenize --tokenizer bert texts.txt", "texts.txt"),
        ("embed --model bert docs.tokens.arrow", "docs.tokens.arrow"),
        ("index docs.arrow", "same.arrow"),
        ("rank --index docs.arrow dev.arrow", "./docs.arrow"),
        ("rank --index docs.arrow dev.arrow", "same.arrow"),
        ("mine-negatives --qrels train.qrels.parquet train.run.parquet", "train.run.parquet"),
        (
            "remap-ids --queries dev.tokens.arrow --docs docs.tokens.arrow --to official dev.run.parquet",
            "dev.tokens.arrow",
        ),
        ("score --qrels qrels.dev.small.tsv dev.run.parquet --per-query", "dev.run.parquet"),
        ("sql -t run=dev.run.parquet -f all.sql", "dev.run.parquet"),
    ] {
        folder.write("all.sql", "SELECT * FROM run");
        let before = folder.read(output);
        let option = if line.ends_with("--per-query") { vec![output] } else { vec!["-o", output] };
        folder.run(line).args(option).fails(&[output, "input and output at once"]);
        assert!(before == folder.read(output), "{line}");
    }
}

#[test]
fn a_folder_that_cannot_be_written_is_named() {
    let folder = Folder::made();
    std::fs::create_dir(folder.path("folder.arrow")).unwrap();
    std::fs::create_dir(folder.path("folder.faiss")).unwrap();
    for line in WRITERS {
        let ending = if is_index(line) { "faiss" } else { "arrow" };
        // A test may run as root, whom no permissions stop.
        for place in ["collection.tsv", "no/such/folder", "/proc"] {
            folder.run(line).args(["-o", &format!("{place}/out.{ending}")]).fails(&[place]);
        }
        folder.run(line).args(["-o", &format!("folder.{ending}")]).fails(&[&format!("folder.{ending}: is a folder")]);
    }
    let train = format!("train inbatch {TRAINING} --steps 1 --batch-size 8 -o");
    folder.run(&train).arg("collection.tsv/model").fails(&["collection.tsv"]);
    folder.run(&train).arg("/proc/model").fails(&["/proc"]);
    folder.run("score --qrels qrels.dev.small.tsv dev.official.parquet -o no/such/table.txt").fails(&["no/such"]);
    folder.run("sql -o no/such/rows.csv").arg("SELECT 1").fails(&["no/such"]);
}

#[test]
fn files_get_the_permissions_of_any_new_file() {
    let folder = Folder::made();
    folder.write("plain", "");
    let mode = |name: &str| std::fs::metadata(folder.path(name)).unwrap().permissions().mode() & 0o777;
    for line in WRITERS {
        folder.run(line).args(["-o", output(line)]).ok();
        assert_eq!(mode(output(line)), mode("plain"), "{line}");
    }
}

#[test]
fn a_failure_half_way_leaves_what_was_there() {
    let folder = Folder::made();
    let names = folder.names();
    let many: String = (0..30_000).map(|id| format!("{id}\tcreate a vm\n")).collect();
    folder.write("texts.tsv", many + "no tab");
    for output in ["out.arrow", "out.parquet", "out.arrows"] {
        let line = format!("tokenize --tokenizer bert texts.tsv -o {output}");
        folder.run(&line).fails(&["texts.tsv: line 30001: "]);
        assert!(!folder.path(output).exists());
        folder.write(output, "precious");
        folder.run(&line).fails(&["texts.tsv: line 30001: "]);
        assert_eq!(folder.text(output), "precious");
    }
    let left: Vec<String> = folder.names().into_iter().filter(|name| !names.contains(name)).collect();
    assert_eq!(left, ["out.arrow", "out.arrows", "out.parquet", "texts.tsv"]);
}

#[test]
fn commands_run_from_anywhere_without_help_of_the_environment() {
    let folder = Folder::made();
    for line in WRITERS {
        let mut command = folder.run(line).args(["-o", output(line)]);
        for name in ["LD_LIBRARY_PATH", "LIBTORCH", "OMP_NUM_THREADS", "HOME"] {
            command = command.without_env(name);
        }
        command.ok();
    }
    assert_eq!(Records::open(&folder.path("out.arrow")).len(), 60 * 50);
}
