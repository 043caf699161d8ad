//! Provenance: what a file's schema metadata says about where it came from.

use std::collections::{BTreeMap, HashMap};

use crate::fingerprint::Fingerprint;
use crate::schema::Kind;
use crate::{Error, Result};

/// Kind of record.
pub const KIND: &str = "hardmine.kind";
/// Version of the kind's schema.
pub const SCHEMA_VERSION: &str = "hardmine.schema_version";
/// Program and version that wrote the file.
pub const PROGRAM: &str = "hardmine.program";
/// Command line that wrote the file.
pub const COMMAND: &str = "hardmine.command";
/// Fingerprint of the keys of this file's rows.
pub const KEYS: &str = "hardmine.keys";
/// Fingerprint of the space that `query_id` belongs to.
pub const QUERIES: &str = "hardmine.queries";
/// Fingerprint of the space that `doc_id` belongs to.
pub const DOCS: &str = "hardmine.docs";
/// Digest of the encoder.
pub const MODEL: &str = "hardmine.model";
/// Digest of the encoder whose document embeddings this (query) encoder was trained to search.
pub const DOCUMENT_MODEL: &str = "hardmine.document_model";
/// Digest of the rotation that vectors, or those that codes stand for, have been turned by. Plain vectors have none.
pub const SPACE: &str = "hardmine.space";
/// Digest of the centroids that codes were made with; of an index, of those that it decodes them with.
pub const CENTROIDS: &str = "hardmine.centroids";
/// Digest of the tokenizer.
pub const TOKENIZER: &str = "hardmine.tokenizer";
/// `passage`, `document` or `query`.
pub const TEXT_KIND: &str = "hardmine.text_kind";
/// Longest list of token ids kept.
pub const MAX_LENGTH: &str = "hardmine.max_length";
/// How many special tokens every list begins and ends with: two numbers.
pub const SPECIAL_TOKENS: &str = "hardmine.special_tokens";
/// Text that was put in front of every text before it was tokenized. Empty where that was nothing.
pub const PROMPT: &str = "hardmine.prompt";
/// How many ids every list begins with that are of the prompt, special tokens before it included.
pub const PROMPT_TOKENS: &str = "hardmine.prompt_tokens";
/// Of document vectors: the prompt that the encoder asks for before the queries that will search them.
pub const QUERY_PROMPT: &str = "hardmine.query_prompt";
/// To how many dimensions the encoder's vectors were cut; of a training log, the numbers of dimensions, separated by
/// commas, that the vectors were trained to be cut to.
pub const DIMENSIONS: &str = "hardmine.dimensions";
/// Older program whose tokenization was reproduced.
pub const COMPAT: &str = "hardmine.compat";
/// Arithmetic of the encoder.
pub const PRECISION: &str = "hardmine.precision";
/// Seed of random draws.
pub const SEED: &str = "hardmine.seed";
/// The metric that a model was measured by on dev queries while it was trained.
pub const DEV_METRIC: &str = "hardmine.dev_metric";
/// The value of that metric for the model that training started from.
pub const DEV_START: &str = "hardmine.dev_start";
/// After how many steps the model was as it was written, where it was measured on dev queries.
pub const DEV_STEP: &str = "hardmine.dev_step";
/// The first number of BM25, of a lexical index and of runs of it.
pub const BM25_K1: &str = "hardmine.bm25_k1";
/// The second number of BM25.
pub const BM25_B: &str = "hardmine.bm25_b";
/// The language whose stop words are left out and whose endings are taken off in a lexical index.
pub const LANGUAGE: &str = "hardmine.language";
/// Files of a model folder besides its training log, and of a lexical index besides its description.
pub const FILES: &str = "hardmine.files";

/// What a file says of itself only; a file made from it says its own.
const OF_THE_FILE: [&str; 4] = [KIND, SCHEMA_VERSION, PROGRAM, COMMAND];

/// Where a file came from: the `hardmine.…` entries of its schema metadata.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Provenance(BTreeMap<String, String>);

impl Provenance {
    /// The value of the entry `name`, which is one of the constants of this module.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Sets the entry `name`.
    pub fn set(&mut self, name: &str, value: impl ToString) {
        self.0.insert(name.into(), value.to_string());
    }

    /// Sets the entry `name` if there is a value for it, and leaves it as it is otherwise.
    pub fn set_some(&mut self, name: &str, value: Option<impl ToString>) {
        if let Some(value) = value {
            self.set(name, value);
        }
    }

    /// Takes over what `other` says of where its records came from, but not what it says of its own file.
    pub fn merge(&mut self, other: &Provenance) {
        let inherited = other.0.iter().filter(|(name, _)| !OF_THE_FILE.contains(&name.as_str()));
        self.0.extend(inherited.map(|(name, value)| (name.clone(), value.clone())));
    }

    /// The fingerprint in the entry `name`; none if there is no such entry. `place` is the file, for errors.
    ///
    /// # Errors
    /// The entry is not a fingerprint.
    pub fn fingerprint(&self, name: &str, place: &str) -> Result<Option<Fingerprint>> {
        self.get(name).map(|text| text.parse().map_err(|e| Error::new(place, format!("{name}: {e}")))).transpose()
    }

