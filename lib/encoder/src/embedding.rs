//! Encoding a collection of any size: token records in, embedding records out, in the same order.
//! Reading, computing and writing overlap; memory holds a few windows of texts, never the collection.

use std::cmp::Reverse;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread;

use arrow::array::RecordBatch;
use half::f16;
use half::vec::HalfFloatVecExt;
use hardmine_quantization::Codebook;
use hardmine_records::{CodesBatch, EmbeddingsBatch, Error, Fingerprint, KeyHasher, Result, TokensBatch, Values};
use tch::{Device, Kind, Tensor};

use crate::{Network, Truncation, Workers, check_token_ids, cut_by_tokens};

/// Fewest and most texts of a window. Sorting texts by length inside it leaves attention little padding; much larger
/// windows only take memory and delay the output.
const WINDOW_TEXTS: (usize, usize) = (64, 32_768);

/// Rows of a record batch.
const RECORDS: usize = 4_096;

/// How a collection is encoded.
pub struct Embedding<'a> {
    /// What encodes the texts; see [`Encoder::for_inference`](crate::Encoder::for_inference).
    pub encoder: &'a Network,
    /// How texts that are too long are shortened.
    pub truncation: Truncation,
    /// How many token ids are encoded at once.
    pub batch_tokens: usize,
    /// What is written of each vector.
    pub form: Form<'a>,
    /// The name of the tokens in errors.
    pub place: &'a str,
    /// The row number of the first text in `place`.
    pub first_row: usize,
}

/// What is written of a vector.
#[derive(Clone, Copy)]
pub enum Form<'a> {
    /// Its numbers as float32, in records of kind embeddings.
    F32,
    /// Its numbers as float16, in records of kind embeddings.
    F16,
    /// The code of the nearest centroids, in records of kind codes. The encoder's vectors must be those that the
    /// centroids are of, [rotated](Network::rotated) if these are.
    Codes(&'a Codebook),
}

/// What was encoded.
pub struct Embedded {
    /// Fingerprint of the texts' official ids, in their order.
    pub keys: Fingerprint,
    /// Number of texts that were encoded.
    pub texts: u64,
    /// Number of them that were too long and were cut.
    pub cut: u64,
}

/// Texts on their way to the encoder.
#[derive(Default)]
struct Window {
    first_row: usize,
    ids: Vec<i64>,
    /// The token ids of all texts, one after the other, and where each text ends.
    token_ids: Vec<i32>,
    ends: Vec<usize>,
}

/// Vectors on their way to the output, row by row.
struct Vectors {
    first_row: usize,
    ids: Vec<i64>,
    values: Vec<f32>,
}

/// Vectors (n, E) of the texts at these places of a window, on their way from the device.
type Running<'a> = (&'a [usize], Tensor);

/// A batch size that keeps the device busy without wasting its memory: in tokens.
pub fn default_batch_tokens(device: Device) -> usize {
    if device.is_cuda() { 65_536 } else { 2_048 }
}

/// How many consecutive texts are encoded in batches of `batch_tokens` tokens among themselves. The last bits of a
/// vector depend on the texts of its window, and on no others: parts of a collection that begin and end at multiples of
/// this number get the vectors that they get as parts of the whole.
pub fn window_texts(batch_tokens: usize) -> usize {
    batch_tokens.clamp(WINDOW_TEXTS.0, WINDOW_TEXTS.1)
}

