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

    /// Writes the collection in the form of documents, under MS MARCO's names, to the folder `to`: an id is D and the
    /// passage's number, the title what stands before its colon.
    pub fn write_documents(&self, to: &str) {
        let document = |line: &str| {
            let (id, text) = line.split_once('\t').unwrap();
            let (title, body) = text.split_once(": ").unwrap();
            format!("D{id}\thttps://learn.example/{}\t{title}\t{body}\n", title.replace(' ', "/"))
        };
        let judgement = |line: &str| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            format!("{} {} D{} {}\n", fields[0], fields[1], fields[2], fields[3])
        };
        let lines = |name: &str, of: &dyn Fn(&str) -> String| self.text(name).lines().map(of).collect::<String>();
        self.write(&format!("{to}/msmarco-docs.tsv"), lines("collection.tsv", &document));
        for (from, name) in [
            ("qrels.train.tsv", "msmarco-doctrain-qrels.tsv"),
            ("qrels.dev.small.tsv", "msmarco-docdev-qrels.tsv"),
            ("2019qrels-pass.txt", "2019qrels-docs.txt"),
        ] {
            self.write(&format!("{to}/{name}"), lines(from, &judgement));
        }
        for (from, name) in [
            ("queries.train.tsv", "msmarco-doctrain-queries.tsv"),
            ("queries.dev.small.tsv", "msmarco-docdev-queries.tsv"),
        ] {
            self.write(&format!("{to}/{name}"), self.read(from));
        }
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

/// Copies a folder with all that is in it.
pub fn copy(from: &Path, to: &Path) {
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
