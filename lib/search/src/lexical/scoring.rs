//! BM25 of one query: the postings of its words are added up in windows of documents, and the best are kept.

use std::collections::BTreeMap;

use hardmine_records::{Error, Provenance, Result, provenance};
use tantivy::postings::BlockSegmentPostings;

use super::analysis::Analyzer;
use super::index::LexicalIndex;
use crate::hit::{Hit, keep_best, rank_best};

/// Documents whose scores are added up at once: they fit into the second cache of a core.
const WINDOW: u32 = 1 << 14;

/// The two numbers of BM25.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bm25 {
    /// How much more a word counts that is repeated; with 0 it counts once. Not negative.
    pub k1: f64,
    /// How much the length of a document counts, from 0 (not at all) to 1.
    pub b: f64,
}

impl Bm25 {
    /// What an index says of itself.
    pub(crate) fn describe(&self, about: &mut Provenance) {
        about.set(provenance::BM25_K1, self.k1);
        about.set(provenance::BM25_B, self.b);
    }

    /// What the index `place` says of itself.
    pub(crate) fn of(about: &Provenance, place: &str) -> Result<Self> {
        let number = |name: &str, range: std::ops::RangeInclusive<f64>| {
            let found = about.get(name).and_then(|text| text.parse().ok()).filter(|number| range.contains(number));
            found.ok_or_else(|| Error::new(place, format!("its description has no {name}, or none that makes sense")))
        };
        Ok(Bm25 { k1: number(provenance::BM25_K1, 0.0..=f64::MAX)?, b: number(provenance::BM25_B, 0.0..=1.0)? })
    }
}

/// How rare words are: ln(1 + (N − n + 0.5) / (n + 0.5)), for a word that `with` of `all` documents have.
fn idf(with: u32, all: usize) -> f64 {
    let (with, all) = (f64::from(with), all as f64);
    ((all - with + 0.5) / (with + 0.5)).ln_1p()
}

/// What one core needs to search.
pub(crate) struct Searcher<'a> {
    index: &'a LexicalIndex,
    analyzer: Analyzer,
    /// Scores of the documents of a window; 0 where no word was found yet.
    scores: Vec<f64>,
    /// Places in the window whose score is not 0.
    found: Vec<u32>,
    /// The best documents of the windows before, and some others.
    hits: Vec<Hit>,
}

/// A word of the query in the documents that are still to come.
struct Postings {
    block: BlockSegmentPostings,
    /// The next document in the block.
    next: usize,
    /// How often the query has the word, times its idf.
    weight: f64,
}

impl<'a> Searcher<'a> {
    pub fn new(index: &'a LexicalIndex) -> Self {
        Searcher {
            index,
            analyzer: Analyzer::new(),
            scores: vec![0.0; WINDOW as usize],
            found: Vec::new(),
            hits: Vec::new(),
        }
    }

    /// The best `top_k` documents that have any word of `query`, in order.
    ///
    /// # Errors
    /// The index can't be read.
    pub fn search(&mut self, query: &str, top_k: usize) -> Result<Vec<Hit>> {
        let mut postings = self.postings(query)?;
        self.hits.clear();
        let mut worst = 0.0;
        while let Some(first) = postings.iter().map(Postings::document).min() {
            let start = first - first % WINDOW;
            postings.retain_mut(|word| self.add(word, start));
            for place in self.found.drain(..) {
                let score = std::mem::take(&mut self.scores[place as usize]) as f32;
                if score >= worst {
                    self.hits.push(Hit { id: i64::from(start + place), score });
                }
            }
            if self.hits.len() >= 2 * top_k {
                keep_best(&mut self.hits, top_k);
                worst = self.hits.iter().map(|hit| hit.score).fold(f32::INFINITY, f32::min);
            }
        }
        rank_best(&mut self.hits, top_k);
        Ok(self.hits.clone())
    }

    /// The words of `query` that any document has, in alphabetical order, so that sums don't depend on theirs.
    fn postings(&mut self, query: &str) -> Result<Vec<Postings>> {
        let mut counts: BTreeMap<String, u32> = BTreeMap::new();
        self.analyzer.words(query, |word| match counts.get_mut(word) {
            Some(count) => *count += 1,
            None => drop(counts.insert(word.to_owned(), 1)),
        });
        let mut postings = Vec::new();
        for (word, count) in counts {
            if let Some(block) = self.index.postings(&word)? {
                let weight = f64::from(count) * idf(block.doc_freq(), self.index.len());
                postings.push(Postings { block, next: 0, weight });
            }
        }
        Ok(postings)
    }

    /// Adds what a word scores to the documents of the window that begins with `start`; returns whether there are more
    /// documents behind it.
    fn add(&mut self, word: &mut Postings, start: u32) -> bool {
        let end = start.saturating_add(WINDOW);
        loop {
            let (documents, counts) = (&word.block.docs()[word.next..], &word.block.freqs()[word.next..]);
            if documents.is_empty() {
                return false;
            }
            let within = documents.partition_point(|&document| document < end);
            for (&document, &count) in documents[..within].iter().zip(counts) {
                let place = document - start;
                let score = &mut self.scores[place as usize];
                if *score == 0.0 {
                    self.found.push(place);
                }
                let count = f64::from(count);
                *score += word.weight * count / (count + self.index.norm(document));
            }
            word.next += within;
            if within < documents.len() {
                return true;
            }
            word.block.advance();
            word.next = 0;
        }
    }
}

impl Postings {
    /// The next document; there is one.
    fn document(&self) -> u32 {
        self.block.doc(self.next)
    }
}
