//! The two layouts of a model folder: a RobertaDot, and the list of modules of sentence-transformers
//! (`modules.json` and a folder for each module).

use std::path::{Path, PathBuf};

use hardmine_records::{Error, Result};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::config::{read_json, read_text};
use crate::layers::Activation;
use crate::pooling::{Pooling, PoolingMode};
use crate::similarity::Similarity;

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
#[derive(Clone, Debug, PartialEq)]
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

    /// How hidden states become a vector.
    pub fn pooling(&self) -> Pooling {
        let Layout::Modules(modules) = self else { return Pooling::of(PoolingMode::Cls) };
        let pooling = modules.iter().find_map(|module| match &module.step {
            Step::Pooling(pooling) => Some(pooling.clone()),
            _ => None,
        });
        pooling.unwrap_or(Pooling::of(PoolingMode::Cls))
    }

    /// Transformer and pooling: what sentence-transformers makes of a folder without modules, with the mean.
    pub fn pooled(hidden_size: i64, pooling: Pooling) -> Layout {
        let config = pooling.to_config(hidden_size);
        Layout::Modules(vec![
            Module {
                entry: entry(0, "", "sentence_transformers.models.Transformer"),
                path: PathBuf::new(),
                step: Step::Transformer,
                config: None,
            },
            Module {
                entry: entry(1, "1_Pooling", "sentence_transformers.models.Pooling"),
                path: "1_Pooling".into(),
                step: Step::Pooling(pooling),
                config: Some(config),
            },
        ])
    }

    /// Whether all vectors have length 1.
    pub fn normalizes(&self) -> bool {
        let Layout::Modules(modules) = self else { return false };
        modules.last().is_some_and(|module| module.step == Step::Normalize)
    }

    /// Adds a Normalize module at the end, or takes out those at the end, so that vectors are compared by `similarity`.
    /// A RobertaDot has no modules, and says no if it is to be compared by cosine.
    pub fn compare_by(&mut self, similarity: Similarity) -> std::result::Result<(), &'static str> {
        match (self, similarity) {
            (Layout::RobertaDot, Similarity::Dot) => Ok(()),
            (Layout::RobertaDot, Similarity::Cosine) => Err("a RobertaDot has no Normalize module"),
            (Layout::Modules(modules), Similarity::Dot) => {
                while modules.pop_if(|module| module.step == Step::Normalize).is_some() {}
                Ok(())
            }
            (Layout::Modules(modules), Similarity::Cosine) => {
                if modules.last().is_none_or(|module| module.step != Step::Normalize) {
                    let module = normalize(modules);
                    modules.push(module);
                }
                Ok(())
            }
        }
    }
}

/// A Normalize module to follow `others`, as their version of sentence-transformers names it.
fn normalize(others: &[Module]) -> Module {
    let of = |module: &Module| module.entry.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
    let class = match others.first().map(of) {
        Some(class) if class.starts_with("sentence_transformers.base.") => {
            "sentence_transformers.base.modules.normalize.Normalize"
        }
        _ => "sentence_transformers.models.Normalize",
    };
    let path = format!("{}_Normalize", others.len());
    let config =
        "{\n  \"module_input_name\": \"sentence_embedding\",\n  \"module_output_name\": \"sentence_embedding\"\n}\n";
    Module {
        entry: entry(others.len(), &path, class),
        path: path.into(),
        step: Step::Normalize,
        config: class.contains(".base.").then(|| config.into()),
    }
}

fn entry(number: usize, path: &str, class: &str) -> Value {
    json!({ "idx": number, "name": number.to_string(), "path": path, "type": class })
}

/// The similarity that `config_sentence_transformers.json` of a model folder states; none if it states none.
///
/// # Errors
/// A malformed file, or a similarity that is not computed here.
pub(crate) fn stated_similarity(folder: &Path) -> Result<Option<Similarity>> {
    let file = folder.join("config_sentence_transformers.json");
    let config: Value = if file.is_file() { read_json(&file)? } else { Value::Null };
    match config.get("similarity_fn_name") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(name)) if name == "dot_product" => Ok(Some(Similarity::Dot)),
        Some(name) => match name.as_str().unwrap_or_default().parse() {
            Ok(similarity) => Ok(Some(similarity)),
            Err(expected) => Err(Error::new(file.display(), format!("similarity_fn_name is {name}; {expected}"))
                .hint("--similarity says by what to train")),
        },
    }
}

/// To how many dimensions sentence-transformers cuts the vectors of a model folder; none if to none.
///
/// # Errors
/// A malformed file.
pub(crate) fn stated_dimensions(folder: &Path) -> Result<Option<u64>> {
    let file = folder.join("config_sentence_transformers.json");
    let config: Value = if file.is_file() { read_json(&file)? } else { Value::Null };
    Ok(config.get("truncate_dim").and_then(Value::as_u64))
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
        "Pooling" => (Step::Pooling(Pooling::read(&file)?), Some(read()?)),
        "Dense" => (dense(&file)?, Some(read()?)),
        "Normalize" if file.is_file() => (Step::Normalize, Some(normalize_config(&file)?)),
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

/// The text of a Normalize module's configuration.
fn normalize_config(file: &Path) -> Result<String> {
    check_names(file, &read_json(file)?)?;
    read_text(file)
}

/// Refuses a module that takes anything but the vector of a text, or makes anything else of it.
fn check_names(file: &Path, config: &Value) -> Result<()> {
    for name in ["module_input_name", "module_output_name"] {
        if let Some(other) = config.get(name).filter(|value| !value.is_null() && *value != "sentence_embedding") {
            let text = format!("{name} {other} is not known; expected \"sentence_embedding\"");
            return Err(Error::new(file.display(), text));
        }
    }
    Ok(())
}

fn dense(file: &Path) -> Result<Step> {
    let fields: Value = read_json(file)?;
    check_names(file, &fields)?;
    let config = DenseConfig::deserialize(fields).map_err(Error::at(file.display()))?;
    let activation = match config.activation_function.rsplit('.').next().unwrap_or_default() {
        "Tanh" => Activation::Tanh,
        "Identity" => Activation::Identity,
        "ReLU" => Activation::Relu,
        "GELU" => Activation::Gelu,
        "SiLU" => Activation::Silu,
        other => {
            let text =
                format!("activation_function '{other}' is not known; expected Tanh, Identity, ReLU, GELU or SiLU");
            return Err(Error::new(file.display(), text));
        }
    };
    Ok(Step::Dense { inputs: config.in_features, outputs: config.out_features, bias: config.bias, activation })
}
