//! Constrained clustering, RepCONC's choice of codes: the documents of a batch are shared out evenly among the centroids of
//! each subvector, at as little distance as that allows (Sinkhorn's algorithm; Cuturi 2013).

use hardmine_encoder::Workers;
use serde::Serialize;
use tch::{Kind, Tensor, no_grad};

/// How codes are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Assignment {
    /// The temperature of the plan: the smaller, the nearer to the cheapest one. Above 0.
    pub epsilon: f64,
    /// How often columns and rows are scaled to their sums.
    pub iterations: u32,
    /// Whether shares are even. Else each subvector has its nearest centroid.
    pub constrained: bool,
}

/// Codes of a batch.
pub struct Assigned {
    /// (B, M), integers.
    pub codes: Tensor,
    /// Whether a number was not finite, so that every subvector has its nearest centroid.
    pub fell_back: bool,
}

impl Assignment {
    /// The codes of `vectors`, (B, E) in rotated space, among `centroids`, (M, K, E/M). No gradient flows through them.
    pub fn of(&self, vectors: &Tensor, centroids: &Tensor, workers: &Workers) -> Assigned {
        no_grad(|| {
            let distances =
                workers.map(subvectors(vectors, centroids), |(part, centroids)| distances(&part, &centroids));
            let nearest = |distances: &Tensor| distances.argmin(1, false);
            if !self.constrained {
                return Assigned { codes: stacked(distances.iter().map(nearest)), fell_back: false };
            }
            let cut = distances.iter().map(Tensor::shallow_clone).collect();
            let planned = workers.map(cut, |distances: Tensor| {
                let plan = self.plan(&distances);
                (plan.argmax(1, false), plan.isfinite().all())
            });
            let fell_back = planned.iter().any(|(_, finite)| finite.int64_value(&[]) == 0);
            let codes = match fell_back {
                true => stacked(distances.iter().map(nearest)),
                false => stacked(planned.into_iter().map(|(codes, _)| codes)),
            };
            Assigned { codes, fell_back }
        })
    }

    /// How much of each document goes to each centroid, (B, K), at these `distances`, (B, K). Every row has the sum 1 and,
    /// with enough iterations, every column B/K. In float32 as in the reference, so that the numbers may overflow.
    fn plan(&self, distances: &Tensor) -> Tensor {
        let (rows, columns) = (distances.size()[0] as f64, distances.size()[1] as f64);
        let (of_column, of_row): (&[i64], &[i64]) = (&[0], &[1]);
        let cost = distances - distances.mean(Kind::Float);
        let mut plan = (cost / -self.epsilon).exp();
        plan = &plan / plan.sum(Kind::Float);
        for _ in 0..self.iterations {
            plan = &plan / plan.sum_dim_intlist(of_column, true, Kind::Float) / columns;
            plan = &plan / plan.sum_dim_intlist(of_row, true, Kind::Float) / rows;
        }
        plan * rows
    }
}

/// For each of the M subvectors those of the `vectors`, (B, E/M), and its centroids, (K, E/M).
fn subvectors(vectors: &Tensor, centroids: &Tensor) -> Vec<(Tensor, Tensor)> {
    let (count, width) = (centroids.size()[0], centroids.size()[2]);
    (0..count).map(|m| (vectors.narrow(1, m * width, width), centroids.get(m))).collect()
}

/// Squared distances (B, K) of `part`, (B, E/M), to `centroids`, (K, E/M), from the differences themselves.
fn distances(part: &Tensor, centroids: &Tensor) -> Tensor {
    let each: &[i64] = &[2];
    (part.unsqueeze(1) - centroids.unsqueeze(0)).square().sum_dim_intlist(each, false, Kind::Float)
}

/// (B, M) of the codes of each subvector, (B,).
fn stacked(codes: impl Iterator<Item = Tensor>) -> Tensor {
    Tensor::stack(&codes.collect::<Vec<_>>(), 1)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use tch::Device;

    use super::*;

    const V1: Assignment = Assignment { epsilon: 0.3, iterations: 30, constrained: true };

    fn fixture() -> HashMap<String, Tensor> {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/compression/sinkhorn.safetensors");
        Tensor::read_safetensors(path).unwrap().into_iter().collect()
    }

    fn workers() -> Workers {
        Workers::new(Device::Cpu).unwrap()
    }

    fn assert_same_codes(assigned: &Assigned, expected: &Tensor) {
        let off = assigned.codes.ne_tensor(&expected.to_kind(Kind::Int64)).sum(Kind::Int64);
        assert_eq!(off.int64_value(&[]), 0, "codes that differ");
    }

    #[test]
    fn codes_are_those_of_the_reference() {
        let tensors = fixture();
        let (vectors, centroids) = (&tensors["embeddings"], &tensors["centroids"]);
        let constrained = V1.of(vectors, centroids, &workers());
        assert!(!constrained.fell_back);
        assert_same_codes(&constrained, &tensors["v1.codes"]);
        let nearest = Assignment { constrained: false, ..V1 }.of(vectors, centroids, &workers());
        assert!(!nearest.fell_back);
        assert_same_codes(&nearest, &tensors["nearest"]);
    }

    #[test]
    fn an_overflow_makes_all_codes_the_nearest() {
        let tensors = fixture();
        let assigned = Assignment { epsilon: 0.01, ..V1 }.of(&tensors["embeddings"], &tensors["centroids"], &workers());
        assert!(assigned.fell_back);
        assert_same_codes(&assigned, &tensors["nearest"]);
    }

    #[test]
    fn the_plan_is_that_of_the_reference_and_keeps_its_sums() {
        let tensors = fixture();
        for (m, (part, centroids)) in (0..).zip(subvectors(&tensors["embeddings"], &tensors["centroids"])) {
            let plan = V1.plan(&distances(&part, &centroids)); // (B, K)
            let expected = tensors["v1.plan"].get(m).tr();
            let off = (plan.narrow(0, 0, expected.size()[0]) - expected).abs().max().double_value(&[]);
            assert!(off < 1e-6, "the plan is off by {off:e}");
            println!("the plan of subvector {m} is off by {off:.1e}");
            let (of_column, of_row): (&[i64], &[i64]) = (&[0], &[1]);
            let off = |sums: Tensor, wanted: f64| (sums / wanted - 1.0).abs().max().double_value(&[]);
            assert!(off(plan.sum_dim_intlist(of_row, false, Kind::Float), 1.0) < 1e-5);
            let share = plan.size()[0] as f64 / plan.size()[1] as f64;
            assert!(off(plan.sum_dim_intlist(of_column, false, Kind::Float), share) < 0.05);
        }
    }
}
