//! Centroids: what the bytes of a code stand for.

use hardmine_records::{Error, Result};

use crate::digest::digest;

/// Number K of centroids of a subvector, so that a byte names one of them.
pub const CENTROIDS: usize = 256;

/// The centroids of all subvectors.
#[derive(Clone, Debug, PartialEq)]
pub struct Codebook {
    /// (M, K, D/M).
    centroids: Vec<f32>,
    subvectors: usize,
    dim: usize,
}

impl Codebook {
    /// Takes `centroids`, (M, K, D/M) row by row, of `subvectors` M.
    ///
    /// # Errors
    /// A number of floats that no dimension has, and floats that are NaN or infinite.
    pub fn new(centroids: Vec<f32>, subvectors: usize) -> Result<Self> {
        let wrong = |text: String| Error::new("centroids", text);
        let row = subvectors.saturating_mul(CENTROIDS);
        if row == 0 || centroids.is_empty() || !centroids.len().is_multiple_of(row) {
            let text = format!("{} numbers are not {subvectors} times 256 centroids", centroids.len());
            return Err(wrong(text));
        }
        if centroids.iter().any(|number| !number.is_finite()) {
            return Err(wrong("some of their numbers are NaN or infinite".to_owned()));
        }
        let dim = centroids.len() / CENTROIDS;
        Ok(Codebook { centroids, subvectors, dim })
    }

    /// Dimension D of the vectors.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Number M of subvectors, which is the number of bytes of a code.
    pub fn subvectors(&self) -> usize {
        self.subvectors
    }

    /// Dimension D/M of a subvector.
    pub fn subvector_dim(&self) -> usize {
        self.dim / self.subvectors
    }

    /// All centroids, (M, K, D/M) row by row.
    pub fn centroids(&self) -> &[f32] {
        &self.centroids
    }

    /// Identifies the centroids; see [`digest`].
    pub fn digest(&self) -> String {
        digest(&self.centroids)
    }

    /// The codes, (N, M), of `vectors`, (N, D), in rotated space: for each subvector the centroid at the least
    /// Euclidean distance, computed in float32 as Σ(x − c)² in the order of the dimensions; of several the one with the
    /// lowest number.
    pub fn nearest(&self, vectors: &[f32]) -> Vec<u8> {
        let width = self.subvector_dim();
        let mut codes = vec![0; vectors.len() / self.dim * self.subvectors];
        // With the numbers of one dimension of all centroids side by side, the sums of all centroids advance together.
        let mut columns = vec![0.0; width * CENTROIDS];
        for (m, centroids) in self.centroids.chunks(CENTROIDS * width).enumerate() {
            for (k, centroid) in centroids.chunks(width).enumerate() {
                centroid.iter().enumerate().for_each(|(j, &number)| columns[j * CENTROIDS + k] = number);
            }
            for (code, vector) in codes.chunks_mut(self.subvectors).zip(vectors.chunks(self.dim)) {
                code[m] = nearest_of(&columns, &vector[m * width..(m + 1) * width]);
            }
        }
        codes
    }

    /// The vector, (D,), that `code`, (M,), stands for: its centroids one after the other.
    pub fn decode(&self, code: &[u8], vector: &mut [f32]) {
        let width = self.subvector_dim();
        for (m, (&k, part)) in code.iter().zip(vector.chunks_mut(width)).enumerate() {
            let start = (m * CENTROIDS + usize::from(k)) * width;
            part.copy_from_slice(&self.centroids[start..start + width]);
        }
    }

    /// The table T, (M, K), of `query`, (D,), in rotated space: T[m, k] is the inner product of its subvector m and
    /// centroid k, so that ⟨query, decode(z)⟩ = Σ T[m, zₘ].
    pub fn table(&self, query: &[f32], table: &mut [f32]) {
        let width = self.subvector_dim();
        let parts = query.chunks(width).zip(self.centroids.chunks(CENTROIDS * width)).zip(table.chunks_mut(CENTROIDS));
        for ((part, centroids), row) in parts {
            for (product, centroid) in row.iter_mut().zip(centroids.chunks(width)) {
                *product = part.iter().zip(centroid).map(|(a, b)| a * b).sum();
            }
        }
    }

    /// The same centroids moved by `by`, (D,), cut into subvectors.
    pub(crate) fn moved(mut self, by: &[f32]) -> Self {
        let width = self.subvector_dim();
        for (centroids, part) in self.centroids.chunks_mut(CENTROIDS * width).zip(by.chunks(width)) {
            for centroid in centroids.chunks_mut(width) {
                centroid.iter_mut().zip(part).for_each(|(number, by)| *number += by);
            }
        }
        self
    }
}

/// The number of the centroid nearest to `part`, (D/M,), among `columns`, (D/M, K). The widest registers of the
/// processor are used, and every processor gets the same number.
fn nearest_of(columns: &[f32], part: &[f32]) -> u8 {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") {
            // SAFETY: the processor has the instructions that the function is compiled for.
            return unsafe { with_avx512(columns, part) };
        }
        if is_x86_feature_detected!("avx2") {
            // SAFETY: as above.
            return unsafe { with_avx2(columns, part) };
        }
    }
    in_lanes(columns, part)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn with_avx512(columns: &[f32], part: &[f32]) -> u8 {
    in_lanes(columns, part)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn with_avx2(columns: &[f32], part: &[f32]) -> u8 {
    in_lanes(columns, part)
}

#[inline(always)]
fn in_lanes(columns: &[f32], part: &[f32]) -> u8 {
    let mut distances = [0.0; CENTROIDS];
    for (column, x) in columns.as_chunks::<CENTROIDS>().0.iter().zip(part) {
        for k in 0..CENTROIDS {
            distances[k] += (x - column[k]) * (x - column[k]);
        }
    }
    let mut least = [f32::INFINITY; 16];
    for lanes in distances.as_chunks::<16>().0 {
        for lane in 0..16 {
            least[lane] = if lanes[lane] < least[lane] { lanes[lane] } else { least[lane] };
        }
    }
    let least = least.into_iter().fold(f32::INFINITY, f32::min);
    distances.iter().position(|&distance| distance == least).unwrap_or(0) as u8
}
