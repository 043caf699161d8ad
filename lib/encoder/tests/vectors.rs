//! Vectors of real model folders against those that the reference computes.

use std::path::{Path, PathBuf};

use hardmine_encoder::{Encoder, Network, Pooling, PoolingMode, Precision, Similarity, Tower, Truncation, digest};
use hardmine_quantization::{Codebook, Rotation};
use hardmine_records::Provenance;
use tch::{Device, Kind, Tensor};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/training").join(name)
}

fn texts(name: &str) -> Vec<Vec<i32>> {
    let lines = std::fs::read_to_string(fixture(name)).unwrap();
    let ids = |line: &str| {
        let row: serde_json::Value = serde_json::from_str(line).unwrap();
        serde_json::from_value(row["token_ids"].clone()).unwrap()
    };
    lines.lines().map(ids).collect()
}

fn expected(file: &str, name: &str) -> Tensor {
    let tensors = Tensor::read_safetensors(fixture(file)).unwrap();
    tensors.into_iter().find(|(found, _)| found == name).unwrap().1
}

fn truncation(max_length: usize) -> Truncation {
    Truncation::new(max_length, &Provenance::default()).unwrap()
}

fn encode(encoder: &Network, texts: &[Vec<i32>], max_length: usize, batch: usize) -> Tensor {
    let rows: Vec<&[i32]> = texts.iter().map(Vec::as_slice).collect();
    let vectors: Vec<Tensor> =
        rows.chunks(batch).map(|rows| encoder.encode(&encoder.batch(rows, truncation(max_length)))).collect();
    Tensor::cat(&vectors, 0)
}

fn distance(a: &Tensor, b: &Tensor) -> f64 {
    (a - b).abs().max().double_value(&[])
}

fn load(folder: &Path) -> Encoder {
    Encoder::load(folder, Device::Cpu, Precision::F32).unwrap()
}

/// A copy of a model folder with one of its files left out.
fn copy(from: &Path, without: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    copy_all(from, folder.path());
    std::fs::remove_file(folder.path().join(without)).unwrap();
    folder
}

