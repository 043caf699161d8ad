//! What a folder of results has: which rows of the table, and which of their files.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use hardmine_records::{Error, Result};

use crate::rows::{Row, known, sort};

/// The folders that make begins in a folder of results.
pub(crate) const PARTS: [&str; 7] = ["tokens", "qrels", "models", "embeddings", "negatives", "runs", "metrics"];

/// The folders that it begins for some rows only: those of BM25, and those of documents that are kept as codes.
pub(crate) const PARTS_OF_SOME: [&str; 3] = ["lexical", "fusion", "indexes"];

/// The splits in the order of the table; others come behind.
const SPLITS: [&str; 2] = ["dev", "test"];

/// A folder of results, as make leaves it or has begun it.
pub(crate) struct Folder {
    pub(crate) path: PathBuf,
    /// What has a run or metrics, and the table's rows that have a model, in the order of the table.
    pub(crate) rows: Vec<Row>,
    /// The splits that there are runs or metrics of.
    pub(crate) splits: Vec<String>,
}

impl Folder {
    /// Looks at what is in the folder.
    ///
    /// # Errors
    /// It can't be read, or has nothing in it that make would have made.
    pub(crate) fn open(path: &Path) -> Result<Folder> {
        names(path)?;
        let has_parts = |path: &Path| PARTS.iter().any(|part| path.join(part).is_dir());
        if !has_parts(path) {
            let error =
                Error::new(path.display(), format!("is no folder of results: it has no {}", PARTS.join(", no ")));
            let tasks: Vec<String> = names(path)?.into_iter().filter(|name| has_parts(&path.join(name))).collect();
            return Err(match tasks.first() {
                Some(task) => error.hint(format!("{} is one", path.join(task).display())),
                None => error.hint("give the folder of a task, such as OUT/passage"),
            });
        }
        let mut folder = Folder { path: path.to_owned(), rows: Vec::new(), splits: Vec::new() };
        let scored: Vec<(String, String)> =
            ["runs", "metrics"].iter().flat_map(|part| folder.of_splits(part)).collect();
        let mut rows: BTreeSet<String> = scored.iter().map(|(row, _)| row.clone()).collect();
        // Other models are steps on the way to a row.
        let known = known()?;
        let is_row = |name: &String| known.iter().any(|row| row.name == *name) && folder.file("models", name).is_dir();
        rows.extend(folder.list("models").into_iter().filter(is_row));
        folder.rows = sort(rows)?;
        let splits: BTreeSet<String> = scored.into_iter().map(|(_, split)| split).collect();
        folder.splits = splits.into_iter().collect();
        folder.splits.sort_by_key(|split| SPLITS.iter().position(|known| known == split).unwrap_or(SPLITS.len()));
        Ok(folder)
    }

    /// The names of what is in one of the parts, sorted; none if there is no such part. Temporary files are left out.
    pub(crate) fn list(&self, part: &str) -> Vec<String> {
        names(&self.path.join(part)).unwrap_or_default()
    }

    pub(crate) fn file(&self, part: &str, name: &str) -> PathBuf {
        self.path.join(part).join(name)
    }

    /// The file if it is there.
    pub(crate) fn existing(&self, part: &str, name: &str) -> Option<PathBuf> {
        Some(self.file(part, name)).filter(|path| path.exists())
    }

    /// The row and the split of each file ROW.SPLIT.parquet.
    fn of_splits(&self, part: &str) -> Vec<(String, String)> {
        let names = self.list(part).into_iter();
        let split = |name: String| {
            let (row, split) = name.strip_suffix(".parquet")?.rsplit_once('.')?;
            Some((row.to_owned(), split.to_owned()))
        };
        names.filter_map(split).collect()
    }

    /// What a whole folder would have and this one has not, in plain sentences.
    pub(crate) fn missing(&self) -> Vec<String> {
        let mut missing = Vec::new();
        for part in PARTS.into_iter().filter(|part| self.list(part).is_empty()) {
            missing.push(format!("There is nothing in {part}."));
        }
        for split in &self.splits {
            for part in ["runs", "metrics"].into_iter().filter(|part| !self.list(part).is_empty()) {
                let lacks = |row: &&Row| self.existing(part, &format!("{}.{split}.parquet", row.name)).is_none();
                let rows: Vec<&str> = self.rows.iter().filter(lacks).map(|row| row.label.as_str()).collect();
                if !rows.is_empty() {
                    missing.push(format!("{part} has nothing of {split} for {}.", rows.join(", ")));
                }
            }
        }
        if self.existing("", "table.tsv").is_none() {
            missing.push("There is no table.tsv yet; the table here is made of what is in metrics.".to_owned());
        }
        missing
    }
}

/// The names in a folder, sorted, without those that begin with a dot.
fn names(path: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(path).map_err(Error::io(path.display()))?;
    let mut names: Vec<String> =
        entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.retain(|name| !name.starts_with('.'));
    names.sort();
    Ok(names)
}
