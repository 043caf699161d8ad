//! The ids of pieces beside those of whole texts, for the tokenizers of the fixtures and variations of them.

use std::path::Path;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::Value;

use super::*;

/// Texts of what could matter where a text is cut: white space of all kinds, marks, added tokens, characters that
/// normalizers make spaces of or remove, and characters that form graphemes with their neighbours.
pub(crate) fn texts() -> impl Strategy<Value = String> {
    let parts = [
        " ",
        " ",
        " ",
        "  ",
        "   ",
        "\t",
        "\n",
        "\r\n",
        "\u{a0}",
        "\u{3000}",
        "\u{85}",
        "\0",
        "\u{200b}",
        "\u{200d}",
        "\u{ad}",
        "\u{301}",
        "\u{94d}",
        "\u{e33}",
        "\u{fe0f}",
        "\u{600}",
        "\u{d4e}",
        "\u{2581}",
        "\u{fffd}",
        "[MASK]",
        "[mask]",
        "<s>",
        "<mask>",
        "</s>",
        "<eos>",
        "<|endoftext|>",
        "a",
        "ab",
        "The",
        "query",
        "4",
        "42",
        "³",
        "é",
        "e\u{301}",
        "İ",
        "ß",
        "Σ",
        "½",
        "ﬁ",
        "Ａ",
        "´",
        "ﹰ",
        "中",
        "文",
        "が",
        "ｶﾞ",
        "नी",
        "กำ",
        "한",
        "да",
        "😀",
        "👩‍👧",
        "👍🏽",
        "🇩🇪",
        "'",
        "'s",
        "’",
        ".",
        ",",
        "»",
        "。",
        "_",
        "#",
        "x",
        "``",
    ];
    prop::collection::vec(prop::sample::select(parts.to_vec()), 0..14).prop_map(|parts| parts.concat())
}

/// What is said of a changed fixture, its name, and the change.
type Changed = (&'static str, &'static str, fn(&mut Value));

fn fixture(name: &str) -> Value {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/encoders");
    serde_json::from_slice(&std::fs::read(fixtures.join(name).join("tokenizer.json")).unwrap()).unwrap()
}

fn tokenizer(json: &Value) -> Tokenizer {
    let mut tokenizer: Tokenizer = json.to_string().parse().unwrap();
    tokenizer.with_truncation(None).unwrap().with_padding(None);
    tokenizer
}

fn changed(name: &str, change: impl FnOnce(&mut Value)) -> Tokenizer {
    let mut json = fixture(name);
    change(&mut json);
    tokenizer(&json)
}

fn added(content: &str, id: usize, normalized: bool) -> Value {
    json!({
        "id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
        "normalized": normalized, "special": false,
    })
}

/// The normalizer as transformers converts SentencePiece's now, and Metaspace alone, as in BGE-M3.
fn squeezing(json: &mut Value, content: &str, scheme: &str) {
    let map = json["normalizer"].take();
    let strip = json!({"type": "Strip", "strip_left": false, "strip_right": true});
    let squeeze = json!({"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": content});
    json["normalizer"] = json!({"type": "Sequence", "normalizers": [map, strip, squeeze]});
    json["pre_tokenizer"] = json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": true});
}

/// The fixture's merges were trained over whole texts, those of Gemma itself within words.
fn without_tokens_over_spaces(json: &mut Value) {
    let joins = |token: &str| token.trim_start_matches(MARK).contains(MARK);
    let text = |merge: &Value| merge.as_array().unwrap().iter().map(|part| part.as_str().unwrap()).collect::<String>();
    json["model"]["vocab"].as_object_mut().unwrap().retain(|token, _| !joins(token));
    json["model"]["merges"].as_array_mut().unwrap().retain(|merge| !joins(&text(merge)));
}

