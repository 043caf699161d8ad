//! The two layouts of a model folder: a RobertaDot, and the list of modules of sentence-transformers
//! (`modules.json` and a folder for each module).

use std::path::{Path, PathBuf};

use hardmine_records::{Error, Result};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::config::{Activation, read_json};

/// How a model folder is laid out, which is also how it is saved.
pub(crate) enum Layout {
    /// `config.json` and weights with `embeddingHead` and `norm` in one file.
    RobertaDot,
    /// sentence-transformers.
    Modules(Vec<Module>),
}

/// An entry of `modules.json`.
pub(crate) struct Module {
    /// The entry as it stands there.
    pub entry: Value,
    /// Its folder, relative to the model's.
    pub path: PathBuf,
    /// What it does.
    pub step: Step,
    /// The text of its own `config.json`, where it has one.
    pub config: Option<String>,
}

/// What a module does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Step {
    /// Token ids to hidden states.
    Transformer,
    /// Hidden states to one vector.
    Pooling(Pooling),
    /// A matrix and an activation.
    Dense { inputs: i64, outputs: i64, bias: bool, activation: Activation },
    /// Length 1.
    Normalize,
}

/// How the hidden states of a text become one vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pooling {
    /// The first token's.
    First,
    /// The mean over tokens.
    Mean,
}

#[derive(Deserialize)]
struct DenseConfig {
    in_features: i64,
    out_features: i64,
    #[serde(default = "yes")]
    bias: bool,
    activation_function: String,
}

fn yes() -> bool {
    true
}

impl Layout {
    /// The folder of the transformer, relative to the model's.
    pub fn transformer(&self) -> &Path {
        match self {
            Layout::RobertaDot => Path::new(""),
            Layout::Modules(modules) => modules
                .iter()
                .find(|module| module.step == Step::Transformer)
                .map_or(Path::new(""), |module| &module.path),
        }
    }

    /// Transformer and mean pooling: what sentence-transformers makes of a folder without modules.
    pub fn mean_of(hidden_size: i64) -> Layout {
        let name = |name: &str| format!("sentence_transformers.models.{name}");
        let pooling = json!({"word_embedding_dimension": hidden_size, "pooling_mode_cls_token": false, "pooling_mode_mean_tokens": true});
        Layout::Modules(vec![
            Module {
                entry: json!({"idx": 0, "name": "0", "path": "", "type": name("Transformer")}),
                path: PathBuf::new(),
                step: Step::Transformer,
                config: None,
            },
            Module {
                entry: json!({"idx": 1, "name": "1", "path": "1_Pooling", "type": name("Pooling")}),
                path: "1_Pooling".into(),
                step: Step::Pooling(Pooling::Mean),
                config: Some(format!("{pooling:#}\n")),
            },
        ])
    }
}

/// Reads `modules.json` of a model folder and the configuration of every module; none without that file.
///
/// # Errors
/// A module we don't know, modules in an order that makes no sense, malformed files.
pub(crate) fn read(folder: &Path) -> Result<Option<Vec<Module>>> {
    let list = folder.join("modules.json");
    if !list.exists() {
        return Ok(None);
    }
    let wrong = |text: String| Error::new(list.display(), text);
    let entries: Vec<Value> = read_json(&list)?;
    let modules = entries.into_iter().map(|entry| module(folder, &list, entry)).collect::<Result<Vec<_>>>()?;
    let is_transformer = |module: &Module| module.step == Step::Transformer;
    let is_pooling = |module: &Module| matches!(module.step, Step::Pooling(_));
    match &modules[..] {
        [first, second, rest @ ..] if is_transformer(first) && is_pooling(second) => {
            if rest.iter().any(|module| is_transformer(module) || is_pooling(module)) {
                return Err(wrong("expected one Transformer and one Pooling, found more".into()));
            }
            Ok(Some(modules))
        }
        _ => Err(wrong("expected a Transformer first and a Pooling second".into())),
    }
}

fn module(folder: &Path, list: &Path, entry: Value) -> Result<Module> {
    let wrong = |text: String| Error::new(list.display(), text);
    let text = |name: &str| entry.get(name).and_then(Value::as_str).unwrap_or_default();
    let path = PathBuf::from(text("path"));
    if path.is_absolute() || path.components().any(|part| part.as_os_str() == "..") {
        return Err(wrong(format!("module path '{}' leaves the model's folder", path.display())));
    }
    let class = text("type").rsplit('.').next().unwrap_or_default();
    let file = folder.join(&path).join("config.json");
    let read = || std::fs::read_to_string(&file).map_err(Error::io(file.display()));
    let (step, config) = match class {
        "Transformer" => (Step::Transformer, None),
        "Pooling" => (Step::Pooling(pooling(&file)?), Some(read()?)),
        "Dense" => (dense(&file)?, Some(read()?)),
        "Normalize" => (Step::Normalize, None),
        _ => {
            let found = text("type");
            return Err(wrong(format!(
                "module '{found}' is not known; expected Transformer, Pooling, Dense or Normalize"
            )));
        }
    };
    Ok(Module { path, step, config, entry })
}

fn pooling(file: &Path) -> Result<Pooling> {
    let config: serde_json::Map<String, Value> = read_json(file)?;
    let on: Vec<&str> = match config.get("pooling_mode") {
        Some(Value::String(mode)) => vec![mode],
        _ => config
            .iter()
            .filter(|(name, value)| name.starts_with("pooling_mode_") && **value == Value::Bool(true))
            .map(|(name, _)| &name["pooling_mode_".len()..])
            .collect(),
    };
    match on[..] {
        ["cls_token" | "cls"] => Ok(Pooling::First),
        ["mean_tokens" | "mean"] => Ok(Pooling::Mean),
        _ => Err(Error::new(
            file.display(),
            format!("pooling by {on:?} is not known; expected cls_token or mean_tokens alone"),
        )),
    }
}

fn dense(file: &Path) -> Result<Step> {
    let config: DenseConfig = read_json(file)?;
    let activation = match config.activation_function.rsplit('.').next().unwrap_or_default() {
        "Tanh" => Activation::Tanh,
        "Identity" => Activation::Identity,
        "ReLU" => Activation::Relu,
        "GELU" => Activation::Gelu,
        other => return Err(Error::new(file.display(), format!("activation_function '{other}' is not known"))),
    };
    Ok(Step::Dense { inputs: config.in_features, outputs: config.out_features, bias: config.bias, activation })
}
