//! Scores given pairs of queries and documents by the inner product that search uses, to the same bits.

use arrow::array::RecordBatch;
use hardmine_files::{Input, Table};
use hardmine_records::provenance::{DOCS, KEYS, QUERIES};
use hardmine_records::{Error, Ids, Kind, Provenance, QrelsBatch, Result, RunBatch, check_same_space};

use crate::blocks::{EmbeddingBlock, EmbeddingBlocks};
use crate::documents::{block_rows, is_faiss};
use crate::exact::inner_product;
use crate::hit::Hit;
use crate::rank::{RUN_ROWS, check_dimensions, check_overflow, check_vectors, run_batch, run_provenance};
use crate::turn::Turn;

/// Fewest queries of a block.
const FEWEST_QUERIES: usize = 16;

/// A query and a document to be scored.
struct Pair {
    query: i64,
    doc: i64,
    score: f32,
    /// Row of the file that named them.
    row: u32,
}

impl Pair {
    fn hit(&self) -> Hit {
        Hit { id: self.doc, score: self.score }
    }
}

/// Pairs of queries and documents with the embeddings of both, ready to be scored.
pub struct PairScorer {
    pairs: Vec<Pair>,
    /// Name of the file that named the pairs, and where it came from.
    pairs_name: String,
    pairs_from: Provenance,
    queries: EmbeddingBlocks,
    documents: Input,
    dim: usize,
    other_prompt: bool,
    memory: usize,
}

/// What is known of scored pairs once all of them have been written.
pub struct PairsSummary {
    /// Which queries, documents and models the scores are about.
    pub provenance: Provenance,
    /// Number of queries without any pair.
    pub unpaired: usize,
}

impl PairScorer {
    /// Reads the pairs, qrels or a run with internal ids, which are held in memory; and opens the embeddings of queries
    /// and of `documents`. Blocks of embeddings take about `memory` bytes. With `other_prompt`, queries may have
    /// another prompt than the documents' encoder asks for.
    ///
    /// # Errors
    /// Unreadable files, other kinds of records, a faiss index in place of embeddings, official ids, pairs of other
    /// queries or documents, dimensions that differ, and vectors of models or spaces that do not belong together.
    pub fn open(
        pairs: &mut Table,
        queries: &Input,
        documents: &Input,
        other_prompt: bool,
        memory: usize,
    ) -> Result<PairScorer> {
        let documents = documents.reopenable()?;
        if is_faiss(&documents)? {
            let text = "is a faiss index, and pairs are scored from the embeddings themselves";
            return Err(Error::new(&documents, text).hint("name the embeddings that the index was built from"));
        }
        let queries = EmbeddingBlocks::open(queries, 1)?;
        let opened = EmbeddingBlocks::open(&documents, 1)?;
        check_dimensions(&queries, opened.name(), opened.dim())?;
        let mut scorer = PairScorer {
            pairs: Vec::new(),
            pairs_name: pairs.name().to_owned(),
            pairs_from: pairs.provenance().clone(),
            queries,
            documents,
            dim: opened.dim(),
            other_prompt,
            memory,
        };
        scorer.check(opened.provenance())?;
        scorer.pairs = read_pairs(pairs)?;
        scorer.pairs_from = pairs.provenance().clone();
        Ok(scorer)
    }

    /// Scores the pairs, and gives them to `write` as a run, in batches. The queries keep their order; each list is
    /// ordered by score descending, then by id ascending. A pair that was named twice is scored once.
    ///
    /// # Errors
    /// A query or a document that has no embedding, with the row that named it; NaN or infinite numbers in a vector,
    /// ids that do not ascend, scores too large for float32, errors of `write`, and what can only be known at the end
    /// of a stream.
    pub fn run(mut self, mut write: impl FnMut(&RecordBatch) -> Result<()>) -> Result<PairsSummary> {
        let mut pairs = std::mem::take(&mut self.pairs);
        pairs.sort_unstable_by_key(|pair| (pair.query, pair.doc, pair.row));
        pairs.dedup_by_key(|pair| (pair.query, pair.doc));
        let at_once = self.memory / 2 / (self.dim * size_of::<f32>());
        self.queries.set_rows(at_once.max(FEWEST_QUERIES));
        let (mut done, mut unpaired, mut documents) = (0, 0, Provenance::default());
        while let Some(block) = self.queries.next().transpose()? {
            let last = block.ids.last().copied().unwrap_or_default();
            let count = pairs[done..].partition_point(|pair| pair.query <= last);
            let block_pairs = &mut pairs[done..done + count];
            if let Some(pair) = block_pairs.iter().find(|pair| block.ids.binary_search(&pair.query).is_err()) {
                return Err(self.unknown(pair, "query", pair.query, self.queries.name()));
            }
            documents = self.score(&block, block_pairs)?;
            block_pairs
                .sort_unstable_by(|one, other| one.query.cmp(&other.query).then_with(|| one.hit().order(&other.hit())));
            unpaired += block.ids.len() - self.write_lists(block_pairs, &mut write)?;
            done += count;
        }
        if let Some(pair) = pairs.get(done) {
            return Err(self.unknown(pair, "query", pair.query, self.queries.name()));
        }
        // Streams tell their model and keys at the latest at their end.
        self.check(&documents)?;
        Ok(PairsSummary { provenance: run_provenance(self.queries.provenance(), &documents), unpaired })
    }

