//! Writing a model folder that transformers and sentence-transformers open.

use std::fs;
use std::path::Path;

use hardmine_records::{Error, Result};
use serde_json::{Map, Value, json};

use crate::Encoder;
use crate::Similarity;
use crate::checkpoint::{self, SAFETENSORS};
use crate::config::read_json;
use crate::modules::{Layout, Module, Step};
use crate::tower::{Tower, say_tower};

/// Files beside the weights that go with a model unchanged: its tokenizer, and what
/// sentence-transformers wants to know.
const COMPANIONS: [&str; 10] = [
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "sentencepiece.bpe.model",
    "sentence_bert_config.json",
    SENTENCE_TRANSFORMERS,
];

/// The file of sentence-transformers with the similarity and the prompts.
const SENTENCE_TRANSFORMERS: &str = "config_sentence_transformers.json";

impl Encoder {
    /// Writes the model into `folder`, in the layout it was loaded from, with the tokenizer's files
    /// of the folder it was loaded from. Weights are float32.
    ///
    /// # Errors
    /// What can't be read or written.
    pub fn save(&self, folder: &Path) -> Result<()> {
        let home = folder.join(self.layout.transformer());
        create(&home)?;
        let came_from = self.folder.join(self.layout.transformer());
        write_json(&home.join("config.json"), &self.saved_config(&came_from)?)?;
        copy_companions(&came_from, &home)?;
        if let Layout::Modules(modules) = &self.layout {
            copy_companions(&self.folder, folder)?;
            let limits = home.join("sentence_bert_config.json");
            if !limits.exists() {
                // sentence-transformers 3 asks a hub for it where it is missing.
                let longest = self.config.sizes.max_tokens;
                write_json(&limits, &json!({ "max_seq_length": longest, "do_lower_case": false }))?;
            }
            let entries: Vec<&Value> = modules.iter().map(|module| &module.entry).collect();
            write_json(&folder.join("modules.json"), &json!(entries))?;
            say_similarity(&folder.join(SENTENCE_TRANSFORMERS), self.similarity())?;
            modules.iter().try_for_each(|module| self.save_module(folder, module))?;
        }
        if !self.prompts.is_empty() {
            say_prompts(&folder.join(SENTENCE_TRANSFORMERS), &self.prompts)?;
        }
        let dense = self.dense_prefixes();
        let tensors = self.parameters.iter().chain(&self.pooler).map(|(name, tensor)| (name.as_str(), tensor));
        let here = tensors.filter(|(name, _)| !dense.iter().any(|prefix| name.starts_with(prefix)));
        let of_tower = self.tower.iter().flat_map(Tower::tensors).collect::<Vec<_>>();
        let here = here.chain(of_tower.iter().map(|(name, tensor)| (*name, tensor)));
        checkpoint::write(&home.join(SAFETENSORS), here)
    }

    fn save_module(&self, folder: &Path, module: &Module) -> Result<()> {
        let own = folder.join(&module.path);
        create(&own)?;
        if let Some(config) = &module.config {
            let file = own.join("config.json");
            fs::write(&file, config).map_err(Error::io(file.display()))?;
        }
        if matches!(module.step, Step::Dense { .. }) {
            let prefix = format!("{}.", module.path.display());
            let tensors =
                self.parameters.iter().filter_map(|(name, tensor)| Some((name.strip_prefix(&prefix)?, tensor)));
            checkpoint::write(&own.join(SAFETENSORS), tensors)?;
        }
        Ok(())
    }

    fn dense_prefixes(&self) -> Vec<String> {
        let Layout::Modules(modules) = &self.layout else { return Vec::new() };
        let dense = modules.iter().filter(|module| matches!(module.step, Step::Dense { .. }));
        dense.map(|module| format!("{}.", module.path.display())).collect()
    }

    /// The configuration it was loaded with, and what has changed since.
    fn saved_config(&self, came_from: &Path) -> Result<Value> {
        let mut config: Map<String, Value> = read_json(&came_from.join("config.json"))?;
        for name in ["torch_dtype", "dtype"] {
            if let Some(value) = config.get_mut(name) {
                *value = json!("float32");
            }
        }
        if let Layout::RobertaDot = self.layout {
            config.insert("architectures".into(), json!(["RobertaDot"]));
        }
        match &self.config.document_model {
            Some(digest) => config.insert("hardmine".into(), json!({ "document_model": digest })),
            // The model it was loaded from may have been trained by ADORE, and this one may encode documents again.
            None => config.remove("hardmine"),
        };
        say_tower(&mut config, self.tower.as_ref());
        Ok(Value::Object(config))
    }
}

/// Says how the model was trained, because sentence-transformers takes the cosine where nothing is said.
fn say_similarity(file: &Path, similarity: Similarity) -> Result<()> {
    let mut config = read_or_empty(file)?;
    config.insert("similarity_fn_name".into(), json!(similarity.to_string()));
    write_json(file, &Value::Object(config))
}

/// Adds `prompts` to those of the folder, in place of those with the same names.
fn say_prompts(file: &Path, prompts: &[(&str, String)]) -> Result<()> {
    let mut config = read_or_empty(file)?;
    let all = config.entry("prompts").or_insert(Value::Null);
    if !all.is_object() {
        *all = json!({});
    }
    for (name, prompt) in prompts {
        all[name] = json!(prompt);
    }
    write_json(file, &Value::Object(config))
}

fn read_or_empty(file: &Path) -> Result<Map<String, Value>> {
    if file.is_file() { read_json(file) } else { Ok(Map::new()) }
}

fn create(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).map_err(Error::io(folder.display()))
}

fn write_json(file: &Path, value: &Value) -> Result<()> {
    fs::write(file, format!("{value:#}\n")).map_err(Error::io(file.display()))
}

fn copy_companions(from: &Path, to: &Path) -> Result<()> {
    for name in COMPANIONS {
        let (source, target) = (from.join(name), to.join(name));
        if source.is_file() && source != target {
            fs::copy(&source, &target).map_err(Error::io(target.display()))?;
        }
    }
    Ok(())
}
