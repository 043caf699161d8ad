//! What a step trains on. Every draw is a function of the seed and the step alone, so that a run taken up in
//! the middle draws what the uninterrupted one would have drawn.

use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64;

use crate::document_lists::DocumentLists;

/// What a generator is for; streams of the same seed and counter are independent of each other.
#[derive(Clone, Copy)]
enum Stream {
    Epoch = 1,
    Positives = 2,
    Others = 3,
    Dropout = 4,
    DevDocuments = 5,
}

fn generator(seed: u64, stream: Stream, counter: u64) -> Pcg64 {
    Pcg64::seed_from_u64(mix(mix(mix(seed) ^ stream as u64) ^ counter))
}

/// The finalizer of SplitMix64: near inputs give unrelated outputs.
fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// Seed of the dropout of the `part`-th piece encoded at `step`.
pub fn dropout_seed(seed: u64, step: u64, part: u64) -> u64 {
    mix(mix(mix(mix(seed) ^ Stream::Dropout as u64) ^ step) ^ part)
}

/// The documents `wanted` (ascending) and `number` others of `collection`, or all if there are no more, drawn
/// uniformly; ascending.
pub fn with_others(seed: u64, wanted: &[u32], number: usize, collection: usize) -> Vec<u32> {
    let mut rng = generator(seed, Stream::DevDocuments, 0);
    let mut others = collection - wanted.len();
    let mut missing = number.min(others);
    // Each of the others is taken with the probability that leaves all of them equally likely (Knuth's algorithm S).
    let taken = |doc: &u32| {
        let is_wanted = wanted.binary_search(doc).is_ok();
        let is_drawn = !is_wanted && rng.random_range(0..others) < missing;
        others -= usize::from(!is_wanted);
        missing -= usize::from(is_drawn);
        is_wanted || is_drawn
    };
    (0..collection as u32).filter(taken).collect()
}

/// Walks through the queries, in another order each epoch, and draws their documents.
pub struct Sampler<'a> {
    relevant: &'a DocumentLists,
    queries: Vec<u32>,
    batch_size: usize,
    seed: u64,
    epoch: u64,
    order: Vec<u32>,
}

impl<'a> Sampler<'a> {
    /// A sampler of the queries that have a relevant document, `batch_size` at a time, or all if there are fewer.
    pub fn new(relevant: &'a DocumentLists, batch_size: usize, seed: u64) -> Self {
        let queries = relevant.queries();
        let batch_size = batch_size.min(queries.len().max(1));
        let mut sampler = Sampler { relevant, order: queries.clone(), queries, batch_size, seed, epoch: 0 };
        sampler.shuffle();
        sampler
    }

    /// Number of queries in a batch; the last batch of an epoch may have fewer.
    pub fn batch_size(&self) -> usize {
        self.batch_size
    }

    /// Number of batches in an epoch.
    pub fn batches(&self) -> u64 {
        self.queries.len().div_ceil(self.batch_size) as u64
    }

    /// Row numbers of the queries of step `step`, counted from 0. Every epoch has all queries once, in a new order.
    pub fn batch(&mut self, step: u64) -> &[u32] {
        if self.epoch != step / self.batches() {
            self.epoch = step / self.batches();
            self.shuffle();
        }
        let start = (step % self.batches()) as usize * self.batch_size;
        &self.order[start..start + self.size(step) as usize]
    }

    /// Number of queries of `step`.
    pub fn size(&self, step: u64) -> u64 {
        let before = step % self.batches() * self.batch_size as u64;
        (self.batch_size as u64).min(self.queries.len() as u64 - before)
    }

    /// Number of queries of all steps before `step`, counted as often as they come.
    pub fn queries_before(&self, step: u64) -> u64 {
        let queries = self.queries.len() as u64;
        let whole = (step / self.batches()).saturating_mul(queries);
        whole.saturating_add((step % self.batches() * self.batch_size as u64).min(queries))
    }

    fn shuffle(&mut self) {
        self.order.clone_from(&self.queries);
        self.order.shuffle(&mut generator(self.seed, Stream::Epoch, self.epoch));
    }

    /// For each query one of its relevant documents, drawn uniformly.
    pub fn positives(&self, step: u64, queries: &[u32]) -> Vec<u32> {
        let mut rng = generator(self.seed, Stream::Positives, step);
        let draw = |&query: &u32| {
            let relevant = self.relevant.of(query);
            relevant[rng.random_range(0..relevant.len() as u32) as usize]
        };
        queries.iter().map(draw).collect()
    }

    /// For each query `number` documents out of `collection`, drawn uniformly without replacement. Relevant ones
    /// may be among them: the mask takes them out again.
    pub fn random_documents(&self, step: u64, queries: &[u32], number: u32, collection: u32) -> Vec<u32> {
        let mut rng = generator(self.seed, Stream::Others, step);
        queries.iter().flat_map(|_| distinct(&mut rng, number, collection)).collect()
    }

