//! Encoding the texts of a batch so that a gradient can flow back, texts of like length together.

use hardmine_encoder::{Encoder, check_token_ids, cut_by_tokens, default_batch_tokens};
use hardmine_records::{MappedTokens, Result};
use tch::{Kind, Tensor, no_grad};

/// How texts are encoded.
pub struct Encoding<'a> {
    encoder: &'a Encoder,
    /// Encode so many texts at a time (at least 1), twice: memory then grows with this number, not with the batch.
    chunk_size: Option<usize>,
}

/// Embeddings of texts, on their way to a loss and back.
pub struct Encoded<'a> {
    /// (B, E), float32, in the order of the texts.
    pub embeddings: Tensor,
    /// What was encoded without a graph and is to be encoded again for its gradient.
    replays: Vec<Chunk<'a>>,
}

/// Texts of like length, where they stand in the batch, and the seed of their dropout.
struct Chunk<'a> {
    places: Vec<usize>,
    rows: Vec<&'a [i32]>,
    seed: i64,
}

impl<'a> Encoding<'a> {
    /// Encoding by `encoder`.
    pub fn new(encoder: &'a Encoder, chunk_size: Option<usize>) -> Self {
        Encoding { encoder, chunk_size }
    }

    /// Encodes the texts `ids` of `tokens`, cut to `max_length` tokens, in training mode; `seed` gives the seed of
    /// the dropout of each chunk of texts.
    ///
    /// # Errors
    /// A text without tokens, or with one that the model doesn't know.
    pub fn encode<'t>(
        &self,
        tokens: &'t MappedTokens,
        ids: &[u32],
        max_length: usize,
        seed: impl Fn(u64) -> i64,
    ) -> Result<Encoded<'t>> {
        let rows: Vec<&[i32]> = ids.iter().map(|&id| tokens.token_ids(id as usize)).collect();
        for (row, &id) in rows.iter().zip(ids) {
            check_token_ids(row, self.encoder.vocabulary(), tokens.name(), id as usize)?;
        }
        let length = |place: usize| rows[place].len().min(max_length);
        let mut order: Vec<usize> = (0..rows.len()).collect();
        order.sort_by_key(|&place| length(place));
        let parts: Vec<&[usize]> = match self.chunk_size {
            Some(size) => order.chunks(size.max(1)).collect(),
            None => cut_by_tokens(&order, length, default_batch_tokens(self.encoder.device())).collect(),
        };
        let chunks: Vec<Chunk> = parts
            .into_iter()
            .enumerate()
            .map(|(number, places)| Chunk {
                places: places.to_vec(),
                rows: places.iter().map(|&place| rows[place]).collect(),
                seed: seed(number as u64),
            })
            .collect();
        let cached = self.chunk_size.is_some_and(|size| size < rows.len());
        let forward = || {
            let embeddings: Vec<Tensor> = chunks.iter().map(|chunk| self.forward(chunk, max_length)).collect();
            Tensor::cat(&embeddings, 0).index_select(0, &self.inverse(&order))
        };
        Ok(match cached {
            false => Encoded { embeddings: forward(), replays: Vec::new() },
            true => Encoded { embeddings: no_grad(forward).set_requires_grad(true), replays: chunks },
        })
    }

    /// Carries the gradient at the embeddings, known after the loss went backward, on to the parameters.
    pub fn backward(&self, encoded: Encoded, max_length: usize) {
        if encoded.replays.is_empty() {
            return;
        }
        let gradient = encoded.embeddings.grad();
        for chunk in &encoded.replays {
            let places: Vec<i64> = chunk.places.iter().map(|&place| place as i64).collect();
            let gradient = gradient.index_select(0, &Tensor::from_slice(&places).to_device(self.encoder.device()));
            (self.forward(chunk, max_length) * gradient).sum(Kind::Float).backward();
        }
    }

    /// Embeddings of one chunk, (n, E). The same seed gives the same dropout again.
    fn forward(&self, chunk: &Chunk, max_length: usize) -> Tensor {
        tch::manual_seed(chunk.seed);
        let batch = self.encoder.batch(&chunk.rows, max_length);
        self.encoder.encode(&batch, true)
    }

    /// For each place where its text stands in `order`.
    fn inverse(&self, order: &[usize]) -> Tensor {
        let mut inverse = vec![0i64; order.len()];
        order.iter().enumerate().for_each(|(sorted, &place)| inverse[place] = sorted as i64);
        Tensor::from_slice(&inverse).to_device(self.encoder.device())
    }
}
