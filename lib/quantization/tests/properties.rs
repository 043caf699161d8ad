//! Laws of codes, tables and files.

use std::fs;
use std::path::Path;

use hardmine_files::{Input, OutputFile};
use hardmine_quantization::{Coarse, CodeListsBuilder, Codebook, PqIndex, Rotation};
use hardmine_records::Provenance;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

/// Centroids of 1 to 4 subvectors of 1 to 3 dimensions.
fn codebook() -> impl Strategy<Value = Codebook> {
    (1..=4usize, 1..=3usize).prop_flat_map(|(subvectors, width)| {
        vec(-1.0f32..1.0, subvectors * 256 * width).prop_map(move |c| Codebook::new(c, subvectors).unwrap())
    })
}

/// An index of several lists with ids in any order, and a query in rotated space.
fn index() -> impl Strategy<Value = (PqIndex, Vec<f32>)> {
    (codebook(), 1..=3usize, any::<bool>()).prop_flat_map(|(codebook, nlist, rotated)| {
        let (dim, size) = (codebook.dim(), codebook.subvectors());
        let lists = vec(vec((0..1000i64, vec(any::<u8>(), size)), 0..5), nlist);
        let numbers = |count| vec(-1.0f32..1.0, count);
        (Just((codebook, rotated)), lists, numbers(nlist * dim), numbers(2 * dim), numbers(dim)).prop_map(
            |((codebook, rotated), lists, coarse, matrix, query)| {
                let mut builder = CodeListsBuilder::new(codebook.subvectors()).unwrap();
                for list in lists {
                    list.iter().for_each(|(id, code)| builder.push([*id], code).unwrap());
                    builder.end_list().unwrap();
                }
                let rotation = rotated.then(|| Rotation::new(matrix, 2).unwrap());
                let coarse = Coarse::new(coarse).residual();
                let lists = builder.finish().unwrap();
                (PqIndex::new("index", rotation, codebook, coarse, lists, Provenance::default()).unwrap(), query)
            },
        )
    })
}

/// The scores of all documents: the offset of their list, and the entries of their codes in the table.
fn scores(index: &PqIndex, query: &[f32]) -> Vec<f32> {
    let size = index.codebook().subvectors();
    let mut table = vec![0.0; size * 256];
    index.codebook().table(query, &mut table);
    let sum = |code: &[u8]| code.iter().enumerate().map(|(m, &k)| table[m * 256 + usize::from(k)]).sum::<f32>();
    let lists = index.lists().iter().enumerate();
    let of_list = lists.map(|(n, list)| (index.offset(n, query), list));
    of_list.flat_map(|(offset, list)| list.codes().chunks(size).map(move |code| offset + sum(code))).collect()
}

fn close(a: &[f32], b: &[f32]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-4)
}

