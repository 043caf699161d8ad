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

#[test]
fn only_whole_vectors_are_rotated_and_only_documents_are_coded() {
    let folder = folder();
    folder.run("embed --model tower --dimensions 16 docs.parquet").fails(&["tower", "16 numbers", "--no-rotation"]);
    let cut = folder.run("embed --model tower --dimensions 16 --no-rotation docs.parquet").ok();
    assert_eq!(Records::stream(&cut.stdout).vectors()[0].len(), 16);
    folder.run("embed --model tower --dimensions 16 --codes docs.parquet").fails_as_wrong_usage(&["--codes"]);
    // As JPQ leaves it: the documents were encoded by another model.
    let mut config: serde_json::Value = serde_json::from_str(&folder.text("tower/config.json")).unwrap();
    config["hardmine"] = serde_json::json!({ "document_model": "0123" });
    folder.write("tower/config.json", config.to_string());
    folder.run("embed --model tower --codes docs.parquet").fails(&["tower", "encodes queries only", "--quantizer"]);
    folder.run("embed --model tower docs.parquet -o queries.arrow").ok();
}

#[test]
fn vectors_of_two_spaces_are_never_compared() {
    let folder = folder();
    folder.run(&format!("embed --model tower {CUT} docs.parquet -o rotated.arrow")).ok();
    folder.run(&format!("embed --model tower {CUT} --no-rotation docs.parquet -o plain.arrow")).ok();
    folder.run("index --factory Flat rotated.arrow -o flat.faiss").ok();
    folder.run("index --factory HNSW8 plain.arrow -o graph.faiss").ok();
    folder.write("pairs.tsv", "0\t0\t3\t1\n1\t0\t5\t1\n");
    for (index, queries, what) in [
        ("rotated.arrow", "plain.arrow", "plain"),
        ("plain.arrow", "rotated.arrow", "rotated"),
        ("flat.faiss", "plain.arrow", "plain"),
        ("graph.faiss", "rotated.arrow", "rotated"),
    ] {
        let text = format!("{queries}: its vectors are {what}, but those of {index} are");
        folder.run(&format!("rank --index {index} {queries} -o run.parquet")).fails(&[&text, "hint: "]);
        if index.ends_with("arrow") {
            let line = format!("rank --index {index} --ids internal --pairs pairs.tsv {queries} -o run.parquet");
            folder.run(&line).fails(&[&text, "hint: "]);
        }
    }
    assert!(!folder.path("run.parquet").exists());
    // A rotation changes no inner product.
    let scores = |index: &str, queries: &str| {
        let run = folder.run(&format!("rank --index {index} --top-k 5 {queries}")).ok();
        Records::stream(&run.stdout).f32s("score")
    };
    let plain = scores("plain.arrow", "plain.arrow");
    for index in ["rotated.arrow", "flat.faiss"] {
        let rotated = scores(index, "rotated.arrow");
        assert!(rotated.iter().zip(&plain).all(|(a, b)| (a - b).abs() < 1e-4), "{index}");
    }
}

#[test]
fn a_model_trained_without_its_centroids_is_no_tower() {
    let folder = folder();
    save_tokens_of(&folder, "compression", "queries");
    folder.write("qrels.tsv", std::fs::read(fixture("compression/qrels_conc.tsv")).unwrap());
    let line = "train inbatch --init tower --queries queries.parquet --docs docs.parquet --qrels qrels.tsv --steps 1 \
                --batch-size 8 --warmup-steps 0 --max-query-length 16 --max-doc-length 32 -o model";
    let done = folder.run(line).ok();
    done.check(done.stderr.contains("tower: inbatch does not train its rotation and centroids"), "should warn");
    assert!(!folder.text("model/config.json").contains("MCQ_M"));
    let weights = folder.read("model/model.safetensors");
    let names = SafeTensors::deserialize(&weights).unwrap().names().into_iter().map(String::from).collect::<Vec<_>>();
    assert!(!names.iter().any(|name| name == "rotation" || name == "centroids"), "{names:?}");
    folder.run("embed --model model --codes docs.parquet").fails(&["model: is no tower"]);
}

