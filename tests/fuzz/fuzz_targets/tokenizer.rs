//! tokenizer.json.
#![no_main]

use hardmine_fuzz::with_file;
use hardmine_text::Tokenizer;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    with_file("tokenizer.json", data, |folder| drop(Tokenizer::open(folder)));
});
