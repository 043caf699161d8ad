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

mod plain;
#[cfg(target_arch = "x86_64")]
mod vnni;

use tch::{Device, Kind, Tensor, no_grad};

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
            let rows = x.numel() / self.inputs;
            // SAFETY: `x` is contiguous and of float32, lies on the CPU, and has so many numbers.
            let x = unsafe { std::slice::from_raw_parts(x.data_ptr().cast::<f32>(), rows * self.inputs) };
            // SAFETY: `out` was made here, has room for so many numbers, and nobody else has it yet. They are written
            // before they are read.
            unsafe { self.write_products(x, rows, out.data_ptr().cast()) };
            out
        })
    }

    /// Writes the products of `rows` rows of `x` to `out`, (rows, outputs).
    ///
    /// # Safety
    /// There is room for that many numbers at `out`, and nobody else looks at them meanwhile.
    unsafe fn write_products(&self, x: &[f32], rows: usize, out: *mut f32) {
        #[cfg(target_arch = "x86_64")]
        if vnni::is_there() {
            // SAFETY: the processor has the instructions, and the caller answers for `out`.
            return unsafe {
                let x = Rows::round(x, self.inputs, |part, numbers| vnni::round_part(part, numbers));
                vnni::write_products(self, &x, rows, out)
            };
        }
        // SAFETY: the caller answers for it.
        unsafe { plain::write_products(self, &Rows::round(x, self.inputs, plain::round_part), rows, out) }
    }

    fn groups(&self) -> usize {
        self.inputs.div_ceil(GROUP)
    }

    fn parts(&self) -> usize {
        self.inputs.div_ceil(PART)
    }
}

impl Rows {
    /// Rounds the rows of `x` (rows, `inputs`). `round_part` writes the whole numbers of a part, and returns their
    /// scale and their sum.
    fn round(x: &[f32], inputs: usize, round_part: impl Fn(&[f32], &mut [i8]) -> (f32, i32)) -> Rows {
        let width = inputs.next_multiple_of(GROUP);
        let mut rounded = Rows { numbers: vec![0; x.len() / inputs * width], scales: Vec::new(), sums: Vec::new() };
        for (row, numbers) in x.chunks_exact(inputs).zip(rounded.numbers.chunks_exact_mut(width)) {
            for (part, numbers) in row.chunks(PART).zip(numbers.chunks_mut(PART)) {
                let (scale, sum) = round_part(part, numbers);
                rounded.scales.push(scale);
                rounded.sums.push(sum);
            }
        }
        rounded
    }
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
        let rows = x.size()[0] as usize;
        let mut out = vec![f32::NAN; rows * matrix.outputs];
        let numbers = numbers(x);
        // SAFETY: there is room for them.
        unsafe {
            match plain {
                true => {
                    let x = Rows::round(&numbers, matrix.inputs, plain::round_part);
                    plain::write_products(matrix, &x, rows, out.as_mut_ptr());
                }
                false => matrix.write_products(&numbers, rows, out.as_mut_ptr()),
            }
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
