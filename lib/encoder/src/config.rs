//! `config.json` of a transformer: what all families say in it, and how the keys of one family are read and checked.

use std::path::Path;

use hardmine_files::read_small;
use hardmine_records::{Error, Result};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::attention::Heads;
use crate::families::{self, Architecture, Sizes};
use crate::layers::Activation;
use crate::pooling::PoolingMode;
use crate::tower::TowerConfig;

/// The largest of any size, far beyond that of any model: products of sizes stay in range, and what isn't in the
/// checkpoint can still be allocated.
const MAX_SIZE: i64 = 1 << 24;

/// What `config.json` says of a transformer.
pub(crate) struct Config {
    /// The layers of its family.
    pub architecture: Box<dyn Architecture>,
    /// What every family has a number for.
    pub sizes: Sizes,
    /// Standard deviation of weights that are drawn anew.
    pub initializer_range: f64,
    /// Width of a RobertaDot's vectors, where it isn't the hidden size.
    pub output_embedding_size: Option<i64>,
    /// The class the weights were saved from.
    pub class: Option<String>,
    /// For a query encoder trained by ADORE: the digest of the encoder of the documents it searches.
    pub document_model: Option<String>,
    /// What it says of a tower.
    pub tower: TowerConfig,
    /// How RepCONC's second release makes a vector of the outputs.
    pub dense: DenseConfig,
}

/// What RepCONC's second release says in `config.json` of the way from the transformer's outputs to a vector.
#[derive(Default, Deserialize)]
pub(crate) struct DenseConfig {
    /// `cls` or `mean`.
    pooling: Option<Value>,
    /// `METRIC_IP`, or `METRIC_COS` where vectors have length 1.
    similarity_metric: Option<String>,
}

#[derive(Deserialize)]
struct Common {
    architectures: Option<Vec<String>>,
    initializer_range: Option<f64>,
    output_embedding_size: Option<i64>,
    hardmine: Option<HardmineSettings>,
    #[serde(flatten)]
    tower: TowerConfig,
    #[serde(flatten)]
    dense: DenseConfig,
}

#[derive(Deserialize)]
struct HardmineSettings {
    document_model: Option<String>,
}

impl Config {
    /// Reads a `config.json`.
    ///
    /// # Errors
    /// The file is missing or malformed, its family is not known, it lacks a key that the family needs, or what it
    /// says can't be right or is not computed here.
    pub fn read(path: &Path) -> Result<Config> {
        let keys = Keys { keys: read_json(path)?, place: path.display().to_string() };
        // The family first: others call the keys below otherwise.
        let architecture = families::read(&keys)?;
        let common: Common = keys.parse()?;
        let sizes = architecture.sizes();
        keys.check_sizes(&[
            ("vocab_size", sizes.vocabulary),
            ("hidden_size", sizes.hidden),
            ("output_embedding_size", common.output_embedding_size.unwrap_or(1)),
        ])?;
        if sizes.layers == 0 {
            return Err(keys.wrong("it has no layers"));
        }
        if sizes.max_tokens < 2 {
            return Err(keys.wrong("max_position_embeddings leaves no room for a text"));
        }
        Ok(Config {
            architecture,
            sizes,
            initializer_range: common.initializer_range.unwrap_or(0.02),
            output_embedding_size: common.output_embedding_size,
            class: common.architectures.and_then(|names| names.into_iter().next()),
            document_model: common.hardmine.and_then(|ours| ours.document_model),
            tower: common.tower,
            dense: common.dense,
        })
    }
}

