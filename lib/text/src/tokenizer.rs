//! The tokenizer of a model folder, whatever kind it is.

use std::borrow::Cow;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use hardmine_records::{Error, Result};
use serde_json::json;

use crate::cache::PieceCache;
use crate::digest::Digester;
use crate::files::TokenizerFiles;
use crate::hugging_face::HuggingFace;
use crate::transformers2::Transformers2;
use crate::{Fields, FolderSettings};

/// Turns texts into token ids, special tokens included, without padding.
///
/// ```
/// use hardmine_text::{FolderSettings, Tokenizer};
///
/// let folder = tempfile::tempdir()?;
/// std::fs::write(folder.path().join("vocab.txt"), "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nhello\nworld\n")?;
/// let tokenizer = Tokenizer::open(folder.path(), &FolderSettings::default())?;
/// let mut ids = Vec::new();
/// let was_cut = tokenizer.encode("Hello world", 512, &mut ids)?;
/// assert_eq!((ids, was_cut), (vec![2, 5, 6, 3], false)); // [CLS] hello world [SEP]
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Tokenizer {
    scheme: Scheme,
    lower_case: bool,
    /// What stands in front of every text; empty if nothing does.
    prompt: String,
    /// See [`Tokenizer::prompt_tokens`].
    prompt_tokens: usize,
    /// How many ids stand before the first that depends on the text: those of special tokens and of the prompt.
    leading_tokens: usize,
    /// There is a cache for each thread, so that no thread waits for another.
    caches: Vec<Mutex<PieceCache>>,
}

enum Scheme {
    HuggingFace(Box<HuggingFace>),
    Transformers2(Box<Transformers2>),
}

impl Tokenizer {
    /// Loads the tokenizer in `path`: a `tokenizer.json`, or a folder with one, or with `vocab.json` and
    /// `merges.txt` (byte-level BPE with RoBERTa's special tokens), or with `vocab.txt` (WordPiece). The settings
    /// beside these files are followed, and `settings`, which are those of the folder.
    ///
    /// # Errors
    /// There is no such file, or it can't be read.
    pub fn open(path: &Path, settings: &FolderSettings) -> Result<Self> {
        let tokenizer = HuggingFace::open(&TokenizerFiles::find(path)?, path.is_file())?;
        Ok(Self::new(Scheme::HuggingFace(Box::new(tokenizer)), settings.lower_case()))
    }

    /// Loads `vocab.json` and `merges.txt` of the folder `path`, to be run as version 2 of transformers
    /// ran RoBERTa's tokenizer: lower-cased, with a space in front.
    ///
    /// # Errors
    /// One of the files is missing or not RoBERTa's.
    pub fn open_transformers2(path: &Path) -> Result<Self> {
        TokenizerFiles::find_byte_level(path)?;
        Ok(Self::new(Scheme::Transformers2(Box::new(Transformers2::open(path)?)), false))
    }

    fn new(scheme: Scheme, lower_case: bool) -> Self {
        let caches = (0..rayon::current_num_threads()).map(|_| Mutex::default()).collect();
        let tokenizer =
            Tokenizer { scheme, lower_case, prompt: String::new(), prompt_tokens: 0, leading_tokens: 0, caches };
        let leading_tokens = tokenizer.special_tokens().0;
        Tokenizer { leading_tokens, ..tokenizer }
    }

    /// The same tokenizer with `prompt` put in front of every text, without a space between. Texts for version 2 of
    /// transformers have no prompts.
    ///
    /// # Errors
    /// The tokenizer has no ids for the prompt.
    pub fn with_prompt(mut self, prompt: &str) -> Result<Self> {
        if !prompt.is_empty() {
            let ids = |text: &str| {
                let mut ids = Vec::new();
                let text = self.cased(format!("{prompt}{text}").into());
                let done = self.encode(&text, i32::MAX as usize, &mut ids);
                done.map_err(|e| Error::new(format!("prompt {prompt:?}"), e)).map(|_| ids)
            };
            let (alone, one, other) = (ids("")?, ids("a")?, ids("1")?);
            self.prompt_tokens = alone.len() - self.special_tokens().1;
            // The end of the prompt may become part of the text's first token, so that two texts are compared.
            self.leading_tokens = one.iter().zip(&other).take_while(|(a, b)| a == b).count();
            self.prompt = prompt.to_owned();
        }
        Ok(self)
    }

