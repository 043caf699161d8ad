//! What a model folder says of its texts: `tokenize` and `embed` follow it, or name it.

use serde_json::json;

use crate::common::{Folder, Records};
use crate::tokenize::{CLS, SEP, vocabulary};

/// Writes a JSON file of a model.
fn write_json(folder: &Folder, name: &str, value: serde_json::Value) {
    folder.write(name, value.to_string());
}

/// Writes a JSON file of a model anew, changed.
fn change_json(folder: &Folder, name: &str, change: impl Fn(&mut serde_json::Value)) {
    let mut value = serde_json::from_str(&folder.text(name)).unwrap();
    change(&mut value);
    write_json(folder, name, value);
}

#[test]
fn the_length_is_what_sentence_transformers_takes() {
    let folder = Folder::new();
    folder.copy_model("bert", "m");
    let words = |count: usize| format!("a\t{}\nb\tvm\n", "vm ".repeat(count));
    folder.write("texts.tsv", words(100));
    let lengths = |options: &str| {
        let done = folder.run(&format!("tokenize --tokenizer m {options} texts.tsv")).ok();
        let said = done.stderr.contains(", 1 of 2 texts cut to ");
        (Records::stream(&done.stdout).token_ids()[0].len(), said)
    };
    // The model has 64 positions, and nothing else says less.
    assert_eq!(lengths(""), (64, true));
    write_json(&folder, "m/tokenizer_config.json", json!({"model_max_length": 50}));
    assert_eq!(lengths(""), (50, true));
    write_json(&folder, "m/tokenizer_config.json", json!({"model_max_length": 1e30}));
    write_json(&folder, "m/sentence_bert_config.json", json!({"max_seq_length": null, "do_lower_case": false}));
    assert_eq!(lengths("--kind query"), (64, true));
    write_json(&folder, "m/sentence_bert_config.json", json!({"max_seq_length": 20}));
    assert_eq!(lengths(""), (20, true));
    assert_eq!(lengths("--kind query"), (20, true));
    assert_eq!(lengths("--max-length 512"), (102, false));
    folder.write("texts.tsv", words(18));
    assert_eq!(lengths(""), (20, false));
    let done = folder.run("tokenize --tokenizer dot --kind query texts.tsv").ok();
    assert_eq!(Records::stream(&done.stdout).metadata["hardmine.max_length"], "64");

    // `embed` takes no more of what was stored, unless it is told to.
    folder.write("texts.tsv", words(40));
    folder.run("tokenize --tokenizer m --max-length 512 texts.tsv -o tokens.arrow").ok();
    let done = folder.run("embed --model m tokens.arrow").ok();
    done.check(done.stderr.contains(", 1 of 2 texts cut to 20 tokens"), "should say what was cut");
    assert_eq!(Records::stream(&done.stdout).metadata["hardmine.max_length"], "20");
    let whole = folder.run("embed --model m --max-length 60 tokens.arrow").ok();
    whole.check(!whole.stderr.contains("cut"), "should cut nothing");
    assert_ne!(Records::stream(&whole.stdout).vectors()[0], Records::stream(&done.stdout).vectors()[0]);
}

#[test]
fn settings_beside_the_tokenizer_are_followed() {
    let folder = Folder::new();
    folder.copy_model("bert", "m");
    folder.write("texts.tsv", "a\tVM \u{e9}\nb\tvm [X] vm\n");
    let tokens = || Records::stream(&folder.run("tokenize --tokenizer m texts.tsv").ok().stdout).token_ids();
    let ids = vocabulary(&folder);
    let (vm, e, unknown) = (ids["vm"], ids["e"], 1);
    assert_eq!(tokens()[0], [CLS, vm, e, SEP]);
    // tokenizer_config.json rules over tokenizer.json.
    write_json(&folder, "m/tokenizer_config.json", json!({"do_lower_case": false, "tokenizer_class": "BertTokenizer"}));
    assert_eq!(tokens()[0], [CLS, unknown, unknown, SEP]);
    write_json(&folder, "m/tokenizer_config.json", json!({"do_lower_case": false, "strip_accents": true}));
    assert_eq!(tokens()[0], [CLS, unknown, e, SEP]);
    // Lower-cased before it comes to the tokenizer.
    write_json(&folder, "m/sentence_bert_config.json", json!({"do_lower_case": true}));
    assert_eq!(tokens()[0], [CLS, vm, e, SEP]);
    // A class that takes the tokenizer as it stands.
    std::fs::remove_file(folder.path("m/sentence_bert_config.json")).unwrap();
    write_json(
        &folder,
        "m/tokenizer_config.json",
        json!({"do_lower_case": false, "tokenizer_class": "PreTrainedTokenizerFast"}),
    );
    assert_eq!(tokens()[0], [CLS, vm, e, SEP]);
    // Tokens are added after the vocabulary.
    write_json(&folder, "m/added_tokens.json", json!({"[X]": ids.len()}));
    assert_eq!(tokens()[1], [CLS, vm, ids.len() as i32, vm, SEP]);
    let done = folder.run("tokenize --tokenizer m/tokenizer.json texts.tsv").ok();
    assert_ne!(Records::stream(&done.stdout).token_ids()[1], tokens()[1]);
}

