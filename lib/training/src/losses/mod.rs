//! The training losses, one file a method, as functions of embeddings and masks. All of them are sums of
//! softplus(s(q, d⁻) − s(q, d⁺)) over pairs of documents; they differ in the pairs and their weights.

pub mod adore;
pub mod inbatch;
mod pairs;
pub mod randneg;
pub mod star;

#[cfg(test)]
mod tests;
