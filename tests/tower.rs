//! Towers: encoders with the rotation and the centroids of a product quantizer, and the codes that embed makes with them.

use arrow::array::AsArray;
use safetensors::tensor::{TensorView, serialize_to_file};
use safetensors::{Dtype, SafeTensors};

use crate::common::{Folder, Records, fixture, save_tokens_of};

/// The reference's cut of documents, in tokens.
const CUT: &str = "--max-length 32";

/// A folder with `docs.parquet` (tokens), the tower `tower` that the authors' RepCONC trained, and the index `opq.faiss`
/// that its training began with.
fn folder() -> Folder {
    let folder = Folder::empty();
    save_tokens_of(&folder, "compression", "docs");
    std::fs::create_dir(folder.path("tower")).unwrap();
    std::fs::copy(fixture("compression/conc1_stage1.safetensors"), folder.path("tower/model.safetensors")).unwrap();
    say(&folder, 8, 256);
    std::fs::copy(fixture("compression/index/OPQ8,IVF1,PQ8x8.index"), folder.path("opq.faiss")).unwrap();
    folder
}

/// Writes the tower's configuration.
fn say(folder: &Folder, subvectors: i64, centroids: i64) {
    let text = std::fs::read_to_string(fixture("compression/init/config.json")).unwrap();
    let mut config: serde_json::Value = serde_json::from_str(&text).unwrap();
    config["MCQ_M"] = subvectors.into();
    config["MCQ_K"] = centroids.into();
    folder.write("tower/config.json", config.to_string());
}

/// Writes the tower's weights without the tensor `without`, and with the first number of the rotation changed to `first`.
fn damage(folder: &Folder, without: &str, first: Option<f32>) {
    let bytes = std::fs::read(fixture("compression/conc1_stage1.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let mut rotation = tensors.tensor("rotation").unwrap().data().to_vec();
    if let Some(first) = first {
        rotation[..4].copy_from_slice(&first.to_le_bytes());
    }
    let changed = TensorView::new(Dtype::F32, vec![32, 32], &rotation).unwrap();
    let kept = tensors.tensors().into_iter().filter(|(name, _)| name != without);
    let kept = kept.map(|(name, tensor)| if name == "rotation" { (name, changed.clone()) } else { (name, tensor) });
    serialize_to_file(kept, None, &folder.path("tower/model.safetensors")).unwrap();
}

fn numbers(file: &str, name: &str) -> Vec<f32> {
    let bytes = std::fs::read(fixture("compression").join(file)).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let tensor = tensors.tensor(name).unwrap();
    tensor.data().chunks(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
}

fn bytes(file: &str, name: &str) -> Vec<u8> {
    let bytes = std::fs::read(fixture("compression").join(file)).unwrap();
    SafeTensors::deserialize(&bytes).unwrap().tensor(name).unwrap().data().to_vec()
}

fn codes(records: &Records) -> Vec<u8> {
    records.rows["code"].as_fixed_size_binary().iter().flat_map(|code| code.unwrap().to_vec()).collect()
}

#[test]
fn the_codes_of_a_tower_are_the_authors() {
    let folder = folder();
    let coded =
        Records::stream(&folder.run("embed --model tower --codes docs.parquet").arg("--max-length=32").ok().stdout);
    assert_eq!(coded.kind(), "codes");
    assert_eq!(coded.i64s("id"), (0..500).collect::<Vec<i64>>());
    assert_eq!(codes(&coded), bytes("conc1_codes.safetensors", "codes"));
    // In other batches the same codes, and the file says of what they are.
    folder.run(&format!("embed --model tower --codes {CUT} --batch-tokens 100 docs.parquet -o codes.parquet")).ok();
    let again = Records::open(&folder.path("codes.parquet"));
    assert_eq!(codes(&again), codes(&coded));
    let rotated = Records::stream(&folder.run(&format!("embed --model tower {CUT} docs.parquet")).ok().stdout);
    for name in ["hardmine.model", "hardmine.space"] {
        assert_eq!(again.metadata[name], rotated.metadata[name], "{name}");
    }
    assert!(again.metadata.contains_key("hardmine.centroids") && !rotated.metadata.contains_key("hardmine.centroids"));
}

#[test]
fn a_tower_rotates_its_vectors_unless_told_not_to() {
    let folder = folder();
    let embed = |options: &str| {
        Records::stream(&folder.run(&format!("embed --model tower {options} docs.parquet")).ok().stdout)
    };
    let (rotated, plain) = (embed(CUT), embed(&format!("{CUT} --no-rotation")));
    assert!(rotated.metadata.contains_key("hardmine.space") && !plain.metadata.contains_key("hardmine.space"));
    let rotation = numbers("conc1_stage1.safetensors", "rotation");
    for (rotated, plain) in rotated.vectors().iter().zip(plain.vectors()) {
        for (x, row) in rotated.iter().zip(rotation.chunks(32)) {
            let expected: f32 = row.iter().zip(&plain).map(|(r, x)| r * x).sum();
            assert!((x - expected).abs() < 1e-5, "{x} is not {expected}");
        }
    }
}

#[test]
fn an_index_codes_the_documents_of_a_plain_model() {
    let folder = folder();
    let model = fixture("compression/init");
    let line = format!("embed --codes --quantizer opq.faiss {CUT} docs.parquet");
    let coded = Records::stream(&folder.run(&line).arg("--model").arg(&model).ok().stdout);
    assert_eq!(codes(&coded), bytes("start.safetensors", "codes"));
    let digest = folder.run("index --inspect opq.faiss").ok();
    digest.check(digest.text().contains(&coded.metadata["hardmine.space"]), "should be in the space of the index");
}

#[test]
fn what_is_no_tower_is_refused() {
    let folder = folder();
    let embed = || folder.run("embed --model tower --codes docs.parquet -o codes.arrow");
    say(&folder, 7, 256);
    embed().fails(&["tower", "MCQ_M is 7, which does not divide the 32 numbers of a vector"]);
    say(&folder, 4, 256);
    embed().fails(&["tower", "centroids: expected shape [4, 256, 8], found [8, 256, 4]"]);
    say(&folder, 8, 16);
    embed().fails(&["tower", "MCQ_K is not 256"]);
    say(&folder, 8, 256);
    damage(&folder, "rotation", None);
    embed().fails(&["tower", "is a tower without rotation"]);
    damage(&folder, "centroids", None);
    embed().fails(&["tower", "is a tower without centroids"]);
    damage(&folder, "", Some(0.75));
    embed().fails(&["tower", "is no rotation"]);
    assert!(!folder.path("codes.arrow").exists());

    let plain = fixture("compression/init");
    folder.run("embed --codes docs.parquet").arg("--model").arg(&plain).fails(&["is no tower", "--quantizer"]);
    folder
        .run("embed --quantizer opq.faiss docs.parquet")
        .arg("--model")
        .arg(&plain)
        .fails_as_wrong_usage(&["--codes"]);
    let other = fixture("training/bert_mean");
    folder.run("embed --codes --quantizer opq.faiss docs.parquet").arg("--model").arg(other).fails(&["opq.faiss"]);
}
