//! The frozen side of ADORE: the embeddings of all documents, searched exactly at every step.

use std::ops::Range;

use hardmine_encoder::{Encoder, Similarity, Workers};
use hardmine_files::{Input, Mapped};
use hardmine_records::provenance::MODEL;
use hardmine_records::{EmbeddingsBatch, Error, Kind as RecordKind, Numbers, Provenance, Result, check_finite};
use tch::{Device, Kind, Tensor};

/// Documents whose scores are looked through at once: on a CPU, and on a GPU, which would spend its time on the start of
/// many small searches.
const BLOCK: i64 = 65_536;
const BLOCK_ON_GPU: i64 = 1 << 20;

/// Embeddings of documents, ids 0, 1, 2, …; on the CPU they are views of the memory map.
pub struct Documents {
    /// Consecutive rows, each (n, E).
    parts: Vec<Tensor>,
    /// Id of the first row of each part.
    firsts: Vec<i64>,
    rows: i64,
    dimension: i64,
    device: Device,
    /// Holds the memory that the parts may be views of.
    mapped: Mapped,
}

impl Documents {
    /// Opens an embeddings file for search on `device`.
    ///
    /// # Errors
    /// No vectors, NaN in a vector, or ids other than 0, 1, 2, … in order.
    pub fn open(input: &Input, device: Device) -> Result<Self> {
        let mapped = Mapped::open(input, RecordKind::Embeddings)?;
        let name = mapped.name();
        if mapped.rows() == 0 {
            return Err(Error::new(name, "no embeddings"));
        }
        let (mut parts, mut firsts, mut rows) = (Vec::new(), Vec::new(), 0);
        for batch in mapped.batches().iter().filter(|batch| batch.num_rows() > 0) {
            let batch = EmbeddingsBatch::new(batch)?;
            check_finite(name, &batch)?;
            if let Some((expected, id)) = (rows..).zip(batch.ids.values()).find(|(expected, id)| expected != *id) {
                let text = format!("id {id}, expected {expected}: the documents are not all there, in order");
                return Err(Error::at_row(name, expected as usize, text).hint("embed the whole tokens file"));
            }
            // SAFETY: the numbers lie in the memory that `mapped` holds, which lives as long as `parts` do, and
            // nothing writes to them.
            parts.push(unsafe { tensor_over(&batch) });
            firsts.push(rows);
            rows += batch.len() as i64;
        }
        let dimension = parts[0].size()[1];
        if device != Device::Cpu {
            (parts, firsts) = moved(parts, device);
        }
        Ok(Documents { parts, firsts, rows, dimension, device, mapped })
    }

    /// Refuses an `encoder` of vectors of another size or length; warns when it has nothing to do with these documents.
    pub(crate) fn check(&self, encoder: &Encoder) -> Result<()> {
        if self.dimension != encoder.dimension() as i64 {
            let text =
                format!("embeddings of {} dimensions, expected {}, the model's", self.dimension, encoder.dimension());
            return Err(Error::new(self.name(), text).hint("--init is the model that embedded the documents"));
        }
        if encoder.similarity() == Similarity::Cosine
            && let Some((id, length)) = self.of_other_length()
        {
            let text = format!("the vector has length {length}, expected 1, since the model compares by the cosine");
            return Err(Error::new(format!("{}: id {id}", self.name()), text)
                .hint("embed the documents with a model of this similarity; or --similarity dot"));
        }
        if let Some(model) = self.provenance().get(MODEL)
            && model != encoder.digest()
            && Some(model) != encoder.document_model()
        {
            tracing::warn!("{}: embedded by another model than --init", self.name());
        }
        Ok(())
    }

    /// Id and length of a vector whose length is not 1, as far as float16 can tell.
    fn of_other_length(&self) -> Option<(i64, f64)> {
        self.parts.iter().zip(&self.firsts).find_map(|(part, first)| {
            let lengths = part.to_kind(Kind::Float).norm_scalaropt_dim(2, 1, false);
            let (off, row) = (&lengths - 1.0).abs().max_dim(0, false);
            let row = row.int64_value(&[]);
            (off.double_value(&[]) > 1e-3).then(|| (first + row, lengths.double_value(&[row])))
        })
    }

    /// Number of documents.
    pub fn rows(&self) -> usize {
        self.rows as usize
    }

