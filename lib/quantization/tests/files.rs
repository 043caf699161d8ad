//! Files of faiss, as the authors of JPQ and RepCONC have them: each of the four layouts is read, and written with the
//! same bytes.

use std::fs;
use std::path::{Path, PathBuf};

use hardmine_files::{Input, OutputFile};
use hardmine_quantization::{Codebook, PqIndex, Rotation};
use safetensors::SafeTensors;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/compression").join(name)
}

fn open(name: &str) -> PqIndex {
    PqIndex::open(&Input::from(fixture("index").join(name).as_path())).unwrap()
}

/// The numbers of a tensor in a fixture.
fn floats(file: &str, tensor: &str) -> Vec<f32> {
    let bytes = tensor_bytes(file, tensor);
    bytes.as_chunks().0.iter().map(|&number| f32::from_le_bytes(number)).collect()
}

fn tensor_bytes(file: &str, tensor: &str) -> Vec<u8> {
    let bytes = fs::read(fixture(file)).unwrap();
    SafeTensors::deserialize(&bytes).unwrap().tensor(tensor).unwrap().data().to_vec()
}

#[test]
fn every_layout_is_written_as_it_was_read() {
    let folder = tempfile::tempdir().unwrap();
    let layouts = [
        ("OPQ8,IVF1,PQ8x8.index", "OPQ8,IVF1,PQ8x8"),
        ("jpq_cut10.index", "OPQ8,IVF1,PQ8x8"),
        ("conc1_stage1.index", "IVF1,PQ8x8"),
        ("conc2_warmup.index", "PQ8x8"),
    ];
    for (name, form) in layouts {
        let mut index = open(name);
        assert_eq!((index.form().as_str(), index.len(), index.dim(), index.ids_are_rows()), (form, 500, 32, true));
        let path = folder.path().join(name);
        index.write(OutputFile::create(&path).unwrap()).unwrap();
        assert!(fs::read(&path).unwrap() == fs::read(fixture("index").join(name)).unwrap(), "{name}");
        // Our provenance stands behind faiss's bytes.
        index.provenance_mut().set("hardmine.model", "some model");
        index.write(OutputFile::create(&path).unwrap()).unwrap();
        let with_provenance = fs::read(&path).unwrap();
        let again = PqIndex::open(&Input::from(path.as_path())).unwrap();
        assert_eq!(again.provenance(), index.provenance());
        again.write(OutputFile::create(&path).unwrap()).unwrap();
        assert!(fs::read(&path).unwrap() == with_provenance, "{name}");
    }
}

#[test]
fn an_index_holds_what_the_authors_code_takes_out_of_it() {
    let index = open("OPQ8,IVF1,PQ8x8.index");
    assert_eq!(index.rotation().unwrap().matrix(), floats("start.safetensors", "rotation"));
    assert_eq!(index.codebook().centroids(), floats("start.safetensors", "centroids"));
    assert_eq!(index.coarse().unwrap().centroids(), floats("start.safetensors", "coarse"));
    assert_eq!(index.codes().unwrap(), tensor_bytes("start.safetensors", "codes"));
    assert_eq!(open("conc1_stage1.index").codes().unwrap(), tensor_bytes("conc1_codes.safetensors", "codes"));
    let warmup = open("conc2_warmup.index");
    assert_eq!(warmup.codes().unwrap(), tensor_bytes("conc2_start.safetensors", "codes"));
    assert_eq!(warmup.codebook().centroids(), floats("conc2_start.safetensors", "centroids"));
    let trained = open("jpq_cut10.index");
    assert_eq!(trained.codebook().centroids(), floats("jpq_cut10.safetensors", "centroids"));
    assert!(trained.coarse().unwrap().centroids().iter().all(|&number| number == 0.0));
}

/// Codes of residuals are the nearest to what is left of a vector, and once the list is folded away the nearest to it.
#[test]
fn nearest_centroids_are_faiss_s_codes() {
    let index = open("OPQ8,IVF1,PQ8x8.index");
    let rotated = index.rotation().unwrap().rotate(&floats("start.safetensors", "docs"));
    let coarse = index.coarse().unwrap().centroids().to_vec();
    let residuals: Vec<f32> = rotated.iter().zip(coarse.iter().cycle()).map(|(x, c)| x - c).collect();
    assert_eq!(index.codebook().nearest(&residuals), index.codes().unwrap());
    let folded = index.fold().unwrap();
    assert_eq!(folded.codebook().nearest(&rotated), folded.codes().unwrap());
}

