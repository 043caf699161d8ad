//! What identifies a model: a hash over the contents of the files that decide its vectors.

use std::fs::File;
use std::path::{Path, PathBuf};

use hardmine_records::{Error, Result};
use sha2::{Digest, Sha256};

use crate::checkpoint;
use crate::modules::{self, Step};

/// Digest of a model folder, 16 bytes of a SHA-256 in hexadecimal: over `config.json`, `modules.json`
/// with the modules' configurations, and the weights. Where the folder lies doesn't matter, nor do
/// the tokenizer's files.
///
/// # Errors
/// Files that are missing or can't be read.
pub fn digest(folder: &Path) -> Result<String> {
    let mut hash = Sha256::new();
    for file in files(folder)? {
        let mut content = File::open(&file).map_err(Error::io(file.display()))?;
        let name = file.strip_prefix(folder).unwrap_or(&file);
        let mut one = Sha256::new();
        std::io::copy(&mut content, &mut one).map_err(Error::io(file.display()))?;
        // The name ends in a zero byte and the inner hash has a fixed length: no two lists of files meet.
        hash.update(name.to_string_lossy().as_bytes());
        hash.update([0]);
        hash.update(one.finalize());
    }
    Ok(hash.finalize()[..16].iter().map(|byte| format!("{byte:02x}")).collect())
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let Some(modules) = modules::read(folder)? else {
        return Ok([vec![folder.join("config.json")], checkpoint::files(folder)?].concat());
    };
    let mut files = vec![folder.join("modules.json")];
    for module in modules {
        let own = folder.join(&module.path);
        if module.config.is_some() || module.step == Step::Transformer {
            files.push(own.join("config.json"));
        }
        if matches!(module.step, Step::Dense { .. } | Step::Transformer) {
            files.extend(checkpoint::files(&own)?);
        }
    }
    Ok(files)
}
