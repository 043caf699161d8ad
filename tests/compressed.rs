//! `rank` on codes of product quantization: the lists of the reference's index, scores by the definition, lists scored
//! again, and what is refused.

use std::collections::HashMap;

use arrow::array::{FixedSizeListArray, Int64Array};
use arrow::datatypes::Float16Type;
use half::f16;
use safetensors::SafeTensors;

use crate::common::{Folder, Records, column, fixture, save, save_stream, save_tokens_of, vectors};

/// A fixture's tensor of float32, in rows.
fn tensor(file: &str, name: &str) -> Vec<Vec<f32>> {
    let bytes = std::fs::read(fixture("compression").join(file)).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let view = tensors.tensor(name).unwrap();
    let numbers: Vec<f32> = view.data().as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
    numbers.chunks(*view.shape().last().unwrap()).map(<[f32]>::to_vec).collect()
}

fn save_vectors(folder: &Folder, name: &str, rows: &[Vec<f32>]) {
    let ids = Int64Array::from_iter_values(0..rows.len() as i64);
    save(&folder.path(name), vec![column("id", ids), column("embedding", vectors(rows))]);
}

/// A folder with the reference's four index files, and the vectors that they were made of as `docs.arrow` and
/// `queries.arrow`.
fn folder() -> Folder {
    let folder = Folder::empty();
    for (file, name) in [
        ("OPQ8,IVF1,PQ8x8.index", "opq.index"),
        ("jpq_cut10.index", "jpq.index"),
        ("conc1_stage1.index", "ivf.index"),
        ("conc2_warmup.index", "pq.index"),
    ] {
        folder.write(name, std::fs::read(fixture("compression/index").join(file)).unwrap());
    }
    for name in ["docs", "queries"] {
        save_vectors(&folder, &format!("{name}.arrow"), &tensor("start.safetensors", name));
    }
    folder
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
}

/// The lists of a run: documents with their scores.
fn lists(run: &Records) -> Vec<Vec<(i64, f32)>> {
    let rows: Vec<(i64, (i64, f32))> =
        run.i64s("query_id").into_iter().zip(run.i64s("doc_id").into_iter().zip(run.f32s("score"))).collect();
    rows.chunk_by(|one, next| one.0 == next.0).map(|list| list.iter().map(|row| row.1).collect()).collect()
}

fn ranked(folder: &Folder, line: &str) -> Vec<Vec<(i64, f32)>> {
    lists(&Records::stream(&folder.run(&format!("rank {line}")).ok().stdout))
}

#[test]
fn a_trained_index_gives_the_lists_of_its_authors() {
    let folder = folder();
    folder.sh("mkdir model").ok();
    let fixture = |name: &str| std::fs::read(fixture("compression").join(name)).unwrap();
    folder.write("model/config.json", fixture("init/config.json"));
    let trained = fixture("jpq_cut10.safetensors");
    let trained = SafeTensors::deserialize(&trained).unwrap();
    let of_model = trained.iter().filter(|(name, _)| *name != "centroids" && !name.starts_with("first."));
    folder.write("model/model.safetensors", safetensors::serialize(of_model, None).unwrap());
    save_tokens_of(&folder, "compression", "queries");
    folder.run("embed --model model --max-length 16 queries.parquet -o trained.arrow").ok();
    let found = ranked(&folder, "--index jpq.index --top-k 40 trained.arrow");
    let text = String::from_utf8(fixture("run_jpq_cut10.tsv")).unwrap();
    for line in text.lines() {
        let fields: Vec<f64> = line.split('\t').map(|field| field.parse().unwrap()).collect();
        let (doc, score) = found[fields[0] as usize][fields[2] as usize - 1];
        assert_eq!(doc, fields[1] as i64, "{line}");
        assert!((f64::from(score) - fields[3]).abs() < 1e-5, "{line}: {score}");
    }
    assert_eq!(text.lines().count(), 16 * 40);
}

#[test]
fn scores_are_those_of_what_the_codes_stand_for() {
    let folder = folder();
    let of = |name| tensor("start.safetensors", name);
    let (rotation, centroids, coarse) = (of("rotation"), of("centroids"), of("coarse").concat());
    let bytes = std::fs::read(fixture("compression/start.safetensors")).unwrap();
    let codes = SafeTensors::deserialize(&bytes).unwrap().tensor("codes").unwrap().data().to_vec();
    let found = ranked(&folder, "--index opq.index --top-k 1000 queries.arrow");
    for (query, list) in of("queries").iter().zip(&found) {
        let rotated: Vec<f32> = rotation.iter().map(|row| dot(row, query) as f32).collect();
        assert_eq!(list.len(), 500, "more than there is gives all of it");
        for &(doc, score) in list {
            let code = codes[8 * doc as usize..][..8].iter().enumerate();
            let decoded = code.flat_map(|(m, &k)| &centroids[256 * m + usize::from(k)]).zip(&coarse);
            let decoded: Vec<f32> = decoded.map(|(number, coarse)| number + coarse).collect();
            assert!((dot(&rotated, &decoded) - f64::from(score)).abs() < 1e-4, "document {doc}");
        }
        assert!(list.is_sorted_by(|a, b| (a.1, -a.0) > (b.1, -b.0)), "score descending, then id ascending");
    }
}