#[test]
fn piece_by_piece_is_the_same_as_whole() {
    let names =
        ["bert", "distilbert", "mpnet", "nomic_bert", "modernbert_cls", "modernbert_mean", "qwen3", "xlm_roberta"];
    let mut tokenizers: Vec<(&str, Tokenizer)> = names.map(|name| (name, tokenizer(&fixture(name)))).into();
    let changes: [Changed; 6] = [
        ("one ▁ of several spaces", "xlm_roberta", |json| squeezing(json, "▁", "always")),
        ("one space of several, ▁ at the beginning", "xlm_roberta", |json| squeezing(json, " ", "first")),
        ("no ▁ in front", "xlm_roberta", |json| squeezing(json, "▁", "never")),
        ("Llama 3's pattern", "qwen3", |json| {
            json["pre_tokenizer"]["pretokenizers"][0]["pattern"] = json!({"Regex": PATTERNS[1]});
        }),
        ("no tokens over spaces", "gemma3", without_tokens_over_spaces),
        ("added tokens of marks", "gemma3", |json| {
            without_tokens_over_spaces(json);
            let tokens = json["added_tokens"].as_array_mut().unwrap();
            tokens.extend([added("▁▁", 676, true), added("▁▁▁", 677, false), added("\n", 678, false)]);
        }),
    ];
    tokenizers.extend(changes.map(|(what, name, change)| (what, changed(name, change))));
    for (name, tokenizer) in tokenizers {
        assert!(holds_by_piece(&tokenizer), "{name}");
        let ids = |text: &str| tokenizer.encode_fast(text, false).unwrap().get_ids().to_vec();
        let mut runner = TestRunner::new(Config { cases: 4_000, failure_persistence: None, ..Config::default() });
        let outcome = runner.run(&texts(), |text| {
            prop_assert_eq!(pieces(&text).flat_map(ids).collect::<Vec<_>>(), ids(&text), "{}", name);
            Ok(())
        });
        outcome.unwrap();
    }
}

#[test]
fn other_tokenizers_get_the_whole_text() {
    let changes: [Changed; 9] = [
        ("Metaspace that doesn't divide", "xlm_roberta", |json| {
            json["pre_tokenizer"]["pretokenizers"][1]["split"] = json!(false);
        }),
        ("stripped on the left", "xlm_roberta", |json| {
            squeezing(json, " ", "always");
            json["normalizer"]["normalizers"][1]["strip_left"] = json!(true);
        }),
        ("spaces around Chinese characters, then squeezed", "bert", |json| {
            let bert = json["normalizer"].clone();
            squeezing(json, " ", "always");
            json["normalizer"]["normalizers"][0] = bert;
        }),
        ("a mark in front of every text", "gemma3", |json| {
            without_tokens_over_spaces(json);
            let marks = json["normalizer"].take();
            let prepend = json!({"type": "Prepend", "prepend": "▁"});
            json["normalizer"] = json!({"type": "Sequence", "normalizers": [prepend, marks]});
        }),
        ("tokens over spaces", "gemma3", |_| {}),
        ("an added token over a space", "bert", |json| {
            json["added_tokens"].as_array_mut().unwrap().push(added("a b", 487, false));
        }),
        ("an added token that is over a space when normalized", "gemma3", |json| {
            without_tokens_over_spaces(json);
            json["added_tokens"].as_array_mut().unwrap().push(added("a ", 676, true));
        }),
        ("a token that white space after it belongs to", "bert", |json| {
            json["added_tokens"][4]["rstrip"] = json!(true)
        }),
        ("another pattern", "qwen3", |json| {
            json["pre_tokenizer"]["pretokenizers"][0]["pattern"] = json!({"Regex": "\\p{L}+|."});
        }),
    ];
    for (what, name, change) in changes {
        assert!(!holds_by_piece(&changed(name, change)), "{what}");
    }
}

#[test]
fn texts_are_cut_before_spaces_that_follow_something_visible() {
    let cut = |text| pieces(text).collect::<Vec<_>>();
    assert_eq!(cut("a, b  c\t d "), ["a,", " b", "  c\t d", " "]);
    assert_eq!(cut("да нет 中 x"), ["да", " нет", " 中", " x"]);
    assert_eq!(cut("a \u{301}b ▁ c 😀 d"), ["a \u{301}b", " ▁ c", " 😀 d"]);
    assert!(cut("").is_empty());
}
