//! Tokenizers that Hugging Face's `tokenizers` runs, sped up where a text may be cut at its spaces.

use std::path::Path;

use hardmine_records::{Error, Result};
use serde::Deserialize;
use tokenizers::models::bpe::BPE;
use tokenizers::models::wordpiece::WordPiece;
use tokenizers::normalizers::BertNormalizer;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::processors::bert::BertProcessing;
use tokenizers::processors::roberta::RobertaProcessing;
use tokenizers::{AddedToken, ModelWrapper, NormalizerWrapper, PreTokenizerWrapper, Tokenizer};

use crate::cache::PieceCache;
use crate::files::{TokenizerFiles, read, read_text, read_vocabulary};

/// The tokenizer.
pub(crate) struct HuggingFace {
    tokenizer: Tokenizer,
    /// Special tokens before and after every text.
    before: Vec<i32>,
    after: Vec<i32>,
    /// Whether the ids of a text are those of its pieces; see [`pieces`].
    by_piece: bool,
}

impl HuggingFace {
    /// Loads the tokenizer; truncation and padding stored with it are ignored.
    pub(crate) fn open(files: &TokenizerFiles) -> Result<Self> {
        let mut tokenizer = match files {
            TokenizerFiles::Json(path) => Tokenizer::from_bytes(read(path)?)
                .map_err(|e| Error::new(path.display(), format!("is not a tokenizer.json: {e}")))?,
            TokenizerFiles::ByteLevel(folder) => roberta(folder)?,
            TokenizerFiles::WordPiece(folder) => bert(folder)?,
        };
        tokenizer.with_truncation(None).map_err(Error::at("tokenizer"))?.with_padding(None);
        // BPE dropout is for training tokenizers' robustness; it would make every run different.
        if let ModelWrapper::BPE(bpe) = tokenizer.get_model()
            && bpe.dropout.is_some()
        {
            let mut bpe = bpe.clone();
            bpe.dropout = None;
            tokenizer.with_model(bpe);
        }
        let sample = tokenizer.encode_fast("a", true).map_err(Error::at("tokenizer"))?;
        let (ids, mask) = (sample.get_ids(), sample.get_special_tokens_mask());
        let first = mask.iter().take_while(|&&special| special == 1).count();
        let last = mask[first..].iter().rev().take_while(|&&special| special == 1).count();
        let special = |ids: &[u32]| ids.iter().map(|&id| id as i32).collect();
        let (before, after) = (special(&ids[..first]), special(&ids[ids.len() - last..]));
        let by_piece = by_piece(&tokenizer);
        Ok(HuggingFace { tokenizer, before, after, by_piece })
    }

    /// Appends the at most `max_length` token ids of `text` to `out`.
    pub(crate) fn encode(
        &self,
        text: &str,
        max_length: usize,
        cache: &mut PieceCache,
        out: &mut Vec<i32>,
    ) -> Result<()> {
        let end = out.len() + max_length.saturating_sub(self.after.len());
        out.extend_from_slice(&self.before);
        if self.by_piece {
            for piece in pieces(text) {
                cache.append(piece, out, |out| self.tokenize(piece, out))?;
                if out.len() >= end {
                    break;
                }
            }
        } else {
            self.tokenize(text, out)?;
        }
        out.truncate(end);
        out.extend_from_slice(&self.after);
        Ok(())
    }

    fn tokenize(&self, text: &str, out: &mut Vec<i32>) -> Result<()> {
        let encoding = self.tokenizer.encode_fast(text, false).map_err(Error::at("tokenizer"))?;
        out.extend(encoding.get_ids().iter().map(|&id| id as i32));
        Ok(())
    }
}

/// The pieces of `text` that begin at a space after a visible ASCII character. No word, number or
/// normalized character reaches over such a place.
fn pieces(text: &str) -> impl Iterator<Item = &str> {
    let mut start = 0;
    std::iter::from_fn(move || {
        let rest = text.get(start..).filter(|rest| !rest.is_empty())?;
        let bytes = rest.as_bytes();
        let end = (1..bytes.len()).find(|&at| bytes[at] == b' ' && bytes[at - 1].is_ascii_graphic());
        let piece = &rest[..end.unwrap_or(rest.len())];
        start += piece.len();
        Some(piece)
    })
}

/// Whether a text may be tokenized piece by piece: it is known of these components, and not of those
/// that look across spaces (Metaspace, Unigram over whole texts, other patterns).
fn by_piece(tokenizer: &Tokenizer) -> bool {
    let normalizer = match tokenizer.get_normalizer() {
        None => true,
        Some(normalizer) => matches!(
            normalizer,
            NormalizerWrapper::BertNormalizer(_) | NormalizerWrapper::Lowercase(_) | NormalizerWrapper::NFC(_)
        ),
    };
    let pre_tokenizer = match tokenizer.get_pre_tokenizer() {
        Some(PreTokenizerWrapper::BertPreTokenizer(_)) => true,
        Some(PreTokenizerWrapper::ByteLevel(byte_level)) => byte_level.use_regex,
        _ => false,
    };
    let mut added = tokenizer.get_added_tokens_decoder().into_values();
    normalizer && pre_tokenizer && added.all(|token| !token.rstrip && !token.content.contains(char::is_whitespace))
}