impl DenseConfig {
    /// The pooling that is stated, and whether vectors are compared by cosine; none if this is no folder of that
    /// release.
    ///
    /// # Errors
    /// A pooling or a similarity that is not known here.
    pub fn stated(&self, place: &str) -> Result<Option<(PoolingMode, bool)>> {
        let Some(metric) = &self.similarity_metric else { return Ok(None) };
        let cosine = match metric.as_str() {
            "METRIC_IP" => false,
            "METRIC_COS" => true,
            other => {
                let text = format!("similarity_metric {other} is not known; expected METRIC_IP or METRIC_COS");
                return Err(Error::new(place, text));
            }
        };
        let mode = match self.pooling.as_ref().map(|pooling| pooling.as_str().unwrap_or_default()) {
            None | Some("cls") => PoolingMode::Cls,
            Some("mean") => PoolingMode::Mean,
            Some(other) => {
                return Err(Error::new(place, format!("pooling {other:?} is not known; expected cls or mean")));
            }
        };
        Ok(Some((mode, cosine)))
    }
}

/// The keys of a `config.json`, with its path for errors.
pub(crate) struct Keys {
    keys: Map<String, Value>,
    place: String,
}

impl Keys {
    /// The value of a key; none if it is missing or null.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.keys.get(name).filter(|value| !value.is_null())
    }

    /// The keys as a family's own struct.
    ///
    /// # Errors
    /// A key is missing, or has a value of the wrong type.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T> {
        T::deserialize(Value::Object(self.keys.clone())).map_err(Error::at(&self.place))
    }

    /// An error about what the file says.
    pub fn wrong(&self, text: impl std::fmt::Display) -> Error {
        Error::new(&self.place, text)
    }

    /// Refuses any value of `name` but those that are computed here. A key that is missing is as good as `known[0]`.
    pub fn expect(&self, name: &str, known: &[Value]) -> Result<()> {
        match self.get(name) {
            Some(value) if !known.contains(value) => {
                let known: Vec<String> = known.iter().map(Value::to_string).collect();
                Err(self.wrong(format!("{name} {value} is not known; expected {}", known.join(" or "))))
            }
            _ => Ok(()),
        }
    }

    /// Refuses sizes that make no sense.
    pub fn check_sizes(&self, sizes: &[(&str, i64)]) -> Result<()> {
        match sizes.iter().find(|(_, size)| !(1..=MAX_SIZE).contains(size)) {
            Some((name, size)) => Err(self.wrong(format!("{name} is {size}; expected 1 to {MAX_SIZE}"))),
            None => Ok(()),
        }
    }

    /// Refuses shares of numbers to drop that are not below 1.
    pub fn check_dropout(&self, shares: &[(&str, f64)]) -> Result<()> {
        match shares.iter().find(|(_, share)| !(0.0..1.0).contains(share)) {
            Some((name, share)) => Err(self.wrong(format!("{name} is {share}; expected 0 or more, and less than 1"))),
            None => Ok(()),
        }
    }

    /// Refuses a token id that the vocabulary lacks.
    pub fn check_token(&self, name: &str, id: i64, vocabulary: i64) -> Result<()> {
        if (0..vocabulary).contains(&id) {
            return Ok(());
        }
        Err(self.wrong(format!("{name} {id} is outside the vocabulary of {vocabulary}")))
    }

    /// The width of one of the `heads` that share `hidden` numbers.
    ///
    /// # Errors
    /// They can't be shared evenly.
    pub fn head_size(&self, hidden: i64, heads: i64) -> Result<i64> {
        self.check_sizes(&[("the hidden size", hidden), ("the number of attention heads", heads)])?;
        match hidden % heads {
            0 => Ok(hidden / heads),
            _ => Err(self.wrong(format!("hidden_size {hidden} can't be split into {heads} heads"))),
        }
    }

    /// [`Keys::head_size`] where pairs of numbers are turned, which an odd width leaves one without its other.
    pub fn even_head_size(&self, hidden: i64, heads: i64) -> Result<i64> {
        let size = self.head_size(hidden, heads)?;
        if size % 2 == 0 {
            Ok(size)
        } else {
            Err(self.wrong(format!("heads of {size} numbers; expected an even number")))
        }
    }

    /// Heads of which there may be fewer of keys than of queries.
    ///
    /// # Errors
    /// Queries can't share keys evenly, or a head can't be turned by its position.
    pub fn grouped_heads(&self, queries: i64, keys: Option<i64>, size: i64, dropout: Option<f64>) -> Result<Heads> {
        let (keys, dropout) = (keys.unwrap_or(queries), dropout.unwrap_or(0.0));
        self.check_sizes(&[("num_attention_heads", queries), ("num_key_value_heads", keys), ("head_dim", size)])?;
        self.check_dropout(&[("attention_dropout", dropout)])?;
        if queries % keys != 0 {
            return Err(self.wrong(format!("{queries} attention heads can't share {keys} key and value heads evenly")));
        }
        if size % 2 != 0 {
            return Err(self.wrong(format!("head_dim is {size}; expected an even number")));
        }
        Ok(Heads { keys, ..Heads::new(queries, size, dropout) })
    }

    /// The activation that the key `name` names.
    pub fn activation(&self, name: &str) -> Result<Activation> {
        let found = self.get(name).ok_or_else(|| self.wrong(format!("missing field `{name}`")))?;
        Activation::named(found.as_str().unwrap_or_default()).ok_or_else(|| {
            self.wrong(format!("{name} {found} is not known; expected {}", Activation::NAMES.join(", ")))
        })
    }

    /// The θ of a rotary position embedding: of the layers of `kind`, where kinds have their own.
    ///
    /// transformers 5 keeps it in `rope_parameters`, earlier versions under the name `old`; without both it is `usual`.
    ///
    /// # Errors
    /// Any way to stretch positions (`rope_scaling`) other than none.
    pub fn rope_theta(&self, kind: Option<&str>, old: &str, usual: f64) -> Result<f64> {
        self.expect("partial_rotary_factor", &[json!(1.0), json!(1)])?;
        let parameters = self.get("rope_parameters");
        let of_kind = kind.and_then(|kind| parameters.and_then(|all| all.get(kind)));
        if let Some(all) = parameters
            && kind.is_some()
            && of_kind.is_none()
        {
            return Err(
                self.wrong(format!("rope_parameters {all} are not by kinds of layers, as this family has them"))
            );
        }
        let parameters = if kind.is_some() { of_kind } else { parameters };
        for scaling in [parameters, self.get("rope_scaling")].into_iter().flatten() {
            let kind = ["rope_type", "type"].iter().find_map(|name| scaling.get(name)).cloned();
            if let Some(kind) = kind.filter(|kind| kind != "default") {
                return Err(self.wrong(format!("rope_type {kind} is not known; expected \"default\"")));
            }
            if let Some(share) = scaling.get("partial_rotary_factor").filter(|share| share.as_f64() != Some(1.0)) {
                return Err(self.wrong(format!("partial_rotary_factor {share} is not known; expected 1")));
            }
            if scaling.get("rope_theta").is_none()
                && scaling.as_object().is_some_and(|by| by.values().any(Value::is_object))
            {
                return Err(self.wrong("rope_parameters by kinds of layers, where all layers are of one kind"));
            }
        }
        let stated = parameters.and_then(|parameters| parameters.get("rope_theta")).or(self.get(old));
        let theta = stated.map_or(Some(usual), Value::as_f64).filter(|theta| theta.is_finite() && *theta > 1.0);
        theta.ok_or_else(|| self.wrong(format!("{old} is not a number above 1")))
    }

    /// Whether each of `layers` layers looks everywhere, or only near by: `layer_types`, or else `usual` of its number.
    pub fn layers_that_see_all(&self, layers: usize, usual: impl Fn(usize) -> bool) -> Result<Vec<bool>> {
        let Some(kinds) = self.get("layer_types") else { return Ok((0..layers).map(usual).collect()) };
        let kinds = kinds.as_array().map(Vec::as_slice).unwrap_or_default();
        if kinds.len() != layers {
            return Err(self.wrong(format!("layer_types has {} entries for {layers} layers", kinds.len())));
        }
        let sees_all = |kind: &Value| match kind.as_str() {
            Some("full_attention") => Ok(true),
            Some("sliding_attention") => Ok(false),
            _ => {
                Err(self.wrong(format!("layer type {kind} is not known; expected full_attention or sliding_attention")))
            }
        };
        kinds.iter().map(sees_all).collect()
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
