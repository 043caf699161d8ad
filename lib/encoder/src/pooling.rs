//! How the hidden states of a text become one vector, as the Pooling module of sentence-transformers has it.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use hardmine_records::{Error, Result};
use serde_json::{Map, Value, json};
use tch::{Kind, Tensor};

use crate::Batch;
use crate::batch::{Group, joined};
use crate::config::read_json;

/// One way to make one vector of the hidden states of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolingMode {
    /// The hidden state of the first token.
    Cls,
    /// The largest value of each dimension.
    Max,
    /// The mean over the tokens.
    Mean,
    /// The sum over the tokens, divided by the square root of their number.
    MeanSqrtLen,
    /// The mean over the tokens, weighted by their position, counted from 1 (Muennighoff 2022, arXiv 2202.08904).
    WeightedMean,
    /// The hidden state of the last token.
    LastToken,
}

impl PoolingMode {
    /// All modes, in the order in which sentence-transformers 3 puts the vectors of several side by side.
    const ALL: [PoolingMode; 6] = [
        PoolingMode::Cls,
        PoolingMode::Max,
        PoolingMode::Mean,
        PoolingMode::MeanSqrtLen,
        PoolingMode::WeightedMean,
        PoolingMode::LastToken,
    ];

    /// Its name since sentence-transformers 5, and the rest of its key `pooling_mode_…` before.
    fn names(self) -> [&'static str; 2] {
        match self {
            PoolingMode::Cls => ["cls", "cls_token"],
            PoolingMode::Max => ["max", "max_tokens"],
            PoolingMode::Mean => ["mean", "mean_tokens"],
            PoolingMode::MeanSqrtLen => ["mean_sqrt_len_tokens", "mean_sqrt_len_tokens"],
            PoolingMode::WeightedMean => ["weightedmean", "weightedmean_tokens"],
            PoolingMode::LastToken => ["lasttoken", "lasttoken"],
        }
    }

    fn named(name: &str) -> std::result::Result<PoolingMode, String> {
        let known = PoolingMode::ALL.into_iter().find(|mode| mode.names().contains(&name));
        known.ok_or_else(|| {
            let names: Vec<&str> = PoolingMode::ALL.iter().map(|mode| mode.names()[0]).collect();
            format!("pooling by '{name}' is not known; expected {}", names.join(", "))
        })
    }
}

/// One or several modes, whose vectors stand side by side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pooling {
    modes: Vec<PoolingMode>,
    /// Whether the tokens of a prompt are pooled with the others.
    include_prompt: bool,
}

impl Pooling {
    /// A single mode.
    pub fn of(mode: PoolingMode) -> Pooling {
        Pooling { modes: vec![mode], include_prompt: true }
    }

    /// Whether it makes of hidden states what `other` makes of them, wherever the prompt counts.
    pub(crate) fn has_modes_of(&self, other: &Pooling) -> bool {
        self.modes == other.modes
    }

    /// Width of the vectors, of hidden states of the width `hidden`.
    pub(crate) fn dimension(&self, hidden: i64) -> i64 {
        self.modes.len() as i64 * hidden
    }

    /// Reads the `config.json` of a Pooling module.
    ///
    /// # Errors
    /// A mode that isn't known, or settings that versions of sentence-transformers take for different modes.
    pub(crate) fn read(file: &Path) -> Result<Pooling> {
        let config: Map<String, Value> = read_json(file)?;
        let wrong = |text: String| Error::new(file.display(), text);
        let names: Vec<String> = match config.get("pooling_mode") {
            Some(Value::Array(names)) => names.iter().map(text).collect(),
            Some(name @ Value::String(_)) => vec![text(name)],
            _ => names_in_keys(&config),
        };
        let modes = names.iter().map(|name| PoolingMode::named(name)).collect::<std::result::Result<Vec<_>, _>>();
        let mut modes = modes.map_err(wrong)?;
        let in_keys = !config.contains_key("pooling_mode");
        if in_keys && !modes.is_empty() && !config.contains_key("pooling_mode_mean_tokens") {
            let name = modes[0].names()[1];
            let message = format!(
                "pooling_mode_{name} without pooling_mode_mean_tokens, which versions of sentence-transformers take for \
                 {0}, or for {0} and mean",
                modes[0].names()[0]
            );
            return Err(wrong(message).hint("add \"pooling_mode_mean_tokens\": false"));
        }
        if modes.is_empty() {
            modes.push(PoolingMode::Mean);
        }
        let include_prompt = config.get("include_prompt") != Some(&Value::Bool(false));
        Ok(Pooling { modes, include_prompt })
    }

    /// The text of the `config.json` of its Pooling module, as all versions of sentence-transformers read it.
    pub(crate) fn to_config(&self, hidden: i64) -> String {
        let mut config = json!({ "word_embedding_dimension": hidden, "include_prompt": self.include_prompt });
        for mode in PoolingMode::ALL {
            config[format!("pooling_mode_{}", mode.names()[1])] = json!(self.modes.contains(&mode));
        }
        format!("{config:#}\n")
    }

    /// How many tokens at the beginning of every text are left out.
    fn skipped(&self, batch: &Batch) -> i64 {
        if self.include_prompt { 0 } else { batch.prompt }
    }

    /// The one token of each text whose hidden state is the vector, among the rows of all tokens: (B,). None where more
    /// than one is looked at.
    pub(crate) fn chosen(&self, batch: &Batch) -> Option<Tensor> {
        match self.modes[..] {
            [PoolingMode::Cls] => Some(batch.first_after(self.skipped(batch))),
            [PoolingMode::LastToken] => Some(batch.lasts.shallow_clone()),
            _ => None,
        }
    }

