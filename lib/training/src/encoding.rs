//! Encoding the texts of a batch so that a gradient can flow back, texts of like length together and a share of them
//! on each core.

use hardmine_encoder::{
    Encoder, Truncation, Workers, check_token_ids, cut_by_tokens, cut_evenly, default_batch_tokens,
};
use hardmine_files::MappedTokens;
use hardmine_records::Result;
use serde::Serialize;
use tch::{Kind, Tensor, no_grad};

/// Encodes the texts of a batch in training mode, on all cores of a CPU.
pub struct Encoding<'a> {
    encoder: &'a Encoder,
    workers: Workers,
    /// What is encoded at a time, twice: memory then grows with it, not with the batch.
    limit: Option<Chunks>,
}

/// The most that is encoded at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Chunks {
    /// So many texts, at least 1.
    Texts(usize),
    /// Texts of so many tokens together, or one that is longer.
    Tokens(usize),
}

/// Texts to be encoded in training mode.
pub struct Texts<'a> {
    /// The tokens file that the texts are in.
    pub tokens: &'a MappedTokens,
    /// Row numbers of the texts, which may repeat.
    pub ids: Vec<u32>,
    /// Most tokens of a text, special tokens included.
    pub max_length: usize,
    /// Seeds of the dropout of their chunks, in order.
    pub seed: Box<dyn Fn(u64) -> u64 + 'a>,
}

/// Embeddings of texts, on their way to a loss and back.
pub struct Encoded<'a> {
    /// (B, E), float32, in the order of the texts. A gradient that is known at them goes on to the parameters by
    /// [`Encoding::gradients`].
    pub embeddings: Tensor,
    chunks: Vec<Chunk<'a>>,
}

/// Texts of like length, where they stand in the batch, and the seed of their dropout.
struct Chunk<'a> {
    places: Vec<i64>,
    rows: Vec<&'a [i32]>,
    truncation: Truncation,
    seed: u64,
    /// (n, E) with the graph of its computation; none if the chunk is to be encoded again for its gradient.
    embeddings: Option<Tensor>,
}

impl<'a> Encoding<'a> {
    /// Prepares encoding by `encoder`. With `chunks`, no more than these are encoded at a time, each twice.
    ///
    /// # Errors
    /// The system refuses to start threads.
    pub fn new(encoder: &'a Encoder, chunks: Option<Chunks>) -> Result<Self> {
        Ok(Encoding { encoder, workers: Workers::new(encoder.device())?, limit: chunks })
    }

    /// The threads on which texts are encoded.
    pub fn workers(&self) -> &Workers {
        &self.workers
    }