impl Embedding<'_> {
    /// Encodes `tokens`, records of kind tokens. `write` is given records of kind embeddings or codes, `done`
    /// the number of texts encoded since it was last called.
    ///
    /// # Errors
    /// Those of `tokens` and `write`; token ids outside the vocabulary; vectors that are not finite.
    pub fn run(
        &self,
        tokens: impl Iterator<Item = Result<RecordBatch>> + Send,
        write: impl FnMut(RecordBatch) -> Result<()> + Send,
        done: impl FnMut(u64) + Send,
    ) -> Result<Embedded> {
        self.run_on(&Workers::new(self.encoder.device())?, tokens, write, done)
    }

    /// [`Embedding::run`] on threads that there are already.
    ///
    /// # Errors
    /// As [`Embedding::run`].
    pub fn run_on(
        &self,
        workers: &Workers,
        tokens: impl Iterator<Item = Result<RecordBatch>> + Send,
        write: impl FnMut(RecordBatch) -> Result<()> + Send,
        done: impl FnMut(u64) + Send,
    ) -> Result<Embedded> {
        let done = Mutex::new(done);
        let done = |texts| done.lock().unwrap_or_else(PoisonError::into_inner)(texts);
        let reading = WindowReader {
            vocabulary: self.encoder.vocabulary(),
            truncation: self.truncation,
            window_texts: window_texts(self.batch_tokens),
            place: self.place,
            first_row: self.first_row,
        };
        let writing = VectorWriter { form: self.form, dimension: self.encoder.dimension(), place: self.place };
        let (window_sender, windows) = sync_channel(1);
        let (vector_sender, vectors) = sync_channel(1);
        thread::scope(|scope| {
            let reader = scope.spawn(move || reading.run(tokens, window_sender));
            let writer = scope.spawn(move || writing.run(vectors, write));
            let mut computed = Ok(());
            for window in windows {
                match self.encode(window, workers, &done) {
                    Ok(vectors) => {
                        // A closed channel is the writer's failure, which it reports itself.
                        if vector_sender.send(vectors).is_err() {
                            break;
                        }
                    }
                    Err(error) => {
                        computed = Err(error);
                        break;
                    }
                }
            }
            drop(vector_sender);
            let written = join(writer);
            computed.and(written)?;
            join(reader)
        })
    }

    fn encode(&self, window: Window, workers: &Workers, done: &(impl Fn(u64) + Sync)) -> Result<Vectors> {
        let texts = window.ids.len();
        let length = |row: usize| self.truncation.kept(window.text(row).len());
        let mut order: Vec<usize> = (0..texts).collect();
        order.sort_by_key(|&row| Reverse(length(row)));

        let mut vectors = Vectors {
            first_row: window.first_row,
            values: vec![0.0; texts * self.encoder.dimension()],
            ids: Vec::new(),
        };
        let batches: Vec<&[usize]> = cut_by_tokens(&order, length, self.batch_tokens).collect();
        let start = |rows| -> Running { (rows, self.embeddings(&window, rows)) };
        match self.encoder.device() {
            Device::Cpu => {
                let encoded = workers.map(batches, |rows| {
                    let running = start(rows);
                    done(rows.len() as u64);
                    running
                });
                encoded.into_iter().try_for_each(|running| self.fetch(running, &mut vectors))?;
            }
            _ => {
                // A GPU is handed a batch before the last one's vectors are fetched, so that it never waits for us.
                let mut last: Option<Running> = None;
                for rows in batches {
                    if let Some(running) = last.replace(start(rows)) {
                        done(running.0.len() as u64);
                        self.fetch(running, &mut vectors)?;
                    }
                }
                if let Some(running) = last {
                    done(running.0.len() as u64);
                    self.fetch(running, &mut vectors)?;
                }
            }
        }
        vectors.ids = window.ids;
        Ok(vectors)
    }

    /// Vectors (n, E) of the texts `rows` of a window.
    fn embeddings(&self, window: &Window, rows: &[usize]) -> Tensor {
        let texts: Vec<&[i32]> = rows.iter().map(|&row| window.text(row)).collect();
        tch::no_grad(|| self.encoder.encode(&self.encoder.batch(&texts, self.truncation)))
    }

    /// Puts vectors to their rows.
    fn fetch(&self, (rows, embeddings): Running, vectors: &mut Vectors) -> Result<()> {
        let dimension = self.encoder.dimension();
        let embeddings = embeddings.to_device(Device::Cpu).to_kind(Kind::Float).contiguous();
        let mut values = vec![0f32; rows.len() * dimension];
        embeddings.f_copy_data(&mut values, rows.len() * dimension).map_err(Error::at(self.place))?;
        for (vector, &row) in values.chunks_exact(dimension).zip(rows) {
            if vector.iter().any(|value| !value.is_finite()) {
                let row = vectors.first_row + row;
                return Err(Error::at_row(self.place, row, "the vector has NaN or infinite values")
                    .hint("with --precision f16, try bf16 or f32; else the model's weights are damaged"));
            }
            vectors.values[row * dimension..][..dimension].copy_from_slice(vector);
        }
        Ok(())
    }
}

