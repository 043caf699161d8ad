//! RoBERTa's tokens as transformers 2.x made them: against figures of the reference, and against a
//! second version that follows the description word by word and cares for nothing else.

use std::collections::HashMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use hardmine_files::Input;
use hardmine_text::Tokenizer;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tokenizers::utils::SysRegex;

fn unpacked(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/tokenization").join(name);
    let mut text = String::new();
    Input::Path(path).open().unwrap().reader.read_to_string(&mut text).unwrap();
    text
}

fn roberta() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    for name in ["vocab.json", "merges.txt"] {
        std::fs::write(folder.path().join(name), unpacked(&format!("{name}.gz"))).unwrap();
    }
    let path = folder.path().to_owned();
    (folder, path)
}

fn encode(tokenizer: &Tokenizer, text: &str, max_length: usize) -> Vec<i32> {
    let mut ids = Vec::new();
    tokenizer.encode(text, max_length, &mut ids).unwrap();
    ids
}

#[test]
fn every_text_of_the_reference() {
    let (_folder, path) = roberta();
    let tokenizer = Tokenizer::open_transformers2(&path).unwrap();
    let lines = unpacked("roberta-transformers2.jsonl.gz");
    let mut count = 0;
    // Twice, so that the second time everything comes from the cache.
    for line in lines.lines().chain(lines.lines()) {
        let case: serde_json::Value = serde_json::from_str(line).unwrap();
        let text = case["text"].as_str().unwrap();
        let expected: Vec<i32> =
            case["token_ids"].as_array().unwrap().iter().map(|id| id.as_i64().unwrap() as i32).collect();
        let max_length = case["max_length"].as_u64().unwrap() as usize;
        assert_eq!(encode(&tokenizer, text, max_length), expected, "{text:?}");
        count += 1;
    }
    assert_eq!(count, 2 * 499);
}

/// The description, step by step, on strings.
struct Plain {
    vocabulary: HashMap<String, i32>,
    ranks: HashMap<(String, String), usize>,
    pattern: SysRegex,
    byte_names: Vec<String>,
}

