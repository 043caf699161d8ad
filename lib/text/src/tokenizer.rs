//! The tokenizer of a model folder, whatever kind it is.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use hardmine_records::Result;

use crate::Fields;
use crate::cache::PieceCache;
use crate::files::TokenizerFiles;
use crate::hugging_face::HuggingFace;
use crate::transformers2::Transformers2;

/// Turns texts into token ids, special tokens included, without padding.
pub struct Tokenizer {
    scheme: Scheme,
    digest: String,
    /// One for each thread, so that none waits for another.
    caches: Vec<Mutex<PieceCache>>,
}

enum Scheme {
    HuggingFace(Box<HuggingFace>),
    Transformers2(Box<Transformers2>),
}

impl Tokenizer {
    /// Loads the tokenizer in `path`: a `tokenizer.json`, or a folder with one, or with `vocab.json` and
    /// `merges.txt` (byte-level BPE with RoBERTa's special tokens), or with `vocab.txt` (WordPiece).
    ///
    /// # Errors
    /// None of these is there, or it can't be read.
    pub fn open(path: &Path) -> Result<Self> {
        let files = TokenizerFiles::find(path)?;
        Self::new(Scheme::HuggingFace(Box::new(HuggingFace::open(&files)?)), &files)
    }

    /// Loads `vocab.json` and `merges.txt` of the folder `path`, to be run as version 2 of transformers
    /// ran RoBERTa's tokenizer: lower-cased, with a space in front.
    ///
    /// # Errors
    /// One of the files is missing or not RoBERTa's.
    pub fn open_transformers2(path: &Path) -> Result<Self> {
        let files = TokenizerFiles::find_byte_level(path)?;
        Self::new(Scheme::Transformers2(Box::new(Transformers2::open(path)?)), &files)
    }

    fn new(scheme: Scheme, files: &TokenizerFiles) -> Result<Self> {
        let caches = (0..rayon::current_num_threads()).map(|_| Mutex::default()).collect();
        Ok(Tokenizer { scheme, digest: files.digest()?, caches })
    }

    /// Digest of the files the tokenizer was made from; see [`crate::tokenizer_digest`].
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Joins `fields` into the text the tokenizer's models expect.
    pub fn prepare(&self, fields: &Fields) -> String {
        match &self.scheme {
            Scheme::HuggingFace(_) => fields.joined(),
            Scheme::Transformers2(_) => fields.joined_for_transformers2(),
        }
    }

    /// Appends the ids of a prepared `text` to `out`: at most `max_length` (at least 3), of a longer
    /// text the first ones and the special token at the end. An empty text has special tokens only.
    ///
    /// # Errors
    /// A text the tokenizer has no ids for.
    pub fn encode(&self, text: &str, max_length: usize, out: &mut Vec<i32>) -> Result<()> {
        let thread = rayon::current_thread_index().unwrap_or(0) % self.caches.len();
        let mut cache = self.caches[thread].lock().unwrap_or_else(PoisonError::into_inner);
        match &self.scheme {
            Scheme::HuggingFace(tokenizer) => tokenizer.encode(text, max_length, &mut cache, out),
            Scheme::Transformers2(tokenizer) => tokenizer.encode(text, max_length, &mut cache, out),
        }
    }
}