    /// What stands in front of every text; empty if nothing does.
    pub fn prompt(&self) -> &str {
        &self.prompt
    }

    /// How many ids the prompt has by itself with the special tokens before it, and without those after it. This is the
    /// `prompt_length` of sentence-transformers; 0 without a prompt.
    pub fn prompt_tokens(&self) -> usize {
        self.prompt_tokens
    }

    /// Digest of what the tokenizer does to a text: the first 16 bytes of a SHA-256. A tokenizer that was saved
    /// again, in another place or form, has the same one. The prompt is not part of it.
    ///
    /// # Errors
    /// The tokenizer can't be written as JSON.
    pub fn digest(&self) -> Result<String> {
        let mut digester = Digester::default();
        digester.add(&json!(self.lower_case));
        match &self.scheme {
            Scheme::HuggingFace(tokenizer) => tokenizer.digest(&mut digester)?,
            Scheme::Transformers2(tokenizer) => tokenizer.digest(&mut digester),
        }
        Ok(digester.finish())
    }

    /// How many special tokens every text has before and after its own.
    pub fn special_tokens(&self) -> (usize, usize) {
        match &self.scheme {
            Scheme::HuggingFace(tokenizer) => tokenizer.special_tokens(),
            Scheme::Transformers2(_) => (1, 1),
        }
    }

    /// Refuses a `max_length` that leaves no room for a text beside the special tokens and the prompt.
    ///
    /// # Errors
    /// The limit is too low.
    pub fn check_length(&self, max_length: usize) -> Result<()> {
        let taken = self.leading_tokens + self.special_tokens().1;
        if max_length > taken {
            return Ok(());
        }
        let what = match self.prompt_tokens {
            0 => format!("it has {taken} special tokens"),
            _ => format!("its prompt and special tokens are {taken}"),
        };
        Err(Error::new(format!("--max-length {max_length}"), format!("leaves no room for a text: {what}")))
    }

    /// Warns of the settings beside the tokenizer's files that are not followed.
    pub fn warn(&self) {
        if let Scheme::HuggingFace(tokenizer) = &self.scheme {
            tokenizer.remarks().iter().for_each(|remark| tracing::warn!("{remark}"));
        }
    }

    /// The text that is tokenized: the prompt, and `fields` joined as the tokenizer's models expect.
    pub fn prepare<'a>(&self, fields: &'a Fields) -> Cow<'a, str> {
        if let Scheme::Transformers2(_) = self.scheme {
            return Cow::Owned(fields.joined_for_transformers2());
        }
        let text = match self.prompt.is_empty() {
            true => fields.joined(),
            false => Cow::Owned(format!("{}{}", self.prompt, fields.joined())),
        };
        self.cased(text)
    }

    /// `text` in lower case if the folder says so.
    fn cased<'a>(&self, text: Cow<'a, str>) -> Cow<'a, str> {
        match self.lower_case {
            // As Python lower-cases a whole text, which Rust does alike: a final sigma is told from others.
            true => Cow::Owned(text.to_lowercase()),
            false => text,
        }
    }

    /// Appends at most `max_length` ids of a prepared `text` to `out` ([`Tokenizer::check_length`] says which limits
    /// make sense). A longer text keeps its first ids and the special tokens at its end. Returns whether the text was
    /// cut.
    ///
    /// # Errors
    /// The tokenizer has no ids for the text.
    pub fn encode(&self, text: &str, max_length: usize, out: &mut Vec<i32>) -> Result<bool> {
        let thread = rayon::current_thread_index().unwrap_or(0) % self.caches.len();
        let mut cache = self.caches[thread].lock().unwrap_or_else(PoisonError::into_inner);
        match &self.scheme {
            Scheme::HuggingFace(tokenizer) => tokenizer.encode(text, max_length, &mut cache, out),
            Scheme::Transformers2(tokenizer) => tokenizer.encode(text, max_length, &mut cache, out),
        }
    }
}
