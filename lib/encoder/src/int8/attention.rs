//! Attention of one text in float32, each text by itself: there is no padding, and what a token takes of the others
//! does not depend on the batch.

use super::functions::exp;
use super::lanes::{LANES, Lanes, Work, fastest};
use crate::attention::Heads;

/// Queries whose scores are kept at once.
const QUERIES: usize = 6;
/// Registers of outputs for each row.
const COLUMNS: usize = 4;

/// Attention of some tokens of a text over all of them.
pub(super) struct Attention<'a> {
    pub heads: Heads,
    /// (Q, Hq·size); what the tokens take of the others is written in the place of each query.
    pub queries: &'a mut [f32],
    /// (L, Hk·size)
    pub keys: &'a [f32],
    /// (L, Hk·size)
    pub values: &'a [f32],
    pub bias: Option<Bias<'a>>,
    pub scratch: &'a mut Scratch,
}

/// What is added to the scores of a text.
#[derive(Clone, Copy)]
pub(super) struct Bias<'a> {
    /// (H or 1, Q or 1, at least L), from the first number of the text on.
    pub numbers: &'a [f32],
    /// How far apart those of two heads are, and of two queries.
    pub strides: [usize; 2],
}

/// Room for one head.
#[derive(Default)]
pub(super) struct Scratch {
    /// (size, L padded)
    keys: Vec<f32>,
    /// (L, size padded)
    values: Vec<f32>,
    /// (6, L padded)
    scores: Vec<f32>,
    /// (6, size padded)
    context: Vec<f32>,
}

impl Attention<'_> {
    pub fn write(self) {
        fastest(self);
    }
}

impl Work for Attention<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let Attention { heads, queries, keys, values, bias, scratch } = self;
        let (size, count) = (heads.size as usize, heads.queries as usize);
        let (shared, key_width) = (count / heads.keys as usize, heads.keys as usize * size);
        let length = keys.len() / key_width;
        let (wide, deep) = (length.next_multiple_of(LANES), size.next_multiple_of(LANES));
        scratch.resize(size, length);
        for head in 0..count {
            if head % shared == 0 {
                let first = head / shared * size;
                scratch.pack(keys, values, key_width, first..first + size, heads.scale as f32);
            }
            for (number, queries) in queries.chunks_mut(QUERIES * count * size).enumerate() {
                let rows = queries.len() / (count * size);
                let of_head = Matrix { numbers: &queries[head * size..], stride: count * size };
                let keys = Matrix { numbers: &scratch.keys, stride: wide };
                multiply::<L>(rows, size, of_head, keys, &mut scratch.scores, wide);
                let mut totals = [0.0; QUERIES];
                for (row, scores) in scratch.scores.chunks_exact_mut(wide).take(rows).enumerate() {
                    if let Some(bias) = bias {
                        let first = head * bias.strides[0] + (number * QUERIES + row) * bias.strides[1];
                        add::<L>(&mut scores[..length], &bias.numbers[first..]);
                    }
                    totals[row] = exponentials::<L>(scores, length);
                }
                let scores = Matrix { numbers: &scratch.scores, stride: wide };
                let values = Matrix { numbers: &scratch.values, stride: deep };
                multiply::<L>(rows, length, scores, values, &mut scratch.context, deep);
                let contexts = scratch.context.chunks_exact(deep).zip(totals);
                for (query, (context, total)) in queries.chunks_exact_mut(count * size).zip(contexts) {
                    divide::<L>(&context[..size], total, &mut query[head * size..][..size]);
                }
            }
        }
    }
}

impl Scratch {
    fn resize(&mut self, size: usize, length: usize) {
        let (wide, deep) = (length.next_multiple_of(LANES), size.next_multiple_of(LANES));
        self.keys.resize(size * wide, 0.0);
        self.values.resize(length * deep, 0.0);
        self.scores.resize(QUERIES * wide, 0.0);
        self.context.resize(QUERIES * deep, 0.0);
    }

