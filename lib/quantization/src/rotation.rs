//! The linear map that vectors go through before they are cut into subvectors.

use hardmine_records::{Error, Result};

use crate::digest::digest;

/// A matrix R with orthonormal rows: x' = R·x. It may have fewer rows than columns.
#[derive(Clone, Debug, PartialEq)]
pub struct Rotation {
    /// (d_out, d_in) row by row.
    matrix: Vec<f32>,
    /// (d_in, d_out) row by row.
    transposed: Vec<f32>,
    dim_in: usize,
}

impl Rotation {
    /// Takes `matrix`, (d_out, d_in) row by row, of `dim_in` columns. Whether its rows are orthonormal is not checked.
    ///
    /// # Errors
    /// A number of floats that is no multiple of `dim_in`, and floats that are NaN or infinite.
    pub fn new(matrix: Vec<f32>, dim_in: usize) -> Result<Self> {
        let wrong = |text: String| Error::new("rotation", text);
        if dim_in == 0 || matrix.is_empty() || !matrix.len().is_multiple_of(dim_in) {
            return Err(wrong(format!("{} numbers are no matrix of {dim_in} columns", matrix.len())));
        }
        if matrix.iter().any(|number| !number.is_finite()) {
            return Err(wrong("some of its numbers are NaN or infinite".to_owned()));
        }
        let dim_out = matrix.len() / dim_in;
        let transposed = (0..matrix.len()).map(|n| matrix[n % dim_out * dim_in + n / dim_out]).collect();
        Ok(Rotation { matrix, transposed, dim_in })
    }

    /// Dimension of the vectors that are rotated.
    pub fn dim_in(&self) -> usize {
        self.dim_in
    }

    /// Dimension of the rotated vectors.
    pub fn dim_out(&self) -> usize {
        self.matrix.len() / self.dim_in
    }

    /// The matrix, (d_out, d_in) row by row.
    pub fn matrix(&self) -> &[f32] {
        &self.matrix
    }

    /// Identifies the rotation, as the provenance of what was rotated by it does; see [`digest`].
    pub fn digest(&self) -> String {
        digest(&self.matrix)
    }

    /// X·Rᵀ, (N, d_out), of `vectors` X, (N, d_in).
    pub fn rotate(&self, vectors: &[f32]) -> Vec<f32> {
        multiply(vectors, &self.transposed, self.dim_in)
    }

    /// X'·R, (N, d_in), of rotated `vectors` X', (N, d_out): the vectors before they were rotated, if R is square.
    pub fn unrotate(&self, vectors: &[f32]) -> Vec<f32> {
        multiply(vectors, &self.matrix, self.dim_out())
    }
}

/// The product of `vectors`, (N, `rows`), and `matrix`, (`rows`, columns), in float32, each sum in the order of the
/// rows.
fn multiply(vectors: &[f32], matrix: &[f32], rows: usize) -> Vec<f32> {
    let columns = matrix.len() / rows;
    let mut products = vec![0.0; vectors.len() / rows * columns];
    for (vector, product) in vectors.chunks(rows).zip(products.chunks_mut(columns)) {
        for (x, row) in vector.iter().zip(matrix.chunks(columns)) {
            product.iter_mut().zip(row).for_each(|(sum, number)| *sum += x * number);
        }
    }
    products
}
