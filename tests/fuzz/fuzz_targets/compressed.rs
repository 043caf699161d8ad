//! faiss's files of codes: what is read of them is used.
#![no_main]

use hardmine_files::Input;
use hardmine_fuzz::with_file;
use hardmine_quantization::PqIndex;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    with_file("index.faiss", data, |folder| {
        if let Ok(index) = PqIndex::open(&Input::Path(folder.join("index.faiss"))) {
            let mut vector = vec![0.0; index.codebook().dim()];
            for (number, list) in index.lists().iter().enumerate() {
                for (row, code) in list.codes().chunks(index.codebook().subvectors()).enumerate() {
                    index.decode(number, code, &mut vector);
                    list.id(row);
                }
            }
        }
    });
});
