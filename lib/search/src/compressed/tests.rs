//! Laws of the search of codes.

use hardmine_quantization::{Coarse, CodeListsBuilder, Codebook, PqIndex};
use hardmine_records::Provenance;
use proptest::prelude::*;
use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;
use rayon::ThreadPoolBuilder;

use super::*;
use crate::hit::rank_best;

/// An index of `documents` in `lists`, drawn from `seed`. With few different codes there are many ties; ids are three
/// times the number in which a document was drawn.
fn index(documents: usize, lists: usize, subvectors: usize, codes: usize, by_residual: bool, seed: u64) -> PqIndex {
    let mut random = Pcg64Mcg::seed_from_u64(seed);
    let dim = 2 * subvectors;
    let mut numbers = |count: usize| (0..count).map(|_| random.random_range(-1.0..1.0)).collect::<Vec<f32>>();
    let codebook = Codebook::new(numbers(dim * CENTROIDS), subvectors).unwrap();
    let centroids = numbers(lists * dim);
    let coarse = Coarse::new(centroids);
    let coarse = if by_residual { coarse.residual() } else { coarse };
    let different: Vec<Vec<u8>> = (0..codes).map(|_| (0..subvectors).map(|_| random.random()).collect()).collect();
    let mut drawn = vec![Vec::new(); lists];
    for number in 0..documents {
        drawn[random.random_range(0..lists)].push((3 * number as i64, &different[random.random_range(0..codes)]));
    }
    let mut builder = CodeListsBuilder::new(subvectors).unwrap();
    for mut list in drawn {
        // No order of ids may be taken for granted.
        list.reverse();
        for (id, code) in list {
            builder.push([id], code).unwrap();
        }
        builder.end_list().unwrap();
    }
    PqIndex::new("index", None, codebook, coarse, builder.finish().unwrap(), Provenance::default()).unwrap()
}

fn searcher(index: PqIndex, nprobe: usize, top_k: usize, threads: usize) -> CompressedSearcher {
    let threads = ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    CompressedSearcher { index, turn: Turn::Nothing, nprobe, top_k, threads }
}

/// What a search must give: every document of the lists scored by itself, all of them sorted.
fn by_sorting(index: &PqIndex, queries: &[f32], nprobe: usize, top_k: usize) -> Vec<Vec<Hit>> {
    let codebook = index.codebook();
    let ranked = queries.chunks(codebook.dim()).map(|query| {
        let mut table = vec![0.0; codebook.subvectors() * CENTROIDS];
        codebook.table(query, &mut table);
        let mut hits = Vec::new();
        for list in index.best_lists(query, nprobe) {
            let documents = index.lists().list(list);
            for (row, code) in documents.codes().chunks(codebook.subvectors()).enumerate() {
                let entries = code.iter().zip(table.chunks(CENTROIDS)).map(|(&byte, table)| table[usize::from(byte)]);
                let score = index.offset(list, query) + entries.fold(0.0, |sum, entry| sum + entry);
                hits.push(Hit { id: documents.id(row), score });
            }
        }
        rank_best(&mut hits, top_k);
        hits
    });
    ranked.collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn lists_are_those_of_sorting_all_scores(
        (documents, queries) in (0_usize..5000, 1_usize..40),
        (lists, nprobe) in (1_usize..6, 1_usize..6),
        subvectors in 1_usize..70,
        codes in prop_oneof![Just(1_usize), 2_usize..10, Just(5000)],
        by_residual: bool,
        top_k in prop_oneof![Just(1_usize), 2_usize..300, Just(6000)],
        threads in 1_usize..5,
        seed: u64,
    ) {
        let index = index(documents, lists, subvectors, codes, by_residual, seed);
        let nprobe = nprobe.min(lists);
        let mut random = Pcg64Mcg::seed_from_u64(seed ^ 1);
        let vectors: Vec<f32> = (0..queries * 2 * subvectors).map(|_| random.random_range(-1.0..1.0)).collect();
        let expected = by_sorting(&index, &vectors, nprobe, top_k);
        let searcher = searcher(index, nprobe, top_k, threads);
        prop_assert_eq!(&searcher.search(&vectors), &expected);
        // Part by part, with other queries side by side.
        for part in [1, 3, 17] {
            let found: Vec<Vec<Hit>> = vectors.chunks(part * 2 * subvectors).flat_map(|part| searcher.search(part)).collect();
            prop_assert_eq!(&found, &expected);
        }
    }
}

#[test]
fn a_score_that_overflows_ranks_first() {
    let index = index(100, 1, 4, 100, false, 7);
    let huge = index.codebook().centroids().iter().map(|number| number * f32::MAX).collect();
    let index = index.with_codebook(Codebook::new(huge, 4).unwrap()).unwrap();
    let found = searcher(index, 1, 3, 1).search(&[1.0; 8]);
    assert_eq!(found[0][0].score, f32::INFINITY);
}
