//! Ranks the documents of a lexical index for the texts of queries.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use hardmine_files::{KeyMap, MappedTokens, foreign};
use hardmine_records::provenance::{BM25_B, BM25_K1, DOCS, KEYS, LANGUAGE, QUERIES};
use hardmine_records::{Error, IdSpace, Ids, Kind, Provenance, Result, RunBatch, check_same_space, schema};
use rayon::prelude::*;

use super::index::LexicalIndex;
use super::scoring::Searcher;
use crate::hit::Hit;

/// Fewest and most queries that are searched for at once, and how many hits they may have together.
const QUERIES_AT_ONCE: (usize, usize) = (16, 4096);
const HITS_AT_ONCE: usize = 1 << 22;
/// Rows of a batch of the run.
const RUN_ROWS: usize = 1 << 16;

/// The tokens files whose row numbers the run is to have for ids.
pub struct TokenRows {
    /// Tokens of the queries; queries that they lack are left out.
    pub queries: MappedTokens,
    /// Tokens of the documents.
    pub docs: MappedTokens,
}

/// A lexical index, ready to be searched.
pub struct LexicalRanker {
    index: LexicalIndex,
    top_k: usize,
    exclude_self: bool,
    tokens: Option<TokenRows>,
}

/// What is known of a run once all of it has been written.
#[derive(Debug, Default)]
pub struct LexicalRun {
    /// Number of queries that were searched for.
    pub queries: usize,
    /// How many of them no document has a word of.
    pub unmatched: usize,
    /// How many others have fewer documents than were asked for.
    pub short: usize,
    /// Number of queries that were left out, because the tokens lack them.
    pub unknown: usize,
}

impl LexicalRanker {
    /// Lists will have `top_k` documents at most; with `exclude_self` without the one that has the official id of the
    /// query. With `tokens` their ids are row numbers of these, otherwise they are official.
    ///
    /// # Errors
    /// The tokens are not those of the documents in the index.
    pub fn new(index: LexicalIndex, top_k: usize, exclude_self: bool, tokens: Option<TokenRows>) -> Result<Self> {
        if let Some(TokenRows { docs, .. }) = &tokens {
            let ours = (KEYS, index.name(), index.provenance());
            check_same_space(ours, (KEYS, docs.name(), docs.provenance()))?;
            // Another program's tokens have no fingerprint.
            if docs.len() != index.len() || !(0..docs.len()).all(|row| docs.key(row) == index.keys().key(row)) {
                let text = format!("its ids are not those of the documents in {}", index.name());
                return Err(Error::new(docs.name(), text).hint("tokenize the texts that the index was made from"));
            }
        }
        Ok(LexicalRanker { index, top_k, exclude_self, tokens })
    }

    /// The space of the ids in the run.
    pub fn ids(&self) -> IdSpace {
        if self.tokens.is_some() { IdSpace::Internal } else { IdSpace::Official }
    }

    /// What the run says of where it came from.
    pub fn provenance(&self) -> Provenance {
        let about = self.index.provenance();
        let mut run = Provenance::default();
        [BM25_K1, BM25_B, LANGUAGE].iter().for_each(|name| run.set_some(name, about.get(name)));
        run.set_some(DOCS, about.get(KEYS));
        run.set_some(QUERIES, self.tokens.as_ref().and_then(|tokens| tokens.queries.provenance().get(KEYS)));
        run
    }

    /// Searches for `queries`, which are ids and texts, and gives the run to `write` in batches. The queries keep their
    /// order; each list is ordered by score descending, then by the documents' order in the index.
    ///
    /// # Errors
    /// Those of `queries` and of `write`, and an index that can't be read.
    pub fn run(
        &self,
        queries: impl Iterator<Item = Result<(String, String)>>,
        mut write: impl FnMut(&RecordBatch) -> Result<()>,
    ) -> Result<LexicalRun> {
        let rows = self.tokens.as_ref().map(|tokens| KeyMap::new(&tokens.queries)).transpose()?;
        let mut run = LexicalRun::default();
        let at_once = (HITS_AT_ONCE / self.top_k).clamp(QUERIES_AT_ONCE.0, QUERIES_AT_ONCE.1);
        let mut block = Vec::new();
        let mut queries = queries.peekable();
        while let Some(query) = queries.next() {
            let (key, text) = query?;
            match rows.as_ref().map(|rows| rows.get(&key)) {
                Some(None) => run.unknown += 1,
                row => block.push(Query { key, text, row: row.flatten().unwrap_or_default() }),
            }
            if block.len() == at_once || queries.peek().is_none() {
                let lists = self.search(&block)?;
                run.queries += block.len();
                run.unmatched += lists.iter().filter(|hits| hits.is_empty()).count();
                run.short += lists.iter().filter(|hits| !hits.is_empty() && hits.len() < self.top_k).count();
                let rows = (RUN_ROWS / self.top_k).max(1);
                for (queries, lists) in block.chunks(rows).zip(lists.chunks(rows)) {
                    write(&self.batch(queries, lists)?)?;
                }
                block.clear();
            }
        }
        Ok(run)
    }

    /// The list of each query.
    fn search(&self, queries: &[Query]) -> Result<Vec<Vec<Hit>>> {
        let top_k = self.top_k + usize::from(self.exclude_self);
        let search = |searcher: &mut Searcher, query: &Query| {
            let mut hits = searcher.search(&query.text, top_k)?;
            if self.exclude_self {
                hits.retain(|hit| self.index.keys().key(hit.id as usize) != query.key);
                hits.truncate(self.top_k);
            }
            Ok(hits)
        };
        foreign(self.index.name(), || {
            queries.par_iter().map_init(|| Searcher::new(&self.index), search).collect::<Result<_>>()
        })?
    }

    fn batch(&self, queries: &[Query], lists: &[Vec<Hit>]) -> Result<RecordBatch> {
        let hits = || queries.iter().zip(lists).flat_map(|(query, hits)| hits.iter().map(move |hit| (query, hit)));
        let (queries, docs) = match self.tokens {
            Some(_) => {
                let (queries, docs): (Vec<i64>, Vec<i64>) = hits().map(|(query, hit)| (query.row, hit.id)).unzip();
                (Ids::Internal(queries.into()), Ids::Internal(docs.into()))
            }
            None => {
                let key = |hit: &Hit| self.index.keys().key(hit.id as usize);
                let (queries, docs): (Vec<&str>, Vec<&str>) =
                    hits().map(|(query, hit)| (query.key.as_str(), key(hit))).unzip();
                (Ids::Official(queries.into()), Ids::Official(docs.into()))
            }
        };
        let ranks: Vec<i32> = lists.iter().flat_map(|hits| 1..=hits.len() as i32).collect();
        let scores: Vec<f32> = hits().map(|(_, hit)| hit.score).collect();
        RunBatch { queries, docs, ranks: ranks.into(), scores: scores.into(), teacher: None }.into_records(Kind::Run)
    }

    /// The columns of the run.
    pub fn schema(&self) -> SchemaRef {
        schema::run(self.ids())
    }
}

/// A query as it was read.
struct Query {
    key: String,
    text: String,
    /// Its row number, where tokens are given.
    row: i64,
}
