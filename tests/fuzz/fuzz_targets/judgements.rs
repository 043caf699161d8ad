//! Qrels and runs as text, packed or not.
#![no_main]

use hardmine_files::{Input, Table};
use hardmine_fuzz::with_file;
use hardmine_records::Kind;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    with_file("table", data, |folder| {
        for kind in [Kind::Qrels, Kind::Run] {
            if let Ok(table) = Table::open(&Input::Path(folder.join("table")), &[kind]) {
                table.take_while(Result::is_ok).for_each(drop);
            }
        }
    });
});
