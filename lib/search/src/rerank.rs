//! Scores the documents of ranked lists again, by the inner product of whole vectors, and ranks them by it.

use std::borrow::Cow;

use hardmine_files::{Input, Mapped};
use hardmine_quantization::Rotation;
use hardmine_records::provenance::KEYS;
use hardmine_records::{EmbeddingsBatch, Error, Kind, Numbers, Provenance, Result, check_same_space};
use rayon::ThreadPool;
use rayon::prelude::*;

use crate::exact::inner_product;
use crate::hit::Hit;
use crate::threads::threads;
use crate::turn::Turn;

/// Embeddings of documents in a memory map, of which only those that are in lists are read.
pub(crate) struct Reranker {
    mapped: Mapped,
    batches: Vec<EmbeddingsBatch>,
    /// The first id of each batch.
    firsts: Vec<i64>,
    dim: usize,
    /// How queries get into the space of the vectors.
    turn: Turn,
    threads: ThreadPool,
}

impl Reranker {
    /// Maps an embeddings file of the documents in lists. Anything but an `.arrow` file is first copied into a
    /// temporary one. Queries and the documents that are searched are given by name and provenance; a `rotation` leads
    /// from plain queries to rotated vectors, and from rotated queries to plain vectors.
    ///
    /// # Errors
    /// As [`Mapped::open`]; no embeddings, ids that do not ascend, embeddings of other documents or in another space.
    pub fn open(
        input: &Input,
        queries: (&str, &Provenance),
        (documents_name, documents): (&str, &Provenance),
        rotation: Option<&Rotation>,
    ) -> Result<Reranker> {
        let mapped = Mapped::open(input, Kind::Embeddings)?;
        let batches = mapped.batches().iter().filter(|batch| batch.num_rows() > 0).map(EmbeddingsBatch::new);
        let batches: Vec<EmbeddingsBatch> = batches.collect::<Result<_>>()?;
        let Some(dim) = batches.first().map(EmbeddingsBatch::dimension) else {
            return Err(Error::new(mapped.name(), "has no embeddings"));
        };
        let ids = batches.iter().flat_map(|batch| batch.ids.values());
        if !ids.is_sorted_by(|one, next| one < next) {
            return Err(Error::new(mapped.name(), "its ids do not ascend").hint("sort the rows by id"));
        }
        let (name, about) = (mapped.name(), mapped.provenance());
        check_same_space((KEYS, name, about), (KEYS, documents_name, documents))?;
        let turn = Turn::into_vectors(queries, (name, about), rotation)?;
        let firsts = batches.iter().map(|batch| batch.ids.value(0)).collect();
        Ok(Reranker { mapped, batches, firsts, dim, turn, threads: threads()? })
    }

    /// Dimension that queries must have.
    pub fn dim(&self) -> usize {
        self.turn.dim(self.dim)
    }

    /// Bytes that each query may take while its list is scored again.
    pub fn bytes_per_query(&self) -> usize {
        self.dim * size_of::<f32>()
    }

    /// The name used in errors.
    pub fn name(&self) -> &str {
        self.mapped.name()
    }

    /// Where the embeddings came from.
    pub fn provenance(&self) -> &Provenance {
        self.mapped.provenance()
    }

    /// Gives every document of the `lists` of `queries`, (Q, E), the inner product of the two vectors for its score,
    /// and puts the lists in the order of these scores. One that is too large for float32 is infinite.
    ///
    /// # Errors
    /// A document without embedding, or one with NaN or infinite numbers.
    pub fn rerank(&self, queries: &[f32], lists: &mut [Vec<Hit>]) -> Result<()> {
        self.threads.install(|| {
            let queries = self.turn.apply(queries);
            queries.par_chunks(self.dim).zip(lists).try_for_each(|(query, hits)| self.rerank_list(query, hits))
        })
    }

    fn rerank_list(&self, query: &[f32], hits: &mut [Hit]) -> Result<()> {
        for hit in hits.iter_mut() {
            let vector = self.vector(hit.id)?;
            let score = inner_product(query, &vector);
            hit.score = if score.is_finite() { score } else { f32::INFINITY };
            if !score.is_finite() && vector.iter().any(|number| !number.is_finite()) {
                let place = format!("{}: id {}", self.name(), hit.id);
                return Err(Error::new(place, "the embedding has NaN or infinite numbers"));
            }
        }
        hits.sort_unstable_by(Hit::order);
        Ok(())
    }

    fn vector(&self, id: i64) -> Result<Cow<'_, [f32]>> {
        let number = self.firsts.partition_point(|&first| first <= id).saturating_sub(1);
        let batch = &self.batches[number];
        let Ok(row) = batch.ids.values().binary_search(&id) else {
            return Err(Error::new(self.name(), format!("has no embedding of document {id}, which is in a list"))
                .hint("name the embeddings that the index was made from"));
        };
        let numbers = row * self.dim..(row + 1) * self.dim;
        Ok(match batch.numbers() {
            Numbers::F32(all) => all[numbers].into(),
            Numbers::F16(all) => all[numbers].iter().map(|number| number.to_f32()).collect(),
        })
    }
}
