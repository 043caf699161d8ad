//! `embed`: the vectors of the reference, whatever stands beside a text in its batch.

use arrow::array::{ArrayRef, AsArray};
use arrow::datatypes::Float16Type;
use safetensors::SafeTensors;

use crate::common::{Folder, Records, fixture, save, save_tokens};

/// A tensor of the reference, row by row.
fn reference(file: &str, name: &str) -> Vec<Vec<f32>> {
    let bytes = std::fs::read(fixture("training").join(file)).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let tensor = tensors.tensor(name).unwrap();
    let values: Vec<f32> = tensor.data().chunks(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
    values.chunks(tensor.shape()[1]).map(<[f32]>::to_vec).collect()
}

#[track_caller]
fn assert_near(found: &[Vec<f32>], expected: &[Vec<f32>], tolerance: f32) {
    assert_eq!(found.len(), expected.len());
    for (row, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert_eq!(found.len(), expected.len());
        let distance = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(distance < tolerance, "row {row} is off by {distance}");
    }
}

#[test]
fn a_roberta_dot_gives_the_vectors_of_the_reference() {
    let folder = Folder::empty();
    save_tokens(&folder, "docs");
    save_tokens(&folder, "queries");
    let embed = |options: &str| {
        let model = fixture("training/init");
        Records::stream(&folder.run(&format!("embed {options}")).arg("--model").arg(model).ok().stdout)
    };
    assert_near(&embed("docs.parquet").vectors(), &reference("embeddings.safetensors", "docs"), 2e-5);
    assert_near(&embed("queries.parquet").vectors(), &reference("embeddings.safetensors", "queries"), 2e-5);
    let cut = embed("docs.parquet --max-length 16");
    assert_near(&cut.vectors(), &reference("embeddings.safetensors", "docs_max16"), 2e-5);
    assert_eq!(cut.metadata["hardmine.max_length"], "16");
}

#[test]
fn a_mean_pooled_bert_gives_the_vectors_of_the_reference() {
    let folder = Folder::empty();
    save_tokens(&folder, "docs");
    let model = fixture("training/bert_mean");
    folder.run("embed docs.parquet -o docs.arrow").arg("--model").arg(model).ok();
    let found = Records::open(&folder.path("docs.arrow")).vectors();
    assert_near(&found, &reference("bert_mean_embeddings.safetensors", "docs"), 2e-5);
}

#[test]
fn a_vector_does_not_depend_on_its_neighbours() {
    let folder = Folder::made();
    let together = Records::open(&folder.path("docs.arrow"));
    let alone = Records::stream(&folder.run("embed --model bert --batch-tokens 1 docs.tokens.arrow").ok().stdout);
    assert_eq!(alone.i64s("id"), together.i64s("id"));
    assert_near(&alone.vectors(), &together.vectors(), 1e-6);
}

#[test]
fn rows_stand_in_the_order_of_the_texts() {
    let folder = Folder::made();
    let all = Records::open(&folder.path("docs.arrow"));
    let collection = folder.text("collection.tsv");
    let backwards: String = collection.lines().rev().map(|line| format!("{line}\n")).collect();
    folder.write("backwards.tsv", backwards);
    let line = "tokenize --tokenizer bert backwards.tsv | embed --model bert";
    let backwards = Records::stream(&folder.sh(line).ok().stdout);
    let mut vectors = backwards.vectors();
    vectors.reverse();
    assert_near(&vectors, &all.vectors(), 1e-5);
    assert_ne!(backwards.metadata["hardmine.keys"], all.metadata["hardmine.keys"]);
}

#[test]
fn half_precision_output_is_the_same_numbers_rounded() {
    let folder = Folder::made();
    let whole = Records::open(&folder.path("dev.arrow")).vectors();
    let half = Records::stream(&folder.run("embed --model bert --output-type f16 dev.tokens.arrow").ok().stdout);
    let lists = half.rows["embedding"].as_fixed_size_list();
    let values = lists.values().as_primitive::<Float16Type>().values();
    for (half, whole) in values.iter().zip(whole.iter().flatten()) {
        assert_eq!(*half, half::f16::from_f32(*whole));
    }
}

#[test]
fn bfloat16_is_near_float32() {
    let folder = Folder::made();
    let done = folder.run("embed --model bert --precision bf16 dev.tokens.arrow").ok();
    let found = Records::stream(&done.stdout);
    assert_eq!(found.metadata["hardmine.precision"], "bf16");
    assert_near(&found.vectors(), &Records::open(&folder.path("dev.arrow")).vectors(), 0.05);
}

#[test]
fn int8_is_near_float32_and_the_same_in_every_batch() {
    let folder = Folder::made();
    let embed = |options: &str| {
        let done = folder.run(&format!("embed --model bert --precision int8 {options} docs.tokens.arrow")).ok();
        Records::stream(&done.stdout)
    };
    let found = embed("");
    assert_eq!(found.metadata["hardmine.precision"], "int8");
    let exact = Records::open(&folder.path("docs.arrow")).vectors();
    for (found, exact) in found.vectors().iter().zip(&exact) {
        let product = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
        let cosine = product(found, exact) / (product(found, found) * product(exact, exact)).sqrt();
        assert!((0.99..0.999_999).contains(&cosine), "{cosine}");
    }
    assert_eq!(embed("").vectors(), found.vectors());
    // Attention and norms are float32, whose last bits depend on what stands beside a text. A number may then be rounded to
    // the next whole one.
    assert_near(&embed("--batch-tokens 1").vectors(), &found.vectors(), 0.02);
}

#[test]
fn int8_is_for_encoding_on_a_cpu() {
    let folder = Folder::made();
    let line = "train inbatch --precision int8 --init bert --queries train.tokens.arrow --docs docs.tokens.arrow \
                --qrels train.qrels.parquet -o model";
    folder.run(line).fails_as_wrong_usage(&["int8 has no gradient, and is for embed"]);
    folder
        .run("embed --model bert --precision int4 dev.tokens.arrow")
        .fails_as_wrong_usage(&["expected f32, bf16, f16 or int8"]);
}

#[test]
fn the_digest_of_a_model_is_of_its_contents() {
    let folder = Folder::made();
    folder.copy_model("bert", "elsewhere");
    let digest = |model: &str| {
        let done = folder.run(&format!("embed --model {model} dev.tokens.arrow")).ok();
        Records::stream(&done.stdout).metadata["hardmine.model"].clone()
    };
    let first = digest("bert");
    assert_eq!(first, digest("elsewhere"));
    let mut weights = folder.read("elsewhere/model.safetensors");
    *weights.last_mut().unwrap() ^= 1;
    folder.write("elsewhere/model.safetensors", weights);
    assert_ne!(first, digest("elsewhere"));
}

#[test]
fn a_normalize_module_is_applied() {
    let folder = Folder::made();
    folder.copy_model("bert", "unit");
    let mut modules: Vec<serde_json::Value> = serde_json::from_str(&folder.text("unit/modules.json")).unwrap();
    modules.push(serde_json::json!({"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"}));
    folder.write("unit/modules.json", serde_json::to_string(&modules).unwrap());
    let done = folder.run("embed --model unit dev.tokens.arrow").ok();
    let plain = Records::open(&folder.path("dev.arrow")).vectors();
    let unit: Vec<Vec<f32>> = plain
        .iter()
        .map(|vector| {
            let length = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
            vector.iter().map(|x| x / length).collect()
        })
        .collect();
    assert_near(&Records::stream(&done.stdout).vectors(), &unit, 1e-5);
}

#[test]
fn tokens_that_say_nothing_of_themselves_are_taken() {
    let folder = Folder::made();
    let tokens = Records::open(&folder.path("dev.tokens.arrow"));
    let columns: Vec<(&str, ArrayRef)> = ["token_ids", "id", "key"]
        .into_iter()
        .map(|name| (name, tokens.rows.column_by_name(name).unwrap().clone()))
        .collect();
    save(&folder.path("plain.parquet"), columns);
    let found = Records::stream(&folder.run("embed --model bert plain.parquet").ok().stdout);
    let expected = Records::open(&folder.path("dev.arrow"));
    assert!(found.rows == expected.rows);
    for name in ["hardmine.keys", "hardmine.model"] {
        assert_eq!(found.metadata[name], expected.metadata[name]);
    }
}

#[test]
fn a_plain_encoder_is_pooled() {
    let folder = Folder::made();
    folder.copy_model("bert", "plain");
    std::fs::remove_file(folder.path("plain/modules.json")).unwrap();
    let embed = |options: &str| folder.run(&format!("embed --model plain {options} dev.tokens.arrow")).ok();
    let mean = embed("");
    mean.check(mean.stderr.contains("plain: it does not say how to pool"), "should warn");
    assert_eq!(Records::stream(&mean.stdout).vectors(), Records::open(&folder.path("dev.arrow")).vectors());
    let asked = embed("--pooling mean");
    asked.check(asked.stderr.lines().count() == 1, "should not warn");
    assert!(Records::stream(&asked.stdout).rows == Records::stream(&mean.stdout).rows);
    let cls = Records::stream(&embed("--pooling cls").stdout);
    assert_ne!(cls.vectors(), Records::stream(&mean.stdout).vectors());
    // The same as a folder that says so itself.
    folder.copy_model("bert", "first");
    folder.write("first/1_Pooling/config.json", r#"{"pooling_mode": "cls"}"#);
    let first = folder.run("embed --model first dev.tokens.arrow").ok();
    assert_eq!(Records::stream(&first.stdout).vectors(), cls.vectors());
    // Vectors of two poolings are not compared.
    folder.run("embed --model plain --pooling mean docs.tokens.arrow -o mean.arrow").ok();
    folder.run("embed --model plain --pooling cls dev.tokens.arrow -o cls.arrow").ok();
    folder.run("rank --index mean.arrow cls.arrow").fails(&["cls.arrow", "mean.arrow", "model"]);
    folder
        .run("embed --model bert --pooling cls dev.tokens.arrow")
        .fails(&["bert: has its own pooling, mean; expected cls"]);
    folder
        .run("embed --model bert --pooling sum dev.tokens.arrow")
        .fails_as_wrong_usage(&["'sum' is not known; expected cls, max"]);
}

#[test]
fn a_similarity_that_is_no_inner_product_is_named() {
    let folder = Folder::made();
    folder.copy_model("bert", "m");
    let said = |name: &str| {
        folder.write("m/config_sentence_transformers.json", format!(r#"{{"similarity_fn_name": "{name}"}}"#));
        folder.run("embed --model m dev.tokens.arrow").ok().stderr
    };
    assert!(said("cosine").contains("similarity_fn_name is cosine, but rank takes inner products"));
    assert!(said("manhattan").contains("similarity_fn_name is manhattan"));
    assert_eq!(said("dot").lines().count(), 1);
    let mut modules: Vec<serde_json::Value> = serde_json::from_str(&folder.text("m/modules.json")).unwrap();
    modules.push(serde_json::json!({"path": "2_Normalize", "type": "sentence_transformers.models.Normalize"}));
    folder.write("m/modules.json", serde_json::to_string(&modules).unwrap());
    assert_eq!(said("cosine").lines().count(), 1);
}
