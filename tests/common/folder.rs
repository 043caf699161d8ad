//! A fresh folder for one test, removed afterwards.

use std::fs;
use std::path::{Path, PathBuf};

use super::{Command, made, models};

/// The collection and its judgements, in MS MARCO's layout and under its names.
const COLLECTION: [&str; 7] = [
    "collection.tsv",
    "queries.train.tsv",
    "qrels.train.tsv",
    "queries.dev.small.tsv",
    "qrels.dev.small.tsv",
    "msmarco-test2019-queries.tsv",
    "2019qrels-pass.txt",
];

pub struct Folder(tempfile::TempDir);

impl Folder {
    /// With the collection, `bert` (a mean-pooled BERT in sentence-transformers layout) and `dot` (a
    /// RobertaDot with RoBERTa's vocabulary).
    pub fn new() -> Folder {
        let folder = Folder(tempfile::tempdir().unwrap());
        for name in COLLECTION {
            folder.link(&super::fixture("quickstart").join(name));
        }
        for model in models::all() {
            folder.link(model);
        }
        folder
    }

    /// With what the commands make of the collection, too; see `made.rs` for the names.
    pub fn made() -> Folder {
        let folder = Folder::new();
        for entry in fs::read_dir(made()).unwrap() {
            folder.link(&entry.unwrap().path());
        }
        folder
    }

    pub fn empty() -> Folder {
        Folder(tempfile::tempdir().unwrap())
    }

    fn link(&self, target: &Path) {
        std::os::unix::fs::symlink(target, self.path(target.file_name().unwrap().to_str().unwrap())).unwrap();
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes a file, in place of what may be linked there.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        drop(fs::remove_file(self.path(name)));
        fs::write(self.path(name), content).unwrap();
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    pub fn text(&self, name: &str) -> String {
        String::from_utf8(self.read(name)).unwrap()
    }

    /// A copy of a linked model that may be changed.
    pub fn copy_model(&self, from: &str, to: &str) {
        copy(&self.path(from), &self.path(to));
    }

    /// Everything in the folder, hidden files included.
    pub fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.0.path()).unwrap();
        let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// A command of ours with its arguments, split at white space; more are added by [`Command::arg`].
    pub fn run(&self, line: &str) -> Command {
        let mut words = line.split_whitespace();
        Command::new(self.0.path(), words.next().unwrap()).args(words)
    }

    /// A line of bash, with our commands in the path, that fails when any part of a pipe does.
    pub fn sh(&self, line: &str) -> Command {
        Command::new(self.0.path(), "bash").args(["-euo", "pipefail", "-c", line])
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.path().is_dir() {
            true => copy(&entry.path(), &target),
            false => drop(fs::copy(entry.path(), target).unwrap()),
        }
    }
}
