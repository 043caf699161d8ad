//! Products with a matrix of int8, for encoding on a CPU.
//!
//! A weight w is kept as a whole number in \[-127, 127\] times a scale, one scale for each output. The numbers of a
//! token are rounded in the same way before each product (dynamic quantization, symmetric), with a scale for each
//! [`PART`] of them. What is summed up are products of whole numbers, so that a product is the same to the bit in every
//! batch and on every processor.
//!
//! What costs precision is that numbers share a scale: the largest of them decides how fine the others are. With one
//! scale for all numbers of a token, the vectors of a MiniLM are 2.6 times as far from those of float32 (1 - cosine in
//! the mean: 0.0018 and 0.0007), because a few of its dimensions are always large.
//!
//! Blocks of BERT's kind are computed by [`Int8Block`] alone, attention included. Other families call
//! [`Int8Matrix::forward`] for each product, and libtorch for the rest.

mod attention;
mod block;
mod functions;
mod lanes;
mod norm;
mod plain;
#[cfg(target_arch = "x86_64")]
mod vnni;

use std::ops::Range;

use tch::{Device, Kind, Tensor, no_grad};

pub(crate) use block::Int8Block;
pub(crate) use norm::Norm;

/// The largest whole number.
const LARGEST: f32 = 127.0;
/// Outputs that are computed side by side.
const PANEL: usize = 32;
/// Inputs whose products are summed up by one instruction.
const GROUP: usize = 4;

/// Inputs that share a scale.
const PART: usize = 96;
/// Groups in a part.
const PART_GROUPS: usize = PART / GROUP;
/// Panels whose outputs share a scale as the inputs of the next product.
const PART_PANELS: usize = PART / PANEL;

/// Rows that are rounded and multiplied at once: so few that they stay in the cache.
const ROWS: usize = 192;

/// A matrix in int8 with its bias.
pub(crate) struct Int8Matrix {
    /// (outputs/32, inputs/4), both rounded up: the weights + 128. What there are too many of them is 128.
    panels: Vec<Cell>,
    /// What a weight stands for is its whole number times the scale of its output. Padded with zeros.
    scales: Vec<f32>,
    /// Padded with zeros.
    bias: Vec<f32>,
    inputs: usize,
    outputs: usize,
}

/// What the weights of a panel's outputs are for a group of inputs, (32, 4), where a register can load it from one
/// place.
#[derive(Clone)]
#[repr(align(64))]
struct Cell([[u8; GROUP]; PANEL]);

/// The numbers of some tokens as whole numbers.
struct Rows {
    /// (rows, inputs), padded to full groups with zeros.
    numbers: Vec<i8>,
    /// (rows, parts): what a number stands for is its whole number times the scale of its part.
    scales: Vec<f32>,
    /// (rows, parts): sums of the whole numbers.
    sums: Vec<i32>,
    inputs: usize,
}

impl Int8Matrix {
    /// Rounds a `weight` (outputs, inputs), which is on the CPU; none for `bias` is a bias of 0.
    pub fn new(weight: &Tensor, bias: Option<&Tensor>) -> Int8Matrix {
        let (outputs, inputs) = weight.size2().expect("a weight is a matrix");
        let (outputs, inputs) = (outputs as usize, inputs as usize);
        let weights = numbers(weight);
        let (groups, padded) = (inputs.div_ceil(GROUP), outputs.next_multiple_of(PANEL));
        let mut matrix = Int8Matrix {
            panels: vec![Cell([[128; GROUP]; PANEL]); padded / PANEL * groups],
            scales: vec![0.0; padded],
            bias: bias.map_or_else(Vec::new, numbers),
            inputs,
            outputs,
        };
        matrix.bias.resize(padded, 0.0);
        for (output, row) in weights.chunks(inputs).enumerate() {
            let mut whole = vec![0; inputs];
            (matrix.scales[output], _) = plain::round_part(row, &mut whole);
            let panel = &mut matrix.panels[output / PANEL * groups..][..groups];
            for (input, whole) in whole.into_iter().enumerate() {
                panel[input / GROUP].0[output % PANEL][input % GROUP] = (i16::from(whole) + 128) as u8;
            }
        }
        matrix
    }

    /// `x`·Wᵀ + b for `x` (…, inputs), in float32 on the CPU: (…, outputs).
    pub fn forward(&self, x: &Tensor) -> Tensor {
        no_grad(|| {
            let x = x.to_kind(Kind::Float).contiguous();
            let mut size = x.size();
            *size.last_mut().expect("a token has numbers") = self.outputs as i64;
            let out = Tensor::empty(&size, (Kind::Float, Device::Cpu));
            // SAFETY: it was made here, and nobody else has it yet.
            let places = unsafe { slice_mut(&out) };
            let mut rows = Rows::new(self.inputs);
            for (x, places) in slice(&x).chunks(ROWS * self.inputs).zip(places.chunks_mut(ROWS * self.outputs)) {
                rows.round(x);
                self.write_to(&rows, places);
            }
            out
        })
    }

