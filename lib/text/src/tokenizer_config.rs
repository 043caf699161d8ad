//! What stands beside a tokenizer and changes it: `tokenizer_config.json`, `special_tokens_map.json` and
//! `added_tokens.json`, followed as the fast tokenizers of transformers (4.44) follow them.

use std::collections::BTreeMap;
use std::path::Path;

use hardmine_records::{Error, Result};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use tokenizers::normalizers::BertNormalizer;
use tokenizers::{AddedToken, NormalizerWrapper, PreTokenizerWrapper, Tokenizer};

use crate::files::read;

/// The settings that stand beside a tokenizer in one folder.
#[derive(Default)]
pub(crate) struct TokenizerConfig {
    /// The name of the file in messages.
    place: String,
    class: Class,
    values: Map<String, Value>,
    /// What `added_tokens.json` says: the id of each added token.
    added: BTreeMap<String, u32>,
}

/// The classes of transformers, told apart by what each does to a tokenizer that it loads.
#[derive(Default, PartialEq)]
enum Class {
    /// The class takes the tokenizer as it is stored.
    #[default]
    Plain,
    /// The class sets the normalizer from the settings.
    Bert,
    /// As [`Class::Bert`], with special tokens like RoBERTa's.
    Mpnet,
    /// The class decides from the settings whether a space goes in front of a text.
    Roberta,
    /// The class has RoBERTa's special tokens and changes nothing.
    XlmRoberta,
    Unknown(String),
}

impl Class {
    /// Goes by `tokenizer_class`, without a "Fast" at its end, and where that is absent by `model_type`.
    fn find(tokenizer_class: Option<&str>, model_type: Option<&str>) -> Class {
        match tokenizer_class.map(|name| name.strip_suffix("Fast").unwrap_or(name)) {
            Some(
                "BertTokenizer"
                | "DistilBertTokenizer"
                | "ElectraTokenizer"
                | "MobileBertTokenizer"
                | "ConvBertTokenizer"
                | "LayoutLMTokenizer"
                | "SqueezeBertTokenizer",
            ) => Class::Bert,
            Some("RobertaTokenizer" | "LongformerTokenizer" | "BartTokenizer") => Class::Roberta,
            Some("XLMRobertaTokenizer" | "CamembertTokenizer") => Class::XlmRoberta,
            Some("MPNetTokenizer") => Class::Mpnet,
            Some("PreTrainedTokenizer" | "TokenizersBackend" | "Qwen2Tokenizer" | "GemmaTokenizer") => Class::Plain,
            Some(name) => Class::Unknown(name.to_owned()),
            None => match model_type {
                Some("bert" | "distilbert" | "electra" | "mobilebert" | "convbert") => Class::Bert,
                Some("mpnet") => Class::Mpnet,
                Some("roberta" | "longformer") => Class::Roberta,
                Some("xlm-roberta" | "camembert") => Class::XlmRoberta,
                _ => Class::Plain,
            },
        }
    }

    /// The special tokens that a tokenizer of this class has if the settings don't name others.
    fn special_tokens(&self) -> &[(&str, &str)] {
        match self {
            Class::Bert => &[
                ("unk_token", "[UNK]"),
                ("sep_token", "[SEP]"),
                ("pad_token", "[PAD]"),
                ("cls_token", "[CLS]"),
                ("mask_token", "[MASK]"),
            ],
            Class::Roberta | Class::XlmRoberta => &[
                ("bos_token", "<s>"),
                ("eos_token", "</s>"),
                ("unk_token", "<unk>"),
                ("pad_token", "<pad>"),
                ("mask_token", "<mask>"),
            ],
            Class::Mpnet => &[
                ("bos_token", "<s>"),
                ("eos_token", "</s>"),
                ("sep_token", "</s>"),
                ("cls_token", "<s>"),
                ("unk_token", "[UNK]"),
                ("pad_token", "<pad>"),
                ("mask_token", "<mask>"),
            ],
            Class::Plain | Class::Unknown(_) => &[],
        }
    }

    /// Whether the white space before the mask belongs to it.
    fn mask_takes_space(&self) -> bool {
        matches!(self, Class::Roberta | Class::XlmRoberta | Class::Mpnet)
    }
}

