//! How negatives are chosen among the documents that the rules leave.

use std::fmt::Display;

use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64;

/// How negatives are chosen among the documents that the rules leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sample {
    /// The best ones.
    Top,
    /// Any, each with the same probability, drawn with this seed.
    Random(u64),
}

impl Sample {
    /// Which of `window` documents of `query` are taken, `count` or all if there are no more; ascending. A draw depends
    /// on the seed and the query alone, so that it is the same in whatever order and company the query comes.
    pub(crate) fn take(self, window: usize, count: usize, query: impl Display) -> Vec<usize> {
        match self {
            Sample::Top => (0..window.min(count)).collect(),
            Sample::Random(seed) => {
                let mut random = Pcg64::seed_from_u64(seed ^ hash(&query.to_string()));
                let mut missing = window.min(count);
                // Each is taken with the probability that leaves all of them equally likely (Knuth's algorithm S).
                let taken = |place: &usize| {
                    let is_taken = random.random_range(0..window - place) < missing;
                    missing -= usize::from(is_taken);
                    is_taken
                };
                (0..window).filter(taken).collect()
            }
        }
    }
}

/// FNV-1a, which is the same on every machine and in every version.
fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_document_is_drawn_equally_often() {
        let mut counts = [0; 10];
        for query in 0..10_000 {
            let taken = Sample::Random(1).take(10, 3, query);
            assert!(taken.len() == 3 && taken.is_sorted());
            taken.into_iter().for_each(|place| counts[place] += 1);
        }
        // 3,000 expected, with a standard deviation of 46.
        assert!(counts.iter().all(|count| (2_800..3_200).contains(count)), "{counts:?}");
        assert_eq!(Sample::Random(1).take(2, 3, "q"), [0, 1]);
        assert_eq!(Sample::Top.take(5, 3, "q"), [0, 1, 2]);
    }

    #[test]
    fn draws_depend_on_seed_and_query() {
        let draws: Vec<_> =
            [(1, "a"), (1, "b"), (2, "a")].map(|(seed, query)| Sample::Random(seed).take(1000, 10, query)).into();
        assert!(draws[0] != draws[1] && draws[0] != draws[2]);
        assert_eq!(draws[0], Sample::Random(1).take(1000, 10, "a"));
    }
}
