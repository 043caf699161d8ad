//! The products for any processor. They are those of the fast ones to the bit.

use std::ops::Range;

use super::{GROUP, Int8Matrix, PANEL, PART, PART_GROUPS, Rows, scale_of};

/// Rounds the numbers `x`, and returns their scale and the sum of the whole `numbers`.
pub(super) fn round_part(x: &[f32], numbers: &mut [i8]) -> (f32, i32) {
    // As whole numbers, bits are in the order of what they stand for, and those of NaN come last.
    let largest = x.iter().fold(0, |largest: u32, x| largest.max(x.abs().to_bits()));
    let (scale, factor) = scale_of(largest);
    for (number, x) in numbers.iter_mut().zip(x) {
        *number = (x * factor).round_ties_even() as i8;
    }
    (scale, numbers.iter().map(|&number| i32::from(number)).sum())
}

/// Writes the products of all rows with the outputs of some panels to `out`.
pub(super) fn write_products(matrix: &Int8Matrix, x: &Rows, panels: Range<usize>, out: &mut [f32]) {
    let (groups, parts, width) = (matrix.groups(), x.parts(), matrix.width(&panels));
    for (row, out) in out.chunks_exact_mut(width).enumerate() {
        let numbers = &x.numbers[row * groups * GROUP..][..groups * GROUP];
        let scales = &x.scales[row * parts..][..parts];
        for (output, place) in (panels.start * PANEL..).zip(out) {
            let cells = &matrix.panels[output / PANEL * groups..][..groups];
            let of_parts = cells.chunks(PART_GROUPS).zip(numbers.chunks(PART)).zip(scales);
            let total = of_parts.fold(0.0, |total, ((cells, numbers), scale)| {
                let weights = cells.iter().flat_map(|cell| cell.0[output % PANEL]);
                let products = weights.zip(numbers).map(|(w, &x)| (i32::from(w) - 128) * i32::from(x));
                (products.sum::<i32>() as f32).mul_add(*scale, total)
            });
            *place = total.mul_add(matrix.scales[output], matrix.bias[output]);
        }
    }
}