    /// The prompt of the texts, which is empty if they have none, as in files that we wrote before we knew of prompts.
    /// None if another program made the tokens and doesn't say.
    pub fn prompt(&self) -> Option<&str> {
        self.get(PROMPT).or(self.get(TOKENIZER).map(|_| ""))
    }

    /// The kind of record that the file `place` says it holds; none if the file is another program's.
    ///
    /// # Errors
    /// The kind is unknown, or its schema has another version than ours.
    pub fn kind(&self, place: &str) -> Result<Option<Kind>> {
        let Some(name) = self.get(KIND) else { return Ok(None) };
        let kind =
            Kind::from_name(name).ok_or_else(|| Error::new(place, format!("unknown kind of record '{name}'")))?;
        let version = kind.definition().version.to_string();
        match self.get(SCHEMA_VERSION) {
            Some(found) if found != version => Err(Error::new(
                place,
                format!("{kind} of schema version {found}; this program reads version {version}"),
            )),
            _ => Ok(Some(kind)),
        }
    }

    /// Sets what every file of records says of itself: its kind, the version of its schema, and how it was made.
    pub fn stamp(&mut self, kind: Kind) {
        self.set(KIND, kind);
        self.set(SCHEMA_VERSION, kind.definition().version);
        self.stamp_program();
    }

    /// Sets what a faiss index says of itself.
    pub fn stamp_index(&mut self) {
        self.set(KIND, "index");
        self.set(SCHEMA_VERSION, 1);
        self.stamp_program();
    }

    /// Sets how a file was made: by this program, with its command line.
    pub fn stamp_program(&mut self) {
        self.set(PROGRAM, concat!("hardmine ", env!("CARGO_PKG_VERSION")));
        self.set(COMMAND, command());
    }

    /// Takes the provenance out of the metadata of a schema or of a Parquet footer. Other entries are left out.
    pub fn from_metadata<'a>(metadata: impl IntoIterator<Item = (&'a String, &'a String)>) -> Self {
        let ours = metadata.into_iter().filter(|(name, _)| name.starts_with("hardmine."));
        Provenance(ours.map(|(name, value)| (name.clone(), value.clone())).collect())
    }

    /// All entries, as the metadata of a schema.
    pub fn to_metadata(&self) -> HashMap<String, String> {
        self.0.iter().map(|(name, value)| (name.clone(), value.clone())).collect()
    }

    /// All entries, in the alphabetical order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

/// The variable of the environment that has the command line of the whole, for a program that makes a part of its output.
pub const COMMAND_OF_WHOLE: &str = "HARDMINE_COMMAND";

/// The command line of this program, or of the one whose output it makes a part of.
pub fn command() -> String {
    let ours = || command_line(std::env::args_os().map(|argument| argument.to_string_lossy().into_owned()));
    std::env::var(COMMAND_OF_WHOLE).unwrap_or_else(|_| ours())
}

/// Options that say where the output goes, into how many files, on which machines it is made, and what is said of it.
const ELSEWHERE: [&str; 7] = ["-o", "--output", "--per-query", "--shards", "--shard-rows", "--cluster", "--log-format"];
/// Options without a value that say how much is said.
const MESSAGES: [&str; 2] = ["--quiet", "--verbose"];

/// The command line without what doesn't change the result: folders, where the output goes, and messages.
fn command_line(arguments: impl Iterator<Item = String>) -> String {
    let mut kept: Vec<String> = Vec::new();
    let mut arguments = arguments.peekable();
    while let Some(argument) = arguments.next() {
        let letters = argument.strip_prefix('-').filter(|letters| !letters.is_empty()).unwrap_or("-");
        if ELSEWHERE.contains(&argument.as_str()) || letters.trim_start_matches(['q', 'v']) == "o" {
            arguments.next();
        } else if !(MESSAGES.contains(&argument.as_str())
            || letters.chars().all(|letter| "qv".contains(letter))
            || argument.split_once('=').is_some_and(|(option, _)| ELSEWHERE[1..].contains(&option))
            || argument.starts_with("-o") && argument.len() > 2)
        {
            kept.push(without_folder(&argument));
        }
    }
    kept.join(" ")
}

fn without_folder(argument: &str) -> String {
    if argument.contains(char::is_whitespace) || !argument.contains('/') {
        return argument.to_owned();
    }
    let (name, path) = match argument.split_once('=') {
        Some((name, path)) => (format!("{name}="), path),
        None => (String::new(), argument),
    };
    let file = path.trim_end_matches('/').rsplit('/').next().unwrap_or(path);
    name + file
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_has_no_folders_and_no_output() {
        let line = "/usr/bin/rank --index=a/docs.arrow q.arrow -o /tmp/x.parquet --top-k 5 -ofoo.tsv --per-query m.parquet -t run=x/a.parquet -q -vv --log-format json -qo y --verbose";
        let kept = command_line(line.split(' ').map(str::to_owned));
        assert_eq!(kept, "rank --index=docs.arrow q.arrow --top-k 5 -t run=a.parquet");
    }
}
