//! Tokenizers that Hugging Face's `tokenizers` runs, sped up where a text may be cut at its spaces (see `pieces`).

use hardmine_files::foreign;
use hardmine_records::{Error, Result};
use serde_json::{Value, json};
use tokenizers::{Encoding, ModelWrapper, Token, Tokenizer};

use crate::cache::PieceCache;
use crate::digest::Digester;
use crate::files::{TokenizerFiles, read};
use crate::pieces::{holds_by_piece, pieces};
use crate::tokenizer_config::TokenizerConfig;
use crate::vocabulary::{bert, roberta};

/// A tokenizer of Hugging Face's crate, and what is known of it beforehand.
pub(crate) struct HuggingFace {
    tokenizer: Tokenizer,
    /// Ids of the special tokens that every text has before and after its own.
    before: Vec<i32>,
    after: Vec<i32>,
    /// Whether the ids of a text are those of its pieces, so that the pieces can be looked up.
    by_piece: bool,
    remarks: Vec<String>,
}

impl HuggingFace {
    /// Loads the tokenizer with the settings that stand beside its files; a `tokenizer.json` by itself (`alone`) has
    /// none. Truncation and padding stored with it are ignored.
    pub(crate) fn open(files: &TokenizerFiles, alone: bool) -> Result<Self> {
        foreign(&files.place().to_string(), || HuggingFace::load(files, alone))?
    }

    fn load(files: &TokenizerFiles, alone: bool) -> Result<Self> {
        let config = match files.folder() {
            Some(folder) if !alone => TokenizerConfig::read(folder)?,
            _ => TokenizerConfig::default(),
        };
        let mut tokenizer = match files {
            TokenizerFiles::Json(path) => Tokenizer::from_bytes(read(path)?)
                .map_err(|e| Error::new(path.display(), format!("is not a tokenizer.json: {e}")))?,
            TokenizerFiles::ByteLevel(folder) => roberta(folder, &config)?,
            TokenizerFiles::WordPiece(folder) => bert(folder, &config)?,
        };
        let mut remarks = Vec::new();
        config.apply(&mut tokenizer, &mut remarks)?;
        tokenizer.with_truncation(None).map_err(Error::at("tokenizer"))?.with_padding(None);
        // BPE dropout is for training tokenizers' robustness; it would make every run different.
        if let ModelWrapper::BPE(bpe) = tokenizer.get_model()
            && bpe.dropout.is_some()
        {
            let mut bpe = bpe.clone();
            bpe.dropout = None;
            tokenizer.with_model(bpe);
        }
        let (before, after) = special_tokens(&tokenizer).map_err(Error::at(files.place()))?;
        config.compare_special_tokens(!before.is_empty(), !after.is_empty(), &mut remarks)?;
        let by_piece = holds_by_piece(&tokenizer);
        Ok(HuggingFace { tokenizer, before, after, by_piece, remarks })
    }

    /// How many special tokens there are before and after every text.
    pub(crate) fn special_tokens(&self) -> (usize, usize) {
        (self.before.len(), self.after.len())
    }

    /// Says which of the settings beside the tokenizer are not followed.
    pub(crate) fn remarks(&self) -> &[String] {
        &self.remarks
    }

    /// Adds to a digest what makes the token ids of a text.
    pub(crate) fn digest(&self, digester: &mut Digester) -> Result<()> {
        let text = self.tokenizer.to_string(false).map_err(Error::at("tokenizer"))?;
        let mut parts: Value = serde_json::from_str(&text).map_err(Error::at("tokenizer"))?;
        without_what_makes_no_ids(&mut parts);
        digester.add(&parts);
        digester.add(&json!({
            "before": self.before,
            "after": self.after,
            "encode_special_tokens": self.tokenizer.get_encode_special_tokens(),
        }));
        Ok(())
    }

