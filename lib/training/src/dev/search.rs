//! Exact search among texts that are encoded on the way, in memory that does not grow with their number.

use arrow::array::RecordBatch;
use hardmine_encoder::{Embedding, Encoder, Form, Truncation, Workers, default_batch_tokens};
use hardmine_files::MappedTokens;
use hardmine_records::{EmbeddingsBatch, Error, Numbers, Result};
use tch::{Device, Kind, Tensor};

use crate::documents::best;

/// Texts of a tokens file, encoded as `embed` encodes them.
pub struct Side<'a> {
    /// What encodes the texts.
    pub encoder: &'a Encoder,
    /// The threads that it does so on.
    pub workers: &'a Workers,
    /// The file that the texts are in.
    pub tokens: &'a MappedTokens,
    /// Row numbers of the texts, ascending.
    pub rows: &'a [u32],
    /// Most tokens of a text, special tokens included.
    pub max_length: usize,
}

impl Side<'_> {
    fn encode(&self, write: impl FnMut(RecordBatch) -> Result<()> + Send) -> Result<()> {
        let embedding = Embedding {
            encoder: self.encoder,
            truncation: Truncation::new(self.max_length, self.tokens.provenance())?,
            batch_tokens: default_batch_tokens(self.encoder.device()),
            form: Form::F32,
            place: "training",
            first_row: 0,
        };
        // The rows that errors count are not those of the file. What can be wrong with a text was looked for before, so
        // that it is the model that is at fault.
        embedding.run_on(self.workers, self.tokens.take(self.rows), write, |_| ()).map(|_| ()).map_err(|error| {
            Error::new(self.tokens.name(), format!("a text can't be measured by the model as it is now ({error})"))
                .hint("training may have diverged; lower --learning-rate")
        })
    }

    /// The vectors of all texts, (n, E), on the encoder's device.
    ///
    /// # Errors
    /// A vector that is not finite.
    pub fn vectors(&self) -> Result<Tensor> {
        let mut parts = Vec::new();
        let device = self.encoder.device();
        self.encode(|batch| {
            parts.push(tensor(&EmbeddingsBatch::new(&batch)?, device)?);
            Ok(())
        })?;
        Ok(Tensor::cat(&parts, 0))
    }

    /// Row numbers of the `top_k` texts (or all, if there are fewer) of highest inner product with each of `queries`
    /// (Q, E): (Q, top_k), the best first. Equal scores are ordered by row. What is searched is what `kept` makes of
    /// vectors, (n, E).
    ///
    /// # Errors
    /// A vector that is not finite.
    pub fn search(&self, queries: &Tensor, top_k: i64, kept: impl Fn(Tensor) -> Tensor + Sync) -> Result<Tensor> {
        let nothing = |kind| Tensor::empty([queries.size()[0], 0], (kind, queries.device()));
        let (scores, rows) = (nothing(Kind::Float), nothing(Kind::Int64));
        let mut found = Found { queries: queries.shallow_clone(), scores, rows };
        self.encode(|batch| found.add(&EmbeddingsBatch::new(&batch)?, top_k, &kept))?;
        Ok(found.rows)
    }
}

/// The best among the documents so far.
struct Found {
    /// (Q, E)
    queries: Tensor,
    /// Their scores and row numbers, both (Q, at most top_k).
    scores: Tensor,
    rows: Tensor,
}

impl Found {
    fn add(&mut self, docs: &EmbeddingsBatch, top_k: i64, kept: impl Fn(Tensor) -> Tensor) -> Result<()> {
        let device = self.queries.device();
        let scores = self.queries.matmul(&kept(tensor(docs, device)?).tr()); // (Q, n)
        let rows = Tensor::from_slice(docs.ids.values()).to_device(device).expand_as(&scores);
        let (scores, rows) = (Tensor::cat(&[&self.scores, &scores], 1), Tensor::cat(&[&self.rows, &rows], 1));
        (self.scores, self.rows) = best(&scores, &rows, top_k);
        Ok(())
    }
}

/// The vectors of a batch, (n, E), on `device`.
fn tensor(batch: &EmbeddingsBatch, device: Device) -> Result<Tensor> {
    let Numbers::F32(numbers) = batch.numbers() else {
        return Err(Error::new("embeddings", "expected float32"));
    };
    Ok(Tensor::from_slice(numbers).view([batch.len() as i64, batch.dimension() as i64]).to_device(device))
}
