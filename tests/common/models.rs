//! Tiny models with random weights, made once a run: `bert` with a vocabulary of the fixture's words,
//! and `dot` with RoBERTa's.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64;
use serde_json::json;

use super::fixture;
use super::made::scratch;

/// A tensor's shape and numbers.
type Tensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

/// Folders of all models.
pub fn all() -> &'static [PathBuf; 2] {
    static MODELS: OnceLock<[PathBuf; 2]> = OnceLock::new();
    MODELS.get_or_init(|| {
        let [bert, dot] = ["bert", "dot"].map(|name| scratch().join("models").join(name));
        write_bert(&bert);
        write_dot(&dot);
        [bert, dot]
    })
}

/// `count` numbers with mean 0 and standard deviation `deviation`.
pub fn numbers(random: &mut Pcg64, count: usize, deviation: f32) -> Vec<f32> {
    // Twelve uniform numbers have variance 1.
    let normal = |random: &mut Pcg64| (0..12).map(|_| random.random::<f32>()).sum::<f32>() - 6.0;
    (0..count).map(|_| deviation * normal(random)).collect()
}

/// The bytes of a safetensors file.
fn safetensors(tensors: &Tensors) -> Vec<u8> {
    let bytes: Vec<(&String, &[usize], Vec<u8>)> = tensors
        .iter()
        .map(|(name, (shape, values))| (name, &shape[..], values.iter().flat_map(|v| v.to_le_bytes()).collect()))
        .collect();
    let views = bytes.iter().map(|(name, shape, bytes)| {
        let view = safetensors::tensor::TensorView::new(safetensors::Dtype::F32, shape.to_vec(), bytes).unwrap();
        (name.as_str(), view)
    });
    safetensors::serialize(views, None).unwrap()
}

/// Sizes of a transformer.
struct Shape {
    vocab: usize,
    hidden: usize,
    inner: usize,
    layers: usize,
    positions: usize,
    types: usize,
}

impl Shape {
    /// Words far apart and all else small, so that texts that share words are near each other.
    fn tensors(&self, prefix: &str, random: &mut Pcg64) -> Tensors {
        let mut tensors = Tensors::new();
        let Shape { hidden: h, inner, .. } = *self;
        let mut add = |name: &str, shape: &[usize], deviation: f32| {
            let name = format!("{prefix}{name}");
            let values = match () {
                () if name.ends_with("LayerNorm.weight") => vec![1.0; h],
                () if name.ends_with("bias") => vec![0.0; shape[0]],
                () => numbers(random, shape.iter().product(), deviation),
            };
            tensors.insert(name, (shape.to_vec(), values));
        };
        add("embeddings.word_embeddings.weight", &[self.vocab, h], 1.0);
        add("embeddings.position_embeddings.weight", &[self.positions, h], 0.02);
        add("embeddings.token_type_embeddings.weight", &[self.types, h], 0.02);
        add("embeddings.LayerNorm.weight", &[h], 0.0);
        add("embeddings.LayerNorm.bias", &[h], 0.0);
        for layer in 0..self.layers {
            let blocks = [
                ("attention.self.query", h, h),
                ("attention.self.key", h, h),
                ("attention.self.value", h, h),
                ("attention.output.dense", h, h),
                ("intermediate.dense", inner, h),
                ("output.dense", h, inner),
            ];
            for (block, rows, columns) in blocks {
                add(&format!("encoder.layer.{layer}.{block}.weight"), &[rows, columns], 0.1);
                add(&format!("encoder.layer.{layer}.{block}.bias"), &[rows], 0.0);
            }
            for block in ["attention.output", "output"] {
                add(&format!("encoder.layer.{layer}.{block}.LayerNorm.weight"), &[h], 0.0);
                add(&format!("encoder.layer.{layer}.{block}.LayerNorm.bias"), &[h], 0.0);
            }
        }
        tensors
    }

    fn config(&self, family: &str, class: &str) -> serde_json::Value {
        json!({
            "architectures": [class],
            "model_type": family,
            "vocab_size": self.vocab,
            "hidden_size": self.hidden,
            "intermediate_size": self.inner,
            "num_hidden_layers": self.layers,
            "num_attention_heads": 2,
            "max_position_embeddings": self.positions,
            "type_vocab_size": self.types,
            "hidden_act": "gelu",
            "hidden_dropout_prob": 0.1,
            "attention_probs_dropout_prob": 0.1,
            "layer_norm_eps": 1e-5,
            "pad_token_id": if family == "bert" { 0 } else { 1 },
        })
    }
}