/// A token as the settings name it: by its text alone, or with its properties.
#[derive(Clone, Deserialize)]
#[serde(untagged)]
enum Token {
    Text(String),
    Whole {
        content: String,
        #[serde(default)]
        single_word: bool,
        #[serde(default)]
        lstrip: bool,
        #[serde(default)]
        rstrip: bool,
        normalized: Option<bool>,
        special: Option<bool>,
    },
}

impl Token {
    fn content(&self) -> &str {
        match self {
            Token::Text(content) | Token::Whole { content, .. } => content,
        }
    }

    /// The same token. Where only its text is given, it also takes the white space before it.
    fn stripping_left(self) -> Token {
        match self {
            Token::Text(content) => Token::Whole {
                content,
                single_word: false,
                lstrip: true,
                rstrip: false,
                normalized: None,
                special: None,
            },
            whole => whole,
        }
    }

    fn added(self, special: bool) -> AddedToken {
        match self {
            Token::Text(content) => AddedToken::from(content, special),
            Token::Whole { content, single_word, lstrip, rstrip, normalized, special: own } => {
                let special = own.unwrap_or(special);
                AddedToken { content, single_word, lstrip, rstrip, normalized: normalized.unwrap_or(!special), special }
            }
        }
    }
}

impl TokenizerConfig {
    /// Reads what stands in `folder`.
    ///
    /// # Errors
    /// A file is malformed.
    pub(crate) fn read(folder: &Path) -> Result<Self> {
        let file = |name: &str| folder.join(name);
        let mut values: Map<String, Value> = read_json(&file("tokenizer_config.json"))?;
        // Older versions of transformers wrote the same settings to a file of their own.
        if !values.contains_key("added_tokens_decoder") {
            values.extend(read_json::<Map<String, Value>>(&file("special_tokens_map.json"))?);
        }
        let config: Map<String, Value> = read_json(&file("config.json"))?;
        let text =
            |values: &Map<String, Value>, name: &str| values.get(name).and_then(Value::as_str).map(str::to_owned);
        let class = text(&values, "tokenizer_class").or_else(|| text(&config, "tokenizer_class"));
        Ok(TokenizerConfig {
            place: file("tokenizer_config.json").display().to_string(),
            class: Class::find(class.as_deref(), text(&config, "model_type").as_deref()),
            values,
            added: read_json(&file("added_tokens.json"))?,
        })
    }

    /// The setting `name`; none if it is absent or null.
    pub(crate) fn get<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>> {
        let value = self.values.get(name).filter(|value| !value.is_null());
        let parse = |value: &Value| {
            T::deserialize(value).map_err(|e| Error::new(&self.place, format!("{name} is {value}: {e}")))
        };
        value.map(parse).transpose()
    }

    /// The special token called `name`, such as `cls_token`; `usual` if the settings don't name it.
    pub(crate) fn special_token(&self, name: &str, usual: &str) -> Result<String> {
        Ok(self.get::<Token>(name)?.map_or(usual.to_owned(), |token| token.content().to_owned()))
    }

    /// The most token ids that the model takes of a text. Files that set no limit have a number without meaning there.
    pub(crate) fn model_max_length(&self) -> Result<Option<usize>> {
        let length = self.get::<f64>("model_max_length")?;
        Ok(length.filter(|length| (1.0..1e9).contains(length)).map(|length| length as usize))
    }

    /// Changes `tokenizer` as transformers would when it loads it. Adds to `remarks` what of it is not done here.
    ///
    /// # Errors
    /// A setting has the wrong type.
    pub(crate) fn apply(&self, tokenizer: &mut Tokenizer, remarks: &mut Vec<String>) -> Result<()> {
        match &self.class {
            Class::Bert | Class::Mpnet => self.set_normalizer(tokenizer)?,
            Class::Roberta => self.set_space_in_front(tokenizer)?,
            Class::XlmRoberta | Class::Plain => {}
            Class::Unknown(name) => remarks.push(format!(
                "{}: tokenizer_class {name} is not known; what it would change about the tokenizer is not done",
                self.place
            )),
        }
        let tokens = self.tokens_to_add(tokenizer)?;
        tokenizer.add_tokens(&tokens);
        tokenizer.set_encode_special_tokens(self.get("split_special_tokens")?.unwrap_or(false));
        if self.get::<String>("truncation_side")?.is_some_and(|side| side == "left") {
            remarks.push(format!("{}: truncation_side is left, but texts are cut at their end", self.place));
        }
        Ok(())
    }

