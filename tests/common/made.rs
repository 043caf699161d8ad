//! What the commands make of the fixture collection: made once a run, and never written to by tests.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::Folder;
use super::folder::copy;

/// One command a file; `*.tokens.arrow` and `*.arrow` (embeddings) of docs, train, dev and test. `trained` is a model.
const COMMANDS: [&str; 15] = [
    "tokenize --tokenizer bert collection.tsv -o made/docs.tokens.arrow",
    "tokenize --tokenizer bert --kind query queries.train.tsv -o made/train.tokens.arrow",
    "tokenize --tokenizer bert --kind query queries.dev.small.tsv -o made/dev.tokens.arrow",
    "tokenize --tokenizer bert --kind query msmarco-test2019-queries.tsv -o made/test.tokens.arrow",
    "embed --model bert made/docs.tokens.arrow -o made/docs.arrow",
    "embed --model bert made/train.tokens.arrow -o made/train.arrow",
    "embed --model bert made/dev.tokens.arrow -o made/dev.arrow",
    "rank --index made/docs.arrow --top-k 50 made/dev.arrow -o made/dev.run.parquet",
    "rank --index made/docs.arrow --top-k 50 made/train.arrow -o made/train.run.parquet",
    "remap-ids --queries made/train.tokens.arrow --docs made/docs.tokens.arrow --to internal qrels.train.tsv -o made/train.qrels.parquet",
    "remap-ids --queries made/dev.tokens.arrow --docs made/docs.tokens.arrow --to internal qrels.dev.small.tsv -o made/dev.qrels.parquet",
    "remap-ids --queries made/dev.tokens.arrow --docs made/docs.tokens.arrow --to official made/dev.run.parquet -o made/dev.official.parquet",
    "mine-negatives --qrels made/train.qrels.parquet --top-k 20 made/train.run.parquet -o made/train.negatives.parquet",
    "score --qrels qrels.dev.small.tsv -m MRR@10 -m R@50 --per-query made/dev.metrics.parquet made/dev.official.parquet",
    "train inbatch --init bert --queries made/train.tokens.arrow --docs made/docs.tokens.arrow --qrels made/train.qrels.parquet --max-doc-length 32 --steps 1 --batch-size 8 -o made/trained",
];

/// The folder with all of it.
pub fn made() -> &'static Path {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    MADE.get_or_init(|| {
        let folder = Folder::new();
        fs::create_dir(folder.path("made")).unwrap();
        for command in COMMANDS {
            folder.run(command).ok();
        }
        let target = scratch().join("made");
        copy(&folder.path("made"), &target);
        target
    })
}

/// A folder for this run of the tests. Those of runs that have ended are removed by the next.
pub fn scratch() -> &'static Path {
    static SCRATCH: OnceLock<PathBuf> = OnceLock::new();
    SCRATCH.get_or_init(|| {
        let all = Path::new(env!("CARGO_TARGET_TMPDIR")).join("front-door");
        for old in fs::read_dir(&all).into_iter().flatten().flatten() {
            if !Path::new("/proc").join(old.file_name()).exists() {
                drop(fs::remove_dir_all(old.path()));
            }
        }
        let ours = all.join(std::process::id().to_string());
        fs::create_dir_all(&ours).unwrap();
        ours
    })
}
