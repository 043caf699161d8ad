//! STAR: static hard negatives, kept stable by in-batch negatives that reuse the positives' embeddings.

use tch::Tensor;

use super::pairs::Pairs;

/// (Σ in-batch + Σ hard) / (Σ M + Σ H) for `queries` and `positives` (B, E), the hard negatives of all queries
/// `hard` (N, E), and the masks M (B, B) and H (B, N), 1 unless the document is relevant to the query
/// (SIGIR 2021, §5.1).
pub fn loss(queries: &Tensor, positives: &Tensor, inbatch_mask: &Tensor, hard: &Tensor, hard_mask: &Tensor) -> Tensor {
    let inbatch = Pairs::new(queries, positives, positives, inbatch_mask);
    let hard = Pairs::new(queries, positives, hard, hard_mask);
    (inbatch + hard).mean()
}
