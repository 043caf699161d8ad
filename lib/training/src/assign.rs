//! Constrained clustering, RepCONC's choice of codes: the documents of a batch are shared out evenly among the
//! centroids of each subvector, at as little distance as that allows (Sinkhorn's algorithm; Cuturi 2013).

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
    /// What the codes are constrained to.
    pub constraint: Constraint,
}

/// What the codes of a batch are constrained to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Constraint {
    /// Nothing: each subvector has its nearest centroid.
    None,
    /// Even shares, as the paper's release of RepCONC computes them: in float32, so that a small epsilon overflows.
    Even,
    /// Even shares, as the second release computes them: at distances that are scaled into \[-1, 1\], in float64, so
    /// that nothing overflows.
    EvenOfScaled,
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
            if self.constraint == Constraint::None {
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

    /// How much of each document goes to each centroid, (B, K), at these `distances`, (B, K). Every row has the sum 1
    /// and, with enough iterations, every column B/K.
    fn plan(&self, distances: &Tensor) -> Tensor {
        let (rows, columns) = (distances.size()[0] as f64, distances.size()[1] as f64);
        let (of_column, of_row): (&[i64], &[i64]) = (&[0], &[1]);
        let cost = match self.constraint {
            Constraint::EvenOfScaled => scaled(distances).to_kind(Kind::Double),
            Constraint::Even | Constraint::None => distances - distances.mean(Kind::Float),
        };
        let kind = cost.kind();
        let mut plan = (cost / -self.epsilon).exp();
        plan = &plan / plan.sum(kind);
        for _ in 0..self.iterations {
            plan = &plan / plan.sum_dim_intlist(of_column, true, kind) / columns;
            plan = &plan / plan.sum_dim_intlist(of_row, true, kind) / rows;
        }
        plan * rows
    }
}

/// `distances` in \[-1, 1\], with the middle between the smallest and the largest of them at 0.
fn scaled(distances: &Tensor) -> Tensor {
    let (smallest, largest) = (distances.min(), distances.max());
    let middle = (&largest + smallest) / 2.0;
    (distances - &middle) / (largest - middle + 1e-5)
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

    const V1: Assignment = Assignment { epsilon: 0.3, iterations: 30, constraint: Constraint::Even };
    const V2: Assignment = Assignment { epsilon: 0.003, iterations: 100, constraint: Constraint::EvenOfScaled };

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
        let nearest = Assignment { constraint: Constraint::None, ..V1 };
        for (assignment, name) in [(V1, "v1.codes"), (V2, "v2.codes"), (nearest, "nearest")] {
            let assigned = assignment.of(vectors, centroids, &workers());
            assert!(!assigned.fell_back, "{name}");
            assert_same_codes(&assigned, &tensors[name]);
        }
    }

    #[test]
    fn an_overflow_makes_all_codes_the_nearest() {
        let tensors = fixture();
        let assigned = Assignment { epsilon: 0.01, ..V1 }.of(&tensors["embeddings"], &tensors["centroids"], &workers());
        assert!(assigned.fell_back);
        assert_same_codes(&assigned, &tensors["nearest"]);
    }

    #[test]
    fn plans_keep_their_sums_and_the_papers_is_that_of_the_reference() {
        let tensors = fixture();
        for (m, (part, centroids)) in (0..).zip(subvectors(&tensors["embeddings"], &tensors["centroids"])) {
            let distances = distances(&part, &centroids);
            let plan = V1.plan(&distances); // (B, K)
            let expected = tensors["v1.plan"].get(m).tr();
            let off = (plan.narrow(0, 0, expected.size()[0]) - expected).abs().max().double_value(&[]);
            assert!(off < 1e-6, "the plan is off by {off:e}");
            println!("the plan of subvector {m} is off by {off:.1e}");
            // The smaller the temperature, the more iterations it takes until the shares of the centroids are even.
            let long = Assignment { epsilon: 0.02, iterations: 1000, ..V2 };
            for plan in [plan, long.plan(&distances)] {
                let (of_column, of_row): (&[i64], &[i64]) = (&[0], &[1]);
                let off = |sums: Tensor, wanted: f64| (sums / wanted - 1.0).abs().max().double_value(&[]);
                assert!(off(plan.sum_dim_intlist(of_row, false, Kind::Double), 1.0) < 1e-5);
                let share = plan.size()[0] as f64 / plan.size()[1] as f64;
                assert!(off(plan.sum_dim_intlist(of_column, false, Kind::Double), share) < 0.05);
            }
        }
    }
}