    /// Appends at most `max_length` token ids of `text` to `out`. Returns whether there were more.
    pub(crate) fn encode(
        &self,
        text: &str,
        max_length: usize,
        cache: &mut PieceCache,
        out: &mut Vec<i32>,
    ) -> Result<bool> {
        let end = out.len() + max_length.saturating_sub(self.after.len());
        out.extend_from_slice(&self.before);
        if self.by_piece {
            for piece in pieces(text) {
                cache.append(piece, out, |out| self.tokenize(piece, out))?;
                if out.len() > end {
                    break;
                }
            }
        } else {
            self.tokenize(text, out)?;
        }
        let cut = out.len() > end;
        out.truncate(end);
        out.extend_from_slice(&self.after);
        Ok(cut)
    }

    fn tokenize(&self, text: &str, out: &mut Vec<i32>) -> Result<()> {
        let encoding = foreign("tokenizer", || self.tokenizer.encode_fast(text, false))?;
        let encoding = encoding.map_err(Error::at("tokenizer"))?;
        out.extend(encoding.get_ids().iter().map(|&id| id as i32));
        Ok(())
    }
}

/// The special tokens that are put before and after every text: what the post-processor makes of a text whose only
/// token is in no vocabulary.
fn special_tokens(tokenizer: &Tokenizer) -> tokenizers::Result<(Vec<i32>, Vec<i32>)> {
    const TEXT: u32 = u32::MAX;
    let text = Encoding::from_tokens(vec![Token::new(TEXT, "x".into(), (0, 1))], 0);
    let whole = tokenizer.post_process(text, None, true)?;
    let parts: Vec<&[u32]> = whole.get_ids().split(|&id| id == TEXT).collect();
    match parts[..] {
        [before, after] => {
            let special = |ids: &[u32]| ids.iter().map(|&id| id as i32).collect();
            Ok((special(before), special(after)))
        }
        _ => Err(format!("its post-processor writes a text {} times; expected once", parts.len() - 1).into()),
    }
}

