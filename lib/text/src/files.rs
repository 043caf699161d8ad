//! Finds and reads the files that a tokenizer is made of.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use hardmine_files::read_small;
use hardmine_records::{Error, Result};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Files that we can't read. Where one is there, the error can say more than that there is no tokenizer.
const SENTENCEPIECE: [&str; 4] = ["sentencepiece.bpe.model", "spiece.model", "spm.model", "tokenizer.model"];

/// The files that define one tokenizer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum TokenizerFiles {
    /// A `tokenizer.json`, which can hold any tokenizer of Hugging Face's.
    Json(PathBuf),
    /// The folder of a `vocab.json` and a `merges.txt`, which make a byte-level BPE.
    ByteLevel(PathBuf),
    /// The folder of a `vocab.txt`, which makes a WordPiece tokenizer.
    WordPiece(PathBuf),
}

impl TokenizerFiles {
    /// Finds the tokenizer in `path`, which is a folder or a `tokenizer.json`. If a folder has files for several, the
    /// one that comes first above is taken.
    ///
    /// # Errors
    /// There is no tokenizer that can be read.
    pub(crate) fn find(path: &Path) -> Result<Self> {
        let attributes = fs::metadata(path).map_err(|e| {
            Error::io(path.display())(e).hint("--tokenizer names a folder with tokenizer.json, or that file")
        })?;
        if attributes.is_file() {
            return Ok(TokenizerFiles::Json(path.into()));
        }
        // sentence-transformers may keep the encoder and its tokenizer one level down.
        let folders = [home(path)?, path.into()];
        for folder in &folders {
            let has = |name: &str| folder.join(name).is_file();
            if has("tokenizer.json") {
                return Ok(TokenizerFiles::Json(folder.join("tokenizer.json")));
            } else if has("vocab.json") && has("merges.txt") {
                return Ok(TokenizerFiles::ByteLevel(folder.clone()));
            } else if has("vocab.txt") {
                return Ok(TokenizerFiles::WordPiece(folder.clone()));
            }
        }
        let unread = folders.iter().flat_map(|folder| SENTENCEPIECE.map(|name| folder.join(name)));
        if let Some(file) = unread.into_iter().find(|file| file.is_file()) {
            let message = "is a SentencePiece model, which is not read here, and there is no tokenizer.json beside it";
            return Err(Error::new(file.display(), message).hint(
                "transformers writes one: AutoTokenizer.from_pretrained(DIR).save_pretrained(DIR), with sentencepiece installed",
            ));
        }
        Err(Error::new(
            path.display(),
            "no tokenizer: expected tokenizer.json, vocab.json and merges.txt, or vocab.txt",
        )
        .hint("--tokenizer names a model folder as transformers and sentence-transformers save it"))
    }

    /// The folder they are in.
    pub(crate) fn folder(&self) -> Option<&Path> {
        match self {
            TokenizerFiles::Json(path) => path.parent(),
            TokenizerFiles::ByteLevel(folder) | TokenizerFiles::WordPiece(folder) => Some(folder),
        }
    }

    /// Their name in messages.
    pub(crate) fn place(&self) -> impl std::fmt::Display {
        let (TokenizerFiles::Json(path) | TokenizerFiles::ByteLevel(path) | TokenizerFiles::WordPiece(path)) = self;
        path.display()
    }

    /// `vocab.json` and `merges.txt` in the folder `path`, whatever else is there.
    pub(crate) fn find_byte_level(path: &Path) -> Result<Self> {
        match ["vocab.json", "merges.txt"].into_iter().find(|name| !path.join(name).is_file()) {
            None => Ok(TokenizerFiles::ByteLevel(path.into())),
            Some(missing) => Err(Error::new(path.display(), format!("no {missing} there"))
                .hint("--compat transformers-2 needs a folder with RoBERTa's vocab.json and merges.txt")),
        }
    }
}

/// The most bytes that a file of a tokenizer may have, ten times as many as the largest known one has.
const MAX_SIZE: u64 = 512 << 20;

pub(crate) fn read(path: &Path) -> Result<Vec<u8>> {
    read_small(path, MAX_SIZE)
}

pub(crate) fn read_text(path: &Path) -> Result<String> {
    String::from_utf8(read(path)?).map_err(|e| Error::new(path.display(), e.utf8_error()))
}

/// Reads a `vocab.json`: the id of each token.
pub(crate) fn read_vocabulary(path: &Path) -> Result<HashMap<String, u32>> {
    let vocabulary: HashMap<String, u32> = serde_json::from_slice(&read(path)?)
        .map_err(|e| Error::new(path.display(), format!("expected a JSON object of tokens and ids: {e}")))?;
    match vocabulary.values().find(|&&id| id > i32::MAX as u32) {
        Some(id) => Err(Error::new(path.display(), format!("id {id} does not fit an int32"))),
        None => Ok(vocabulary),
    }
}

pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    serde_json::from_slice(&read(path)?).map_err(Error::at(path.display()))
}

/// The folder that the transformer and its tokenizer are in: that of the Transformer module if there is a
/// `modules.json`, and `path` itself otherwise.
pub(crate) fn home(path: &Path) -> Result<PathBuf> {
    let list = path.join("modules.json");
    if !list.is_file() {
        return Ok(path.into());
    }
    let modules: Vec<Value> = read_json(&list)?;
    let text = |module: &Value, name: &str| module.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let transformer = modules.iter().find(|module| text(module, "type").ends_with("Transformer"));
    Ok(path.join(transformer.map(|module| text(module, "path")).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A fresh folder with these files.
    fn folder(name: &str, files: &[(&str, &str)]) -> PathBuf {
        let path = std::env::temp_dir().join(format!("hardmine-text-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        for (file, content) in files {
            fs::write(path.join(file), content).unwrap();
        }
        path
    }

    #[test]
    fn the_richest_description_wins() {
        let path = folder("wins", &[("vocab.txt", "a")]);
        assert_eq!(TokenizerFiles::find(&path).unwrap(), TokenizerFiles::WordPiece(path.clone()));
        fs::write(path.join("vocab.json"), "{}").unwrap();
        assert_eq!(TokenizerFiles::find(&path).unwrap(), TokenizerFiles::WordPiece(path.clone()));
        fs::write(path.join("merges.txt"), "").unwrap();
        assert_eq!(TokenizerFiles::find(&path).unwrap(), TokenizerFiles::ByteLevel(path.clone()));
        fs::write(path.join("tokenizer.json"), "{}").unwrap();
        assert_eq!(TokenizerFiles::find(&path).unwrap(), TokenizerFiles::Json(path.join("tokenizer.json")));
        fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn nothing_there_is_said() {
        let path = folder("empty", &[]);
        let text = TokenizerFiles::find(&path).unwrap_err().to_string();
        assert!(text.contains("no tokenizer: expected tokenizer.json"), "{text}");
        fs::remove_dir_all(&path).unwrap();
        assert!(TokenizerFiles::find(&path).unwrap_err().to_string().contains("no such file"));
    }
}
