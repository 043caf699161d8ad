//! Slices and libtorch: matrix products of borrowed slices, and copies to and from a device.
//!
//! A tensor over borrowed memory does not know how long that memory lives, nor do its views. So none of them leaves
//! this file: each function here makes its tensors, uses them and drops them while it holds the slices.

use tch::kind::Element;
use tch::{Device, Kind, TchError, Tensor};

/// A number that libtorch computes with.
///
/// # Safety
/// The type must have the layout of libtorch's `KIND`, and every pattern of its bits must be a valid value.
pub(super) unsafe trait Number {
    const KIND: Kind;
}

// SAFETY: both are IEEE 754 single precision, in which every pattern of 32 bits is a number, an infinity or NaN.
unsafe impl Number for f32 {
    const KIND: Kind = Kind::Float;
}

/// Writes `left` (N, E) · `right` (M, E)ᵀ into `out` (N, M), where E is `dim`.
pub(super) fn product<T: Number>(left: &[T], right: &[T], dim: usize, out: &mut [T]) -> Result<(), TchError> {
    let (rows, columns) = (left.len() / dim, right.len() / dim);
    assert_eq!(out.len(), rows * columns, "one number for each pair of rows");
    // SAFETY: the three slices are borrowed until this function returns, and no tensor leaves it. Only the last tensor
    // is written to; its pointer comes from a mutable borrow, and it has the shape of the product, so that libtorch
    // does not resize it.
    let (left, right, out) = unsafe {
        (
            tensor_over(left.as_ptr(), rows, dim)?,
            tensor_over(right.as_ptr(), columns, dim)?,
            tensor_over(out.as_mut_ptr(), rows, columns)?,
        )
    };
    left.f_mm_out(&out, &right.f_tr()?).map(drop)
}

/// Copies `values` to `device`, as rows of `columns` numbers.
pub(super) fn upload(values: &[f32], columns: usize, device: Device) -> Result<Tensor, TchError> {
    // SAFETY: the slice is borrowed until this function returns; what it returns is a copy, made before that.
    let borrowed = unsafe { tensor_over(values.as_ptr(), values.len() / columns, columns)? };
    borrowed.f_to_device_(device, Kind::Float, false, true)
}

/// Copies a tensor's numbers, row by row, from the device that it is on.
pub(super) fn download<T: Element + Default + Clone>(tensor: &Tensor) -> Result<Vec<T>, TchError> {
    let tensor = tensor.f_to(Device::Cpu)?.f_contiguous()?;
    let mut values = vec![T::default(); tensor.numel()];
    tensor.f_copy_data(&mut values, tensor.numel())?;
    Ok(values)
}

/// A tensor (`rows`, `columns`) over memory that somebody else owns.
///
/// # Safety
/// `first` must point at `rows * columns` numbers in one piece of memory. While the tensor or a view of it lives, that
/// memory must stay where it is, and nobody else may write to it. Where libtorch is to write to the tensor, `first`
/// must come from a mutable borrow, and nobody else may read the memory.
unsafe fn tensor_over<T: Number>(first: *const T, rows: usize, columns: usize) -> Result<Tensor, TchError> {
    let (rows, columns) = (rows as i64, columns as i64);
    // SAFETY: what the caller promises is what libtorch needs, and the strides are those of rows without gaps.
    unsafe { Tensor::f_from_blob(first.cast(), &[rows, columns], &[columns, 1], T::KIND, Device::Cpu) }
}