    /// E, how many numbers a vector has.
    pub fn dimension(&self) -> i64 {
        self.dimension
    }

    /// The name of the embeddings file in errors.
    pub fn name(&self) -> &str {
        self.mapped.name()
    }

    /// The provenance of the embeddings.
    pub fn provenance(&self) -> &Provenance {
        self.mapped.provenance()
    }

    /// Ids of the `top_k` documents (no more than there are) of highest inner product with each of `queries`
    /// (B, E), best first, as (B, top_k). Equal scores are ordered by id; which of several equal scores stands last in
    /// a list and which is cut off is up to libtorch. Vectors that were not quantized hardly ever have equal scores.
    pub fn search(&self, queries: &Tensor, top_k: i64, workers: &Workers) -> Tensor {
        let blocks = self.blocks(workers.count()).map(|parts| {
            let views = self.parts[parts.clone()].iter().map(Tensor::shallow_clone).collect();
            (self.firsts[parts.start], views, queries.shallow_clone())
        });
        let of_blocks = workers.map(blocks.collect(), |(first, parts, queries): (i64, Vec<Tensor>, Tensor)| {
            let scores = parts.iter().map(|part| products(&queries, part)); // (B, n)
            let scores = Tensor::cat(&scores.collect::<Vec<_>>(), 1);
            let (scores, places) = scores.topk(top_k.min(scores.size()[1]), 1, true, true);
            (scores, places + first)
        });
        let (scores, ids): (Vec<Tensor>, Vec<Tensor>) = of_blocks.into_iter().unzip();
        best(&Tensor::cat(&scores, 1), &Tensor::cat(&ids, 1), top_k).1
    }

    /// Consecutive parts that are looked through at once: [`BLOCK`] documents of them, or fewer where that leaves
    /// workers without any.
    fn blocks(&self, workers: usize) -> impl Iterator<Item = Range<usize>> {
        let most = if self.device == Device::Cpu { BLOCK } else { BLOCK_ON_GPU };
        let documents = most.min(self.rows().div_ceil(workers) as i64).max(1);
        let mut start = 0;
        std::iter::from_fn(move || {
            let first = self.firsts.get(start)?;
            let end = self.firsts.partition_point(|&id| id < first + documents);
            Some(std::mem::replace(&mut start, end)..end)
        })
    }

    /// Embeddings of `ids`, which may repeat, as (n, E) in float32.
    pub fn embeddings(&self, ids: &[i64]) -> Tensor {
        let mut order: Vec<usize> = (0..ids.len()).collect();
        order.sort_by_key(|&place| ids[place]);
        let mut back = vec![0i64; ids.len()];
        order.iter().enumerate().for_each(|(sorted, &place)| back[place] = sorted as i64);
        let mut found = Vec::new();
        for group in order.chunk_by(|&one, &next| self.part_of(ids[one]) == self.part_of(ids[next])) {
            let part = self.part_of(ids[group[0]]);
            let rows: Vec<i64> = group.iter().map(|&place| ids[place] - self.firsts[part]).collect();
            let rows = Tensor::from_slice(&rows).to_device(self.device);
            found.push(self.parts[part].index_select(0, &rows).to_kind(Kind::Float));
        }
        Tensor::cat(&found, 0).index_select(0, &Tensor::from_slice(&back).to_device(self.device))
    }

    fn part_of(&self, id: i64) -> usize {
        self.firsts.partition_point(|&first| first <= id) - 1
    }
}

/// Inner products (B, n) in float32 of `queries` (B, E), float32, and `documents` (n, E), float16 or float32.
fn products(queries: &Tensor, documents: &Tensor) -> Tensor {
    match (documents.kind(), documents.device()) {
        (Kind::Half, Device::Cuda(_)) => {
            let (halves, scale) = halves(queries);
            joined(&halves.mm_dtype(&documents.tr(), Kind::Float), &scale)
        }
        _ => queries.matmul(&documents.to_kind(Kind::Float).tr()),
    }
}

/// What a number's second half is multiplied with, so that float16 has a place for it.
const SECOND: f64 = 2048.0;