fn write_bert(folder: &Path) {
    fs::create_dir_all(folder.join("1_Pooling")).unwrap();
    let vocabulary = words();
    let shape = Shape { vocab: vocabulary.len(), hidden: 32, inner: 64, layers: 2, positions: 64, types: 2 };
    let tensors = shape.tensors("", &mut Pcg64::seed_from_u64(1));
    fs::write(folder.join("model.safetensors"), safetensors(&tensors)).unwrap();
    let module = |idx: usize, path: &str, name: &str| json!({"idx": idx, "name": idx.to_string(), "path": path, "type": format!("sentence_transformers.models.{name}")});
    let pooling = json!({"word_embedding_dimension": shape.hidden, "pooling_mode_mean_tokens": true});
    let special = |id: usize, content: &str| json!({"id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true});
    let ids: serde_json::Map<_, _> =
        vocabulary.iter().enumerate().map(|(id, word)| (word.clone(), json!(id))).collect();
    let tokenizer = json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": vocabulary[..SPECIAL.len()].iter().enumerate().map(|(id, word)| special(id, word)).collect::<Vec<_>>(),
        "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": null, "lowercase": true},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "[CLS]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "[SEP]", "type_id": 0}}],
            "pair": [],
            "special_tokens": {
                "[CLS]": {"id": "[CLS]", "ids": [2], "tokens": ["[CLS]"]},
                "[SEP]": {"id": "[SEP]", "ids": [3], "tokens": ["[SEP]"]},
            },
        },
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true},
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100, "vocab": ids},
    });
    let files = [
        ("config.json", shape.config("bert", "BertModel")),
        ("modules.json", json!([module(0, "", "Transformer"), module(1, "1_Pooling", "Pooling")])),
        ("1_Pooling/config.json", pooling),
        ("tokenizer.json", tokenizer),
    ];
    for (name, content) in files {
        fs::write(folder.join(name), format!("{content:#}\n")).unwrap();
    }
}

const SPECIAL: [&str; 5] = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];

/// The fixture's words that come at least twice, and every character alone.
fn words() -> Vec<String> {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for name in ["collection.tsv", "queries.train.tsv"] {
        let text = fs::read_to_string(fixture("quickstart").join(name)).unwrap().to_lowercase();
        for word in text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
            *counts.entry(word.to_owned()).or_default() += 1;
        }
    }
    let characters: Vec<String> = (' '..='~').filter(|c| !c.is_ascii_uppercase()).skip(1).map(String::from).collect();
    let words = counts.into_iter().filter(|(word, count)| *count > 1 && word.len() > 1).map(|(word, _)| word);
    let pieces = characters.iter().map(|c| format!("##{c}"));
    SPECIAL.map(String::from).into_iter().chain(characters.iter().cloned()).chain(pieces).chain(words).collect()
}

fn write_dot(folder: &Path) {
    fs::create_dir_all(folder).unwrap();
    for name in ["vocab.json", "merges.txt"] {
        let packed = File::open(fixture("tokenization").join(format!("{name}.gz"))).unwrap();
        let mut text = Vec::new();
        flate2::read::GzDecoder::new(io::BufReader::new(packed)).read_to_end(&mut text).unwrap();
        fs::write(folder.join(name), text).unwrap();
    }
    let shape = Shape { vocab: 50265, hidden: 16, inner: 32, layers: 1, positions: 98, types: 1 };
    let mut random = Pcg64::seed_from_u64(2);
    let mut tensors = shape.tensors("roberta.", &mut random);
    let dim = 24;
    tensors.insert("embeddingHead.weight".into(), (vec![dim, 16], numbers(&mut random, dim * 16, 0.25)));
    tensors.insert("embeddingHead.bias".into(), (vec![dim], vec![0.0; dim]));
    tensors.insert("norm.weight".into(), (vec![dim], vec![1.0; dim]));
    tensors.insert("norm.bias".into(), (vec![dim], vec![0.0; dim]));
    fs::write(folder.join("model.safetensors"), safetensors(&tensors)).unwrap();
    let mut config = shape.config("roberta", "RobertaDot");
    config["output_embedding_size"] = json!(dim);
    fs::write(folder.join("config.json"), format!("{config:#}\n")).unwrap();
}