    /// Scores `pairs`, whose queries are all in `queries`; returns where the documents came from.
    fn score(&self, queries: &EmbeddingBlock, pairs: &mut [Pair]) -> Result<Provenance> {
        pairs.sort_unstable_by_key(|pair| pair.doc);
        let blocks = EmbeddingBlocks::open(&self.documents, block_rows(self.memory, self.dim))?;
        let name = blocks.name().to_owned();
        let mut done = 0;
        let provenance = blocks.for_each_ahead(|block| {
            let last = block.ids.last().copied().unwrap_or_default();
            let count = pairs[done..].partition_point(|pair| pair.doc <= last);
            for pair in &mut pairs[done..done + count] {
                match (queries.vector(pair.query), block.vector(pair.doc)) {
                    (Some(query), Some(doc)) => pair.score = inner_product(query, doc),
                    _ => return Err(self.unknown(pair, "document", pair.doc, &name)),
                }
            }
            done += count;
            Ok(())
        })?;
        match pairs.get(done) {
            Some(pair) => Err(self.unknown(pair, "document", pair.doc, &name)),
            None => Ok(provenance),
        }
    }

    /// Writes pairs, which are in the order of the run, in batches of whole lists; returns the number of lists.
    fn write_lists(&self, pairs: &[Pair], write: &mut impl FnMut(&RecordBatch) -> Result<()>) -> Result<usize> {
        let (mut written, mut rows, mut ids, mut lists) = (0, 0, Vec::new(), Vec::new());
        let mut flush = |ids: &mut Vec<i64>, lists: &mut Vec<Vec<Hit>>| {
            check_overflow(self.queries.name(), &self.documents.to_string(), ids, lists)?;
            written += lists.len();
            let batch = run_batch(ids, lists)?;
            ids.clear();
            lists.clear();
            if batch.num_rows() > 0 { write(&batch) } else { Ok(()) }
        };
        for list in pairs.chunk_by(|one, next| one.query == next.query) {
            ids.push(list[0].query);
            lists.push(list.iter().map(Pair::hit).collect());
            rows += list.len();
            if rows >= RUN_ROWS {
                flush(&mut ids, &mut lists)?;
                rows = 0;
            }
        }
        flush(&mut ids, &mut lists)?;
        Ok(written)
    }

    fn unknown(&self, pair: &Pair, what: &str, id: i64, place: &str) -> Error {
        let text = format!("{what} {id} has no embedding in {place}");
        Error::at_row(&self.pairs_name, pair.row as usize, text)
            .hint("use embeddings and pairs that were made from the same tokens files")
    }

    /// Refuses pairs, queries and documents that do not belong together.
    fn check(&self, documents: &Provenance) -> Result<()> {
        let (name, queries, documents_name) = (self.queries.name(), self.queries.provenance(), &self.documents);
        let (pairs_name, pairs) = (&self.pairs_name, &self.pairs_from);
        check_same_space((QUERIES, pairs_name, pairs), (KEYS, name, queries))?;
        check_same_space((DOCS, pairs_name, pairs), (KEYS, &documents_name.to_string(), documents))?;
        let (of_queries, documents_name) = ((name, queries), documents_name.to_string());
        Turn::into_vectors(of_queries, (&documents_name, documents), None)?;
        check_vectors(of_queries, (&documents_name, documents), self.other_prompt)
    }
}

/// All pairs of qrels, of a run or of negatives.
fn read_pairs(table: &mut Table) -> Result<Vec<Pair>> {
    let (name, kind) = (table.name().to_owned(), table.kind());
    let mut pairs = Vec::new();
    for batch in table {
        let batch = batch?;
        let (queries, docs) = match kind {
            Kind::Qrels => QrelsBatch::new(&batch).map(|rows| (rows.queries, rows.docs))?,
            _ => RunBatch::new(&batch).map(|rows| (rows.queries, rows.docs))?,
        };
        let (Ids::Internal(queries), Ids::Internal(docs)) = (&queries, &docs) else {
            let hint = "remap-ids --to internal --queries queries.tokens.arrow --docs docs.tokens.arrow turns them into \
                        row numbers; or --ids internal, if integers of another program are row numbers";
            return Err(Error::new(name, "its ids are official, and embeddings have row numbers").hint(hint));
        };
        let first = pairs.len();
        let rows = queries.values().iter().zip(docs.values()).enumerate();
        pairs.extend(rows.map(|(row, (&query, &doc))| Pair { query, doc, score: 0.0, row: (first + row) as u32 }));
    }
    Ok(pairs)
}
