//! Tokenizers from a vocabulary alone, as transformers makes them where there is no `tokenizer.json`.

use std::path::Path;

use hardmine_records::{Error, Result};
use tokenizers::models::bpe::BPE;
use tokenizers::models::wordpiece::WordPiece;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::processors::bert::BertProcessing;
use tokenizers::processors::roberta::RobertaProcessing;
use tokenizers::{AddedToken, Tokenizer};

use crate::files::read_vocabulary;
use crate::tokenizer_config::TokenizerConfig;

/// RoBERTa's tokenizer from `vocab.json` and `merges.txt`.
pub(crate) fn roberta(folder: &Path, config: &TokenizerConfig) -> Result<Tokenizer> {
    let path = folder.join("vocab.json");
    let vocabulary = read_vocabulary(&path)?;
    let special = |name: &str, usual: &str| -> Result<(String, u32)> {
        let token = config.special_token(name, usual)?;
        let id = vocabulary.get(&token).copied().ok_or_else(|| missing(&path, &token))?;
        Ok((token, id))
    };
    let (begin, end) = (special("cls_token", "<s>")?, special("sep_token", "</s>")?);
    let others = [("unk_token", "<unk>"), ("pad_token", "<pad>"), ("mask_token", "<mask>")];
    let [unknown, padding, mask] = others.map(|(name, usual)| config.special_token(name, usual));
    let tokens = [begin.0.clone(), end.0.clone(), unknown?, padding?].map(|token| AddedToken::from(token, true));
    // The white space before a mask belongs to it.
    let mask = AddedToken::from(mask?, true).lstrip(true);

    let space_in_front = config.get("add_prefix_space")?.unwrap_or(false);
    let processing = RobertaProcessing::new(end, begin).add_prefix_space(space_in_front);
    let (merges, vocabulary_path) = (folder.join("merges.txt"), path.to_string_lossy());
    let bpe = BPE::from_file(&vocabulary_path, &merges.to_string_lossy())
        .build()
        .map_err(|e| Error::new(folder.display(), format!("vocab.json and merges.txt do not fit together: {e}")))?;
    let mut tokenizer = Tokenizer::new(bpe);
    tokenizer.with_pre_tokenizer(Some(ByteLevel::default().add_prefix_space(space_in_front)));
    tokenizer.with_post_processor(Some(processing));
    tokenizer.add_special_tokens(&[&tokens[..], &[mask]].concat());
    Ok(tokenizer)
}

/// BERT's tokenizer from `vocab.txt`.
pub(crate) fn bert(folder: &Path, config: &TokenizerConfig) -> Result<Tokenizer> {
    let path = folder.join("vocab.txt");
    let unknown = config.special_token("unk_token", "[UNK]")?;
    let model = WordPiece::from_file(&path.to_string_lossy())
        .unk_token(unknown.clone())
        .build()
        .map_err(Error::at(path.display()))?;
    let mut tokenizer = Tokenizer::new(model);
    let special = |name: &str, usual: &str| -> Result<(String, u32)> {
        let token = config.special_token(name, usual)?;
        let id = tokenizer.token_to_id(&token).ok_or_else(|| missing(&path, &token))?;
        Ok((token, id))
    };
    let (begin, end) = (special("cls_token", "[CLS]")?, special("sep_token", "[SEP]")?);
    special("unk_token", "[UNK]")?;
    let [padding, mask] =
        [("pad_token", "[PAD]"), ("mask_token", "[MASK]")].map(|(name, usual)| config.special_token(name, usual));
    let tokens = [padding?, unknown, begin.0.clone(), end.0.clone(), mask?];
    let normalizer = config.bert_normalizer(true)?;
    tokenizer
        .with_normalizer(Some(normalizer))
        .with_pre_tokenizer(Some(BertPreTokenizer))
        .with_post_processor(Some(BertProcessing::new(end, begin)));
    tokenizer.add_special_tokens(&tokens.map(|token| AddedToken::from(token, true)));
    Ok(tokenizer)
}

fn missing(path: &Path, token: &str) -> Error {
    Error::new(path.display(), format!("no token '{token}'"))
}
