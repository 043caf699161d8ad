//! `index`: any factory string of faiss, searched by `rank`.

use std::collections::{HashMap, HashSet};

use crate::common::{Folder, Records};

/// The documents found for each query.
fn lists(run: &Records) -> HashMap<i64, Vec<i64>> {
    let mut lists: HashMap<i64, Vec<i64>> = HashMap::new();
    for (query, doc) in run.i64s("query_id").into_iter().zip(run.i64s("doc_id")) {
        lists.entry(query).or_default().push(doc);
    }
    lists
}

/// How much of the exact lists an index finds, between 0 and 1.
fn overlap(folder: &Folder, factory: &str) -> f64 {
    folder.run("index docs.arrow -o docs.faiss --factory").arg(factory).ok();
    let found = Records::stream(&folder.run("rank --index docs.faiss --top-k 10 dev.arrow").ok().stdout);
    let exact = Records::stream(&folder.run("rank --index docs.arrow --top-k 10 dev.arrow").ok().stdout);
    assert_eq!(found.metadata["hardmine.docs"], exact.metadata["hardmine.docs"], "{factory}");
    let (found, exact) = (lists(&found), lists(&exact));
    let shared = |query: &i64| {
        let found: HashSet<_> = found[query].iter().collect();
        exact[query].iter().filter(|doc| found.contains(doc)).count()
    };
    exact.keys().map(shared).sum::<usize>() as f64 / exact.values().map(Vec::len).sum::<usize>() as f64
}

/// What faiss reads of an index: all but our provenance behind it, whose length comes before the mark at the end.
fn without_provenance(index: &[u8]) -> &[u8] {
    let (rest, mark) = index.split_at(index.len() - 8);
    assert_eq!(mark, b"hardmine");
    let (rest, length) = rest.split_at(rest.len() - 8);
    &rest[..rest.len() - u64::from_le_bytes(length.try_into().unwrap()) as usize]
}

#[test]
fn flat_is_exact() {
    let folder = Folder::made();
    assert_eq!(overlap(&folder, "Flat"), 1.0);
    let run = Records::stream(&folder.run("rank --index docs.faiss --top-k 300 dev.arrow").ok().stdout);
    let exact = Records::stream(&folder.run("rank --index docs.arrow --top-k 300 dev.arrow").ok().stdout);
    assert_eq!(run.len(), exact.len());
    let scores = run.f32s("score").into_iter().zip(exact.f32s("score"));
    assert!(scores.into_iter().all(|(a, b)| (a - b).abs() < 1e-3));
}

#[test]
fn flat_is_what_an_index_is_by_default() {
    let folder = Folder::made();
    folder.run("index docs.arrow -o default.faiss").ok();
    folder.run("index docs.arrow --factory Flat -o flat.faiss").ok();
    assert!(without_provenance(&folder.read("default.faiss")) == without_provenance(&folder.read("flat.faiss")));
}

#[test]
fn other_factories_find_most_of_it() {
    let folder = Folder::made();
    for (factory, least) in [("IVF8,Flat", 0.2), ("HNSW32", 0.9), ("SQ8", 0.9), ("PQ16x4", 0.3), ("PCA16,Flat", 0.3)] {
        let found = overlap(&folder, factory);
        assert!(found >= least, "{factory} finds {found} of the exact lists");
    }
}

#[test]
fn searching_all_of_an_ivf_index_is_exact() {
    let folder = Folder::made();
    folder.run("index docs.arrow --factory IVF8,Flat -o docs.faiss").ok();
    let run = |options: &str| {
        let done = folder.run(&format!("rank --index docs.faiss --top-k 10 dev.arrow {options}")).ok();
        lists(&Records::stream(&done.stdout))
    };
    let exact = Records::stream(&folder.run("rank --index docs.arrow --top-k 10 dev.arrow").ok().stdout);
    assert_eq!(run("--search-parameters nprobe=8"), lists(&exact));
    assert_ne!(run(""), lists(&exact));
    folder.run("rank --index docs.faiss --search-parameters speed=9 dev.arrow").fails(&["speed"]);
}

#[test]
fn an_index_is_made_from_a_stream_as_from_a_file() {
    let folder = Folder::made();
    folder.run("index docs.arrow -o file.faiss").ok();
    folder.sh("embed --model bert docs.tokens.arrow | index -o stream.faiss").ok();
    assert!(without_provenance(&folder.read("file.faiss")) == without_provenance(&folder.read("stream.faiss")));
}

#[test]
fn a_factory_that_faiss_does_not_know_is_refused() {
    let folder = Folder::made();
    folder.run("index docs.arrow --factory Fast -o docs.faiss").fails(&["Fast"]);
    assert!(!folder.path("docs.faiss").exists());
}

#[test]
fn a_broken_index_is_refused() {
    let folder = Folder::made();
    folder.run("index docs.arrow -o docs.faiss").ok();
    let whole = folder.read("docs.faiss");
    folder.write("cut.faiss", &whole[..whole.len() / 2]);
    folder.run("rank --index cut.faiss dev.arrow").fails(&["cut.faiss"]);
}
