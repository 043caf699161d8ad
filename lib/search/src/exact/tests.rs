//! Laws that hold for every scan.

use tch::Device;

use super::inner_product::inner_product;
use super::testing::{random, scaled, sharing_most};
use super::*;
use crate::hit::rank_best;

/// All scans; that of a device multiplies on the CPU here.
fn scans(queries: &Queries, top_k: usize) -> [(&'static str, Box<dyn Scan>); 4] {
    [
        ("float32", Box::new(Float32Scan)),
        ("bfloat16", Box::new(Bfloat16Scan::new(queries))),
        ("int8", Box::new(Int8Scan::new(queries))),
        ("device", Box::new(DeviceScan::new(queries, top_k, Device::Cpu).unwrap())),
    ]
}

/// What a search must give: every document scored, all of them sorted. Ids are three times the row.
fn by_sorting(queries: &[f32], documents: &[f32], dim: usize, top_k: usize) -> Vec<Vec<Hit>> {
    let ranked = queries.chunks(dim).map(|query| {
        let scored = documents.chunks(dim).enumerate();
        let hit = |(row, vector): (usize, &[f32])| Hit { id: 3 * row as i64, score: inner_product(query, vector) };
        let mut hits = scored.map(hit).collect();
        rank_best(&mut hits, top_k);
        hits
    });
    ranked.collect()
}

/// Checks that every scan finds what sorting finds, in documents that come in blocks of `rows`.
fn check(queries: &[f32], documents: &[f32], dim: usize, top_k: usize, rows: &[usize]) {
    let expected = by_sorting(queries, documents, dim, top_k);
    let ids: Vec<i64> = (0..(documents.len() / dim) as i64).map(|row| 3 * row).collect();
    let searcher = ExactSearcher::new(dim, top_k, Device::Cpu).unwrap();
    for &rows in rows {
        for (name, scan) in scans(&Queries::new(queries, dim), top_k) {
            let mut search = searcher.start_with(scan, Queries::new(queries, dim));
            for (ids, vectors) in ids.chunks(rows).zip(documents.chunks(rows * dim)) {
                search.add(ids, vectors).unwrap();
            }
            assert!(search.finish() == expected, "{name}, top {top_k}, blocks of {rows}");
        }
    }
}

#[test]
fn any_block_size_gives_what_sorting_gives() {
    check(&random(70, 40, 1), &random(3000, 40, 2), 40, 25, &[1, 7, 512, 600, 2999, 5000]);
    check(&random(20, 24, 7), &random(20_000, 24, 8), 24, 50, &[12_000]);
}

#[test]
fn a_scan_that_takes_over_goes_on_with_the_lists() {
    let (queries, documents) = (random(60, 24, 13), random(900, 24, 14));
    let expected = by_sorting(&queries, &documents, 24, 8);
    let ids: Vec<i64> = (0..900).map(|row| 3 * row).collect();
    let searcher = ExactSearcher::new(24, 8, Device::Cpu).unwrap();
    for (after, rows) in [(0, 900), (1, 900), (300, 100), (350, 200), (899, 900), (2000, 64)] {
        let of = || Queries::new(&queries, 24);
        let mut search = searcher.start_with(Box::new(Float32Scan), of());
        search.next = Some((after, Box::new(Int8Scan::new(&of()))));
        for (ids, vectors) in ids.chunks(rows).zip(documents.chunks(rows * 24)) {
            search.add(ids, vectors).unwrap();
        }
        assert_eq!(search.next.is_some(), after > 900);
        assert!(search.finish() == expected, "after {after}, blocks of {rows}");
    }
}

#[test]
fn ties_go_by_id_across_blocks_and_at_the_end_of_the_list() {
    // Few different vectors, so that most scores occur hundreds of times.
    let few = random(5, 33, 10);
    let documents: Vec<f32> = random(1, 2500, 3)
        .iter()
        .flat_map(|x| few.chunks(33).nth((2.5 * (x + 1.0)) as usize).unwrap())
        .copied()
        .collect();
    for top_k in [1, 2, 100, 2499] {
        check(&random(9, 33, 4), &documents, 33, top_k, &[1, 100, 513, 2500]);
    }
}

#[test]
fn lengths_far_apart_hide_no_document() {
    let documents = scaled(random(2000, 16, 6), 16, |row| [1e-25, 1e-6, 1.0, 1e6][row % 4]);
    check(&random(5, 16, 5), &documents, 16, 900, &[64, 1000, 2000]);
}

#[test]
fn vectors_that_share_most_of_their_length_are_told_apart() {
    check(&sharing_most(random(60, 48, 11), 48), &sharing_most(random(4000, 48, 12), 48), 48, 30, &[1500]);
}

#[test]
fn fewer_documents_than_asked_for_are_all_ranked() {
    check(&random(3, 8, 9), &random(10, 8, 10), 8, 100, &[4]);
}

#[test]
fn an_overflow_is_first_in_the_list() {
    let documents = [vec![1.0; 8], vec![3e38; 8], vec![-3e38; 8]].concat();
    let searcher = ExactSearcher::new(8, 2, Device::Cpu).unwrap();
    for (name, scan) in scans(&Queries::new(&[3e38; 8], 8), 2) {
        let mut search = searcher.start_with(scan, Queries::new(&[3e38; 8], 8));
        search.add(&[0, 1, 2], &documents).unwrap();
        assert!(search.finish()[0][0].score.is_infinite(), "{name}");
    }
}

/// Checks for every scan that each score is within its error bound, and returns for each the largest share of its bound
/// that a score is off by.
fn largest_shares(queries: &[f32], documents: &[f32], dim: usize) -> [f32; 4] {
    let queries = &Queries::new(queries, dim);
    let ids: Vec<i64> = (0..(documents.len() / dim) as i64).collect();
    let block = Block { ids: &ids, vectors: documents, dim };
    scans(queries, ids.len()).map(|(name, mut scan)| {
        // Lists as long as the block keep every document as a candidate.
        let mut lists: Vec<Shortlist> = (0..queries.len()).map(|_| Shortlist::new(ids.len())).collect();
        let error_bounds = scan.scan(queries, &block, &mut lists).unwrap();
        let mut largest = 0f32;
        for (query, (list, bound)) in lists.iter().zip(error_bounds).enumerate() {
            assert_eq!(list.candidates().count(), ids.len(), "{name}");
            for (row, score) in list.candidates().filter(|_| bound.is_finite()) {
                let off = (inner_product(queries.row(query), block.row(row)) - score).abs();
                assert!(off <= bound, "{name}, query {query}, document {row}: {off:e} over {bound:e}");
                largest = largest.max(off / bound);
            }
        }
        largest
    })
}

#[test]
fn every_score_is_within_its_error_bound() {
    for (dim, rows) in [(16, 1), (24, 600), (384, 515), (768, 300)] {
        let [_, bfloat16, int8, _] = largest_shares(&random(50, dim, 1), &random(rows, dim, 2), dim);
        // A bound that nothing comes near would let everything pass.
        assert!(rows == 1 || bfloat16 > 0.05 && int8 > 0.05, "{dim} × {rows}: {bfloat16}, {int8}");
    }
    largest_shares(&sharing_most(random(50, 48, 3), 48), &sharing_most(random(700, 48, 4), 48), 48);
    // Lengths far apart, and numbers too small to be normal.
    let scale_of = |row: usize| [1e-38, 1e-25, 1e-6, 1.0, 1e6][row % 5];
    let documents = scaled(random(600, 64, 5), 64, scale_of);
    largest_shares(&scaled(random(50, 64, 6), 64, scale_of), &documents, 64);
    largest_shares(&scaled(random(50, 64, 7), 64, |_| 2e-38), &scaled(random(600, 64, 8), 64, |_| 1e4), 64);
}

#[test]
fn where_a_mean_overflows_everything_may_pass() {
    let queries = scaled([1.0, 0.0, 0.0, 0.0].repeat(60), 4, |row| if row == 59 { 3e38 } else { -3e38 });
    let queries = &Queries::new(&queries, 4);
    let mut lists: Vec<Shortlist> = (0..60).map(|_| Shortlist::new(1)).collect();
    let block = Block { ids: &[0, 1], vectors: &[1.0; 8], dim: 4 };
    let scans: [Box<dyn Scan>; 2] = [Box::new(Bfloat16Scan::new(queries)), Box::new(Int8Scan::new(queries))];
    for mut scan in scans {
        let error_bounds = scan.scan(queries, &block, &mut lists).unwrap();
        assert_eq!(error_bounds[59], f32::INFINITY);
    }
}
