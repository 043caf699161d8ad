//! The shape of a transformer, from a Hugging Face `config.json` of the BERT or RoBERTa family.

use std::path::Path;

use hardmine_files::read_small;
use hardmine_records::{Error, Result};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Which of the two families a transformer is of. They differ in the positions that tokens get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Positions count from 0.
    Bert,
    /// Positions count from `pad_token_id + 1`, padding left out.
    Roberta,
}

/// The function between the two matrices of a feed-forward block, or after a Dense module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// x·Φ(x), exact.
    Gelu,
    /// The approximation of x·Φ(x) by tanh.
    GeluTanh,
    /// max(x, 0).
    Relu,
    /// tanh(x).
    Tanh,
    /// x.
    Identity,
}

/// The largest of any size, far beyond that of any model: products of sizes stay in range, and what isn't in the
/// checkpoint can still be allocated.
const MAX_SIZE: i64 = 1 << 24;

/// Shape and constants of a transformer.
#[derive(Clone, Debug)]
pub struct Config {
    /// The family, from `model_type`.
    pub family: Family,
    /// Number of token ids, which is the number of rows of the word embedding.
    pub vocab_size: i64,
    /// Width of a hidden state.
    pub hidden_size: i64,
    /// Number of layers.
    pub num_hidden_layers: usize,
    /// Number of attention heads in each layer.
    pub num_attention_heads: i64,
    /// Width inside a feed-forward block.
    pub intermediate_size: i64,
    /// The function between the two matrices of a feed-forward block.
    pub activation: Activation,
    /// Number of rows of the position embedding.
    pub max_position_embeddings: i64,
    /// Number of rows of the token type embedding, of which only the first is used.
    pub type_vocab_size: i64,
    /// The small number that LayerNorm adds to the variance.
    pub layer_norm_eps: f64,
    /// Share of numbers that dropout sets to 0 in embeddings and in each block's output.
    pub hidden_dropout: f64,
    /// Share of attention probabilities that dropout sets to 0.
    pub attention_dropout: f64,
    /// The id of the padding token. The positions of a RoBERTa begin after it.
    pub pad_token_id: i64,
    /// Standard deviation of weights that are drawn anew.
    pub initializer_range: f64,
    /// Width of a RobertaDot's vectors, where it isn't the hidden size.
    pub output_embedding_size: Option<i64>,
    /// The class the weights were saved from.
    pub architecture: Option<String>,
    /// For a query encoder trained by ADORE: the digest of the encoder of the documents it searches.
    pub document_model: Option<String>,
}

#[derive(Deserialize)]
struct File {
    architectures: Option<Vec<String>>,
    vocab_size: i64,
    hidden_size: i64,
    num_hidden_layers: usize,
    num_attention_heads: i64,
    intermediate_size: i64,
    hidden_act: String,
    max_position_embeddings: i64,
    #[serde(default = "one")]
    type_vocab_size: i64,
    #[serde(default = "small")]
    layer_norm_eps: f64,
    hidden_dropout_prob: Option<f64>,
    attention_probs_dropout_prob: Option<f64>,
    pad_token_id: Option<i64>,
    position_embedding_type: Option<String>,
    is_decoder: Option<bool>,
    initializer_range: Option<f64>,
    output_embedding_size: Option<i64>,
    hardmine: Option<HardmineSettings>,
}

#[derive(Deserialize)]
struct HardmineSettings {
    document_model: Option<String>,
}

fn one() -> i64 {
    1
}

fn small() -> f64 {
    1e-12
}

/// The family of a configuration, or what is wrong with what it says of it.
fn family(fields: &Value) -> std::result::Result<Family, String> {
    const KNOWN: &str = "expected bert, roberta, xlm-roberta or camembert";
    let found = match fields.get("model_type") {
        Some(Value::String(name)) => match name.as_str() {
            "bert" => return Ok(Family::Bert),
            "roberta" | "xlm-roberta" | "camembert" => return Ok(Family::Roberta),
            other => format!("model_type '{other}' is not known"),
        },
        None | Some(Value::Null) => "no model_type".into(),
        Some(other) => format!("model_type is {other}, not a name"),
    };
    Err(format!("{found}; {KNOWN}"))
}