fn copy_all(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            std::fs::create_dir(&target).unwrap();
            copy_all(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn a_roberta_dot_gives_the_vectors_of_the_reference() {
    let from_pickle = copy(&fixture("init"), "model.safetensors");
    for folder in [&fixture("init"), from_pickle.path()] {
        let encoder = load(folder);
        for (name, file, max_length) in [
            ("docs", "docs.tokens.jsonl", 512),
            ("queries", "queries.tokens.jsonl", 512),
            ("docs_max16", "docs.tokens.jsonl", 16),
        ] {
            let found = encode(&encoder, &texts(file), max_length, 7);
            let distance = distance(&found, &expected("embeddings.safetensors", name));
            assert!(distance < 2e-5, "{name}: {distance}");
            println!("{name}: off by {distance:.1e}");
        }
    }
}

#[test]
fn a_mean_pooled_bert_gives_the_vectors_of_sentence_transformers() {
    let found = encode(&load(&fixture("bert_mean")), &texts("docs.tokens.jsonl"), 128, 7);
    let distance = distance(&found, &expected("bert_mean_embeddings.safetensors", "docs"));
    assert!(distance < 2e-5, "{distance}");
    println!("bert_mean: off by {distance:.1e}");
}

#[test]
fn a_vector_does_not_depend_on_its_batch() {
    for model in ["init", "bert_mean"] {
        let encoder = load(&fixture(model));
        let texts = texts("docs.tokens.jsonl");
        let alone = encode(&encoder, &texts, 64, 1);
        for batch in [2, 13, 200] {
            // Of vectors that are not of length 1, relative to their largest number.
            let largest = alone.abs().max().double_value(&[]);
            let distance = distance(&alone, &encode(&encoder, &texts, 64, batch)) / largest;
            assert!(distance < 1e-6, "{model} {batch}: {distance}");
            println!("{model}, batches of {batch}: off by {distance:.1e}");
        }
    }
}

#[test]
fn reduced_precision_points_the_same_way() {
    let exact = encode(&load(&fixture("init")), &texts("queries.tokens.jsonl"), 64, 16);
    for precision in [Precision::Bf16, Precision::F16] {
        let encoder = Encoder::load(&fixture("init"), Device::Cpu, precision).unwrap();
        let trainable = encode(&encoder, &texts("queries.tokens.jsonl"), 64, 16);
        let cast_once = encode(&encoder.for_inference(), &texts("queries.tokens.jsonl"), 64, 16);
        assert_eq!(cast_once.kind(), Kind::Float);
        assert_eq!(distance(&trainable, &cast_once), 0.0);
        let cosine = Tensor::cosine_similarity(&exact, &cast_once, 1, 1e-8).min().double_value(&[]);
        assert!(cosine > 0.999 && cosine < 1.0, "{precision}: {cosine}");
    }
}

#[test]
fn a_saved_model_is_the_model() {
    for model in ["init", "bert_mean"] {
        let encoder = load(&fixture(model));
        let folder = tempfile::tempdir().unwrap();
        encoder.save(folder.path()).unwrap();
        let again = load(folder.path());
        let texts = texts("queries.tokens.jsonl");
        assert_eq!(distance(&encode(&encoder, &texts, 64, 16), &encode(&again, &texts, 64, 16)), 0.0);
        assert_eq!(encoder.parameters().len(), again.parameters().len());

        let twice = tempfile::tempdir().unwrap();
        again.save(twice.path()).unwrap();
        assert_eq!(digest(folder.path()).unwrap(), digest(twice.path()).unwrap());
    }
}

#[test]
fn a_saved_tower_is_the_tower() {
    for model in ["init", "bert_mean"] {
        let mut encoder = load(&fixture(model));
        let dim = encoder.dimension();
        let tower = |scale: f32| {
            let identity = Tensor::eye(dim as i64, (Kind::Float, Device::Cpu)).flip([0]).reshape([-1]);
            let centroids = (0..256 * dim).map(|number| number as f32 * scale).collect();
            let rotation = Rotation::new(identity.try_into().unwrap(), dim).unwrap();
            Tower { rotation, codebook: Codebook::new(centroids, 4).unwrap() }
        };
        // The folder is where the model is loaded from, and so must live on.
        let save = |encoder: &Encoder| {
            let folder = tempfile::tempdir().unwrap();
            encoder.save(folder.path()).unwrap();
            (digest(folder.path()).unwrap(), load(folder.path()), folder)
        };
        let (plain, ..) = save(&encoder);
        encoder.set_tower(Some(tower(1.0)));
        let (saved, mut again, _folder) = save(&encoder);
        assert_eq!(again.tower(), Some(&tower(1.0)), "{model}");
        // The vectors of the encoder stay plain, and the digest is also one of rotation and centroids.
        let texts = texts("queries.tokens.jsonl");
        assert_eq!(distance(&encode(&encoder, &texts, 64, 16), &encode(&again, &texts, 64, 16)), 0.0);
        again.set_tower(Some(tower(2.0)));
        assert!(save(&again).0 != saved && saved != plain, "{model}");
        again.set_tower(None);
        let (digest, again, _) = save(&again);
        assert!(digest == plain && again.tower().is_none(), "{model}");
    }
}

#[test]
fn a_query_encoder_says_which_documents_it_searches() {
    let mut encoder = load(&fixture("init"));
    assert_eq!(encoder.document_model(), None);
    let documents = encoder.digest().to_owned();
    encoder.set_document_model(Some(&documents));
    let folder = tempfile::tempdir().unwrap();
    encoder.save(folder.path()).unwrap();
    let again = load(folder.path());
    assert_eq!(again.document_model(), Some(documents.as_str()));
    assert_ne!(again.digest(), documents);
}

#[test]
fn the_digest_does_not_depend_on_the_place() {
    let elsewhere = tempfile::tempdir().unwrap();
    copy_all(&fixture("bert_mean"), elsewhere.path());
    assert_eq!(digest(elsewhere.path()).unwrap(), digest(&fixture("bert_mean")).unwrap());
    let pooling = elsewhere.path().join("1_Pooling/config.json");
    std::fs::write(&pooling, std::fs::read_to_string(&pooling).unwrap() + "\n").unwrap();
    assert_ne!(digest(elsewhere.path()).unwrap(), digest(&fixture("bert_mean")).unwrap());
}

#[test]
fn normalize_and_dense_modules() {
    let folder = tempfile::tempdir().unwrap();
    copy_all(&fixture("bert_mean"), folder.path());
    let module = |number: usize, path: &str, class: &str| serde_json::json!({"idx": number, "name": number.to_string(), "path": path, "type": format!("sentence_transformers.models.{class}")});
    let modules = [
        module(0, "", "Transformer"),
        module(1, "1_Pooling", "Pooling"),
        module(2, "2_Dense", "Dense"),
        module(3, "3_Normalize", "Normalize"),
    ];
    std::fs::write(folder.path().join("modules.json"), serde_json::to_string(&modules).unwrap()).unwrap();
    let dense = folder.path().join("2_Dense");
    std::fs::create_dir(&dense).unwrap();
    let config = r#"{"in_features": 64, "out_features": 3, "bias": true, "activation_function": "torch.nn.modules.activation.Tanh"}"#;
    std::fs::write(dense.join("config.json"), config).unwrap();
    let weight = Tensor::randn([3, 64], (Kind::Float, Device::Cpu));
    let bias = Tensor::randn([3], (Kind::Float, Device::Cpu));
    let tensors = [("linear.weight", weight.shallow_clone()), ("linear.bias", bias.shallow_clone())];
    Tensor::write_safetensors(&tensors, dense.join("model.safetensors")).unwrap();

    let narrow = config.replace("64", "32");
    std::fs::write(dense.join("config.json"), narrow).unwrap();
    let refused = Encoder::load(folder.path(), Device::Cpu, Precision::F32).err().unwrap().to_string();
    assert!(refused.contains("takes vectors of 32 numbers, but gets 64"), "{refused}");
    std::fs::write(dense.join("config.json"), config).unwrap();

    let texts = texts("docs.tokens.jsonl");
    let mean = expected("bert_mean_embeddings.safetensors", "docs");
    let after_dense = (mean.matmul(&weight.tr()) + bias).tanh();
    let length = after_dense.square().sum_dim_intlist(1, true, Kind::Float).sqrt();
    let encoder = load(folder.path());
    assert_eq!(encoder.dimension(), 3);
    assert!(distance(&encode(&encoder, &texts, 128, 9), &(&after_dense / length)) < 2e-5);

    let by_dot = Some(Similarity::Dot);
    let encoder = Encoder::load_for_training(folder.path(), Device::Cpu, Precision::F32, by_dot).unwrap();
    let saved = tempfile::tempdir().unwrap();
    encoder.save(saved.path()).unwrap();
    // Without Normalize, vectors are compared as they were trained.
    let settings = std::fs::read_to_string(saved.path().join("config_sentence_transformers.json")).unwrap();
    assert!(settings.contains("\"similarity_fn_name\": \"dot\""), "{settings}");
    for encoder in [encoder, load(saved.path())] {
        assert!(distance(&encode(&encoder, &texts, 128, 9), &after_dense) < 2e-5);
    }
}

#[test]
fn training_reaches_every_parameter_and_drops_out() {
    let folder = tempfile::tempdir().unwrap();
    copy_all(&fixture("init"), folder.path());
    let config = folder.path().join("config.json");
    let text = std::fs::read_to_string(&config).unwrap().replace("_prob\": 0.0", "_prob\": 0.1");
    std::fs::write(&config, text).unwrap();
    let encoder = load(folder.path());
    for (_, parameter) in encoder.parameters() {
        let _ = parameter.set_requires_grad(true);
    }
    let texts = texts("queries.tokens.jsonl");
    let rows: Vec<&[i32]> = texts.iter().map(Vec::as_slice).collect();
    let batch = encoder.batch(&rows, truncation(64));
    let [one, two] = [1, 2].map(|seed| encoder.encode_with_dropout(&batch, seed));
    assert!(distance(&one, &two) > 1e-3, "dropout");
    assert_eq!(distance(&encoder.encode_with_dropout(&batch, 1), &one), 0.0);
    one.square().sum(Kind::Float).backward();
    for (name, parameter) in encoder.parameters() {
        assert!(parameter.grad().defined(), "{name}");
    }
}

#[test]
fn attention_with_dropout_is_attention_where_nothing_is_dropped() {
    for model in ["init", "bert_mean"] {
        let folder = tempfile::tempdir().unwrap();
        copy_all(&fixture(model), folder.path());
        let config = folder.path().join("config.json");
        let text = std::fs::read_to_string(&config).unwrap();
        // So small that no number is dropped, but none that is left out.
        let dropping = text.replace("attention_probs_dropout_prob\": 0.0", "attention_probs_dropout_prob\": 1e-9");
        assert_ne!(dropping, text, "{model}");
        std::fs::write(&config, dropping).unwrap();
        let encoder = load(folder.path());
        let texts = texts("docs.tokens.jsonl");
        let rows: Vec<&[i32]> = texts.iter().map(Vec::as_slice).collect();
        let batch = encoder.batch(&rows, truncation(64));
        let (training, encoding) = (encoder.encode_with_dropout(&batch, 1), encoder.encode(&batch));
        assert!(distance(&training, &encoding) < 1e-6 * encoding.abs().max().double_value(&[]), "{model}");
    }
}

#[test]
fn a_language_model_is_pooled_or_gets_a_head() {
    let folder = tempfile::tempdir().unwrap();
    copy_all(&fixture("init"), folder.path());
    std::fs::remove_file(folder.path().join("pytorch_model.bin")).unwrap();
    let weights = folder.path().join("model.safetensors");
    let body: Vec<_> = Tensor::read_safetensors(&weights)
        .unwrap()
        .into_iter()
        .filter(|(name, _)| name.starts_with("roberta."))
        .collect();
    Tensor::write_safetensors(&body, &weights).unwrap();
    let config = folder.path().join("config.json");
    let text = std::fs::read_to_string(&config).unwrap().replace("RobertaDot", "RobertaModel");
    std::fs::write(&config, text).unwrap();

    let load_pooled = |folder: &Path, pooling| Encoder::load_pooled(folder, Device::Cpu, Precision::F32, pooling);
    let [mean, first] =
        [None, Some(Pooling::of(PoolingMode::Cls))].map(|pooling| load_pooled(folder.path(), pooling).unwrap());
    assert_eq!((mean.dimension(), first.dimension()), (64, 64));
    assert_ne!(mean.digest(), first.digest());
    assert_eq!(mean.digest(), load_pooled(folder.path(), Some(Pooling::of(PoolingMode::Mean))).unwrap().digest());
    let refused = load_pooled(&fixture("init"), Some(Pooling::of(PoolingMode::Mean))).err().unwrap().to_string();
    assert!(refused.contains("has its own pooling, cls; expected mean"), "{refused}");
    tch::manual_seed(5);
    let encoder = Encoder::load_for_training(folder.path(), Device::Cpu, Precision::F32, None).unwrap();
    let saved = tempfile::tempdir().unwrap();
    encoder.save(saved.path()).unwrap();
    let texts = texts("queries.tokens.jsonl");
    assert_eq!(distance(&encode(&encoder, &texts, 64, 16), &encode(&load(saved.path()), &texts, 64, 16)), 0.0);
}
