//! tokenizer.json, and tokenizer_config.json beside one that is whole.
#![no_main]

use hardmine_fuzz::{encode, with_file};

const TOKENIZER: &str = r###"{"version": "1.0", "added_tokens": [], "normalizer": null, "pre_tokenizer": {"type": "BertPreTokenizer"},
"post_processor": null, "decoder": null, "model": {"type": "WordPiece", "unk_token": "[UNK]",
"continuing_subword_prefix": "##", "max_input_chars_per_word": 100, "vocab": {"[UNK]": 0, "a": 1, "##b": 2}}}"###;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    with_file("tokenizer.json", data, encode);
    with_file("tokenizer_config.json", data, |folder| {
        std::fs::write(folder.join("tokenizer.json"), TOKENIZER).expect("a file in memory");
        encode(folder);
    });
});