#[test]
fn a_run_depends_on_neither_memory_nor_threads_nor_other_queries() {
    let folder = folder();
    let query = tensor("start.safetensors", "queries")[7..8].to_vec();
    save(
        &folder.path("query.arrow"),
        vec![column("id", Int64Array::from(vec![7])), column("embedding", vectors(&query))],
    );
    for index in ["opq", "jpq", "ivf", "pq"] {
        for top_k in [1, 40] {
            let line = format!("--index {index}.index --top-k {top_k} queries.arrow");
            let whole = ranked(&folder, &line);
            assert!(ranked(&folder, &format!("{line} --memory 16")) == whole, "{line}");
            let threads = folder.sh(&format!("OMP_NUM_THREADS=5 rank {line}")).ok().stdout;
            assert!(lists(&Records::stream(&threads)) == whole, "{line}");
            assert!(ranked(&folder, &line.replace("queries", "query")) == whole[7..8], "{line}");
        }
    }
}

#[test]
fn lists_of_an_index_are_searched_as_many_as_asked_for() {
    let folder = folder();
    for factory in ["IVF4,PQ8x8np", "OPQ8,IVF4,PQ8x8np"] {
        folder.run(&format!("index docs.arrow -o lists.faiss --factory {factory}")).ok();
        let searched = |nprobe: &str| {
            ranked(
                &folder,
                &format!("--index lists.faiss --top-k 500 queries.arrow --search-parameters nprobe={nprobe}"),
            )
        };
        let [one, two, all, more] = ["1", "2", "4", "1000"].map(searched);
        assert!(ranked(&folder, "--index lists.faiss --top-k 500 queries.arrow") == one, "one list by default");
        assert!(all == more && all.iter().all(|list| list.len() == 500));
        for ((one, two), all) in one.iter().zip(&two).zip(&all) {
            assert!(one.len() < two.len() && two.len() < 500);
            assert!(one.iter().all(|hit| two.contains(hit)) && two.iter().all(|hit| all.contains(hit)));
        }
        for (parameters, wrong) in [
            ("efSearch=64", "no parameter 'efSearch'"),
            ("nprobe=2,ht=3", "no parameter 'ht'"),
            ("nprobe=0", "'0' is not a number of lists"),
            ("nprobe=1.5", "'1.5' is not a number of lists"),
            ("nprobe", "is not NAME=VALUE"),
        ] {
            let line = format!("rank --index lists.faiss queries.arrow --search-parameters {parameters}");
            folder.run(&line).fails(&[&format!("--search-parameters {parameters}: "), wrong, "hint: "]);
        }
    }
    folder.run("rank --index pq.index queries.arrow --search-parameters nprobe=2").fails(&["no parameter 'nprobe'"]);
}

