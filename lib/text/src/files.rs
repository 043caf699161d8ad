//! The files a tokenizer is made of: which of them are there, their contents, and a digest of both.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use hardmine_records::{Error, Result};
use sha2::{Digest, Sha256};

/// The files that define one tokenizer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum TokenizerFiles {
    /// Whatever Hugging Face's tokenizers can express.
    Json(PathBuf),
    /// `vocab.json` and `merges.txt`: byte-level BPE.
    ByteLevel(PathBuf),
    /// `vocab.txt`: WordPiece.
    WordPiece(PathBuf),
}

impl TokenizerFiles {
    /// What `path`, a folder or a `tokenizer.json`, holds. Of several the one that comes first above.
    ///
    /// # Errors
    /// Nothing is there.
    pub(crate) fn find(path: &Path) -> Result<Self> {
        let attributes = fs::metadata(path).map_err(|e| {
            Error::io(path.display())(e).hint("--tokenizer names a folder with tokenizer.json, or that file")
        })?;
        if attributes.is_file() {
            return Ok(TokenizerFiles::Json(path.into()));
        }
        // Older folders of sentence-transformers keep the encoder and its tokenizer one level down.
        for folder in [path.to_owned(), path.join("0_Transformer")] {
            let has = |name: &str| folder.join(name).is_file();
            if has("tokenizer.json") {
                return Ok(TokenizerFiles::Json(folder.join("tokenizer.json")));
            } else if has("vocab.json") && has("merges.txt") {
                return Ok(TokenizerFiles::ByteLevel(folder));
            } else if has("vocab.txt") {
                return Ok(TokenizerFiles::WordPiece(folder));
            }
        }
        Err(Error::new(
            path.display(),
            "no tokenizer: expected tokenizer.json, vocab.json and merges.txt, or vocab.txt",
        )
        .hint("--tokenizer names a model folder as transformers and sentence-transformers save it"))
    }

    /// `vocab.json` and `merges.txt` in the folder `path`, whatever else is there.
    pub(crate) fn find_byte_level(path: &Path) -> Result<Self> {
        match ["vocab.json", "merges.txt"].into_iter().find(|name| !path.join(name).is_file()) {
            None => Ok(TokenizerFiles::ByteLevel(path.into())),
            Some(missing) => Err(Error::new(path.display(), format!("no {missing} there"))
                .hint("--compat transformers-2 needs a folder with RoBERTa's vocab.json and merges.txt")),
        }
    }

    /// SHA-256 over what each file is called in a model folder and what it holds.
    pub(crate) fn digest(&self) -> Result<String> {
        let files = match self {
            TokenizerFiles::Json(path) => vec![("tokenizer.json", path.clone())],
            TokenizerFiles::ByteLevel(folder) => {
                ["vocab.json", "merges.txt"].map(|name| (name, folder.join(name))).into()
            }
            TokenizerFiles::WordPiece(folder) => {
                let names = ["vocab.txt", "tokenizer_config.json"].map(|name| (name, folder.join(name)));
                names.into_iter().filter(|(_, path)| path.is_file()).collect()
            }
        };
        let mut hasher = Sha256::new();
        for (name, path) in files {
            let content = read(&path)?;
            hasher.update(format!("{name} {}\n", content.len()));
            hasher.update(&content);
        }
        Ok(hasher.finalize()[..16].iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

/// Digest of the tokenizer at `path` (a folder or a `tokenizer.json`): SHA-256 over the contents of the
/// files that define it, cut to 16 bytes. The same files elsewhere have the same digest.
///
/// # Errors
/// No tokenizer there, or a file that can't be read.
pub fn tokenizer_digest(path: &Path) -> Result<String> {
    TokenizerFiles::find(path)?.digest()
}

pub(crate) fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(Error::io(path.display()))
}

pub(crate) fn read_text(path: &Path) -> Result<String> {
    String::from_utf8(read(path)?).map_err(|e| Error::new(path.display(), e.utf8_error()))
}

/// Token → id.
pub(crate) fn read_vocabulary(path: &Path) -> Result<HashMap<String, u32>> {
    let vocabulary: HashMap<String, u32> = serde_json::from_slice(&read(path)?)
        .map_err(|e| Error::new(path.display(), format!("expected a JSON object of tokens and ids: {e}")))?;
    match vocabulary.values().find(|&&id| id > i32::MAX as u32) {
        Some(id) => Err(Error::new(path.display(), format!("id {id} does not fit an int32"))),
        None => Ok(vocabulary),
    }
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
    fn a_digest_is_of_contents_and_not_of_paths() {
        let digest = |name: &str, content: &str| {
            let path = folder(name, &[("tokenizer.json", content)]);
            let digest = tokenizer_digest(&path).unwrap();
            assert_eq!(digest, tokenizer_digest(&path.join("tokenizer.json")).unwrap());
            fs::remove_dir_all(path).unwrap();
            digest
        };
        assert_eq!(digest("one", "{}"), digest("two", "{}"));
        assert_ne!(digest("one", "{}"), digest("two", "[]"));
    }

    #[test]
    fn nothing_there_is_said() {
        let path = folder("empty", &[]);
        let text = tokenizer_digest(&path).unwrap_err().to_string();
        assert!(text.contains("no tokenizer: expected tokenizer.json"), "{text}");
        fs::remove_dir_all(&path).unwrap();
        assert!(tokenizer_digest(&path).unwrap_err().to_string().contains("no such file"));
    }
}
