//! Ranked lists and their one order: score descending, then id ascending. Lists are merged by putting all their hits
//! into one and keeping the best.

use std::cmp::Ordering;

/// A document in the ranked list of a query.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hit {
    /// Internal id of the document.
    pub id: i64,
    /// Inner product of query and document; neither NaN nor −0.
    pub score: f32,
}

impl Hit {
    /// The order of ranked lists: better hits come first, and equal scores are ordered by id.
    pub fn order(&self, other: &Hit) -> Ordering {
        other.score.total_cmp(&self.score).then(self.id.cmp(&other.id))
    }
}

/// Cuts `hits` to the best `k`, in no order. Which ones stay does not depend on the order in which they came.
pub(crate) fn keep_best(hits: &mut Vec<Hit>, k: usize) {
    if hits.len() > k {
        hits.select_nth_unstable_by(k - 1, Hit::order);
        hits.truncate(k);
    }
}

/// Sorts `hits` and cuts them to the best `k`.
pub(crate) fn rank_best(hits: &mut Vec<Hit>, k: usize) {
    keep_best(hits, k);
    hits.sort_unstable_by(Hit::order);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hit(id: i64, score: f32) -> Hit {
        Hit { id, score }
    }

    #[test]
    fn score_descends_then_id_ascends() {
        let mut hits = vec![hit(5, 1.0), hit(1, 0.5), hit(2, 1.0), hit(9, 0.0), hit(8, 0.0), hit(7, 3.0)];
        rank_best(&mut hits, 5);
        assert_eq!(hits.iter().map(|hit| hit.id).collect::<Vec<_>>(), [7, 2, 5, 1, 8]);
    }

    #[test]
    fn lists_merged_part_by_part_keep_the_same_best() {
        let all: Vec<Hit> = (0..500).map(|id| hit(id, ((id * 7919) % 10) as f32)).collect();
        let mut whole = all.clone();
        rank_best(&mut whole, 37);
        for part in [1, 3, 64, 499] {
            let mut merged = Vec::new();
            for hits in all.chunks(part) {
                merged.extend_from_slice(hits);
                keep_best(&mut merged, 37);
            }
            rank_best(&mut merged, 37);
            assert_eq!(merged, whole);
        }
    }
}