fn bytes(index: &PqIndex, path: &Path) -> Vec<u8> {
    index.write(OutputFile::create(path).unwrap()).unwrap();
    fs::read(path).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// The table gives the inner product of the query and the decoded vector.
    #[test]
    fn decoding_equals_the_table((index, query) in index()) {
        let mut decoded = vec![0.0; query.len()];
        let mut products = Vec::new();
        for (number, list) in index.lists().iter().enumerate() {
            for code in list.codes().chunks(index.codebook().subvectors()) {
                index.decode(number, code, &mut decoded);
                products.push(decoded.iter().zip(&query).map(|(a, b)| a * b).sum::<f32>());
            }
        }
        prop_assert!(close(&scores(&index, &query), &products));
    }

    /// No score changes when the coarse centroid is folded away, and only one list has one that can be.
    #[test]
    fn folding_keeps_scores((index, query) in index()) {
        let (before, one) = (scores(&index, &query), index.lists().len() == 1);
        let folded = index.fold();
        prop_assert_eq!(folded.is_ok(), one);
        if let Ok(folded) = folded {
            prop_assert!(folded.coarse().unwrap().centroids().iter().all(|&number| number == 0.0));
            prop_assert!(close(&scores(&folded, &query), &before));
        }
    }

    /// No other centroid is nearer than the one of the code.
    #[test]
    fn codes_are_of_the_nearest_centroids(codebook in codebook(), numbers in vec(-2.0f32..2.0, 36)) {
        let vectors = &numbers[..36 / codebook.dim() * codebook.dim()];
        let width = codebook.subvector_dim();
        let codes = codebook.nearest(vectors);
        for (n, (part, &code)) in vectors.chunks(width).zip(&codes).enumerate() {
            let m = n % codebook.subvectors();
            let centroids = codebook.centroids()[m * 256 * width..(m + 1) * 256 * width].chunks(width);
            let distance = |c: &[f32]| part.iter().zip(c).map(|(a, b)| (a - b) * (a - b)).sum::<f32>();
            let distances: Vec<f32> = centroids.map(distance).collect();
            prop_assert!(distances.iter().all(|&other| other >= distances[usize::from(code)]));
        }
    }

    /// A file has what was written to it.
    #[test]
    fn a_file_is_read_as_it_was_written((index, query) in index()) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("index.faiss");
        let written = bytes(&index, &path);
        let again = PqIndex::open(&Input::from(path.as_path())).unwrap();
        prop_assert_eq!(scores(&again, &query), scores(&index, &query));
        let ids = |index: &PqIndex| -> Vec<i64> {
            index.lists().iter().flat_map(|list| (0..list.len()).map(move |row| list.id(row))).collect()
        };
        prop_assert_eq!(ids(&again), ids(&index));
        prop_assert!(bytes(&again, &path) == written);
    }

    /// The lists of a query are the first of all lists in the order of their inner products.
    #[test]
    fn the_best_lists_are_searched((index, query) in index(), nprobe in 1..5usize) {
        let merit = |list: usize| index.offset(list, &query);
        let best = index.best_lists(&query, nprobe);
        prop_assert_eq!(best.len(), nprobe.min(index.lists().len()));
        prop_assert!(best.windows(2).all(|pair| merit(pair[0]) >= merit(pair[1])));
        let worst = merit(*best.last().unwrap());
        prop_assert!((0..index.lists().len()).all(|list| best.contains(&list) || merit(list) <= worst));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// A file that was cut off is an error, and one with other bytes is an error or an index that can be used.
    #[test]
    fn damaged_files_are_errors_or_indexes(
        name in prop::sample::select(vec!["OPQ8,IVF1,PQ8x8.index", "conc1_stage1.index", "conc2_warmup.index"]),
        provenance in any::<bool>(),
        cut in prop::option::of(any::<Index>()),
        // Most bytes are numbers of centroids and codes, so that the places of heads are drawn by themselves.
        changes in vec((any::<Index>(), any::<bool>(), any::<u8>()), 1..4),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("index.faiss");
        let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/compression/index").join(name);
        let mut index = PqIndex::open(&Input::from(fixture.as_path())).unwrap();
        if provenance {
            index.provenance_mut().set("hardmine.model", "some model");
        }
        let mut file = bytes(&index, &path);
        match cut {
            Some(cut) => file.truncate(cut.index(file.len())),
            None => {
                let bodies = [37..4096, 5000..36_000, 37_000..40_000];
                let heads: Vec<usize> = (0..file.len()).filter(|at| !bodies.iter().any(|body| body.contains(at))).collect();
                for (place, head, byte) in changes {
                    let place = if head { heads[place.index(heads.len())] } else { place.index(file.len()) };
                    file[place] = byte;
                }
            }
        }
        fs::write(&path, &file).unwrap();
        match PqIndex::open(&Input::from(path.as_path())) {
            Ok(index) => {
                prop_assert!(cut.is_none());
                let dim = index.codebook().dim();
                prop_assert_eq!(scores(&index, &vec![1.0; dim]).len(), index.len());
            }
            Err(error) => prop_assert!(!error.to_string().is_empty()),
        }
    }
}
