//! Models and tokenizers that are not whole, and texts that a model can't take.

use super::refused;
use crate::common::{Folder, Records, TRAINING, save};

#[test]
fn models_that_are_not_whole() {
    let folder = Folder::made();
    let lines = |model: &str| {
        [
            format!("embed --model {model} dev.tokens.arrow"),
            format!("train inbatch {}", TRAINING.replace("--init bert", &format!("--init {model}"))),
        ]
    };
    let both = |change: &dyn Fn(&str), texts: &[&str]| {
        drop(std::fs::remove_dir_all(folder.path("model")));
        folder.copy_model("bert", "model");
        change("model");
        for line in lines("model") {
            refused(&folder, &line, texts);
        }
    };
    let remove = |name: &'static str| move |model: &str| std::fs::remove_file(format!("{model}/{name}")).unwrap();
    let at = |model: &str| folder.path(model).to_str().unwrap().to_owned();
    both(&|model| remove("config.json")(&at(model)), &["model/config.json: no such file"]);
    both(&|model| remove("model.safetensors")(&at(model)), &["model", ": no model.safetensors or pytorch_model.bin"]);
    both(&|model| remove("1_Pooling/config.json")(&at(model)), &["model/1_Pooling/config.json: no such file"]);
    let replace = |name: &'static str, from: &'static str, to: &'static str| {
        let folder = &folder;
        move |model: &str| {
            let name = format!("{model}/{name}");
            let text = folder.text(&name);
            assert!(text.contains(from));
            folder.write(&name, text.replace(from, to));
        }
    };
    both(&replace("config.json", "\"hidden_size\": 32", "\"hidden_size\": 64"), &["model", "32", "64"]);
    both(&replace("config.json", "\"num_hidden_layers\": 2", "\"num_hidden_layers\": 3"), &["model", "layer.2."]);
    both(&replace("config.json", "\"bert\"", "\"gpt2\""), &["model/config.json", "gpt2"]);
    both(
        &|model| folder.write(&format!("{model}/config.json"), r#"{"model_type": "bloom", "dim": 32}"#),
        &["model/config.json: model_type 'bloom' is not known; expected bert"],
    );
    both(&replace("config.json", "{", "["), &["model/config.json"]);
    both(&replace("modules.json", "models.Pooling", "models.WordWeights"), &["model/modules.json", "WordWeights"]);
    for part in [2, 50, 1000] {
        both(
            &|model| {
                let name = format!("{model}/model.safetensors");
                let whole = folder.read(&name);
                folder.write(&name, &whole[..whole.len() / part]);
            },
            &["model/model.safetensors"],
        );
    }
    for line in lines("missing") {
        refused(&folder, &line, &["missing"]);
    }
    for line in lines("collection.tsv") {
        refused(&folder, &line, &["collection.tsv"]);
    }
}

#[test]
fn tokenizers_that_are_not_whole() {
    let folder = Folder::new();
    folder.copy_model("bert", "model");
    folder.write("model/tokenizer.json", "{\"version\": \"1.0\"");
    refused(&folder, "tokenize --tokenizer model collection.tsv", &["model/tokenizer.json: "]);
    std::fs::remove_file(folder.path("model/tokenizer.json")).unwrap();
    refused(&folder, "tokenize --tokenizer model collection.tsv", &["model: no tokenizer"]);
    folder.write("model/sentencepiece.bpe.model", "");
    refused(
        &folder,
        "tokenize --tokenizer model collection.tsv",
        &["model/sentencepiece.bpe.model: is a SentencePiece model", "; hint: transformers writes"],
    );
    refused(&folder, "tokenize --tokenizer missing collection.tsv", &["missing: no such file"]);
    refused(
        &folder,
        "tokenize --tokenizer bert --compat transformers-2 collection.tsv",
        &["bert: no vocab.json there"],
    );
}

#[test]
fn texts_that_the_model_cannot_take() {
    let folder = Folder::made();
    folder.run("tokenize --tokenizer dot collection.tsv -o other.arrow").ok();
    refused(
        &folder,
        "embed --model bert other.arrow",
        &["other.arrow: made with tokenizer ", "; hint: tokenize --tokenizer bert"],
    );
    // RoBERTa's vocabulary is larger than the tiny BERT's, and nothing says where these tokens are from.
    let tokens = Records::open(&folder.path("other.arrow"));
    let columns = ["id", "key", "token_ids"].map(|name| (name, tokens.rows.column_by_name(name).unwrap().clone()));
    save(&folder.path("large.arrow"), columns.into());
    refused(&folder, "embed --model bert large.arrow", &["large.arrow: row 0: token id", "vocabulary"]);
    refused(&folder, "embed --model bert --max-length 100 dev.tokens.arrow", &["--max-length 100", "64"]);
    let options =
        TRAINING.replace("docs.tokens.arrow", "large.arrow").replace("train.qrels.parquet", "qrels.train.tsv");
    refused(&folder, &format!("train inbatch {options} --steps 3 --batch-size 8"), &["large.arrow"]);
    let options = TRAINING.replace("--max-doc-length 32", "--max-doc-length 500");
    refused(&folder, &format!("train inbatch {options}"), &["--max-doc-length", "500", "64"]);
}