impl Window {
    fn text(&self, row: usize) -> &[i32] {
        let start = if row == 0 { 0 } else { self.ends[row - 1] };
        &self.token_ids[start..self.ends[row]]
    }
}

/// Cuts token records into windows, the same ones however the records are batched.
struct WindowReader<'a> {
    vocabulary: usize,
    truncation: Truncation,
    window_texts: usize,
    place: &'a str,
    first_row: usize,
}

impl WindowReader<'_> {
    fn run(&self, tokens: impl Iterator<Item = Result<RecordBatch>>, windows: SyncSender<Window>) -> Result<Embedded> {
        let mut keys = KeyHasher::default();
        let mut cut = 0;
        let mut window = Window { first_row: self.first_row, ..Window::default() };
        'tokens: for records in tokens {
            let records = records?;
            let texts = TokensBatch::new(&records)?;
            for row in 0..texts.len() {
                let text = texts.token_ids(row);
                check_token_ids(text, self.vocabulary, self.place, window.first_row + window.ids.len())?;
                keys.update(texts.keys.value(row));
                window.ids.push(texts.ids.value(row));
                window.token_ids.extend_from_slice(text);
                window.ends.push(window.token_ids.len());
                let kept = self.truncation.kept(text.len());
                cut += u64::from(kept < text.len());
                if window.ids.len() >= self.window_texts {
                    let next = Window { first_row: window.first_row + window.ids.len(), ..Window::default() };
                    if windows.send(std::mem::replace(&mut window, next)).is_err() {
                        break 'tokens;
                    }
                }
            }
        }
        let texts = (window.first_row + window.ids.len() - self.first_row) as u64;
        if !window.ids.is_empty() {
            // A closed channel means that encoding has failed, which is reported there.
            let _ = windows.send(window);
        }
        Ok(Embedded { keys: keys.finish(), texts, cut })
    }
}

struct VectorWriter<'a> {
    form: Form<'a>,
    dimension: usize,
    place: &'a str,
}

impl VectorWriter<'_> {
    fn run(&self, vectors: Receiver<Vectors>, mut write: impl FnMut(RecordBatch) -> Result<()>) -> Result<()> {
        for Vectors { first_row, ids, values } in vectors {
            let parts = ids.chunks(RECORDS).zip(values.chunks(RECORDS * self.dimension));
            for (part, (ids, values)) in parts.enumerate() {
                write(self.records(first_row + part * RECORDS, ids, values)?)?;
            }
        }
        Ok(())
    }

    fn records(&self, first_row: usize, ids: &[i64], values: &[f32]) -> Result<RecordBatch> {
        let values = match self.form {
            Form::Codes(codebook) => {
                return CodesBatch::build(ids.to_vec(), codebook.subvectors(), codebook.nearest(values));
            }
            Form::F16 => {
                let narrow: Vec<f16> = Vec::from_f32_slice(values);
                if let Some(at) = narrow.iter().position(|value| !value.is_finite()) {
                    let row = first_row + at / self.dimension;
                    return Err(
                        Error::at_row(self.place, row, "the vector overflows float16").hint("--output-type f32")
                    );
                }
                Values::F16(narrow)
            }
            Form::F32 => Values::F32(values.to_vec()),
        };
        EmbeddingsBatch::build(ids.to_vec(), self.dimension, values)
    }
}

fn join<T>(thread: thread::ScopedJoinHandle<Result<T>>) -> Result<T> {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