    /// For each query `number` documents of its list, drawn uniformly without replacement; all of a shorter list.
    pub fn hard_negatives(&self, step: u64, queries: &[u32], number: u32, negatives: &DocumentLists) -> Vec<u32> {
        let mut rng = generator(self.seed, Stream::Others, step);
        let draw = |&query: &u32| {
            let list = negatives.of(query);
            distinct(&mut rng, number, list.len() as u32).into_iter().map(|place| list[place as usize])
        };
        queries.iter().flat_map(draw).collect()
    }
}

/// `number` different numbers below `end` (all of them if there are no more), by Floyd's algorithm.
fn distinct(rng: &mut impl Rng, number: u32, end: u32) -> Vec<u32> {
    let mut drawn = Vec::with_capacity(number.min(end) as usize);
    for last in end.saturating_sub(number)..end {
        let candidate = rng.random_range(0..=last);
        drawn.push(if drawn.contains(&candidate) { last } else { candidate });
    }
    drawn
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lists() -> DocumentLists {
        // Query 3 has no relevant document.
        let pairs: Vec<_> = (0..11).filter(|&q| q != 3).flat_map(|q| [(q, q), (q, q + 20)]).collect();
        DocumentLists::new(11, 40, &pairs)
    }

    #[test]
    fn an_epoch_has_every_trainable_query_once() {
        let lists = lists();
        let mut sampler = Sampler::new(&lists, 4, 7);
        assert_eq!((sampler.batches(), sampler.size(4), sampler.size(5)), (3, 4, 2));
        for steps in 0..9 {
            assert_eq!(sampler.queries_before(steps), (0..steps).map(|step| sampler.size(step)).sum::<u64>());
        }
        assert_eq!(sampler.queries_before(u64::MAX), u64::MAX);
        let largest = Sampler::new(&lists, usize::MAX, 7);
        assert_eq!((largest.batch_size(), largest.batches(), largest.queries_before(2)), (10, 1, 20));
        let mut epochs = Vec::new();
        for epoch in 0..2 {
            let order: Vec<u32> = (0..3).flat_map(|batch| sampler.batch(3 * epoch + batch).to_vec()).collect();
            let mut sorted = order.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, lists.queries());
            epochs.push(order);
        }
        assert_ne!(epochs[0], epochs[1]);
    }

    #[test]
    fn a_step_reached_at_once_draws_the_same() {
        let lists = lists();
        let mut walked = Sampler::new(&lists, 4, 7);
        for step in 0..40 {
            let queries = walked.batch(step).to_vec();
            let mut jumped = Sampler::new(&lists, 4, 7);
            assert_eq!(jumped.batch(step), queries);
            assert_eq!(jumped.positives(step, &queries), walked.positives(step, &queries));
            assert_eq!(
                jumped.random_documents(step, &queries, 5, 100),
                walked.random_documents(step, &queries, 5, 100)
            );
        }
    }

    #[test]
    fn draws_are_distinct_and_uniform() {
        let mut rng = generator(1, Stream::Others, 0);
        let mut counts = [0; 6];
        for _ in 0..6000 {
            let drawn = distinct(&mut rng, 3, 6);
            assert!(drawn[0] != drawn[1] && drawn[1] != drawn[2] && drawn[0] != drawn[2]);
            drawn.iter().for_each(|&number| counts[number as usize] += 1);
        }
        assert!(counts.iter().all(|count| (2800..3200).contains(count)), "{counts:?}");
    }

    #[test]
    fn wanted_documents_come_with_others_that_are_drawn_uniformly() {
        assert_eq!(with_others(1, &[2, 5], 99, 7), (0..7).collect::<Vec<_>>());
        let mut counts = [0; 12];
        for seed in 0..3000 {
            let drawn = with_others(seed, &[0, 7], 5, 12);
            assert!(drawn.len() == 7 && drawn.is_sorted(), "{drawn:?}");
            drawn.iter().for_each(|&doc| counts[doc as usize] += 1);
        }
        assert_eq!((counts[0], counts[7]), (3000, 3000));
        let others = counts.iter().filter(|&&count| count < 3000);
        assert!(others.clone().count() == 10 && others.clone().all(|count| (1400..1600).contains(count)), "{counts:?}");
    }

    #[test]
    fn a_short_list_gives_all_it_has() {
        let negatives = DocumentLists::new(2, 9, &[(0, 4), (0, 8)]);
        let relevant = DocumentLists::new(2, 9, &[(0, 1), (1, 1)]);
        let sampler = Sampler::new(&relevant, 2, 0);
        let mut drawn = sampler.hard_negatives(0, &[0, 1], 3, &negatives);
        drawn.sort_unstable();
        assert_eq!(drawn, [4, 8]);
    }

    #[test]
    fn both_positives_of_a_query_are_drawn() {
        let lists = lists();
        let sampler = Sampler::new(&lists, 4, 7);
        let drawn: Vec<u32> = (0..64).map(|step| sampler.positives(step, &[5])[0]).collect();
        let low = drawn.iter().filter(|&&doc| doc == 5).count();
        assert!(drawn.iter().all(|&doc| doc == 5 || doc == 25) && (16..48).contains(&low), "{drawn:?}");
    }
}
