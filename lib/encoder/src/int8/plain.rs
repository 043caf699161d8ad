//! The products for any processor. They are those of the fast ones to the bit.

use super::{GROUP, Int8Matrix, LARGEST, PANEL, PART, PART_GROUPS, Rows};

/// Rounds the rows of `x` (rows, `inputs`).
pub(super) fn round(x: &[f32], inputs: usize) -> Rows {
    let width = inputs.next_multiple_of(GROUP);
    let mut rounded = Rows { numbers: vec![0; x.len() / inputs * width], scales: Vec::new(), sums: Vec::new() };
    for (row, numbers) in x.chunks(inputs).zip(rounded.numbers.chunks_mut(width)) {
        for (part, numbers) in row.chunks(PART).zip(numbers.chunks_mut(PART)) {
            // As whole numbers, bits are in the order of what they stand for, and those of NaN come last.
            let largest = part.iter().fold(0, |largest: u32, x| largest.max(x.abs().to_bits()));
            let (scale, factor) = scale_of(largest);
            for (number, x) in numbers.iter_mut().zip(part) {
                *number = (x * factor).round_ties_even() as i8;
            }
            rounded.scales.push(scale);
            rounded.sums.push(numbers.iter().map(|&number| i32::from(number)).sum());
        }
    }
    rounded
}

/// The scale of a part whose largest absolute number has these bits, and what its numbers are multiplied by. Of a part with
/// NaN or an infinite number the scale is NaN, and so are its products.
pub(super) fn scale_of(largest: u32) -> (f32, f32) {
    let largest = f32::from_bits(largest);
    match largest {
        _ if !largest.is_finite() => (f32::NAN, 0.0),
        // The factor of numbers so small would be infinite.
        _ if largest < f32::MIN_POSITIVE * LARGEST => (0.0, 0.0),
        _ => (largest / LARGEST, LARGEST / largest),
    }
}

/// Writes the products of `rows` rows to `out`.
///
/// # Safety
/// As [`Int8Matrix::write_products`].
pub(super) unsafe fn write_products(matrix: &Int8Matrix, x: &Rows, rows: usize, out: *mut f32) {
    let (groups, parts) = (matrix.groups(), matrix.parts());
    for row in 0..rows {
        let numbers = &x.numbers[row * groups * GROUP..][..groups * GROUP];
        let scales = &x.scales[row * parts..][..parts];
        for output in 0..matrix.outputs {
            let cells = &matrix.panels[output / PANEL * groups..][..groups];
            let of_parts = cells.chunks(PART_GROUPS).zip(numbers.chunks(PART)).zip(scales);
            let total = of_parts.fold(0.0, |total, ((cells, numbers), scale)| {
                let weights = cells.iter().flat_map(|cell| cell.0[output % PANEL]);
                let products = weights.zip(numbers).map(|(w, &x)| (i32::from(w) - 128) * i32::from(x));
                total + products.sum::<i32>() as f32 * scale
            });
            // SAFETY: the caller answers for it.
            unsafe {
                out.add(row * matrix.outputs + output).write(total * matrix.scales[output] + matrix.bias[output])
            };
        }
    }
}