/// Removes from a `tokenizer.json` what doesn't change the token ids of a text, and what the digest has in another
/// form. A file that was read and saved again by another program or version differs in these.
fn without_what_makes_no_ids(parts: &mut Value) {
    let Some(parts) = parts.as_object_mut() else { return };
    parts.retain(|name, _| ["added_tokens", "normalizer", "pre_tokenizer", "model"].contains(&name.as_str()));
    if parts.get("normalizer").is_some_and(Value::is_null)
        && let Some(tokens) = parts.get_mut("added_tokens").and_then(Value::as_array_mut)
    {
        tokens.iter_mut().filter_map(Value::as_object_mut).for_each(|token| drop(token.remove("normalized")));
    }
    if let Some(model) = parts.get_mut("model").and_then(Value::as_object_mut) {
        model.retain(|_, value| !value.is_null() && value.as_str() != Some(""));
    }
    // A Sequence has a list of others.
    let mut waiting: Vec<&mut Value> = parts.get_mut("pre_tokenizer").into_iter().collect();
    while let Some(pre_tokenizer) = waiting.pop().and_then(Value::as_object_mut) {
        pre_tokenizer.remove("trim_offsets");
        waiting.extend(pre_tokenizer.get_mut("pretokenizers").and_then(Value::as_array_mut).into_iter().flatten());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::test_runner::{Config, TestRunner};

    use std::io::Read;
    use std::path::Path;

    use hardmine_files::Input;

    use super::*;
    use crate::pieces::tests::texts;

    fn encode(tokenizer: &HuggingFace, text: &str, max_length: usize) -> Vec<i32> {
        let mut ids = Vec::new();
        tokenizer.encode(text, max_length, &mut PieceCache::default(), &mut ids).unwrap();
        ids
    }

    /// Tokens [PAD] [UNK] [CLS] [SEP] [MASK] 0…4, then `words`.
    fn wordpiece(words: &str, config: Option<&str>) -> HuggingFace {
        let folder = tempfile::tempdir().unwrap();
        let vocabulary = format!("[PAD] [UNK] [CLS] [SEP] [MASK] {words}").replace(' ', "\n");
        std::fs::write(folder.path().join("vocab.txt"), vocabulary).unwrap();
        if let Some(config) = config {
            std::fs::write(folder.path().join("tokenizer_config.json"), config).unwrap();
        }
        HuggingFace::open(&TokenizerFiles::WordPiece(folder.path().into()), false).unwrap()
    }

    fn byte_level() -> HuggingFace {
        let folder = tempfile::tempdir().unwrap();
        for name in ["vocab.json", "merges.txt"] {
            let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/tokenization");
            let mut source = Input::Path(fixtures.join(format!("{name}.gz"))).open().unwrap();
            let mut content = Vec::new();
            source.reader.read_to_end(&mut content).unwrap();
            std::fs::write(folder.path().join(name), content).unwrap();
        }
        HuggingFace::open(&TokenizerFiles::ByteLevel(folder.path().into()), false).unwrap()
    }

    #[test]
    fn wordpiece_from_a_vocabulary() {
        let tokenizer = wordpiece("play ##ing é e ! Play", None);
        assert_eq!(encode(&tokenizer, "Playing É! zzz", 512), [2, 5, 6, 8, 9, 1, 3]);
        assert_eq!(encode(&tokenizer, "", 512), [2, 3]);
        assert_eq!(encode(&tokenizer, "play play play", 4), [2, 5, 5, 3]);
        let cased = wordpiece("play ##ing é e ! Play", Some(r#"{"do_lower_case": false}"#));
        assert_eq!(encode(&cased, "Playing é", 512), [2, 10, 6, 7, 3]);
    }

    #[test]
    fn byte_level_as_roberta_does_it() {
        let tokenizer = byte_level();
        assert_eq!(encode(&tokenizer, "Hello world", 512), [0, 31414, 232, 2]);
        assert_eq!(encode(&tokenizer, "Hello <mask>", 512), [0, 31414, 50264, 2]);
        assert_eq!(encode(&tokenizer, "Hello world", 3), [0, 31414, 2]);
    }

    #[test]
    fn what_a_tokenizer_json_says_of_truncation_padding_and_dropout_is_ignored() {
        let whole = byte_level();
        let mut stored = whole.tokenizer.clone();
        let truncation = tokenizers::TruncationParams { max_length: 3, ..Default::default() };
        let strategy = tokenizers::PaddingStrategy::Fixed(10);
        stored.with_truncation(Some(truncation)).unwrap();
        stored.with_padding(Some(tokenizers::PaddingParams { strategy, ..Default::default() }));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokenizer.json");
        let text = stored.to_string(false).unwrap();
        assert!(text.contains("\"dropout\":null"));
        let text = text.replace("\"dropout\":null", "\"dropout\":1.0");
        std::fs::write(&path, text).unwrap();
        let tokenizer = HuggingFace::open(&TokenizerFiles::Json(path), true).unwrap();
        let text = "a rather long text";
        assert_eq!(encode(&tokenizer, text, 512), encode(&whole, text, 512));
    }

    #[test]
    fn piece_by_piece_is_the_same_as_whole() {
        let words = "the a ##a ##b ##c b c d ##d . , ' 4 ##2 < s > / [ ] mask ##ing é 中 文 e ##e";
        for mut tokenizer in [wordpiece(words, None), byte_level()] {
            assert!(tokenizer.by_piece);
            let mut runner = TestRunner::new(Config { cases: 5_000, failure_persistence: None, ..Config::default() });
            let tokenizer = std::cell::RefCell::new(&mut tokenizer);
            let ids = |by_piece, text: &str| {
                let mut tokenizer = tokenizer.borrow_mut();
                tokenizer.by_piece = by_piece;
                encode(&tokenizer, text, 12)
            };
            let outcome = runner.run(&texts(), |text| {
                prop_assert_eq!(ids(true, &text), ids(false, &text));
                Ok(())
            });
            outcome.unwrap();
        }
    }

    #[test]
    fn broken_files_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokenizer.json");
        std::fs::write(&path, "{\"version\": \"1.0\", ").unwrap();
        let error = HuggingFace::open(&TokenizerFiles::Json(path.clone()), true).err().unwrap().to_string();
        assert!(error.starts_with(&format!("{}: is not a tokenizer.json: ", path.display())), "{error}");
        std::fs::write(folder.path().join("vocab.txt"), "[UNK]\na\n").unwrap();
        let error =
            HuggingFace::open(&TokenizerFiles::WordPiece(folder.path().into()), false).err().unwrap().to_string();
        assert!(error.ends_with("vocab.txt: no token '[CLS]'"), "{error}");
    }
}