    /// Takes over keys and values of one head, the keys as columns and times `scale`.
    #[inline(always)]
    fn pack(&mut self, keys: &[f32], values: &[f32], width: usize, head: std::ops::Range<usize>, scale: f32) {
        let (size, length) = (head.len(), keys.len() / width);
        let (wide, deep) = (length.next_multiple_of(LANES), size.next_multiple_of(LANES));
        // Sixteen keys at a time, which stay in the cache while their columns are written.
        for (block, keys) in keys.chunks(LANES * width).enumerate() {
            for number in 0..size {
                let mut column = [0.0; LANES];
                for (place, key) in column.iter_mut().zip(keys.chunks_exact(width)) {
                    *place = key[head.start + number] * scale;
                }
                self.keys[number * wide + block * LANES..][..LANES].copy_from_slice(&column);
            }
        }
        for (packed, value) in self.values.chunks_exact_mut(deep).zip(values.chunks_exact(width)) {
            packed[..size].copy_from_slice(&value[head.clone()]);
            packed[size..].fill(0.0);
        }
    }
}

/// The numbers of a matrix, from its first row on.
#[derive(Clone, Copy)]
struct Matrix<'a> {
    numbers: &'a [f32],
    /// How far apart two rows are.
    stride: usize,
}

/// Writes a·b for the first `rows` rows of `a` (rows, `depth`) and `b` (`depth`, `width`) to `out`; `width` is that of
/// full registers. A sum is taken in the order of the depth, whatever the tile.
#[inline(always)]
fn multiply<L: Lanes>(rows: usize, depth: usize, a: Matrix, b: Matrix, out: &mut [f32], width: usize) {
    let mut row = 0;
    while row < rows {
        let a = Matrix { numbers: &a.numbers[row * a.stride..], ..a };
        let out = &mut out[row * width..];
        row += match rows - row {
            6.. if L::MANY => columns::<L, 6>(depth, a, b, out, width),
            2.. => columns::<L, 2>(depth, a, b, out, width),
            _ => columns::<L, 1>(depth, a, b, out, width),
        };
    }
}

/// [`multiply`] for `R` rows; returns how many they are.
#[inline(always)]
fn columns<L: Lanes, const R: usize>(depth: usize, a: Matrix, b: Matrix, out: &mut [f32], width: usize) -> usize {
    let mut column = 0;
    while column < width {
        let b = Matrix { numbers: &b.numbers[column..], ..b };
        let out = &mut out[column..];
        column += LANES
            * match (width - column) / LANES {
                COLUMNS.. if L::MANY => tile::<L, R, COLUMNS>(depth, a, b, out, width),
                2.. => tile::<L, R, 2>(depth, a, b, out, width),
                _ => tile::<L, R, 1>(depth, a, b, out, width),
            };
    }
    R
}

/// [`multiply`] for `R` rows and `C` registers of each; returns how many those are.
#[inline(always)]
fn tile<L: Lanes, const R: usize, const C: usize>(
    depth: usize,
    a: Matrix,
    b: Matrix,
    out: &mut [f32],
    width: usize,
) -> usize {
    assert!(depth > 0 && a.numbers.len() >= (R - 1) * a.stride + depth, "rows of a");
    assert!(b.numbers.len() >= (depth - 1) * b.stride + C * LANES, "registers of b");
    let mut sums = [[L::splat(0.0); C]; R];
    for place in 0..depth {
        let mut registers = [L::splat(0.0); C];
        for (column, register) in registers.iter_mut().enumerate() {
            // SAFETY: the last row of `b` has so many numbers, and those before it have as many behind them.
            *register = L::load(unsafe { &*b.numbers.as_ptr().add(place * b.stride + column * LANES).cast() });
        }
        for (row, sums) in sums.iter_mut().enumerate() {
            // SAFETY: the last row of `a` has so many numbers, and those before it have as many behind them.
            let number = L::splat(unsafe { *a.numbers.as_ptr().add(row * a.stride + place) });
            for (sum, register) in sums.iter_mut().zip(registers) {
                *sum = number.times_plus(register, *sum);
            }
        }
    }
    for (row, sums) in sums.into_iter().enumerate() {
        let places = out[row * width..].as_chunks_mut::<LANES>().0;
        for (sum, place) in sums.into_iter().zip(places) {
            sum.store(place);
        }
    }
    C
}