#[test]
fn lists_are_scored_again_by_whole_vectors() {
    let folder = folder();
    let [docs, queries] = ["docs", "queries"].map(|name| tensor("start.safetensors", name));
    let exact: HashMap<(usize, i64), f32> = ranked(&folder, "--index docs.arrow --top-k 500 queries.arrow")
        .into_iter()
        .enumerate()
        .flat_map(|(query, list)| list.into_iter().map(move |(doc, score)| ((query, doc), score)))
        .collect();
    let halves = docs.iter().map(|row| Some(row.iter().map(|&number| Some(f16::from_f32(number))).collect::<Vec<_>>()));
    let halves = FixedSizeListArray::from_iter_primitive::<Float16Type, _, _>(halves, 32);
    save(
        &folder.path("half.arrow"),
        vec![column("id", Int64Array::from_iter_values(0..500)), column("embedding", halves)],
    );
    folder.sh("sql -q -t d=docs.arrow 'SELECT * FROM d' --format parquet -o docs.parquet").ok();
    for index in ["opq", "jpq"] {
        let line = format!("--index {index}.index --top-k 30 queries.arrow");
        let compressed = ranked(&folder, &line);
        let again = ranked(&folder, &format!("{line} --rerank docs.arrow"));
        for (query, (compressed, again)) in compressed.iter().zip(&again).enumerate() {
            let mut expected: Vec<(i64, f32)> = compressed.iter().map(|hit| (hit.0, exact[&(query, hit.0)])).collect();
            expected.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
            assert!(*again == expected, "query {query}: the documents of the list, with the scores of an exact search");
        }
        assert!(ranked(&folder, &format!("{line} --rerank docs.parquet --memory 16")) == again);
        let half = ranked(&folder, &format!("{line} --rerank half.arrow"));
        let near = |(a, b): (&(i64, f32), &(i64, f32))| (a.1 - b.1).abs() < 0.1;
        assert!(half.iter().zip(&again).all(|(half, again)| half.iter().zip(again).all(near)));
    }
    assert_eq!(queries.len(), 64);
    save_vectors(&folder, "some.arrow", &docs[..499]);
    let line = "rank --index opq.index --top-k 500 queries.arrow -o run.parquet --rerank";
    folder.run(&format!("{line} some.arrow")).fails(&["some.arrow: has no embedding of document 499"]);
    save_vectors(&folder, "wide.arrow", &docs.iter().map(|row| [&row[..], &[1.0]].concat()).collect::<Vec<_>>());
    folder.run(&format!("{line} wide.arrow")).fails(&["queries.arrow: has 32 dimensions, but wide.arrow has 33"]);
    let mut broken = docs;
    broken[17][3] = f32::NAN;
    save_vectors(&folder, "broken.arrow", &broken);
    folder.run(&format!("{line} broken.arrow")).fails(&["broken.arrow: id 17: the embedding has NaN"]);
    folder.run(&format!("{line} opq.index")).fails(&["opq.index: expected embeddings"]);
    assert!(!folder.path("run.parquet").exists());
    folder
        .run("rank --index docs.arrow queries.arrow --pairs x --rerank docs.arrow")
        .fails_as_wrong_usage(&["--rerank"]);
}

#[test]
fn an_index_of_our_own_keeps_what_it_is_of() {
    let folder = Folder::made();
    folder.run("index docs.arrow --factory PQ8x8np -o docs.faiss").ok();
    let run = Records::stream(&folder.run("rank --index docs.faiss --rerank docs.arrow dev.arrow").ok().stdout);
    let exact = Records::stream(&folder.run("rank --index docs.arrow dev.arrow").ok().stdout);
    assert!(run.rows == exact.rows, "all documents, scored again, are the exact lists");
    for key in ["docs", "queries", "model", "document_model"] {
        let key = format!("hardmine.{key}");
        assert_eq!(run.metadata.get(&key), exact.metadata.get(&key), "{key}");
    }
    let line = "rank --index docs.faiss --rerank train.arrow dev.arrow -o run.parquet";
    folder.run(line).fails(&["train.arrow", "docs.faiss", "different tokens files"]);
    let own = ranked(&folder, "--index docs.faiss --exclude-self --top-k 300 docs.arrow");
    assert!(
        own.iter().enumerate().all(|(query, list)| list.len() == 299 && list.iter().all(|hit| hit.0 != query as i64))
    );
}

#[test]
fn queries_in_another_space_are_refused() {
    let folder = folder();
    let queries = Records::open(&folder.path("queries.arrow"));
    let save = |name: &str, space: &str| {
        folder.write(name, save_stream(&queries.rows, 64, HashMap::from([("hardmine.space".into(), space.into())])));
    };
    save("rotated.arrows", "0123");
    folder.run("rank --index opq.index rotated.arrows").fails(&[
        "rotated.arrows: ",
        "rotation of opq.index",
        "--no-rotation",
    ]);
    folder
        .run("rank --index docs.arrow rotated.arrows")
        .fails(&["rotated.arrows: its vectors are rotated", "docs.arrow"]);
    // The authors' files keep the rotation in the model, and cannot say so.
    let plain = folder.run("rank --index ivf.index queries.arrow -o run.parquet").ok();
    plain.check(plain.stderr.contains("does not say whether its codes are of rotated vectors"), "should warn");
    folder.run("rank --index ivf.index rotated.arrows -o run.parquet").ok();
}

#[test]
fn a_damaged_index_and_queries_of_another_dimension_are_refused() {
    let folder = folder();
    save_vectors(&folder, "wide.arrow", &[vec![1.0; 33]]);
    for index in ["opq.index", "ivf.index", "pq.index"] {
        let line = format!("rank --index {index} wide.arrow");
        folder.run(&line).fails(&[&format!("wide.arrow: has 33 dimensions, but {index} has 32")]);
        let whole = folder.read(index);
        for length in (0..8).map(|part| part * whole.len() / 8).chain([whole.len() - 1]).filter(|&length| length > 0) {
            folder.write("cut.index", &whole[..length]);
            folder.run("rank --index cut.index queries.arrow -o run.parquet").fails(&["cut.index: "]);
        }
    }
    assert!(!folder.path("run.parquet").exists());
}