#[test]
fn settings_that_are_not_followed_are_named() {
    let folder = Folder::new();
    folder.copy_model("bert", "m");
    let said = || folder.run("tokenize --tokenizer m --kind query queries.dev.small.tsv").ok().stderr;
    write_json(&folder, "m/sentence_bert_config.json", json!({"unpad_inputs": true, "tokenizer_args": {"a": 1}}));
    assert!(said().contains("m/sentence_bert_config.json: tokenizer_args is {\"a\":1}, which is not followed"));
    write_json(
        &folder,
        "m/tokenizer_config.json",
        json!({"truncation_side": "left", "tokenizer_class": "T5Tokenizer"}),
    );
    assert!(said().contains("truncation_side is left"));
    assert!(said().contains("tokenizer_class T5Tokenizer is not known"));
}

#[test]
fn a_tokenizer_that_was_saved_again_is_the_same() {
    let folder = Folder::new();
    folder.copy_model("bert", "m");
    folder.run("tokenize --tokenizer bert --kind query queries.dev.small.tsv -o tokens.arrow").ok();
    let file = "m/tokenizer.json";
    change_json(&folder, file, |tokenizer| {
        tokenizer["truncation"] =
            json!({"direction": "Right", "max_length": 64, "strategy": "LongestFirst", "stride": 0});
        tokenizer["decoder"] = json!(null);
        let (cls, sep) = (json!(["[CLS]", 2]), json!(["[SEP]", 3]));
        tokenizer["post_processor"] = json!({"type": "BertProcessing", "cls": cls, "sep": sep});
    });
    write_json(&folder, "m/tokenizer_config.json", json!({"tokenizer_class": "BertTokenizer", "cls_token": "[CLS]"}));
    folder.run("embed --model m tokens.arrow -o vectors.arrow").ok();
    type Change = fn(&mut serde_json::Value);
    let changes: [Change; 4] = [
        |tokenizer| tokenizer["normalizer"]["clean_text"] = json!(false),
        |tokenizer| tokenizer["added_tokens"][4]["lstrip"] = json!(true),
        |tokenizer| tokenizer["model"]["max_input_chars_per_word"] = json!(7),
        |tokenizer| tokenizer["post_processor"] = json!(null),
    ];
    for change in changes {
        folder.write(file, folder.read("bert/tokenizer.json"));
        change_json(&folder, file, change);
        folder.run("embed --model m tokens.arrow").fails(&["tokens.arrow: made with tokenizer "]);
    }
}

#[test]
fn special_tokens_are_those_of_the_post_processor() {
    let folder = Folder::new();
    folder.copy_model("bert", "m");
    folder.write("texts.tsv", "a\tvm disk list azure create\nb\t\n");
    let ids = vocabulary(&folder);
    let words = ["vm", "disk", "list", "azure", "create"].map(|word| ids[word]);
    let special = |id: &str| json!({"SpecialToken": {"id": id, "type_id": 0}});
    let text = json!({"Sequence": {"id": "A", "type_id": 0}});
    for (single, counts, before, after) in [
        (json!([special("[CLS]"), text]), "1 0", vec![CLS], vec![]),
        (json!([text, special("[SEP]"), special("[SEP]")]), "0 2", vec![], vec![SEP, SEP]),
        (json!([text]), "0 0", vec![], vec![]),
    ] {
        change_json(&folder, "m/tokenizer.json", |tokenizer| tokenizer["post_processor"]["single"] = single.clone());
        let tokenize = |length: usize| {
            let done = folder.run(&format!("tokenize --tokenizer m --max-length {length} texts.tsv")).ok();
            Records::stream(&done.stdout)
        };
        let whole = tokenize(20);
        assert_eq!(whole.metadata["hardmine.special_tokens"], counts);
        assert_eq!(whole.token_ids(), [[&before[..], &words, &after].concat(), [&before[..], &after].concat()]);
        let kept = 4 - before.len() - after.len();
        assert_eq!(tokenize(4).token_ids()[0], [&before[..], &words[..kept], &after].concat());
        // What `embed` cuts is what `tokenize` would have cut.
        folder.write("texts.tsv", "a\tvm disk list azure create\nb\tvm\n");
        folder.run("tokenize --tokenizer m --max-length 20 texts.tsv -o whole.arrow").ok();
        folder.run("tokenize --tokenizer m --max-length 4 texts.tsv -o cut.arrow").ok();
        let vectors = |line: &str| Records::stream(&folder.run(line).ok().stdout).vectors();
        assert_eq!(vectors("embed --model m --max-length 4 whole.arrow"), vectors("embed --model m cut.arrow"));
        folder.write("texts.tsv", "a\tvm disk list azure create\nb\t\n");
    }
    let twice = json!([text, text]);
    change_json(&folder, "m/tokenizer.json", |tokenizer| tokenizer["post_processor"]["single"] = twice.clone());
    folder
        .run("tokenize --tokenizer m texts.tsv")
        .fails(&["m/tokenizer.json: its post-processor writes a text 2 times"]);
}