impl Config {
    /// Reads a `config.json`.
    ///
    /// # Errors
    /// The file is malformed, its family is not known, or a size in it can't be right.
    ///
    /// # Errors
    /// Missing or malformed file, a model of another family, sizes that make no sense.
    pub fn read(path: &Path) -> Result<Config> {
        let place = path.display();
        // The family first: others call the fields below otherwise.
        let fields: Value = read_json(path)?;
        let family = family(&fields).map_err(|text| Error::new(&place, text))?;
        let file = File::deserialize(&fields).map_err(Error::at(&place))?;
        let wrong = |text: String| Err(Error::new(&place, text));
        if file.is_decoder == Some(true) {
            return wrong(
                "is_decoder is true: a decoder, whose tokens don't see those after them; expected an encoder".into(),
            );
        }
        let activation = match file.hidden_act.as_str() {
            "gelu" => Activation::Gelu,
            "gelu_new" | "gelu_pytorch_tanh" => Activation::GeluTanh,
            "relu" => Activation::Relu,
            other => return wrong(format!("hidden_act '{other}' is not known; expected gelu, gelu_new or relu")),
        };
        if let Some(other) = file.position_embedding_type.as_deref().filter(|&name| name != "absolute") {
            return wrong(format!("position_embedding_type '{other}' is not known; expected absolute"));
        }
        let pad_token_id = file.pad_token_id.unwrap_or(if family == Family::Bert { 0 } else { 1 });
        for (name, size) in [
            ("vocab_size", file.vocab_size),
            ("hidden_size", file.hidden_size),
            ("num_attention_heads", file.num_attention_heads),
            ("intermediate_size", file.intermediate_size),
            ("max_position_embeddings", file.max_position_embeddings),
            ("type_vocab_size", file.type_vocab_size),
            ("output_embedding_size", file.output_embedding_size.unwrap_or(1)),
        ] {
            if !(1..=MAX_SIZE).contains(&size) {
                return wrong(format!("{name} is {size}; expected 1 to {MAX_SIZE}"));
            }
        }
        if file.hidden_size % file.num_attention_heads != 0 {
            return wrong(format!(
                "hidden_size {} can't be split into {} heads",
                file.hidden_size, file.num_attention_heads
            ));
        }
        if !(0..file.vocab_size).contains(&pad_token_id) {
            return wrong(format!("pad_token_id {pad_token_id} is outside the vocabulary of {}", file.vocab_size));
        }
        let hidden_dropout = file.hidden_dropout_prob.unwrap_or(0.1);
        let attention_dropout = file.attention_probs_dropout_prob.unwrap_or(0.1);
        for (name, p) in [("hidden_dropout_prob", hidden_dropout), ("attention_probs_dropout_prob", attention_dropout)]
        {
            if !(0.0..1.0).contains(&p) {
                return wrong(format!("{name} is {p}; expected 0 or more, and less than 1"));
            }
        }
        let config = Config {
            family,
            vocab_size: file.vocab_size,
            hidden_size: file.hidden_size,
            num_hidden_layers: file.num_hidden_layers,
            num_attention_heads: file.num_attention_heads,
            intermediate_size: file.intermediate_size,
            activation,
            max_position_embeddings: file.max_position_embeddings,
            type_vocab_size: file.type_vocab_size,
            layer_norm_eps: file.layer_norm_eps,
            hidden_dropout,
            attention_dropout,
            pad_token_id,
            initializer_range: file.initializer_range.unwrap_or(0.02),
            output_embedding_size: file.output_embedding_size,
            architecture: file.architectures.and_then(|names| names.into_iter().next()),
            document_model: file.hardmine.and_then(|ours| ours.document_model),
        };
        if config.max_positions() < 2 {
            return wrong(format!(
                "max_position_embeddings {} leaves no room for a text",
                config.max_position_embeddings
            ));
        }
        Ok(config)
    }

    /// The rows of the position embedding of a text's tokens. A RoBERTa counts no padding, and its first position
    /// comes after that of padding.
    pub(crate) fn positions(&self, token_ids: &[i64]) -> impl Iterator<Item = i64> {
        let (family, padding) = (self.family, self.pad_token_id);
        let mut counted = 0;
        token_ids.iter().enumerate().map(move |(place, &id)| match family {
            Family::Bert => place as i64,
            Family::Roberta if id == padding => padding,
            Family::Roberta => {
                counted += 1;
                padding + counted
            }
        })
    }

    /// Tokens that a text may have.
    pub fn max_positions(&self) -> usize {
        let reserved = if self.family == Family::Roberta { self.pad_token_id + 1 } else { 0 };
        usize::try_from(self.max_position_embeddings - reserved).unwrap_or(0)
    }
}

/// Bytes that a JSON file of a model may have; the largest is the list of a sharded checkpoint's tensors.
const MAX_JSON: u64 = 64 << 20;

/// Reads a JSON file as the text it is.
pub(crate) fn read_text(path: &Path) -> Result<String> {
    String::from_utf8(read_small(path, MAX_JSON)?).map_err(Error::at(path.display()))
}

/// Reads a JSON file; errors carry its path and the line.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    serde_json::from_slice(&read_small(path, MAX_JSON)?).map_err(Error::at(path.display()))
}