    /// Adds to `remarks` which special tokens are asked for and not there, or there and not wanted.
    pub(crate) fn compare_special_tokens(&self, before: bool, after: bool, remarks: &mut Vec<String>) -> Result<()> {
        for (name, there) in [("add_bos_token", before), ("add_eos_token", after)] {
            if let Some(wanted) = self.get::<bool>(name)?
                && wanted != there
            {
                remarks.push(format!("{}: {name} is {wanted}, which is not followed", self.place));
            }
        }
        Ok(())
    }

    fn set_normalizer(&self, tokenizer: &mut Tokenizer) -> Result<()> {
        let Some(NormalizerWrapper::BertNormalizer(normalizer)) = tokenizer.get_normalizer() else { return Ok(()) };
        let normalizer = self.bert_normalizer(normalizer.clean_text)?;
        tokenizer.with_normalizer(Some(normalizer));
        Ok(())
    }

    /// BERT's normalizer with these settings. `clean_text` is whether control characters are removed.
    pub(crate) fn bert_normalizer(&self, clean_text: bool) -> Result<BertNormalizer> {
        Ok(BertNormalizer::new(
            clean_text,
            self.get("tokenize_chinese_chars")?.unwrap_or(true),
            self.get("strip_accents")?,
            self.get("do_lower_case")?.unwrap_or(true),
        ))
    }

    fn set_space_in_front(&self, tokenizer: &mut Tokenizer) -> Result<()> {
        let Some(PreTokenizerWrapper::ByteLevel(byte_level)) = tokenizer.get_pre_tokenizer() else { return Ok(()) };
        let byte_level = byte_level.add_prefix_space(self.get("add_prefix_space")?.unwrap_or(false));
        tokenizer.with_pre_tokenizer(Some(byte_level));
        Ok(())
    }

    /// Tokens that the settings name and `tokenizer` doesn't have, or has with other properties, in the order in
    /// which they get their ids.
    fn tokens_to_add(&self, tokenizer: &Tokenizer) -> Result<Vec<AddedToken>> {
        let there = tokenizer.get_added_tokens_decoder();
        let named = self.named_tokens()?;
        let is_named = |content: &str| named.iter().any(|token| token.content() == content);
        let mut tokens: Vec<AddedToken> = Vec::new();
        match self.get::<BTreeMap<u32, Token>>("added_tokens_decoder")? {
            Some(decoder) => tokens.extend(decoder.into_values().map(|token| token.added(false))),
            None => {
                let mut added: Vec<_> = self.added.iter().filter(|(_, id)| !there.contains_key(id)).collect();
                added.sort_by_key(|&(_, id)| id);
                let token = |(content, _): (&String, _)| AddedToken::from(content.clone(), is_named(content));
                tokens.extend(added.into_iter().map(token));
            }
        }
        for token in named {
            let known = there.values().chain(&tokens).any(|known| known.content == token.content());
            if !known {
                tokens.push(token.added(true));
            }
        }
        Ok(tokens)
    }

    /// The special tokens of the settings, and those of the class that they don't name.
    fn named_tokens(&self) -> Result<Vec<Token>> {
        let mut tokens = Vec::new();
        for name in ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"] {
            let usual = self.class.special_tokens().iter().find(|(usual, _)| *usual == name);
            let usual =
                usual.filter(|_| !self.values.contains_key(name)).map(|(_, token)| Token::Text((*token).into()));
            let token = self.get(name)?.or(usual);
            let strips = name == "mask_token" && self.class.mask_takes_space();
            tokens.extend(token.map(|token| if strips { token.stripping_left() } else { token }));
        }
        for name in ["additional_special_tokens", "extra_special_tokens"] {
            match self.values.get(name) {
                Some(Value::Object(_)) => {
                    tokens.extend(self.get::<BTreeMap<String, Token>>(name)?.unwrap_or_default().into_values());
                }
                _ => tokens.extend(self.get::<Vec<Token>>(name)?.unwrap_or_default()),
            }
        }
        Ok(tokens)
    }
}

/// Reads a JSON file. A file that is not there gives the default.
fn read_json<T: DeserializeOwned + Default>(path: &Path) -> Result<T> {
    match path.is_file() {
        true => serde_json::from_slice(&read(path)?).map_err(Error::at(path.display())),
        false => Ok(T::default()),
    }
}