    /// Makes `out` the products of all rows of `x`, (rows, outputs).
    fn write(&self, x: &Rows, out: &mut Vec<f32>) {
        self.write_some(x, 0..self.panels(), out);
    }

    /// Makes `out` the products with the outputs of some panels, (rows, outputs of the panels).
    fn write_some(&self, x: &Rows, panels: Range<usize>, out: &mut Vec<f32>) {
        out.resize(x.rows() * self.width(&panels), 0.0);
        self.write_products(x, panels, out);
    }

    /// Writes the products of all rows of `x` to `out`, (rows, outputs).
    fn write_to(&self, x: &Rows, out: &mut [f32]) {
        self.write_products(x, 0..self.panels(), out);
    }

    /// Writes the products with the outputs of some panels to `out`, (rows, outputs of the panels).
    fn write_products(&self, x: &Rows, panels: Range<usize>, out: &mut [f32]) {
        assert!(x.inputs == self.inputs && panels.end <= self.panels(), "products of other sizes");
        assert_eq!(out.len(), x.rows() * self.width(&panels), "a place for each product");
        #[cfg(target_arch = "x86_64")]
        if vnni::is_there() {
            // SAFETY: the processor has the instructions, and sizes are as they should be.
            return unsafe { vnni::write_products(self, x, panels, out) };
        }
        plain::write_products(self, x, panels, out);
    }

    /// The panels of each part that the outputs are, as the inputs of the next product.
    fn parts_of_outputs(&self) -> impl Iterator<Item = Range<usize>> {
        let panels = self.panels();
        (0..panels).step_by(PART_PANELS).map(move |first| first..panels.min(first + PART_PANELS))
    }

    /// How many outputs some panels have.
    fn width(&self, panels: &Range<usize>) -> usize {
        self.outputs.min(panels.end * PANEL) - panels.start * PANEL
    }

    fn panels(&self) -> usize {
        self.outputs.div_ceil(PANEL)
    }

    fn groups(&self) -> usize {
        self.inputs.div_ceil(GROUP)
    }
}

impl Rows {
    /// No rows yet, of so many numbers each.
    fn new(inputs: usize) -> Rows {
        Rows { numbers: Vec::new(), scales: Vec::new(), sums: Vec::new(), inputs }
    }

    /// How many there are.
    fn rows(&self) -> usize {
        self.numbers.len() / self.width()
    }

    /// Makes room for so many rows.
    fn resize(&mut self, rows: usize) {
        let (width, parts) = (self.width(), self.parts());
        self.numbers.resize(rows * width, 0);
        self.scales.resize(rows * parts, 0.0);
        self.sums.resize(rows * parts, 0);
    }

    /// Becomes the rows of `x` (rows, inputs).
    fn round(&mut self, x: &[f32]) {
        self.resize(x.len() / self.inputs);
        for (row, x) in x.chunks_exact(self.inputs).enumerate() {
            for (part, x) in x.chunks(PART).enumerate() {
                self.put(row, part, x);
            }
        }
    }

    /// Takes over one part of all rows, (rows, numbers of the part).
    fn round_part(&mut self, part: usize, x: &[f32]) {
        let width = PART.min(self.inputs - part * PART);
        for (row, x) in x.chunks_exact(width).enumerate() {
            self.put(row, part, x);
        }
    }

    fn put(&mut self, row: usize, part: usize, x: &[f32]) {
        let place = row * self.width() + part * PART;
        let numbers = &mut self.numbers[place..][..x.len().next_multiple_of(GROUP)];
        let (scale, sum) = round(x, numbers);
        let place = row * self.parts() + part;
        (self.scales[place], self.sums[place]) = (scale, sum);
    }

    fn width(&self) -> usize {
        self.inputs.next_multiple_of(GROUP)
    }

    fn parts(&self) -> usize {
        self.inputs.div_ceil(PART)
    }
}

/// Rounds the numbers `x` of a part, and returns their scale and the sum of the whole `numbers`.
fn round(x: &[f32], numbers: &mut [i8]) -> (f32, i32) {
    #[cfg(target_arch = "x86_64")]
    if vnni::is_there() {
        // SAFETY: the processor has the instructions.
        return unsafe { vnni::round_part(x, numbers) };
    }
    plain::round_part(x, numbers)
}

/// The scale of a part whose largest absolute number has these bits, and what its numbers are multiplied by. Of a part
/// with NaN or an infinite number the scale is NaN, and so are its products.
fn scale_of(largest: u32) -> (f32, f32) {
    let largest = f32::from_bits(largest);
    match largest {
        _ if !largest.is_finite() => (f32::NAN, 0.0),
        // The factor of numbers so small would be infinite.
        _ if largest < f32::MIN_POSITIVE * LARGEST => (0.0, 0.0),
        _ => (largest / LARGEST, LARGEST / largest),
    }
}

/// All numbers of a tensor, as float32.
fn numbers(tensor: &Tensor) -> Vec<f32> {
    Vec::try_from(tensor.detach().to_kind(Kind::Float).flatten(0, -1)).expect("numbers are on the CPU")
}

