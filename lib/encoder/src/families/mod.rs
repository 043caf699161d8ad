//! The families of transformers, one file each: what its `config.json` says, what its parameters are called, and how it
//! computes hidden states. A new family is a new file and a line in [`FAMILIES`].

mod bert;
mod distilbert;
mod gemma3;
mod modernbert;
mod mpnet;
mod nomic_bert;
mod qwen3;

use hardmine_records::Result;
use serde_json::Value;
use tch::Tensor;

use crate::config::Keys;
use crate::layers::Linear;
use crate::parameters::Parameters;
use crate::pass::Pass;

/// Reads the keys of `config.json` that a family needs.
type Reader = fn(&Keys) -> Result<Box<dyn Architecture>>;

/// All values of `model_type` that are known, with the reader of their family.
const FAMILIES: [(&str, Reader); 10] = [
    ("bert", bert::read),
    ("camembert", bert::read_roberta),
    ("distilbert", distilbert::read),
    ("gemma3_text", gemma3::read),
    ("modernbert", modernbert::read),
    ("mpnet", mpnet::read),
    ("nomic_bert", nomic_bert::read),
    ("qwen3", qwen3::read),
    ("roberta", bert::read_roberta),
    ("xlm-roberta", bert::read_roberta),
];

/// The shape of one transformer.
pub(crate) trait Architecture: Send + Sync {
    /// What every family has a number for.
    fn sizes(&self) -> Sizes;

    /// The transformer, of `parameters` under the family's names. What is missing among them is told later.
    fn build(&self, parameters: &mut Parameters) -> Box<dyn Transformer>;

    /// Whether a model of it that has no head yet is trained as a RobertaDot.
    fn becomes_roberta_dot(&self) -> bool {
        false
    }
}

/// Layers with their parameters: from token ids to hidden states.
pub(crate) trait Transformer: Send {
    /// The last hidden states, float32: (T, D), or (B, D) of the tokens that [`Pass::chosen`] says.
    fn forward(&self, pass: &Pass) -> Tensor;

    /// All matrices that are multiplied with, but for embeddings.
    fn linears(&mut self) -> Vec<&mut Linear>;
}

/// What every family has a number for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    /// Number of token ids, which is the number of rows of the word embedding.
    pub vocabulary: i64,
    /// Width of a hidden state.
    pub hidden: i64,
    /// Number of layers.
    pub layers: usize,
    /// Tokens that a text may have.
    pub max_tokens: i64,
    /// How the tokens of a text are numbered.
    pub numbering: Numbering,
}

/// How the tokens of a text are numbered, for position embeddings.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Numbering {
    /// From 0.
    FromZero,
    /// From the id of the padding token + 1; padding inside a text is left out and has that id as its number.
    AfterPadding(i64),
}

impl Numbering {
    /// The numbers of the tokens of one text.
    pub fn of(self, token_ids: &[i64]) -> impl Iterator<Item = i64> {
        let mut counted = 0;
        token_ids.iter().enumerate().map(move |(place, &id)| match self {
            Numbering::FromZero => place as i64,
            Numbering::AfterPadding(padding) if id == padding => padding,
            Numbering::AfterPadding(padding) => {
                counted += 1;
                padding + counted
            }
        })
    }

    /// How many of `rows` positions a text can have.
    pub fn usable(self, rows: i64) -> i64 {
        match self {
            Numbering::FromZero => rows,
            Numbering::AfterPadding(padding) => rows - padding - 1,
        }
    }
}

/// The architecture that `config.json` describes.
///
/// # Errors
/// A family that is not known, or that is not computed here as this model needs it.
pub(crate) fn read(keys: &Keys) -> Result<Box<dyn Architecture>> {
    let found = match keys.get("model_type") {
        None => "no model_type".into(),
        Some(Value::String(name)) => match FAMILIES.iter().find(|(known, _)| known == name) {
            Some((_, read)) => {
                refuse_own_code(keys, name)?;
                return read(keys);
            }
            None => format!("model_type '{name}' is not known"),
        },
        Some(other) => format!("model_type is {other}, not a name"),
    };
    let known: Vec<&str> = FAMILIES.iter().map(|(name, _)| *name).collect();
    let (last, others) = known.split_last().unwrap_or((&"", &[]));
    Err(keys.wrong(format!("{found}; expected {} or {last}", others.join(", "))))
}

/// Refuses a model that brings its own program, which may compute anything.
fn refuse_own_code(keys: &Keys, family: &str) -> Result<()> {
    let own = keys.get("auto_map").is_some_and(|map| map.get("AutoModel").is_some());
    // What Nomic's program computes is known: transformers has it too by now.
    if own && family != "nomic_bert" {
        return Err(keys
            .wrong("auto_map names a program of the model's own, which is not run here")
            .hint("a model that needs trust_remote_code can't be loaded, unless transformers has its architecture"));
    }
    Ok(())
}
