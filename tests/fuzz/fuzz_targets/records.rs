//! Arrow files, Arrow streams and Parquet, told apart by their first bytes as in every command.
#![no_main]

use hardmine_files::{Input, Table};
use hardmine_fuzz::with_file;
use hardmine_records::Kind;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    with_file("table", data, |folder| {
        if let Ok(table) = Table::open(&Input::Path(folder.join("table")), &Kind::ALL) {
            table.take_while(Result::is_ok).for_each(drop);
        }
    });
});
