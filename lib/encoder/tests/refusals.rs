//! Model folders that can't be used: one line each, that says what is wrong and where.

use std::path::{Path, PathBuf};

use hardmine_encoder::{Encoder, Precision};
use tch::{Device, Tensor};

fn folder() -> tempfile::TempDir {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/training/init");
    let folder = tempfile::tempdir().unwrap();
    for name in ["config.json", "model.safetensors"] {
        std::fs::copy(from.join(name), folder.path().join(name)).unwrap();
    }
    folder
}

fn refusal(folder: &Path) -> String {
    let error = Encoder::load(folder, Device::Cpu, Precision::F32).err().expect("refused").to_string();
    assert!(!error.contains('\n'), "{error}");
    error
}

fn with_config(from: &str, to: &str) -> String {
    let folder = folder();
    let config = folder.path().join("config.json");
    let text = std::fs::read_to_string(&config).unwrap();
    assert!(text.contains(from));
    std::fs::write(&config, text.replace(from, to)).unwrap();
    refusal(folder.path())
}

fn with_weights(change: impl Fn(&mut Vec<(String, Tensor)>)) -> String {
    let folder = folder();
    let file = folder.path().join("model.safetensors");
    let mut tensors = Tensor::read_safetensors(&file).unwrap();
    change(&mut tensors);
    Tensor::write_safetensors(&tensors, &file).unwrap();
    refusal(folder.path())
}

fn with_file(name: &str, content: &[u8]) -> String {
    let folder = folder();
    std::fs::remove_file(folder.path().join("model.safetensors")).unwrap();
    std::fs::write(folder.path().join(name), content).unwrap();
    refusal(folder.path())
}

#[track_caller]
fn check(error: String, parts: &[&str]) {
    for part in parts {
        assert!(error.contains(part), "'{part}' is not in: {error}");
    }
}

#[test]
fn configurations() {
    check(
        with_config("\"roberta\"", "\"bloom\""),
        &["config.json", "model_type 'bloom'", "expected bert", "or xlm-roberta"],
    );
    check(with_config("\"roberta\"", "\"distilbert\""), &["config.json", "missing field `dim`"]);
    check(with_config("{", "{\"auto_map\": {\"AutoModel\": \"x.Y\"},"), &["auto_map", "trust_remote_code"]);
    check(with_config("\"num_hidden_layers\": 2", "\"num_hidden_layers\": 0"), &["it has no layers"]);
    check(
        with_config("\"model_type\": \"roberta\"", "\"model_type\": 7"),
        &["model_type is 7, not a name; expected bert"],
    );
    check(with_config("\"model_type\"", "\"kind\""), &["no model_type; expected bert"]);
    check(with_config("{", "{\"is_decoder\": true,"), &["is_decoder is true"]);
    check(with_config("\"gelu\"", "\"mish\""), &["hidden_act \"mish\" is not known; expected gelu"]);
    check(with_config("\"absolute\"", "\"relative_key\""), &["position_embedding_type \"relative_key\""]);
    check(with_config("\"num_attention_heads\": 4", "\"num_attention_heads\": 5"), &["64", "5 heads"]);
    check(with_config("\"hidden_size\": 64,", ""), &["config.json", "hidden_size"]);
    check(with_config("\"vocab_size\": 1000", "\"vocab_size\": 0"), &["vocab_size is 0"]);
    check(with_config("\"hidden_dropout_prob\": 0.0", "\"hidden_dropout_prob\": 1.0"), &["hidden_dropout_prob is 1"]);
    check(with_config("{", "["), &["config.json", "expected a map"]);
}

#[test]
fn configurations_of_other_families() {
    let refused = |family: &str, from: &str, to: &str| {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/encoders").join(family);
        let folder = tempfile::tempdir().unwrap();
        let config = std::fs::read_to_string(source.join("config.json")).unwrap();
        assert!(config.contains(from), "{family}: {from}");
        std::fs::write(folder.path().join("config.json"), config.replacen(from, to, 1)).unwrap();
        std::fs::copy(source.join("model.safetensors"), folder.path().join("model.safetensors")).unwrap();
        refusal(folder.path())
    };
    let default = "\"rope_type\": \"default\"";
    for family in ["modernbert_mean", "qwen3", "gemma3", "nomic_bert"] {
        check(
            refused(family, default, "\"rope_type\": \"yarn\""),
            &["rope_type \"yarn\" is not known; expected \"default\""],
        );
    }
    check(refused("qwen3", "{", "{\"rope_scaling\": {\"type\": \"linear\"},"), &["rope_type \"linear\" is not known"]);
    check(
        refused("qwen3", "\"use_sliding_window\": false", "\"use_sliding_window\": true"),
        &["use_sliding_window true"],
    );
    check(refused("qwen3", "\"num_key_value_heads\": 2", "\"num_key_value_heads\": 3"), &["can't share 3"]);
    check(
        refused("gemma3", "\"query_pre_attn_scalar\": 24", "\"query_pre_attn_scalar\": 0"),
        &["query_pre_attn_scalar is 0"],
    );
    check(
        refused("gemma3", "\"attn_logit_softcapping\": null", "\"attn_logit_softcapping\": 50"),
        &["attn_logit_softcapping 50"],
    );
    check(refused("gemma3", "\"full_attention\",", "\"linear_attention\","), &["layer type \"linear_attention\""]);
    check(refused("modernbert_mean", "\"local_attention\": 10,", ""), &["missing field `local_attention`"]);
    check(refused("nomic_bert", "{", "{\"num_experts\": 8,"), &["num_experts 8 is not known"]);
    check(
        refused("mpnet", "\"max_position_embeddings\": 162", "\"max_position_embeddings\": 3"),
        &["leaves no room for a text"],
    );
}

#[test]
fn weights_that_do_not_fit() {
    check(with_config("\"num_hidden_layers\": 2", "\"num_hidden_layers\": 3"), &["missing", "layer.2.", "and 12 more"]);
    check(with_config("\"vocab_size\": 1000", "\"vocab_size\": 999"), &["word_embeddings", "[999, 64]", "[1000, 64]"]);
    check(with_weights(|tensors| tensors.retain(|(name, _)| name != "norm.bias")), &["missing: norm.bias"]);
    check(
        with_weights(|tensors| tensors.iter_mut().for_each(|(_, tensor)| *tensor = tensor.shallow_clone() * f64::NAN)),
        &["model.safetensors", "NaN"],
    );
}

#[test]
fn damaged_files() {
    let whole = std::fs::read(folder().path().join("model.safetensors")).unwrap();
    check(
        with_file("model.safetensors", &whole[..whole.len() / 2]),
        &["model.safetensors", "not a whole safetensors file"],
    );
    check(with_file("model.safetensors", b""), &["empty file"]);
    check(with_file("pytorch_model.bin", b"PK nothing"), &["pytorch_model.bin", "not a whole file"]);
    check(with_file("pytorch_model.bin", b"text"), &["not a file that torch.save wrote"]);
    check(with_file("nothing.txt", b""), &["no model.safetensors or pytorch_model.bin"]);
}

#[test]
fn folders() {
    check(refusal(&PathBuf::from("no/such/model")), &["no/such/model", "no such model folder"]);
    let empty = tempfile::tempdir().unwrap();
    check(refusal(empty.path()), &["config.json", "no such file"]);
}