    /// Encodes texts of several files at once.
    ///
    /// # Errors
    /// A text without tokens, or with one that the model doesn't know; no room for more than special tokens.
    pub fn encode<'t, const N: usize>(&self, texts: [Texts<'t>; N]) -> Result<[Encoded<'t>; N]> {
        let mut chunks = Vec::new();
        let mut ends = [0; N];
        let mut again = false;
        for (of, end) in texts.iter().zip(&mut ends) {
            let of = self.chunks(of)?;
            again |= self.limit.is_some() && of.len() > 1;
            chunks.extend(of);
            *end = chunks.len();
        }
        let mut encoded = self.workers.map(chunks, |chunk| match again {
            true => (no_grad(|| self.forward(&chunk)), chunk),
            false => {
                let embeddings = self.forward(&chunk);
                (embeddings.detach(), Chunk { embeddings: Some(embeddings), ..chunk })
            }
        });
        let mut start = 0;
        Ok(ends.map(|end| {
            let (embeddings, chunks): (Vec<Tensor>, Vec<Chunk>) = encoded.drain(..end - start).unzip();
            start = end;
            let order: Vec<i64> = chunks.iter().flat_map(|chunk| chunk.places.iter().copied()).collect();
            let embeddings = no_grad(|| Tensor::cat(&embeddings, 0).index_select(0, &self.inverse(&order)));
            Encoded { embeddings: embeddings.set_requires_grad(true), chunks }
        }))
    }

    /// Texts sorted by length and cut into chunks that every core gets its share of.
    fn chunks<'t>(&self, texts: &Texts<'t>) -> Result<Vec<Chunk<'t>>> {
        let Texts { tokens, ids, max_length, seed } = texts;
        let rows: Vec<&[i32]> = ids.iter().map(|&id| tokens.token_ids(id as usize)).collect();
        for (row, &id) in rows.iter().zip(ids) {
            check_token_ids(row, self.encoder.vocabulary(), tokens.name(), id as usize)?;
        }
        let truncation = Truncation::new(*max_length, tokens.provenance())?;
        let length = |place: usize| truncation.kept(rows[place].len());
        let mut order: Vec<usize> = (0..rows.len()).collect();
        order.sort_by_key(|&place| length(place));
        let parts: Vec<&[usize]> = match self.limit {
            Some(Chunks::Texts(size)) => order.chunks(size.max(1)).collect(),
            Some(Chunks::Tokens(most)) => cut_by_tokens(&order, length, most).collect(),
            None => {
                let all: usize = order.iter().map(|&place| length(place)).sum();
                let fewest = all.div_ceil(default_batch_tokens(self.encoder.device()));
                cut_evenly(&order, length, fewest.next_multiple_of(self.workers.count())).collect()
            }
        };
        let chunk = |(number, places): (usize, &[usize])| Chunk {
            places: places.iter().map(|&place| place as i64).collect(),
            rows: places.iter().map(|&place| rows[place]).collect(),
            truncation,
            seed: seed(number as u64),
            embeddings: None,
        };
        Ok(parts.into_iter().enumerate().map(chunk).collect())
    }

    /// Carries the gradients at the embeddings, known after the loss went backward, on to the parameters: one
    /// gradient for each of [`Encoder::parameters`] that gradients are tracked of.
    pub fn gradients<'t>(&self, encoded: impl IntoIterator<Item = Encoded<'t>>) -> Vec<Tensor> {
        let mut chunks = Vec::new();
        for Encoded { embeddings, chunks: of } in encoded {
            let gradient = embeddings.grad();
            chunks.extend(of.into_iter().map(|chunk| {
                let places = Tensor::from_slice(&chunk.places).to_device(self.encoder.device());
                (gradient.index_select(0, &places), chunk)
            }));
        }
        // Each core adds up the gradients of its own chunks, always the same ones, so that sums are the same each time.
        let mut shares: Vec<Vec<(Tensor, Chunk)>> = (0..self.workers.count()).map(|_| Vec::new()).collect();
        let count = shares.len();
        chunks.into_iter().enumerate().for_each(|(number, chunk)| shares[number % count].push(chunk));
        shares.retain(|share| !share.is_empty());
        let sums = self.workers.map(shares, |share| self.gradients_of(share));
        self.sum(sums)
    }

    /// Sum of the gradients of chunks.
    fn gradients_of(&self, chunks: Vec<(Tensor, Chunk)>) -> Vec<Tensor> {
        let parameters = self.encoder.parameters().iter().map(|(_, parameter)| parameter);
        let parameters: Vec<&Tensor> = parameters.filter(|parameter| parameter.requires_grad()).collect();
        let backward = |products: &[Tensor]| Tensor::run_backward(products, &parameters, false, false);
        let product = |embeddings: &Tensor, gradient: &Tensor| (embeddings * gradient).sum(Kind::Float);
        let (again, kept): (Vec<_>, Vec<_>) = chunks.into_iter().partition(|(_, chunk)| chunk.embeddings.is_none());
        let kept: Vec<Tensor> = kept
            .iter()
            .filter_map(|(gradient, chunk)| chunk.embeddings.as_ref().map(|embeddings| product(embeddings, gradient)))
            .collect();
        let mut sums = (!kept.is_empty()).then(|| backward(&kept));
        for (gradient, chunk) in again {
            let gradients = backward(&[product(&self.forward(&chunk), &gradient)]);
            match &mut sums {
                None => sums = Some(gradients),
                Some(sums) => sums.iter_mut().zip(&gradients).for_each(|(sum, one)| add(sum, one)),
            }
        }
        sums.unwrap_or_default()
    }

    /// The sums of all cores as one.
    fn sum(&self, sums: Vec<Vec<Tensor>>) -> Vec<Tensor> {
        let mut sums = sums.into_iter();
        let mut by_parameter: Vec<Vec<Tensor>> = sums.next().into_iter().flatten().map(|first| vec![first]).collect();
        for more in sums {
            by_parameter.iter_mut().zip(more).for_each(|(all, one)| all.push(one));
        }
        self.workers.map(by_parameter, |mut all| {
            let mut sum = all.remove(0);
            all.iter().for_each(|one| add(&mut sum, one));
            sum
        })
    }

    /// Embeddings of one chunk, (n, E). The same seed gives the same dropout again.
    fn forward(&self, chunk: &Chunk) -> Tensor {
        let batch = self.encoder.batch(&chunk.rows, chunk.truncation);
        self.encoder.encode_with_dropout(&batch, chunk.seed)
    }

    /// For each place where its text stands in `order`.
    fn inverse(&self, order: &[i64]) -> Tensor {
        let mut inverse = vec![0i64; order.len()];
        (0..).zip(order).for_each(|(sorted, &place)| inverse[place as usize] = sorted);
        Tensor::from_slice(&inverse).to_device(self.encoder.device())
    }
}

/// A parameter that no text reaches has an undefined gradient.
pub(crate) fn add(sum: &mut Tensor, one: &Tensor) {
    match (sum.defined(), one.defined()) {
        (true, true) => *sum += one,
        (false, true) => *sum = one.shallow_clone(),
        (_, false) => {}
    }
}
