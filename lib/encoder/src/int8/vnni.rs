//! The products for processors with AVX-512 VNNI, whose instruction multiplies 64 pairs of bytes, and sums them up by
//! four. One of its sides has no sign: those are the weights, to which 128 is added. What that adds to a product is 128
//! times the sum of the whole numbers, which the sums of products therefore begin with, negative.

use std::arch::x86_64::*;
use std::ops::Range;

use super::{Cell, GROUP, Int8Matrix, PANEL, PART_GROUPS, Rows, scale_of};

/// Rows whose sums are kept in registers, 2 for each row.
const TILE: usize = 8;
/// Numbers in a register.
const LANES: usize = 16;

/// Whether the processor has the instructions.
pub(super) fn is_there() -> bool {
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vnni")
}

/// Rounds the numbers `x`, and returns their scale and the sum of the whole `numbers`.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
pub(super) fn round_part(x: &[f32], numbers: &mut [i8]) -> (f32, i32) {
    let (registers, rest) = x.as_chunks::<LANES>();
    let mask = (1u16 << rest.len()) - 1;
    // SAFETY: the mask has a bit for each number of the rest.
    let last = unsafe { _mm512_maskz_loadu_ps(mask, rest.as_ptr()) };
    // SAFETY: a register holds as many numbers.
    let load = |register: &[f32; LANES]| unsafe { _mm512_loadu_ps(register.as_ptr()) };
    // As whole numbers, bits are in the order of what they stand for, and those of NaN come last.
    let bits = |x: __m512| _mm512_and_si512(_mm512_castps_si512(x), _mm512_set1_epi32(i32::MAX));
    let largest = registers.iter().fold(bits(last), |largest, x| _mm512_max_epu32(largest, bits(load(x))));
    let (scale, factor) = scale_of(_mm512_reduce_max_epu32(largest));
    let factor = _mm512_set1_ps(factor);
    let whole = |x: __m512| _mm512_cvtps_epi32(_mm512_mul_ps(x, factor));
    let mut sums = _mm512_setzero_si512();
    let mut put = |x: __m512i, place: &mut [i8; LANES]| {
        sums = _mm512_add_epi32(sums, x);
        // SAFETY: there is a place for each of the 16 bytes.
        unsafe { _mm_storeu_si128(place.as_mut_ptr().cast(), _mm512_cvtepi32_epi8(x)) };
    };
    let (places, places_of_rest) = numbers.as_chunks_mut::<LANES>();
    for (x, place) in registers.iter().zip(places) {
        put(whole(load(x)), place);
    }
    let mut bytes = [0; LANES];
    put(_mm512_maskz_mov_epi32(mask, whole(last)), &mut bytes);
    places_of_rest.copy_from_slice(&bytes[..places_of_rest.len()]);
    (scale, _mm512_reduce_add_epi32(sums))
}

/// Writes the products of all rows of `x` with the outputs of some panels to `out`.
///
/// # Safety
/// The processor has the instructions, `x` has as many inputs as the matrix, which has the panels, and `out` is as long
/// as there are products.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
pub(super) unsafe fn write_products(matrix: &Int8Matrix, x: &Rows, panels: Range<usize>, out: &mut [f32]) {
    let (groups, rows, width) = (matrix.groups(), x.rows(), matrix.width(&panels));
    for (place, number) in panels.enumerate() {
        let panel = &matrix.panels[number * groups..][..groups];
        for first in (0..rows).step_by(TILE) {
            // SAFETY: the caller answers for the sizes.
            unsafe {
                let out = out.as_mut_ptr().add(first * width + place * PANEL);
                match rows - first {
                    1 => tile::<1>(matrix, x, first, number, panel, out, width),
                    2 => tile::<2>(matrix, x, first, number, panel, out, width),
                    3 => tile::<3>(matrix, x, first, number, panel, out, width),
                    4 => tile::<4>(matrix, x, first, number, panel, out, width),
                    5 => tile::<5>(matrix, x, first, number, panel, out, width),
                    6 => tile::<6>(matrix, x, first, number, panel, out, width),
                    7 => tile::<7>(matrix, x, first, number, panel, out, width),
                    _ => tile::<TILE>(matrix, x, first, number, panel, out, width),
                }
            }
        }
    }
}

/// The products of `R` rows, from `first` on, with the outputs of one panel, to rows of `out` that are `width` apart.
///
/// # Safety
/// As [`write_products`]; there are so many rows.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
unsafe fn tile<const R: usize>(
    matrix: &Int8Matrix,
    x: &Rows,
    first: usize,
    number: usize,
    panel: &[Cell],
    out: *mut f32,
    width: usize,
) {
    let (groups, parts) = (matrix.groups(), x.parts());
    let numbers = x.numbers[first * groups * GROUP..][..R * groups * GROUP].as_ptr().cast::<i32>();
    let (scales, sums) = (&x.scales[first * parts..][..R * parts], &x.sums[first * parts..][..R * parts]);
    let mut totals = [[_mm512_setzero_ps(); 2]; R];
    for (part, cells) in panel.chunks(PART_GROUPS).enumerate() {
        let mut products = [[_mm512_setzero_si512(); 2]; R];
        for (row, products) in products.iter_mut().enumerate() {
            *products = [_mm512_set1_epi32(sums[row * parts + part].wrapping_mul(-128)); 2];
        }
        for (group, cell) in cells.iter().enumerate() {
            let weights: *const __m512i = cell.0.as_ptr().cast();
            // SAFETY: a cell is 2 registers of bytes, and each of the rows has one more group there.
            unsafe {
                let weights = [_mm512_load_si512(weights), _mm512_load_si512(weights.add(1))];
                for (row, products) in products.iter_mut().enumerate() {
                    let four = numbers.add(row * groups + part * PART_GROUPS + group).read_unaligned();
                    let four = _mm512_set1_epi32(four);
                    products[0] = _mm512_dpbusd_epi32(products[0], weights[0], four);
                    products[1] = _mm512_dpbusd_epi32(products[1], weights[1], four);
                }
            }
        }
        for (row, (totals, products)) in totals.iter_mut().zip(products).enumerate() {
            let scale = _mm512_set1_ps(scales[row * parts + part]);
            for (total, product) in totals.iter_mut().zip(products) {
                *total = _mm512_fmadd_ps(_mm512_cvtepi32_ps(product), scale, *total);
            }
        }
    }
    for half in 0..2 {
        let output = number * PANEL + half * LANES;
        let left = matrix.outputs.saturating_sub(output).min(LANES);
        let mask = ((1u32 << left) - 1) as u16;
        // SAFETY: scales and biases are padded to full panels.
        let (scales, bias) = unsafe {
            (_mm512_loadu_ps(matrix.scales[output..].as_ptr()), _mm512_loadu_ps(matrix.bias[output..].as_ptr()))
        };
        for (row, totals) in totals.iter().enumerate() {
            let product = _mm512_fmadd_ps(totals[half], scales, bias);
            // SAFETY: the mask leaves out what would be behind the row; the caller answers for the rest.
            unsafe { _mm512_mask_storeu_ps(out.add(row * width + half * LANES), mask, product) };
        }
    }
}