/// Vectors (B, E) as float16: (2B, E), first what float16 can say of each vector, and then `SECOND` times what it can't;
/// and what all must be multiplied by, (B, 1). A GPU multiplies the documents with both halves several times as fast as
/// it makes float32 of them, and 22 bits are left of the 24 that float32 has.
fn halves(vectors: &Tensor) -> (Tensor, Tensor) {
    // Without numbers that are too large for float16, or so small that it has few digits for them.
    let scale = vectors.abs().amax(1, true).clamp_min(f64::from(f32::MIN_POSITIVE));
    let scaled = vectors / &scale;
    let first = scaled.to_kind(Kind::Half);
    let second = ((scaled - first.to_kind(Kind::Float)) * SECOND).to_kind(Kind::Half);
    (Tensor::cat(&[first, second], 0), scale)
}

/// The products (B, n) of vectors of which those of the [`halves`] are `products` (2B, n).
fn joined(products: &Tensor, scale: &Tensor) -> Tensor {
    let batch = scale.size()[0];
    (products.narrow(0, 0, batch) + products.narrow(0, batch, batch) / SECOND) * scale
}

/// The `top_k` highest of `scores` (B, n), or all if there are fewer, with their `ids` (B, n). The best is first, and
/// equal scores are ordered by id, except that libtorch decides which of them are cut off.
pub(crate) fn best(scores: &Tensor, ids: &Tensor, top_k: i64) -> (Tensor, Tensor) {
    let (scores, places) = scores.topk(top_k.min(scores.size()[1]), 1, true, true);
    let (ids, places) = ids.gather(1, &places, false).sort(1, false);
    let (scores, order) = scores.gather(1, &places, false).sort_stable(true, 1, true);
    (scores, ids.gather(1, &order, false))
}

/// The vectors of a batch as a tensor (n, E) over the same memory.
///
/// # Safety
/// The memory of the batch must live as long as the tensor and all views of it, and nobody may write to either.
unsafe fn tensor_over(batch: &EmbeddingsBatch) -> Tensor {
    let size = [batch.len() as i64, batch.dimension() as i64];
    let (numbers, kind): (*const u8, Kind) = match batch.numbers() {
        Numbers::F32(numbers) => (numbers.as_ptr().cast(), Kind::Float),
        Numbers::F16(numbers) => (numbers.as_ptr().cast(), Kind::Half),
    };
    // SAFETY: there are as many numbers of that kind as `size` says; the caller answers for their memory.
    unsafe { Tensor::from_blob(numbers, &size, &[], kind, Device::Cpu) }
}

/// The same rows on `device`, in parts large enough for its arithmetic.
fn moved(parts: Vec<Tensor>, device: Device) -> (Vec<Tensor>, Vec<i64>) {
    let (mut large, mut firsts, mut rows) = (Vec::new(), Vec::new(), 0);
    let mut waiting: Vec<Tensor> = Vec::new();
    let mut parts = parts.into_iter().peekable();
    while let Some(part) = parts.next() {
        waiting.push(part.to_device(device));
        let size: i64 = waiting.iter().map(|part| part.size()[0]).sum();
        if size >= BLOCK_ON_GPU || parts.peek().is_none() {
            large.push(Tensor::cat(&waiting, 0));
            firsts.push(rows);
            rows += size;
            waiting.clear();
        }
    }
    (large, firsts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_halves_are_nearly_the_whole() {
        tch::manual_seed(3);
        let random = |rows: i64| Tensor::randn([rows, 768], (Kind::Float, Device::Cpu));
        let documents = random(50);
        // Some vectors have lengths that float16 has no numbers for.
        let queries = random(4) * Tensor::from_slice(&[1.0f32, 1e9, 1e-9, 0.0]).view([4, 1]);
        let (halves, scale) = halves(&queries);
        assert_eq!((halves.size(), halves.kind()), (vec![8, 768], Kind::Half));
        let documents = documents.to_kind(Kind::Half).to_kind(Kind::Double);
        let found = joined(&halves.to_kind(Kind::Double).matmul(&documents.tr()), &scale);
        let exact = queries.to_kind(Kind::Double).matmul(&documents.tr());
        let lengths = queries.to_kind(Kind::Double).norm_scalaropt_dim(2, 1, true).clamp_min(1e-30);
        let error = ((found - exact) / lengths).abs().max().double_value(&[]);
        assert!(error < 28.0 * 2f64.powi(-22), "{error}");
    }
}
