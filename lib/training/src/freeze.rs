//! Parameters that training leaves as they are: they get no gradient and no decay, and take no memory for either.

use std::str::FromStr;

use hardmine_records::{Error, Result};
use serde::Serialize;
use tch::Tensor;

/// What is left as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Freeze {
    /// The embeddings of words, positions and token types, and the norm that follows them.
    Embeddings,
    /// The embeddings and so many layers, the first ones.
    Layers(usize),
}

impl FromStr for Freeze {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let layers = |text: &str| text.strip_prefix("layers:")?.parse().ok().filter(|&layers| layers > 0);
        match text {
            "embeddings" => Ok(Freeze::Embeddings),
            _ => layers(text).map(Freeze::Layers).ok_or("expected embeddings or layers:N, such as layers:6".into()),
        }
    }
}

impl Freeze {
    /// Those of a model's `parameters` that are trained.
    ///
    /// # Errors
    /// More layers than the model has, or nothing that is left to train.
    pub(crate) fn trained(self, parameters: &[(String, Tensor)]) -> Result<Vec<(String, Tensor)>> {
        let layers = parameters.iter().filter_map(|(name, _)| layer_of(name)).max().map_or(0, |last| last + 1);
        let frozen = match self {
            Freeze::Embeddings => 0,
            Freeze::Layers(frozen) => frozen,
        };
        if frozen > layers {
            return Err(Error::new("--freeze", format!("layers:{frozen}, but the model has {layers} layers")));
        }
        let is_trained = |name: &str| layer_of(name).map_or(!is_embedding(name), |layer| layer >= frozen);
        let trained = parameters.iter().filter(|(name, _)| is_trained(name));
        let trained: Vec<_> = trained.map(|(name, tensor)| (name.clone(), tensor.shallow_clone())).collect();
        match trained.is_empty() {
            true => Err(Error::new("--freeze", "leaves nothing of the model to train")),
            false => Ok(trained),
        }
    }
}

/// The number of the layer that the parameter `name` belongs to, as in `encoder.layer.3.output.dense.weight` or
/// `layers.3.mlp.Wi.weight`.
fn layer_of(name: &str) -> Option<usize> {
    let parts: Vec<&str> = name.split('.').collect();
    parts.windows(2).find(|pair| ["layer", "layers"].contains(&pair[0])).and_then(|pair| pair[1].parse().ok())
}

/// Whether the parameter stands before all layers, or, as MPNet's position bias, has an effect in all of them.
fn is_embedding(name: &str) -> bool {
    name.split('.').any(|part| ["embeddings", "embed_tokens", "emb_ln", "relative_attention_bias"].contains(&part))
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind};

    use super::*;

    fn trained(freeze: &str, names: &[&str]) -> Result<Vec<String>> {
        let of = |name: &&str| (name.to_string(), Tensor::zeros([1], (Kind::Float, Device::Cpu)));
        let parameters: Vec<_> = names.iter().map(of).collect();
        let trained = freeze.parse::<Freeze>().unwrap().trained(&parameters)?;
        Ok(trained.into_iter().map(|(name, _)| name).collect())
    }

    #[test]
    fn parameters_are_known_by_the_names_of_every_family() {
        for names in [
            [
                "embeddings.word_embeddings.weight",
                "encoder.layer.0.output.dense.bias",
                "encoder.layer.1.output.dense.bias",
            ],
            [
                "roberta.embeddings.LayerNorm.weight",
                "roberta.encoder.layer.0.x.weight",
                "roberta.encoder.layer.1.x.weight",
            ],
            ["embeddings.tok_embeddings.weight", "layers.0.attn.Wqkv.weight", "layers.1.attn.Wqkv.weight"],
            [
                "encoder.relative_attention_bias.weight",
                "encoder.layer.0.attention.attn.q.bias",
                "encoder.layer.1.attention.attn.q.bias",
            ],
            ["embed_tokens.weight", "layers.0.input_layernorm.weight", "layers.1.input_layernorm.weight"],
            ["emb_ln.weight", "encoder.layers.0.norm1.weight", "encoder.layers.1.norm1.weight"],
            ["embeddings.word_embeddings.weight", "transformer.layer.0.q_lin.bias", "transformer.layer.1.q_lin.bias"],
        ] {
            let all = [&names[..], &["2_Dense.linear.weight"]].concat();
            assert_eq!(trained("embeddings", &all).unwrap(), all[1..]);
            assert_eq!(trained("layers:1", &all).unwrap(), all[2..]);
            assert_eq!(trained("layers:2", &all).unwrap(), all[3..]);
            let message = trained("layers:3", &all).unwrap_err().to_string();
            assert!(message.contains("layers:3, but the model has 2 layers"), "{message}");
            assert!(trained("layers:2", &names).unwrap_err().to_string().contains("nothing of the model"));
        }
        for text in ["", "layers", "layers:", "layers:0", "layers:-1", "layer:1", "embedding"] {
            assert!(text.parse::<Freeze>().is_err(), "{text}");
        }
    }
}