impl Plain {
    fn new(folder: &Path) -> Self {
        let vocabulary = std::fs::read_to_string(folder.join("vocab.json")).unwrap();
        let merges = std::fs::read_to_string(folder.join("merges.txt")).unwrap();
        let pairs = merges.lines().skip(1).map(|line| line.split_once(' ').unwrap());
        let visible = |b: &u32| (33..=126).contains(b) || (161..=172).contains(b) || (174..=255).contains(b);
        let hidden: Vec<u32> = (0..256).filter(|b| !visible(b)).collect();
        let byte_name = |b: u32| match hidden.iter().position(|&h| h == b) {
            Some(place) => char::from_u32(256 + place as u32).unwrap().to_string(),
            None => char::from_u32(b).unwrap().to_string(),
        };
        Plain {
            vocabulary: serde_json::from_str(&vocabulary).unwrap(),
            ranks: pairs.enumerate().map(|(rank, (a, b))| ((a.into(), b.into()), rank)).collect(),
            pattern: SysRegex::new(r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+")
                .unwrap(),
            byte_names: (0..256).map(byte_name).collect(),
        }
    }

    fn encode(&self, text: &str, max_length: usize) -> Vec<i32> {
        let is_space = |c: char| c.is_whitespace() || ('\x1c'..='\x1f').contains(&c);
        let mut text = text.to_owned();
        if text.chars().next().is_some_and(|c| !is_space(c)) {
            text = format!(" {text}");
        }
        let text: String = text.chars().map(|c| c.to_lowercase().to_string()).collect();

        let special = ["<mask>", "<pad>", "<unk>", "</s>", "<s>"];
        let mut parts = vec![text];
        for token in special {
            let mut finer = Vec::new();
            for part in parts {
                if special.contains(&part.as_str()) {
                    finer.push(part);
                    continue;
                }
                for (number, piece) in part.split(token).enumerate() {
                    if number > 0 {
                        finer.push(token.to_owned());
                    }
                    let piece = piece.trim_end_matches(is_space);
                    if !piece.is_empty() {
                        finer.push(piece.to_owned());
                    }
                }
            }
            parts = finer;
        }

        let mut tokens = Vec::new();
        for part in parts {
            if special.contains(&part.as_str()) {
                tokens.push(part);
            } else {
                for (start, end) in self.pattern.find_iter(&part) {
                    let bytes = part[start..end].bytes();
                    tokens.extend(self.merge(bytes.map(|b| self.byte_names[b as usize].clone()).collect()));
                }
            }
        }
        let ids = tokens.iter().map(|token| self.vocabulary.get(token).copied().unwrap_or(3));
        [0].into_iter().chain(ids.take(max_length - 2)).chain([2]).collect()
    }

    fn merge(&self, mut word: Vec<String>) -> Vec<String> {
        loop {
            let pairs = word.windows(2).map(|pair| (pair[0].clone(), pair[1].clone()));
            let best = pairs.filter(|pair| self.ranks.contains_key(pair)).min_by_key(|pair| self.ranks[pair]);
            let Some((left, right)) = best else { return word };
            let mut merged = Vec::new();
            let mut rest = word.as_slice();
            while let Some((first, others)) = rest.split_first() {
                if *first == left && others.first() == Some(&right) {
                    merged.push(format!("{left}{right}"));
                    rest = &others[1..];
                } else {
                    merged.push(first.clone());
                    rest = others;
                }
            }
            word = merged;
        }
    }
}

#[test]
fn adversarial_texts() {
    let (_folder, path) = roberta();
    let (tokenizer, plain) = (Tokenizer::open_transformers2(&path).unwrap(), Plain::new(&path));
    let pieces = [
        " ",
        "  ",
        "\t",
        "\n",
        "\r",
        "\x0b",
        "\x1c",
        "\x1f",
        "\u{85}",
        "\u{a0}",
        "\u{2003}",
        "\u{2028}",
        "\u{3000}",
        "\u{200b}",
        "\u{feff}",
        "\0",
        "<s>",
        "</s>",
        "<S>",
        "<pad>",
        "<MASK>",
        "<unk>",
        "<mas\u{212a}>",
        "<",
        "s>",
        "<<s>>",
        "'",
        "'S",
        "'ll",
        "'re",
        "''",
        "\u{2019}s",
        "the",
        "The",
        "token",
        "ization",
        "AAAA",
        "0",
        "42",
        "٣",
        "Ⅷ",
        "²",
        "Ⓐ",
        "é",
        "e\u{301}",
        "İ",
        "ı",
        "ß",
        "ẞ",
        "Σ",
        "ΑΣ",
        "ς",
        "Ǆ",
        "中文",
        "日本",
        "한국어",
        "ไทย",
        "हिन्दी",
        "עב",
        "😀",
        "👩‍🔬",
        "\u{e000}",
        "\u{fffd}",
        "\u{10ffff}",
        "\u{300}",
        "...",
        ",",
        "-",
        "—",
        "_",
        "#",
        "@",
        "/",
        "\\",
    ];
    let part = prop_oneof![
        1 => any::<char>().prop_map(String::from),
        1 => prop::char::range('\0', '\u{2fff}').prop_map(String::from),
        6 => prop::sample::select(pieces.to_vec()).prop_map(str::to_owned),
    ];
    let texts = prop::collection::vec(part, 0..20).prop_map(|parts| parts.concat());
    let lengths = prop::sample::select(vec![512, 3, 4, 16]);
    let mut runner = TestRunner::new(Config { cases: 10_000, failure_persistence: None, ..Config::default() });
    let outcome = runner.run(&(texts, lengths), |(text, max_length)| {
        prop_assert_eq!(encode(&tokenizer, &text, max_length), plain.encode(&text, max_length));
        Ok(())
    });
    outcome.unwrap();
}

#[test]
fn an_empty_text_has_its_special_tokens() {
    let (_folder, path) = roberta();
    let tokenizer = Tokenizer::open_transformers2(&path).unwrap();
    assert_eq!(encode(&tokenizer, "", 512), [0, 2]);
    assert_eq!(encode(&tokenizer, " \n", 512), [0, 2]);
}

#[test]
fn a_folder_without_its_files_is_refused() {
    let (_folder, path) = roberta();
    let refused = |path: &Path| Tokenizer::open_transformers2(path).err().unwrap().to_string();
    std::fs::write(path.join("merges.txt"), "#version\na b\na b c\n").unwrap();
    assert!(refused(&path).ends_with("merges.txt: line 3: expected two symbols, found 3"), "{}", refused(&path));
    std::fs::write(path.join("vocab.json"), "{\"a\": 0}").unwrap();
    assert!(refused(&path).contains("no token '<s>'; hint: "), "{}", refused(&path));
    std::fs::write(path.join("vocab.json"), "{\"a\": ").unwrap();
    assert!(refused(&path).contains("vocab.json: expected a JSON object of tokens and ids"), "{}", refused(&path));
    std::fs::remove_file(path.join("merges.txt")).unwrap();
    assert!(refused(&path).contains("no merges.txt there; hint: "), "{}", refused(&path));
}