/// The numbers of a contiguous tensor of float32 on the CPU.
fn slice(tensor: &Tensor) -> &[f32] {
    assert!(tensor.is_contiguous() && tensor.kind() == Kind::Float && tensor.device() == Device::Cpu);
    if tensor.numel() == 0 {
        return &[];
    }
    // SAFETY: it is contiguous and of float32, lies on the CPU, and has so many numbers.
    unsafe { std::slice::from_raw_parts(tensor.data_ptr().cast(), tensor.numel()) }
}

/// Places for the numbers of such a tensor.
///
/// # Safety
/// Nobody else looks at them meanwhile.
#[allow(clippy::mut_from_ref)]
unsafe fn slice_mut(tensor: &Tensor) -> &mut [f32] {
    assert!(tensor.is_contiguous() && tensor.kind() == Kind::Float && tensor.device() == Device::Cpu);
    if tensor.numel() == 0 {
        return &mut [];
    }
    // SAFETY: it is contiguous and of float32, lies on the CPU, and has so many numbers; the caller answers for the
    // rest.
    unsafe { std::slice::from_raw_parts_mut(tensor.data_ptr().cast(), tensor.numel()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers of several sizes, the same each time.
    fn random(rows: i64, columns: i64, seed: i64) -> Tensor {
        tch::manual_seed(seed);
        let scale = Tensor::rand([rows, 1], (Kind::Float, Device::Cpu)) * 10.0;
        Tensor::randn([rows, columns], (Kind::Float, Device::Cpu)) * scale
    }

    fn products(matrix: &Int8Matrix, x: &Tensor, plain: bool) -> Vec<f32> {
        let mut rows = Rows::new(matrix.inputs);
        let mut out = vec![f32::NAN; x.size()[0] as usize * matrix.outputs];
        rows.round(&numbers(x));
        match plain {
            true => {
                for (row, x) in numbers(x).chunks(matrix.inputs).enumerate() {
                    for (part, x) in x.chunks(PART).enumerate() {
                        let (place, width) = (row * rows.width() + part * PART, x.len().next_multiple_of(GROUP));
                        let mut whole = vec![0; width];
                        let place_of_scale = row * rows.parts() + part;
                        let (scale, sum) = plain::round_part(x, &mut whole);
                        assert_eq!(whole, rows.numbers[place..][..width]);
                        assert_eq!((scale, sum), (rows.scales[place_of_scale], rows.sums[place_of_scale]));
                    }
                }
                plain::write_products(matrix, &rows, 0..matrix.panels(), &mut out);
            }
            false => matrix.write_to(&rows, &mut out),
        }
        out
    }

    #[test]
    fn every_processor_gives_the_same_bits() {
        for (rows, inputs, outputs) in [(1, 1, 1), (5, 7, 33), (12, 96, 32), (29, 384, 70), (200, 210, 96)] {
            let (weight, x) = (random(outputs, inputs, 3), random(rows, inputs, 4));
            let bias = random(1, outputs, 5).flatten(0, -1);
            let matrix = Int8Matrix::new(&weight, Some(&bias));
            let (fast, plain) = (products(&matrix, &x, false), products(&matrix, &x, true));
            assert!(fast.iter().zip(&plain).all(|(a, b)| a.to_bits() == b.to_bits()), "{rows} {inputs} {outputs}");
        }
    }

    #[test]
    fn products_are_near_those_of_float32() {
        let (weight, x) = (random(100, 300, 6), random(50, 300, 7));
        let found = Int8Matrix::new(&weight, None).forward(&x);
        let exact = x.matmul(&weight.tr());
        let cosine = Tensor::cosine_similarity(&found, &exact, 1, 1e-8).min().double_value(&[]);
        assert!(cosine > 0.9995, "{cosine}");
    }

    #[test]
    fn a_row_has_the_same_product_among_any_others() {
        let matrix = Int8Matrix::new(&random(40, 50, 8), None);
        let x = random(31, 50, 9);
        let all = matrix.forward(&x);
        for row in 0..31 {
            assert_eq!(matrix.forward(&x.narrow(0, row, 1)), all.narrow(0, row, 1));
        }
    }

    #[test]
    fn zeros_stay_zeros_and_what_is_no_number_stays_none() {
        let matrix = Int8Matrix::new(&random(40, 50, 10), None);
        let x = Tensor::zeros([3, 50], (Kind::Float, Device::Cpu));
        let _ = x.get(1).get(7).fill_(f64::NAN);
        let _ = x.get(2).get(7).fill_(f64::INFINITY);
        let out = matrix.forward(&x);
        assert_eq!(out.get(0).abs().max().double_value(&[]), 0.0);
        for row in [1, 2] {
            assert!(out.get(row).isfinite().any().int64_value(&[]) == 0, "{row}");
        }
        // A broken weight breaks its output, and is not taken for 0.
        let weight = random(40, 50, 11);
        let _ = weight.get(3).get(7).fill_(f64::NAN);
        let out = Int8Matrix::new(&weight, None).forward(&random(2, 50, 12));
        assert_eq!(out.isfinite().logical_not().sum(Kind::Int64).int64_value(&[]), 2);
    }
}
