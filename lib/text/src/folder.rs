//! What a model folder says of its texts besides the tokenizer: the settings that sentence-transformers reads.

use std::collections::BTreeMap;
use std::path::Path;

use hardmine_records::Result;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::TextKind;
use crate::files::{home, read_json};
use crate::tokenizer_config::TokenizerConfig;

/// The names that the settings of the Transformer module have had.
const MODULE_SETTINGS: [&str; 7] = [
    "sentence_bert_config.json",
    "sentence_roberta_config.json",
    "sentence_distilbert_config.json",
    "sentence_camembert_config.json",
    "sentence_albert_config.json",
    "sentence_xlm-roberta_config.json",
    "sentence_xlnet_config.json",
];

/// The settings of a model folder in the layout of sentence-transformers. A folder of another layout says nothing.
#[derive(Debug, Default)]
pub struct FolderSettings {
    max_length: Option<usize>,
    lower_case: bool,
    /// Settings of the Transformer module that nothing here follows, with the file they are in.
    not_followed: Vec<String>,
    /// The file of the following settings.
    place: String,
    prompts: BTreeMap<String, String>,
    default_prompt_name: Option<String>,
    similarity: Option<String>,
    truncate_dim: Option<u64>,
}

/// `sentence_bert_config.json`.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Module {
    max_seq_length: Option<usize>,
    do_lower_case: Option<bool>,
    #[serde(flatten)]
    others: Map<String, Value>,
}

/// `config_sentence_transformers.json`.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Model {
    prompts: Option<BTreeMap<String, Option<String>>>,
    default_prompt_name: Option<String>,
    similarity_fn_name: Option<String>,
    truncate_dim: Option<u64>,
}

impl FolderSettings {
    /// Reads the settings of the model folder `path`. A `tokenizer.json` by itself has none.
    ///
    /// # Errors
    /// Malformed files.
    pub fn read(path: &Path) -> Result<Self> {
        let list = path.join("modules.json");
        if !list.is_file() {
            return Ok(FolderSettings::default());
        }
        let home = home(path)?;
        let file = MODULE_SETTINGS.into_iter().map(|name| home.join(name)).find(|file| file.is_file());
        let module: Module = file.as_deref().map_or(Ok(Module::default()), read_json)?;
        let place = file.unwrap_or_default();
        let not_followed = module.others.iter().filter(|(name, value)| changes_vectors(name, value));
        let not_followed = not_followed.map(|(name, value)| format!("{}: {name} is {value}", place.display()));

        let file = path.join("config_sentence_transformers.json");
        let model: Model = if file.is_file() { read_json(&file)? } else { Model::default() };
        let prompts = model.prompts.unwrap_or_default().into_iter();
        Ok(FolderSettings {
            max_length: longest(module.max_seq_length, &home)?,
            lower_case: module.do_lower_case.unwrap_or(false),
            not_followed: not_followed.collect(),
            place: file.display().to_string(),
            prompts: prompts.filter_map(|(name, text)| Some((name, text?))).collect(),
            default_prompt_name: model.default_prompt_name,
            similarity: model.similarity_fn_name,
            truncate_dim: model.truncate_dim,
        })
    }

    /// The most token ids that sentence-transformers encodes of a text, special tokens included.
    pub fn max_length(&self) -> Option<usize> {
        self.max_length
    }

    /// How many of the first numbers of a vector sentence-transformers keeps.
    pub fn dimensions(&self) -> Option<usize> {
        self.truncate_dim.map(|dimensions| dimensions as usize)
    }

    /// Whether a text is lower-cased before it comes to the tokenizer.
    pub(crate) fn lower_case(&self) -> bool {
        self.lower_case
    }

    /// The prompt that sentence-transformers puts in front of a text: of the names for its kind the first there is,
    /// else the default.
    fn prompt(&self, kind: TextKind) -> Option<&str> {
        let names: &[&str] = match kind {
            TextKind::Query => &["query"],
            TextKind::Passage | TextKind::Document => &["document", "passage", "corpus"],
        };
        let of_kind = names.iter().find_map(|&name| self.prompts.get(name));
        let default = || self.default_prompt_name.as_ref().and_then(|name| self.prompts.get(name));
        of_kind.or_else(default).map(String::as_str).filter(|prompt| !prompt.is_empty())
    }

    /// Warns of the settings for texts of this `kind` that `tokenize` does not follow.
    pub fn warn_of_texts(&self, kind: TextKind) {
        if let Some(prompt) = self.prompt(kind) {
            tracing::warn!(
                "{}: its prompt {prompt:?} is not put in front of the texts, as sentence-transformers does; \
                 hint: put it there in the input",
                self.place
            );
        }
        if let Some(name) = self.default_prompt_name.as_ref().filter(|&name| !self.prompts.contains_key(name)) {
            tracing::warn!("{}: default_prompt_name is {name:?}, which is none of its prompts", self.place);
        }
        for setting in &self.not_followed {
            tracing::warn!("{setting}, which is not followed here");
        }
    }

    /// Warns of the settings for vectors that `embed` does not follow; `normalized` says whether its vectors have
    /// length 1.
    pub fn warn_of_vectors(&self, normalized: bool) {
        match self.similarity.as_deref() {
            None | Some("dot" | "dot_product") => {}
            // Of vectors of length 1, all three have the same order.
            Some("cosine" | "euclidean") if normalized => {}
            Some(name @ "cosine") => tracing::warn!(
                "{}: similarity_fn_name is {name}, but rank takes inner products, and the vectors are not normalised; \
                 hint: add a sentence_transformers.models.Normalize to modules.json",
                self.place
            ),
            Some(name) => {
                tracing::warn!("{}: similarity_fn_name is {name}, but rank takes inner products", self.place);
            }
        }
    }
}

/// The most token ids of a text: what is `stated`, else what the tokenizer says, and no more than there are
/// positions.
fn longest(stated: Option<usize>, home: &Path) -> Result<Option<usize>> {
    let config = home.join("config.json");
    let config: Map<String, Value> = if config.is_file() { read_json(&config)? } else { Map::new() };
    let number = |name: &str| config.get(name).and_then(Value::as_u64).map(|number| number as usize);
    // Positions of the RoBERTa family begin after that of padding, which in an MPNet is always 1.
    let reserved = match config.get("model_type").and_then(Value::as_str) {
        Some("roberta" | "xlm-roberta" | "camembert") => number("pad_token_id").unwrap_or(1) + 1,
        Some("mpnet") => 2,
        _ => 0,
    };
    let positions = number("max_position_embeddings").map(|rows| rows.saturating_sub(reserved));
    let stated = match stated {
        Some(length) => Some(length),
        None => TokenizerConfig::read(home)?.model_max_length()?,
    };
    Ok([stated, positions].into_iter().flatten().min())
}

/// Whether a setting of the Transformer module, other than those read above, makes other vectors than without it.
fn changes_vectors(name: &str, value: &Value) -> bool {
    let usual = match name {
        "transformer_task" => json!("feature-extraction"),
        "modality_config" => json!({"text": {"method": "forward", "method_output_name": "last_hidden_state"}}),
        "module_output_name" => json!("token_embeddings"),
        // How texts are padded doesn't matter, and which class holds the weights neither.
        "unpad_inputs" | "model_name_or_path" | "tokenizer_name_or_path" | "cache_dir" | "backend" => return false,
        _ => Value::Null,
    };
    let nothing = [Value::Null, json!({}), json!(false), usual];
    !nothing.contains(value)
}