/// RoBERTa's tokenizer from `vocab.json` and `merges.txt`.
fn roberta(folder: &Path) -> Result<Tokenizer> {
    let path = folder.join("vocab.json");
    let vocabulary = read_vocabulary(&path)?;
    let id = |token: &str| vocabulary.get(token).copied().ok_or_else(|| missing(&path, token));
    let processing = RobertaProcessing::new(("</s>".into(), id("</s>")?), ("<s>".into(), id("<s>")?));
    let (merges, vocabulary_path) = (folder.join("merges.txt"), path.to_string_lossy());
    let bpe = BPE::from_file(&vocabulary_path, &merges.to_string_lossy())
        .build()
        .map_err(|e| Error::new(folder.display(), format!("vocab.json and merges.txt do not fit together: {e}")))?;
    let mut tokenizer = Tokenizer::new(bpe);
    tokenizer.with_pre_tokenizer(Some(ByteLevel::default().add_prefix_space(false)));
    tokenizer.with_post_processor(Some(processing.add_prefix_space(false)));
    let special = ["<s>", "</s>", "<unk>", "<pad>"].map(|token| AddedToken::from(token, true));
    // The white space before a mask belongs to it.
    tokenizer.add_special_tokens(&[&special[..], &[AddedToken::from("<mask>", true).lstrip(true)]].concat());
    Ok(tokenizer)
}

/// What of `tokenizer_config.json` changes token ids.
#[derive(Deserialize)]
#[serde(default)]
struct BertConfig {
    do_lower_case: bool,
    strip_accents: Option<bool>,
    tokenize_chinese_chars: bool,
}

impl Default for BertConfig {
    fn default() -> Self {
        BertConfig { do_lower_case: true, strip_accents: None, tokenize_chinese_chars: true }
    }
}

/// BERT's tokenizer from `vocab.txt`, and `tokenizer_config.json` if there is one.
fn bert(folder: &Path) -> Result<Tokenizer> {
    let path = folder.join("tokenizer_config.json");
    let config: BertConfig = match path.is_file() {
        true => serde_json::from_str(&read_text(&path)?).map_err(Error::at(path.display()))?,
        false => BertConfig::default(),
    };
    let path = folder.join("vocab.txt");
    let model = WordPiece::from_file(&path.to_string_lossy())
        .unk_token("[UNK]".into())
        .build()
        .map_err(Error::at(path.display()))?;
    let mut tokenizer = Tokenizer::new(model);
    let id = |token: &str| tokenizer.token_to_id(token).ok_or_else(|| missing(&path, token));
    let processing = BertProcessing::new(("[SEP]".into(), id("[SEP]")?), ("[CLS]".into(), id("[CLS]")?));
    id("[UNK]")?;
    let BertConfig { do_lower_case, strip_accents, tokenize_chinese_chars } = config;
    tokenizer
        .with_normalizer(Some(BertNormalizer::new(true, tokenize_chinese_chars, strip_accents, do_lower_case)))
        .with_pre_tokenizer(Some(BertPreTokenizer))
        .with_post_processor(Some(processing));
    tokenizer.add_special_tokens(&["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"].map(|t| AddedToken::from(t, true)));
    Ok(tokenizer)
}

fn missing(path: &Path, token: &str) -> Error {
    Error::new(path.display(), format!("no token '{token}'"))
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use hardmine_records::Input;

    use super::*;

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
        HuggingFace::open(&TokenizerFiles::WordPiece(folder.path().into())).unwrap()
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
        HuggingFace::open(&TokenizerFiles::ByteLevel(folder.path().into())).unwrap()
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
        let tokenizer = HuggingFace::open(&TokenizerFiles::Json(path)).unwrap();
        let text = "a rather long text";
        assert_eq!(encode(&tokenizer, text, 512), encode(&whole, text, 512));
    }

    #[test]
    fn piece_by_piece_is_the_same_as_whole() {
        let words = "the a ##a ##b ##c b c d ##d . , ' 4 ##2 < s > / [ ] mask ##ing é 中 文 e ##e";
        let pieces = [
            " ", " ", " ", "  ", "\t", "\n", "\u{a0}", "\u{3000}", "\0", "\u{200b}", "\u{301}", "[MASK]", "[mask]",
            "<s>", "<mask>", "</s>", "a", "ab", "The", "4", "42", "é", "e\u{301}", "İ", "ß", "Σ", "中", "文", "😀",
            "'", "'s", ".", ",", "x",
        ];
        let mut state = 7u64;
        for mut tokenizer in [wordpiece(words, None), byte_level()] {
            assert!(tokenizer.by_piece);
            for _ in 0..5_000 {
                let mut text = String::new();
                for _ in 0..12 {
                    state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                    text += pieces[(state >> 33) as usize % pieces.len()];
                }
                tokenizer.by_piece = true;
                let by_piece = encode(&tokenizer, &text, 12);
                tokenizer.by_piece = false;
                assert_eq!(by_piece, encode(&tokenizer, &text, 12), "{text:?}");
            }
        }
    }

    #[test]
    fn broken_files_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokenizer.json");
        std::fs::write(&path, "{\"version\": \"1.0\", ").unwrap();
        let error = HuggingFace::open(&TokenizerFiles::Json(path.clone())).err().unwrap().to_string();
        assert!(error.starts_with(&format!("{}: is not a tokenizer.json: ", path.display())), "{error}");
        std::fs::write(folder.path().join("vocab.txt"), "[UNK]\na\n").unwrap();
        let error = HuggingFace::open(&TokenizerFiles::WordPiece(folder.path().into())).err().unwrap().to_string();
        assert!(error.ends_with("vocab.txt: no token '[SEP]'"), "{error}");
    }
}
