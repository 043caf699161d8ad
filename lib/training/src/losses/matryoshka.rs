//! Matryoshka: the first numbers of a vector are trained to be a vector of their own (Kusupati et al. 2022, *Matryoshka
//! Representation Learning*).

use hardmine_encoder::Similarity;
use tch::Tensor;

/// Σ_D loss(vectors cut to their first D numbers) over the `dimensions`, all of the same weight. `loss` is given how to
/// cut, and cuts all vectors that it compares, whose last axis has the numbers of a vector. Where the `similarity` is
/// the cosine, what was cut is brought to length 1 again. Without dimensions nothing is cut.
pub fn loss(dimensions: &[i64], similarity: Similarity, loss: impl Fn(&dyn Fn(&Tensor) -> Tensor) -> Tensor) -> Tensor {
    let cut_to = |dimension: i64| {
        move |vectors: &Tensor| {
            let cut = vectors.narrow(-1, 0, dimension);
            match similarity {
                Similarity::Dot => cut,
                Similarity::Cosine => &cut / cut.norm_scalaropt_dim(2, -1, true).clamp_min(1e-12),
            }
        }
    };
    let losses = dimensions.iter().map(|&dimension| loss(&cut_to(dimension)));
    losses.reduce(|sum, one| sum + one).unwrap_or_else(|| loss(&Tensor::shallow_clone))
}
