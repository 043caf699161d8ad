//! Vectors of every family and pooling, beside those that transformers 5 and sentence-transformers 6 compute. The
//! folders and their figures are in tests/fixtures/encoders.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use hardmine_encoder::{Encoder, Network, Precision, Similarity, Truncation};
use hardmine_records::Provenance;
use hardmine_records::provenance::{PROMPT_TOKENS, SPECIAL_TOKENS};
use serde::Deserialize;
use tch::{Device, Kind, Tensor};

/// A folder, and how many special tokens there are at the beginning and at the end of its texts.
const FAMILIES: [(&str, &str); 9] = [
    ("bert", "1 1"),
    ("distilbert", "1 1"),
    ("gemma3", "1 1"),
    ("modernbert_cls", "1 1"),
    ("modernbert_mean", "1 1"),
    ("mpnet", "1 1"),
    ("nomic_bert", "1 1"),
    ("qwen3", "0 1"),
    ("xlm_roberta", "1 1"),
];

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/encoders").join(name)
}

/// `texts.json`: the token ids of each way to encode.
#[derive(Deserialize)]
struct Texts {
    input_ids: HashMap<String, Vec<Vec<i32>>>,
}

impl Texts {
    fn read(family: &str) -> Texts {
        let text = std::fs::read_to_string(fixture(family).join("texts.json")).unwrap();
        serde_json::from_str(&text).unwrap()
    }
}

fn tensors(file: &Path) -> HashMap<String, Tensor> {
    Tensor::read_safetensors(file).unwrap().into_iter().collect()
}

fn load(folder: &Path) -> Encoder {
    Encoder::load(folder, Device::Cpu, Precision::F32).unwrap()
}

/// How texts are cut that are not too long.
fn whole(special_tokens: &str, prompt_tokens: usize) -> Truncation {
    let mut about = Provenance::default();
    about.set(SPECIAL_TOKENS, special_tokens);
    about.set(PROMPT_TOKENS, prompt_tokens);
    Truncation::new(512, &about).unwrap()
}

fn encode(network: &Network, texts: &[Vec<i32>], truncation: Truncation, batch: usize) -> Tensor {
    let rows: Vec<&[i32]> = texts.iter().map(Vec::as_slice).collect();
    let vectors: Vec<Tensor> =
        rows.chunks(batch).map(|rows| network.encode(&network.batch(rows, truncation))).collect();
    Tensor::cat(&vectors, 0)
}

fn distance(a: &Tensor, b: &Tensor) -> f64 {
    assert_eq!(a.size(), b.size());
    (a - b).abs().max().double_value(&[])
}

/// A copy of a folder, with the files of the earlier generation laid over it.
fn of_version_3(family: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    copy(&fixture(family), folder.path());
    copy(&fixture(family).join("v3"), folder.path());
    folder
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn every_family_gives_the_vectors_of_the_reference() {
    for (family, special) in FAMILIES {
        let (texts, expected) = (Texts::read(family), tensors(&fixture(family).join("embeddings.safetensors")));
        let older = of_version_3(family);
        for folder in [fixture(family), older.path().to_path_buf()] {
            let encoder = load(&folder);
            let mut largest = 0.0f64;
            for (way, ids) in &texts.input_ids {
                let found = encode(&encoder, ids, whole(special, 0), 7);
                let distance = distance(&found, &expected[way]);
                assert!(distance < 2e-5, "{family} {way}: {distance}");
                largest = largest.max(distance);
            }
            println!("{family}: off by {largest:.1e}");
        }
    }
}

#[test]
fn a_vector_does_not_depend_on_its_batch() {
    for (family, special) in FAMILIES {
        let (network, texts) = (load(&fixture(family)).for_inference(), Texts::read(family));
        let texts = &texts.input_ids["plain"];
        let alone = encode(&network, texts, whole(special, 0), 1);
        let scale = alone.abs().max().double_value(&[]).max(1.0);
        for batch in [2, 5, 100] {
            let distance = distance(&alone, &encode(&network, texts, whole(special, 0), batch)) / scale;
            assert!(distance < 1e-6, "{family} {batch}: {distance}");
            println!("{family}, batches of {batch}: off by {distance:.1e}");
        }
    }
}

#[test]
fn a_vector_of_int8_does_not_depend_on_its_batch() {
    for family in ["bert", "distilbert", "mpnet", "xlm_roberta"] {
        let network = Encoder::load(&fixture(family), Device::Cpu, Precision::Int8).unwrap().for_inference();
        let texts = &Texts::read(family).input_ids["plain"];
        let alone = encode(&network, texts, whole("1 1", 0), 1);
        for batch in [2, 5, 100] {
            // A last bit that differs before numbers are rounded would show in the third digit.
            let distance = distance(&alone, &encode(&network, texts, whole("1 1", 0), batch));
            assert!(distance < 1e-6 * alone.abs().max().double_value(&[]), "{family} {batch}: {distance}");
        }
    }
}

#[test]
fn every_pooling_gives_the_vectors_of_the_reference() {
    #[derive(Deserialize)]
    struct Prompts {
        prompt_length: HashMap<String, usize>,
    }
    let prompts = std::fs::read_to_string(fixture("bert/poolings.json")).unwrap();
    let prompts: Prompts = serde_json::from_str(&prompts).unwrap();
    let (texts, expected) = (Texts::read("bert"), tensors(&fixture("bert/poolings.safetensors")));
    let mut compared = 0;
    for entry in std::fs::read_dir(fixture("bert/poolings")).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        for generation in ["config.json", "v3.json"] {
            let config = entry.path().join(generation);
            if !config.exists() {
                continue;
            }
            let folder = tempfile::tempdir().unwrap();
            copy(&fixture("bert"), folder.path());
            std::fs::copy(config, folder.path().join("1_Pooling/config.json")).unwrap();
            let encoder = load(folder.path());
            for way in ["plain", "query", "document"] {
                let prompt = prompts.prompt_length.get(way).copied().unwrap_or(0);
                for batch in [1, 7] {
                    let found = encode(&encoder, &texts.input_ids[way], whole("1 1", prompt), batch);
                    let distance = distance(&found, &expected[&format!("{name}.{way}")]);
                    assert!(distance < 2e-5, "{name} {generation} {way}: {distance}");
                    compared += 1;
                }
            }
        }
    }
    assert!(compared > 100, "{compared}");
}

