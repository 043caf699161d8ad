//! A query over files, which a cluster answers.

use std::path::PathBuf;
use std::process::ChildStdout;

use hardmine_files::{Input, parts};
use hardmine_records::{Error, Result};
use hardmine_stores::{is_url, origin};
use serde::{Deserialize, Serialize};

use crate::Cluster;
use crate::spokesman::Spokesman;

/// Endings of the files that can be asked on a cluster.
const PARQUET: &str = "parquet";
const ARROW: &str = "arrow";

/// An SQL query, and the tables that it is about.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Question {
    /// The query.
    pub sql: String,
    /// The tables.
    pub tables: Vec<Asked>,
}

/// A table that is asked.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// Its name in the query.
    pub name: String,
    /// The paths or URLs of its files.
    pub files: Vec<String>,
    /// Whether they are Parquet; otherwise they are Arrow.
    pub is_parquet: bool,
}

impl Asked {
    /// The table `name` with the rows of `input`: a Parquet or Arrow file, or a dataset of such. Where it is the copy of
    /// what is in an object store, the store is asked.
    ///
    /// # Errors
    /// Anything else, which a cluster can't read part by part.
    pub fn new(name: &str, input: &Input) -> Result<Asked> {
        let files: Vec<PathBuf> = match input.is_dataset() {
            true => parts(input)?.0.into_iter().map(|part| part.path).collect(),
            false if input.path().is_file() => vec![input.path().to_owned()],
            false => return Err(other(input)),
        };
        let ending = |file: &PathBuf| file.extension().and_then(|ending| ending.to_str()).map(str::to_owned);
        let endings: Option<Vec<String>> = files.iter().map(ending).collect();
        let is_parquet = match endings.as_deref() {
            Some([first, rest @ ..]) if rest.iter().all(|ending| ending == first) => match first.as_str() {
                PARQUET => true,
                ARROW => false,
                _ => return Err(other(input)),
            },
            _ => return Err(other(input)),
        };
        let place = |file: &PathBuf| match origin(file) {
            Some(location) => Ok(location.to_string()),
            None => Ok(std::path::absolute(file).map_err(Error::io(file.display()))?.to_string_lossy().into_owned()),
        };
        let files: Vec<String> = files.iter().map(place).collect::<Result<_>>()?;
        if !is_parquet && files.iter().any(|file| is_url(file)) {
            let text = "is Arrow in an object store, from which a cluster reads Parquet only";
            return Err(Error::new(input, text).hint("leave out --cluster"));
        }
        Ok(Asked { name: name.to_owned(), files, is_parquet })
    }
}

fn other(input: &Input) -> Error {
    let text = "is neither a .parquet or .arrow file nor a folder of shards, and a cluster reads no other tables";
    Error::new(input, text).hint("leave out --cluster")
}

/// An answer that is on its way, as an Arrow stream.
pub struct Answer(Spokesman);

/// Asks `cluster`.
///
/// # Errors
/// The program `worker` is missing.
pub fn ask(cluster: &Cluster, question: &Question) -> Result<Answer> {
    let text = serde_json::to_vec(question).map_err(Error::at("query"))?;
    // It reads the whole question before it answers.
    Spokesman::start(cluster, |worker| worker.arg("--ask"), &text).map(Answer)
}

impl Answer {
    /// The bytes of the stream.
    pub fn bytes(&mut self) -> Option<ChildStdout> {
        self.0.output()
    }

    /// Waits until the answer has ended.
    ///
    /// # Errors
    /// What was wrong with the query, a table, or the cluster.
    pub fn end(self) -> Result<()> {
        self.0.end()
    }
}
