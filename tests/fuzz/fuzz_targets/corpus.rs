//! Collections: TSV, JSON lines, Parquet.
#![no_main]

use hardmine_files::Input;
use hardmine_fuzz::with_file;
use hardmine_text::{Corpus, TextKind};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    with_file("texts", data, |folder| {
        for kind in [TextKind::Passage, TextKind::Document] {
            if let Ok(corpus) = Corpus::open(&Input::Path(folder.join("texts")), kind) {
                corpus.take_while(Result::is_ok).for_each(drop);
            }
        }
    });
});