#[test]
fn every_family_trains_each_of_its_parameters() {
    for (family, special) in FAMILIES {
        let encoder = load(&fixture(family));
        for (_, parameter) in encoder.parameters() {
            let _ = parameter.set_requires_grad(true);
        }
        let texts = Texts::read(family);
        let rows: Vec<&[i32]> = texts.input_ids["plain"].iter().map(Vec::as_slice).collect();
        let batch = encoder.batch(&rows, whole(special, 0));
        encoder.encode_with_dropout(&batch, 1).select(1, 0).sum(Kind::Float).backward();
        for (name, parameter) in encoder.parameters() {
            let gradient = parameter.grad();
            assert!(gradient.defined(), "{family}: {name}");
            assert!(bool::try_from(gradient.isfinite().all()).unwrap(), "{family}: {name}");
        }
    }
}

#[test]
fn every_family_computes_in_bfloat16_and_int8() {
    for (family, special) in FAMILIES {
        let texts = Texts::read(family);
        let encoded = |precision| {
            let network = Encoder::load(&fixture(family), Device::Cpu, precision).unwrap().for_inference();
            encode(&network, &texts.input_ids["plain"], whole(special, 0), 9)
        };
        let exact = encoded(Precision::F32);
        for (precision, least) in [(Precision::Bf16, 0.995), (Precision::Int8, 0.99)] {
            let cosine = Tensor::cosine_similarity(&exact, &encoded(precision), 1, 1e-8).min().double_value(&[]);
            assert!(cosine > least && cosine < 1.0, "{family}, {precision}: {cosine}");
        }
    }
}

#[test]
fn every_family_is_saved_as_it_was_loaded() {
    for (family, special) in FAMILIES {
        let (encoder, texts) = (load(&fixture(family)), Texts::read(family));
        let folder = tempfile::tempdir().unwrap();
        encoder.save(folder.path()).unwrap();
        let again = load(folder.path());
        let encoded = |encoder: &Encoder| encode(encoder, &texts.input_ids["plain"], whole(special, 0), 9);
        assert_eq!(distance(&encoded(&encoder), &encoded(&again)), 0.0, "{family}");
        assert_eq!(again.similarity(), encoder.similarity());
        let names = |folder: &Path| {
            let mut names: Vec<String> = tensors(&folder.join("model.safetensors")).into_keys().collect();
            names.sort();
            names
        };
        assert_eq!(names(&fixture(family)), names(folder.path()), "{family}");
    }
}

#[test]
fn a_model_is_trained_by_the_similarity_of_its_folder_unless_told_otherwise() {
    let similarity = |family: &str, given| {
        let encoder = Encoder::load_for_training(&fixture(family), Device::Cpu, Precision::F32, given).unwrap();
        let folder = tempfile::tempdir().unwrap();
        encoder.save(folder.path()).unwrap();
        assert_eq!(load(folder.path()).similarity(), encoder.similarity());
        let settings = std::fs::read_to_string(folder.path().join("config_sentence_transformers.json")).unwrap();
        assert!(settings.contains(&format!("\"similarity_fn_name\": \"{}\"", encoder.similarity())), "{settings}");
        encoder.similarity()
    };
    let (dot, cosine) = (Similarity::Dot, Similarity::Cosine);
    // A Normalize module; its word in config_sentence_transformers.json; the same for dot.
    for (family, own) in [("mpnet", cosine), ("bert", cosine), ("distilbert", dot)] {
        assert_eq!(similarity(family, None), own, "{family}");
        assert_eq!(similarity(family, Some(dot)), dot, "{family}");
        assert_eq!(similarity(family, Some(cosine)), cosine, "{family}");
    }
}

#[test]
fn cut_vectors_begin_as_the_whole_ones() {
    for (family, special) in [("distilbert", "1 1"), ("mpnet", "1 1")] {
        let texts = Texts::read(family);
        let encoded = |network: &Network| encode(network, &texts.input_ids["plain"], whole(special, 0), 9);
        let whole = encoded(&load(&fixture(family)));
        let network = load(&fixture(family)).for_inference().cut_to(8).unwrap();
        assert_eq!(network.dimension(), 8);
        let mut expected = whole.narrow(1, 0, 8);
        if network.similarity() == Similarity::Cosine {
            expected = &expected / expected.square().sum_dim_intlist(1, true, Kind::Float).sqrt();
        }
        assert!(distance(&encoded(&network), &expected) < 1e-6, "{family}");
        let refused = load(&fixture(family)).for_inference().cut_to(33).err().unwrap().to_string();
        assert_eq!(refused, "33 dimensions: the model's vectors have only 32");
    }
}
