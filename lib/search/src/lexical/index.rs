//! A lexical index that is open.

use std::path::Path;
use std::sync::Arc;

use hardmine_files::{Input, MappedTokens, contents, foreign};
use hardmine_records::{Error, Provenance, Result, provenance};
use tantivy::Index;
use tantivy::index::{InvertedIndexReader, SegmentReader};
use tantivy::postings::BlockSegmentPostings;
use tantivy::schema::IndexRecordOption;

use super::analysis::LANGUAGE;
use super::folder::{self, KEYS};
use super::scoring::Bm25;
use super::segments::{LENGTH, WORDS};

/// A lexical index that is open. Postings and ids are mapped into memory; the lengths of documents are in it, 4 bytes
/// each.
pub struct LexicalIndex {
    place: String,
    provenance: Provenance,
    keys: MappedTokens,
    words: Arc<InvertedIndexReader>,
    lengths: Vec<u32>,
    /// What [`LexicalIndex::norm`] adds to each document, and for each of its words.
    norm: (f64, f64),
}

impl LexicalIndex {
    /// Opens the index in `folder`.
    ///
    /// # Errors
    /// The folder is not a lexical index, or it is damaged.
    pub fn open(folder: &Path) -> Result<Self> {
        let place = folder.display().to_string();
        let about = folder::read(folder)?;
        let bm25 = Bm25::of(&about, &place)?;
        if about.get(provenance::LANGUAGE) != Some(LANGUAGE) {
            let found = about.get(provenance::LANGUAGE).unwrap_or("no language");
            return Err(Error::new(&place, format!("is an index of {found}, expected {LANGUAGE}")));
        }
        let keys = MappedTokens::open(&Input::from(folder.join(KEYS).as_path()))?;
        let opened = foreign(&place, || open_segment(folder))?;
        let (words, lengths) = opened.map_err(|error| Error::new(&place, format!("is damaged: {error}")))?;
        if lengths.len() != keys.len() {
            let text = format!("is damaged: it has {} documents, and {KEYS} has {} ids", lengths.len(), keys.len());
            return Err(Error::new(&place, text));
        }
        let total: u64 = lengths.iter().map(|&length| u64::from(length)).sum();
        // Without any word there is no document to find.
        let average = total.max(1) as f64 / lengths.len().max(1) as f64;
        let norm = (bm25.k1 * (1.0 - bm25.b), bm25.k1 * bm25.b / average);
        Ok(LexicalIndex { place, provenance: about, keys, words, lengths, norm })
    }

    /// Number of documents.
    pub fn len(&self) -> usize {
        self.lengths.len()
    }

    /// Whether there is no document.
    pub fn is_empty(&self) -> bool {
        self.lengths.is_empty()
    }

    /// The official ids of the documents, in their order.
    pub fn keys(&self) -> &MappedTokens {
        &self.keys
    }

    /// Where the texts came from, and how they are searched.
    pub fn provenance(&self) -> &Provenance {
        &self.provenance
    }

    /// The name used in errors.
    pub fn name(&self) -> &str {
        &self.place
    }

    /// The documents that have `word`; none if there are none.
    ///
    /// # Errors
    /// The index can't be read.
    pub(crate) fn postings(&self, word: &str) -> Result<Option<BlockSegmentPostings>> {
        let find = || {
            let Some(info) = self.words.terms().get(word.as_bytes())? else { return Ok(None) };
            self.words.read_block_postings_from_terminfo(&info, IndexRecordOption::WithFreqs).map(Some)
        };
        find().map_err(Error::io(&self.place))
    }

    /// k1 · (1 − b + b · length / average length) of a document.
    pub(crate) fn norm(&self, document: u32) -> f64 {
        self.norm.0 + self.norm.1 * f64::from(self.lengths[document as usize])
    }
}

/// Opens tantivy's side: the postings, and the number of words of each document. Damaged files are found by the sums
/// that tantivy keeps of them.
fn open_segment(folder: &Path) -> tantivy::Result<(Arc<InvertedIndexReader>, Vec<u32>)> {
    let damaged = |what: &str| tantivy::TantivyError::InternalError(what.into());
    let index = Index::open_in_dir(folder)?;
    let [segment] = &index.searchable_segments()?[..] else { return Err(damaged("it is not in one piece")) };
    let name = segment.id().uuid_string();
    for file in contents(folder)?.iter().filter(|file| file.to_string_lossy().starts_with(&name)) {
        if !index.directory().validate_checksum(file)? {
            return Err(damaged(&format!("the checksum of {} is wrong", file.display())));
        }
    }
    let reader = SegmentReader::open(segment)?;
    let words = reader.inverted_index(index.schema().get_field(WORDS)?)?;
    let column = reader.fast_fields().u64(LENGTH)?;
    let lengths =
        (0..reader.max_doc()).map(|document| column.first(document).and_then(|length| length.try_into().ok()));
    let lengths = lengths.collect::<Option<Vec<u32>>>().ok_or_else(|| damaged("a document has no length"))?;
    Ok((words, lengths))
}
