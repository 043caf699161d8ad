//! Bad input: one clear line that names the place, and nothing harmed.

mod broken;
mod ids;
mod lines;
mod models;
mod records;

use crate::common::{Folder, TRAINING};

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
        "mine-negatives --qrels train.qrels.parquet --teacher FILE train.run.parquet".into(),
        format!("{REMAP} --to official FILE"),
        "remap-ids --queries FILE --docs docs.tokens.arrow --to official dev.run.parquet".into(),
        "remap-ids --queries dev.tokens.arrow --docs FILE --to official dev.run.parquet".into(),
        "score --qrels FILE dev.official.parquet".into(),
        "score --qrels qrels.dev.small.tsv FILE".into(),
        format!("train adore {adore} --embeddings FILE"),
        format!("train star {TRAINING} --negatives FILE"),
        format!("train star {TRAINING} --negatives train.negatives.parquet --loss kl --teacher FILE"),
    ];
    for name in ["train.tokens.arrow", "docs.tokens.arrow", "train.qrels.parquet"] {
        lines.push(format!("train inbatch {}", TRAINING.replace(name, "FILE")));
    }
    lines
}