    /// Hidden states, (B, D) if one of each text was [chosen](Pooling::chosen), else (T, D), to vectors
    /// (B, modes · D).
    pub(crate) fn forward(&self, hidden: Tensor, batch: &Batch) -> Tensor {
        if self.chosen(batch).is_some() {
            return hidden;
        }
        let skipped = self.skipped(batch);
        let by_group = |pool: fn(&Tensor, &Group, i64) -> Tensor| {
            let parts = batch.split(&hidden);
            joined(batch.groups.iter().zip(&parts).map(|(group, x)| pool(&group.pad(x), group, skipped)).collect())
        };
        joined_side_by_side(self.modes.iter().map(|mode| match mode {
            PoolingMode::Cls => hidden.index_select(0, &batch.first_after(skipped)),
            PoolingMode::LastToken => hidden.index_select(0, &batch.lasts),
            PoolingMode::Max => by_group(max),
            PoolingMode::Mean => by_group(mean),
            PoolingMode::MeanSqrtLen => by_group(mean_sqrt_len),
            PoolingMode::WeightedMean => by_group(weighted_mean),
        }))
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_lowercase()
}

/// The modes that are on in the older form of the settings: one yes or no for each mode, whose order doesn't matter.
fn names_in_keys(config: &Map<String, Value>) -> Vec<String> {
    let on = config.iter().filter(|(_, value)| **value == Value::Bool(true));
    let mut names: Vec<&str> = on.filter_map(|(key, _)| key.strip_prefix("pooling_mode_")).collect();
    names.sort_by_key(|name| PoolingMode::ALL.iter().position(|mode| mode.names()[1] == *name));
    names.into_iter().map(str::to_owned).collect()
}

fn joined_side_by_side(parts: impl Iterator<Item = Tensor>) -> Tensor {
    let mut parts: Vec<Tensor> = parts.collect();
    if parts.len() == 1 { parts.swap_remove(0) } else { Tensor::cat(&parts, 1) }
}

/// Sum of `x` (n, L, D) over the tokens, by their `weights` (n, L): (n, D).
fn weighted_sum(x: &Tensor, weights: &Tensor) -> Tensor {
    // (n, 1, L) · (n, L, D) → (n, 1, D)
    weights.unsqueeze(1).matmul(x).squeeze_dim(1)
}

/// Sum of the weights of each text, (n, 1). Where all tokens were left out, sentence-transformers divides by this, too.
fn total(weights: &Tensor) -> Tensor {
    weights.sum_dim_intlist(1, true, Kind::Float).clamp_min(1e-9)
}

fn mean(x: &Tensor, group: &Group, skipped: i64) -> Tensor {
    match group.counted(skipped) {
        None => x.mean_dim(1, false, Kind::Float),
        Some(counted) => weighted_sum(x, &counted) / total(&counted),
    }
}

fn mean_sqrt_len(x: &Tensor, group: &Group, skipped: i64) -> Tensor {
    match group.counted(skipped) {
        None => x.sum_dim_intlist(1, false, Kind::Float) / (x.size()[1] as f64).sqrt(),
        Some(counted) => weighted_sum(x, &counted) / total(&counted).sqrt(),
    }
}

fn weighted_mean(x: &Tensor, group: &Group, skipped: i64) -> Tensor {
    let places = (group.all_places() + 1).to_kind(Kind::Float).unsqueeze(0); // (1, L)
    let weights = match group.counted(skipped) {
        None => places.expand([x.size()[0], -1], false),
        Some(counted) => counted * places,
    };
    weighted_sum(x, &weights) / total(&weights)
}

fn max(x: &Tensor, group: &Group, skipped: i64) -> Tensor {
    match group.counted(skipped) {
        None => x.max_dim(1, false).0,
        Some(counted) => x.masked_fill(&counted.eq(0.0).unsqueeze(2), f64::NEG_INFINITY).max_dim(1, false).0,
    }
}

impl FromStr for Pooling {
    type Err = String;

    /// Names of modes, with commas between them.
    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let modes = text.split(',').map(PoolingMode::named).collect::<std::result::Result<_, _>>()?;
        Ok(Pooling { modes, include_prompt: true })
    }
}

impl fmt::Display for Pooling {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.modes.iter().map(|mode| mode.names()[0]).collect::<Vec<_>>().join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(config: &str) -> std::result::Result<String, String> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config.json");
        std::fs::write(&file, config).unwrap();
        Pooling::read(&file).map(|pooling| pooling.to_string()).map_err(|error| error.to_string())
    }

    #[test]
    fn both_generations_of_settings_are_read() {
        assert_eq!(read(r#"{"pooling_mode": "lasttoken"}"#), Ok("lasttoken".into()));
        assert_eq!(read(r#"{"pooling_mode": ["mean", "cls"]}"#), Ok("mean,cls".into()));
        let keys = r#"{"pooling_mode_mean_tokens": true, "pooling_mode_cls_token": true}"#;
        assert_eq!(read(keys), Ok("cls,mean".into()));
        assert_eq!(read(r#"{"word_embedding_dimension": 4}"#), Ok("mean".into()));
    }

    #[test]
    fn what_is_unclear_is_refused() {
        let unknown = read(r#"{"pooling_mode": "attention"}"#).unwrap_err();
        assert!(unknown.contains("'attention' is not known; expected cls, max, mean,"), "{unknown}");
        let unclear = read(r#"{"pooling_mode_lasttoken": true}"#).unwrap_err();
        assert!(unclear.contains("without pooling_mode_mean_tokens"), "{unclear}");
        assert!("cls,".parse::<Pooling>().is_err());
    }
}
