//! Builds a lexical index: the texts are cut into pieces, each of which a core makes an index of, and these are merged.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex};

use hardmine_files::{Output, Writer};
use hardmine_records::{Error, Fingerprint, KeyHasher, Kind, Provenance, Result, TokensBatch, provenance, schema};

use super::analysis::{Analyzer, LANGUAGE};
use super::folder::{KEYS, NewFolder};
use super::scoring::Bm25;
use super::segments::{merge_pieces, write_piece};

/// Fewest and most bytes of text in a piece. A piece has an eighth of what came before it, so that a small collection
/// occupies all cores, and a large one does not have thousands of pieces.
const PIECE: (usize, usize) = (1 << 20, 32 << 20);
/// Ids that are written at once.
const KEYS_AT_ONCE: usize = 1 << 16;

/// A lexical index that is about to be built.
pub struct LexicalBuilder {
    folder: NewFolder,
    bm25: Bm25,
}

/// What is known of an index once it has been built.
pub struct LexicalSummary {
    /// Number of documents.
    pub documents: u64,
    /// How many of them have no word that is looked up.
    pub empty: u64,
}

impl LexicalBuilder {
    /// Begins an index in the folder `path`, which will be there once all of it is.
    ///
    /// # Errors
    /// `path` is standard output, or is there and is not an index or an empty folder; its parent is not writable.
    pub fn create(path: &Path, bm25: Bm25) -> Result<Self> {
        Ok(LexicalBuilder { folder: NewFolder::create(path)?, bm25 })
    }

    /// Builds the index of `documents`, which are ids and texts, and calls `added` with the number of those that were
    /// read. `about` says what kind of texts they are. All cores are used; each holds a piece of at most some 32 MiB of
    /// text and its index in memory.
    ///
    /// # Errors
    /// The first error of `documents`, or of writing.
    pub fn build(
        self,
        documents: impl Iterator<Item = Result<(String, String)>>,
        mut about: Provenance,
        added: impl FnMut(u64),
    ) -> Result<LexicalSummary> {
        let LexicalBuilder { folder, bm25 } = self;
        let (place, pieces) = (folder.place(), &folder.temporary().join("pieces"));
        std::fs::create_dir(pieces).map_err(Error::io(place))?;
        let cores = rayon::current_num_threads();
        let counted = std::thread::scope(|scope| {
            let (send, texts) = sync_channel::<Piece>(1);
            // Sending fails once no worker is left to receive.
            let texts = Arc::new(Mutex::new(texts));
            let work = || {
                let texts = texts.clone();
                scope.spawn(move || write_pieces(&texts, pieces).map_err(Error::at(place)))
            };
            let workers: Vec<_> = (0..cores).map(|_| work()).collect();
            drop(texts);
            let mut keys = KeyFile::create(folder.temporary())?;
            let counted = cut(documents, &mut keys, added, |piece| send.send(piece).is_ok());
            drop(send);
            let ended = workers
                .into_iter()
                .map(|worker| worker.join().unwrap_or_else(|_| Err(Error::new(place, "indexing ended too early"))));
            // What a worker says comes first: reading ended because of it.
            let empty = ended.sum::<Result<u64>>()?;
            Ok((counted?, empty, keys.finish()?))
        });
        let (count, empty, keys): (Count, u64, Fingerprint) = counted?;
        let names: Vec<PathBuf> = (0..count.pieces).map(|number| pieces.join(number.to_string())).collect();
        merge_pieces(&names, folder.temporary()).map_err(Error::at(place))?;
        std::fs::remove_dir_all(pieces).map_err(Error::io(place))?;
        about.set(provenance::KEYS, keys);
        bm25.describe(&mut about);
        about.set(provenance::LANGUAGE, LANGUAGE);
        folder.commit(about)?;
        Ok(LexicalSummary { documents: count.documents, empty })
    }
}

/// Consecutive texts, and the number of their piece.
struct Piece {
    number: usize,
    texts: Vec<String>,
}

#[derive(Default)]
struct Count {
    pieces: usize,
    documents: u64,
}

/// Cuts `documents` into pieces, which do not depend on how many cores there are, and hands them to `take` until it
/// wants no more.
fn cut(
    documents: impl Iterator<Item = Result<(String, String)>>,
    keys: &mut KeyFile,
    mut added: impl FnMut(u64),
    mut take: impl FnMut(Piece) -> bool,
) -> Result<Count> {
    let mut count = Count::default();
    let (mut texts, mut bytes, mut before) = (Vec::new(), 0, 0);
    for document in documents {
        let (key, text) = document?;
        bytes += text.len();
        texts.push(text);
        keys.add(key)?;
        if bytes >= (before / 8).clamp(PIECE.0, PIECE.1) {
            before += std::mem::take(&mut bytes);
            added(texts.len() as u64);
            count.documents += texts.len() as u64;
            if !take(Piece { number: count.pieces, texts: std::mem::take(&mut texts) }) {
                return Ok(count);
            }
            count.pieces += 1;
        }
    }
    if !texts.is_empty() {
        added(texts.len() as u64);
        count.documents += texts.len() as u64;
        take(Piece { number: count.pieces, texts });
        count.pieces += 1;
    }
    Ok(count)
}

/// Makes indexes of pieces until there are no more; returns how many texts without words there were.
fn write_pieces(pieces: &Mutex<Receiver<Piece>>, folder: &Path) -> tantivy::Result<u64> {
    let mut analyzer = Analyzer::new();
    let mut empty = 0;
    loop {
        let next = pieces.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).recv();
        let Ok(Piece { number, texts }) = next else { return Ok(empty) };
        empty += write_piece(&folder.join(number.to_string()), &texts, &mut analyzer)?;
    }
}

/// The file of the documents' ids.
struct KeyFile {
    writer: Writer,
    hasher: KeyHasher,
    keys: Vec<String>,
    first: i64,
}

impl KeyFile {
    fn create(folder: &Path) -> Result<Self> {
        let output = Output::parse(folder.join(KEYS).as_os_str()).map_err(Error::at(folder.display()))?;
        let writer = Writer::create(&output, Kind::Tokens, schema::tokens(), Provenance::default())?;
        Ok(KeyFile { writer, hasher: KeyHasher::default(), keys: Vec::new(), first: 0 })
    }

    fn add(&mut self, key: String) -> Result<()> {
        self.hasher.update(&key);
        self.keys.push(key);
        if self.keys.len() == KEYS_AT_ONCE { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<()> {
        let keys = std::mem::take(&mut self.keys);
        let count = keys.len();
        let batch = TokensBatch::build(self.first, keys, vec![0; count], Vec::new())?;
        self.first += count as i64;
        self.writer.write(&batch)
    }

    /// Ends the file; returns the fingerprint of the ids.
    fn finish(mut self) -> Result<Fingerprint> {
        self.flush()?;
        let fingerprint = self.hasher.finish();
        self.writer.provenance_mut().set(provenance::KEYS, fingerprint);
        self.writer.finish()?;
        Ok(fingerprint)
    }
}
