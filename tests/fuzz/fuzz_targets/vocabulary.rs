//! vocab.txt, and vocab.json and merges.txt, each beside one that is whole.
#![no_main]

use hardmine_fuzz::{encode, with_file};
use hardmine_text::Tokenizer;

const VOCABULARY: &str = r#"{"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3, "a": 4, "b": 5, "ab": 6, "<mask>": 7}"#;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    with_file("vocab.txt", data, encode);
    for (name, other, whole) in [("merges.txt", "vocab.json", VOCABULARY), ("vocab.json", "merges.txt", "#version: 0.2\na b\n")] {
        with_file(name, data, |folder| {
            std::fs::write(folder.join(other), whole).expect("a file in memory");
            encode(folder);
            drop(Tokenizer::open_transformers2(folder));
        });
    }
});