/// The lists that JPQ searches in its first step are those of the largest sums of table entries.
#[test]
fn tables_rank_as_the_authors_index_does() {
    let index = open("OPQ8,IVF1,PQ8x8.index").fold().unwrap();
    let queries = floats("jpq_cut10.safetensors", "first.queries_rotated");
    let expected: Vec<i32> = tensor_bytes("jpq_cut10.safetensors", "first.neighbors")
        .as_chunks()
        .0
        .iter()
        .map(|&number| i32::from_le_bytes(number))
        .collect();
    let mut table = vec![0.0; 8 * 256];
    for (query, expected) in queries.chunks(32).zip(expected.chunks(40)) {
        index.codebook().table(query, &mut table);
        let score = |code: &[u8]| code.iter().enumerate().map(|(m, &k)| table[m * 256 + usize::from(k)]).sum::<f32>();
        let scores: Vec<f32> = index.codes().unwrap().chunks(8).map(score).collect();
        let mut ids: Vec<i32> = (0..500).collect();
        ids.sort_by(|&a, &b| scores[b as usize].total_cmp(&scores[a as usize]).then(a.cmp(&b)));
        assert_eq!(ids[..40], *expected);
    }
}

#[test]
fn other_centroids_must_be_of_the_same_dimensions() {
    let index = open("conc2_warmup.index");
    let centroids = index.codebook().centroids().to_vec();
    let trained = Codebook::new(centroids.iter().map(|number| 2.0 * number).collect(), 8).unwrap();
    let digest = trained.digest();
    let index = index.with_codebook(trained).unwrap();
    assert_eq!(index.codebook().digest(), digest);
    let error = index.with_codebook(Codebook::new(centroids, 4).unwrap()).err().unwrap().to_string();
    assert!(error.contains("8 subvectors of vectors of 32 dimensions, but the centroids are for 4 of 32"), "{error}");
}

#[test]
fn a_rotation_is_undone() {
    let index = open("OPQ8,IVF1,PQ8x8.index");
    let (rotation, docs) = (index.rotation().unwrap(), floats("start.safetensors", "docs"));
    let back = rotation.unrotate(&rotation.rotate(&docs));
    assert!(back.iter().zip(&docs).all(|(a, b)| (a - b).abs() < 1e-5));
    // A matrix of 2 rows and 3 columns.
    let rotation = Rotation::new(vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 3).unwrap();
    assert_eq!((rotation.dim_in(), rotation.dim_out()), (3, 2));
    assert_eq!(rotation.rotate(&[1.0, 0.0, 2.0]), [7.0, 16.0]);
    assert_eq!(rotation.unrotate(&[1.0, -1.0]), [-3.0, -3.0, -3.0]);
}

#[test]
fn other_files_are_told_from_damaged_ones() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let input = Input::from(path.as_path());
    let healthy = fs::read(fixture("index").join("conc2_warmup.index")).unwrap();
    let with = |place: usize, bytes: &[u8]| {
        let mut changed = healthy.clone();
        changed[place..place + bytes.len()].copy_from_slice(bytes);
        changed
    };
    // The kind's name, the metric, and the number of bits.
    let others = [with(0, b"IxSQ"), with(33, &[1, 0, 0, 0]), with(37 + 16, &[4]), b"1\tsome text\n".to_vec()];
    for other in others {
        fs::write(&path, other).unwrap();
        assert!(PqIndex::open_if_quantized(&input).unwrap().is_none());
        let error = PqIndex::open(&input).err().unwrap().to_string();
        assert!(error.contains("expected an index of product quantization, found "), "{error}");
    }
    // The number of subvectors, of documents, and a centroid that is infinite.
    for damaged in [with(37 + 8, &[7]), with(14, &[1]), with(37 + 8 * 4, &f32::INFINITY.to_le_bytes())] {
        fs::write(&path, damaged).unwrap();
        let error = PqIndex::open_if_quantized(&input).err().unwrap().to_string();
        assert!(error.contains("is a truncated or damaged faiss index: "), "{error}");
    }
}