#[test]
fn a_folder_of_sentence_transformers_can_be_a_tower() {
    let folder = folder();
    let plain = fixture("training/bert_mean");
    for name in ["1_Pooling/config.json", "modules.json"] {
        std::fs::create_dir_all(folder.path("both/1_Pooling")).unwrap();
        std::fs::copy(plain.join(name), folder.path(&format!("both/{name}"))).unwrap();
    }
    let mut config: serde_json::Value =
        serde_json::from_slice(&std::fs::read(plain.join("config.json")).unwrap()).unwrap();
    (config["MCQ_M"], config["MCQ_K"]) = (16.into(), 256.into());
    folder.write("both/config.json", config.to_string());
    // It turns the numbers of a vector around, and its first centroid is the nearest to every vector.
    let rotation: Vec<u8> =
        (0..64 * 64).flat_map(|at| f32::from(u8::from(at / 64 + at % 64 == 63)).to_le_bytes()).collect();
    let centroids: Vec<u8> =
        (0..16 * 256 * 4).flat_map(|at| if at / 4 % 256 == 0 { 0f32 } else { 1e6 }.to_le_bytes()).collect();
    let weights = std::fs::read(plain.join("model.safetensors")).unwrap();
    let weights = SafeTensors::deserialize(&weights).unwrap();
    let of_tower = [
        ("rotation".to_owned(), TensorView::new(Dtype::F32, vec![64, 64], &rotation).unwrap()),
        ("centroids".to_owned(), TensorView::new(Dtype::F32, vec![16, 256, 4], &centroids).unwrap()),
    ];
    serialize_to_file(weights.tensors().into_iter().chain(of_tower), None, &folder.path("both/model.safetensors"))
        .unwrap();
    let embed =
        |options: &str| Records::stream(&folder.run(&format!("embed --model both {options} docs.parquet")).ok().stdout);
    for (turned, plain) in embed("").vectors().iter().zip(embed("--no-rotation").vectors()) {
        assert!(turned.iter().zip(plain.iter().rev()).all(|(a, b)| a == b));
    }
    assert!(codes(&embed("--codes")).iter().all(|&code| code == 0));
}

/// Writes the weights of a fixture, `from`, as RepCONC's second release calls them.
fn save_as_second_release(folder: &Folder, from: &std::path::Path, of_model: &str) {
    let bytes = std::fs::read(from).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let renamed = tensors.tensors().into_iter().map(|(name, tensor)| {
        let own = name == "rotation" || name == "centroids";
        (if own { name } else { format!("dense_encoder.{of_model}{name}") }, tensor)
    });
    serialize_to_file(renamed, None, &folder.path("tower/model.safetensors")).unwrap();
}

#[test]
fn a_tower_of_the_second_release_says_how_it_makes_vectors() {
    let folder = folder();
    // Its examples have a RobertaDot, too.
    let rotated = || Records::stream(&folder.run(&format!("embed --model tower {CUT} docs.parquet")).ok().stdout);
    let expected = rotated().vectors();
    save_as_second_release(&folder, &fixture("compression/conc1_stage1.safetensors"), "");
    assert_eq!(rotated().vectors(), expected);

    let plain = fixture("training/bert_mean");
    let config: serde_json::Value = serde_json::from_slice(&std::fs::read(plain.join("config.json")).unwrap()).unwrap();
    let say = |metric: &str, pooling: &str| {
        let mut config = config.clone();
        (config["similarity_metric"], config["pooling"]) = (metric.into(), pooling.into());
        folder.write("tower/config.json", config.to_string());
    };
    save_as_second_release(&folder, &plain.join("model.safetensors"), "bert.");
    let embed = |model: &str| Records::stream(&folder.run(&format!("embed --model {model} docs.parquet")).ok().stdout);
    std::os::unix::fs::symlink(&plain, folder.path("plain")).unwrap();
    let mean = embed("plain").vectors();
    say("METRIC_IP", "mean");
    assert_eq!(embed("tower").vectors(), mean);
    say("METRIC_IP", "cls");
    assert_ne!(embed("tower").vectors(), mean);
    say("METRIC_COS", "mean");
    for (found, mean) in embed("tower").vectors().iter().zip(&mean) {
        let length = mean.iter().map(|x| x * x).sum::<f32>().sqrt();
        assert!(found.iter().zip(mean).all(|(found, x)| (found - x / length).abs() < 1e-6));
    }
    say("METRIC_CENTROID_COS", "mean");
    folder.run("embed --model tower docs.parquet").fails(&[
        "tower",
        "similarity_metric METRIC_CENTROID_COS",
        "METRIC_IP",
    ]);
    say("METRIC_IP", "max");
    folder.run("embed --model tower docs.parquet").fails(&["tower", "pooling \"max\"", "cls or mean"]);
}
