//! The two layouts of a model folder: a RobertaDot, and the list of modules of sentence-transformers
//! (`modules.json` and a folder for each module).

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use hardmine_records::{Error, Result};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::config::{Activation, read_json, read_text};

/// How a model folder is laid out, which is also how it is saved.
pub(crate) enum Layout {
    /// `config.json` and weights with `embeddingHead` and `norm` in one file.
    RobertaDot,
    /// A `modules.json` with a folder for each module, as sentence-transformers has it.
    Modules(Vec<Module>),
}

/// An entry of `modules.json`.
pub(crate) struct Module {
    /// The entry as it stands there.
    pub entry: Value,
    /// Its folder, relative to the model's.
    pub path: PathBuf,
    /// What the module computes.
    pub step: Step,
    /// The text of its own `config.json`, where it has one.
    pub config: Option<String>,
}

/// What a module computes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Step {
    /// Hidden states of token ids.
    Transformer,
    /// One vector of all hidden states of a text.
    Pooling(Pooling),
    /// A product with a matrix, then an activation.
    Dense { inputs: i64, outputs: i64, bias: bool, activation: Activation },
    /// The vector, divided by its length.
    Normalize,
}

/// How the hidden states of a text become one vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pooling {
    /// The hidden state of the first token.
    First,
    /// The mean over all tokens.
    Mean,
}

impl FromStr for Pooling {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        match text {
            "cls" => Ok(Pooling::First),
            "mean" => Ok(Pooling::Mean),
            _ => Err("expected cls or mean".into()),
        }
    }
}

impl fmt::Display for Pooling {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Pooling::First => "cls",
            Pooling::Mean => "mean",
        })
    }
}

#[derive(Deserialize)]
struct DenseConfig {
    in_features: i64,
    out_features: i64,
    #[serde(default = "yes")]
    bias: bool,
    activation_function: String,
    module_input_name: Option<String>,
    module_output_name: Option<String>,
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

    /// How hidden states become a vector.
    pub fn pooling(&self) -> Pooling {
        let Layout::Modules(modules) = self else { return Pooling::First };
        let pooling = modules.iter().find_map(|module| match module.step {
            Step::Pooling(pooling) => Some(pooling),
            _ => None,
        });
        pooling.unwrap_or(Pooling::First)
    }

    /// Transformer and pooling: what sentence-transformers makes of a folder without modules, with the mean.
    pub fn pooled(hidden_size: i64, pooling: Pooling) -> Layout {
        let name = |name: &str| format!("sentence_transformers.models.{name}");
        let config = json!({
            "word_embedding_dimension": hidden_size,
            "pooling_mode_cls_token": pooling == Pooling::First,
            "pooling_mode_mean_tokens": pooling == Pooling::Mean,
        });
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
                step: Step::Pooling(pooling),
                config: Some(format!("{config:#}\n")),
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
    let read = || read_text(&file);
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

/// The prefix of the older form of the setting: one yes or no for each mode.
const MODE: &str = "pooling_mode_";

fn pooling(file: &Path) -> Result<Pooling> {
    let config: serde_json::Map<String, Value> = read_json(file)?;
    let modes = |value: &Value| value.as_str().map(str::to_lowercase);
    let on: Vec<String> = match config.get("pooling_mode") {
        Some(Value::Array(list)) => list.iter().filter_map(modes).collect(),
        Some(Value::String(mode)) => vec![mode.to_lowercase()],
        _ => {
            let is_on = |name: &str| config.get(&format!("{MODE}{name}")) == Some(&Value::Bool(true));
            let on = config.keys().filter_map(|name| name.strip_prefix(MODE)).filter(|name| is_on(name));
            on.map(str::to_owned).collect()
        }
    };
    let on: Vec<&str> = on.iter().map(String::as_str).collect();
    match on[..] {
        [] => Ok(Pooling::Mean),
        ["mean_tokens" | "mean"] => Ok(Pooling::Mean),
        ["cls_token"] if !config.contains_key("pooling_mode_mean_tokens") => Err(Error::new(
            file.display(),
            "pooling_mode_cls_token without pooling_mode_mean_tokens, which versions of sentence-transformers take for \
             cls, or for cls and mean",
        )
        .hint("add \"pooling_mode_mean_tokens\": false")),
        ["cls_token" | "cls"] => Ok(Pooling::First),
        _ => Err(Error::new(
            file.display(),
            format!("pooling by {on:?} is not known; expected cls_token or mean_tokens alone"),
        )),
    }
}

fn dense(file: &Path) -> Result<Step> {
    let config: DenseConfig = read_json(file)?;
    for (name, value) in
        [("module_input_name", &config.module_input_name), ("module_output_name", &config.module_output_name)]
    {
        if let Some(other) = value.as_deref().filter(|&value| value != "sentence_embedding") {
            return Err(Error::new(
                file.display(),
                format!("{name} '{other}' is not known; expected sentence_embedding"),
            ));
        }
    }
    let activation = match config.activation_function.rsplit('.').next().unwrap_or_default() {
        "Tanh" => Activation::Tanh,
        "Identity" => Activation::Identity,
        "ReLU" => Activation::Relu,
        "GELU" => Activation::Gelu,
        other => return Err(Error::new(file.display(), format!("activation_function '{other}' is not known"))),
    };
    Ok(Step::Dense { inputs: config.in_features, outputs: config.out_features, bias: config.bias, activation })
}