/// Adds what is there for each score.
#[inline(always)]
fn add<L: Lanes>(scores: &mut [f32], added: &[f32]) {
    let added = &added[..scores.len()];
    let ((registers, rest), (added, last)) = (scores.as_chunks_mut::<LANES>(), added.as_chunks::<LANES>());
    for (register, added) in registers.iter_mut().zip(added) {
        L::load(register).plus(L::load(added)).store(register);
    }
    L::load_some(rest, 0.0).plus(L::load_some(last, 0.0)).store_some(rest);
}

/// Replaces the first `length` of `scores` by exp(score - largest) and the others by numbers of no account, and returns
/// their sum.
#[inline(always)]
fn exponentials<L: Lanes>(scores: &mut [f32], length: usize) -> f32 {
    scores[length..].fill(f32::NEG_INFINITY);
    let registers = scores.as_chunks_mut::<LANES>().0;
    let mut largest = L::splat(f32::NEG_INFINITY);
    for register in registers.iter() {
        largest = L::load(register).larger(largest);
    }
    let largest = L::splat(largest.largest());
    let mut sums = L::splat(0.0);
    for register in registers {
        let exponential = exp(L::load(register).minus(largest));
        exponential.store(register);
        sums = sums.plus(exponential);
    }
    sums.sum()
}

/// Writes `context` / `total`.
#[inline(always)]
fn divide<L: Lanes>(context: &[f32], total: f32, place: &mut [f32]) {
    let inverse = L::splat(1.0 / total);
    let ((registers, rest), (places, last)) = (context.as_chunks::<LANES>(), place.as_chunks_mut::<LANES>());
    for (register, place) in registers.iter().zip(places) {
        L::load(register).times(inverse).store(place);
    }
    L::load_some(rest, 0.0).times(inverse).store_some(last);
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind, Tensor};

    use super::super::lanes::Plain;
    use super::super::numbers;
    use super::*;

    #[test]
    fn it_is_that_of_libtorch_and_the_same_on_every_processor() {
        for (length, looking, count, of_keys, size, biased) in
            [(1, 1, 1, 1, 1, false), (5, 5, 2, 2, 12, true), (37, 37, 4, 2, 32, false), (70, 3, 3, 3, 64, true)]
        {
            tch::manual_seed(length);
            let random = |size: &[i64]| Tensor::randn(size, (Kind::Float, Device::Cpu));
            let heads = Heads { keys: of_keys, ..Heads::new(count, size, 0.0) };
            let query = random(&[looking, count * size]);
            let (key, value) = (random(&[length, of_keys * size]), random(&[length, of_keys * size]));
            // A rectangle may be wider than the text.
            let added = random(&[count, looking, length + 2]);
            let (queries, keys, values, numbers_of_bias) =
                (numbers(&query), numbers(&key), numbers(&value), numbers(&added));
            let wide = (length + 2) as usize;
            let bias = biased.then_some(Bias { numbers: &numbers_of_bias, strides: [wide * looking as usize, wide] });
            let [fast, plain] = [true, false].map(|fast| {
                // What is left of an earlier text must not count.
                let mut scratch = Scratch::default();
                scratch.resize(64, 99);
                scratch.keys.fill(f32::NAN);
                scratch.values.fill(f32::NAN);
                let mut queries = queries.clone();
                let attention = Attention {
                    heads,
                    queries: &mut queries,
                    keys: &keys,
                    values: &values,
                    bias,
                    scratch: &mut scratch,
                };
                if fast {
                    attention.write()
                } else {
                    attention.run::<Plain>()
                }
                queries
            });
            assert!(fast.iter().zip(&plain).all(|(a, b)| a.to_bits() == b.to_bits()), "{length}");
            let by_head = |x: &Tensor, heads: i64| x.view([-1, heads, size]).transpose(0, 1);
            let shared = |x: &Tensor| by_head(x, of_keys).repeat_interleave_self_int(count / of_keys, 0, None);
            let mut scores = by_head(&query, count).matmul(&shared(&key).transpose(1, 2)) * heads.scale;
            if biased {
                scores += added.narrow(2, 0, length);
            }
            let exact = scores.softmax(-1, Kind::Float).matmul(&shared(&value)).transpose(0, 1);
            let exact = exact.reshape([looking, count * size]);
            let off = (Tensor::from_slice(&fast).view_as(&exact) - exact).abs().max().double_value(&[]);
            assert!(off < 1e-5, "{length}: {off}");
        }
    }
}
