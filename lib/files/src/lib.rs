//! Where bytes come from and go to: inputs and outputs as they are named on a command line, records in Arrow, Parquet
//! and text, memory maps, and files that appear whole or not at all.
//!
//! ```
//! use hardmine_files::{Input, Output, Table, Writer};
//! use hardmine_records::{Kind, QrelsBatch};
//!
//! let folder = tempfile::tempdir()?;
//! let text = folder.path().join("qrels.txt");
//! std::fs::write(&text, "q1 0 d3 1\nq2 0 d7 0\n")?;
//!
//! // What a file holds is found from its content. Its batches have the columns of that kind.
//! let mut qrels = Table::open_with_ids(&Input::from(text.as_path()), &[Kind::Qrels], None)?;
//! let output = Output::parse(folder.path().join("qrels.parquet").as_os_str())?;
//! let mut writer = Writer::create(&output, Kind::Qrels, qrels.schema(), qrels.provenance().clone())?;
//! let mut relevant = 0;
//! for batch in &mut qrels {
//!     let batch = batch?;
//!     relevant += QrelsBatch::new(&batch)?.relevance.values().iter().filter(|&&grade| grade > 0).count();
//!     writer.write(&batch)?;
//! }
//! assert_eq!(relevant, 1);
//! // Only now there is a file.
//! assert_eq!(writer.finish()?, 2);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod ahead;
mod behind;
mod dataset;
mod dataset_writer;
mod divide;
mod expected;
mod foreign;
mod headers;
mod input;
mod ipc;
mod ipc_check;
mod key_map;
mod lines;
mod lists;
mod manifest;
mod mapped;
mod mapped_bytes;
mod mapped_tokens;
mod output;
mod output_file;
mod output_folder;
mod parquet;
mod parts;
mod paths;
mod remap;
mod streams;
mod table;
mod temporary;
mod thrift;
mod trailer;
mod writer;

pub use ahead::read_ahead;
pub use dataset_writer::{Sharding, check_of_dataset};
pub use divide::{Division, divide};
pub use foreign::{foreign, panic_text};
pub use headers::names_texts;
pub use input::{Content, Input, OpenedFile, Source, named_twice, read_small};
pub use key_map::KeyMap;
pub use lines::{BYTE_ORDER_MARK, LineEnd, Lines, MAX_LINE};
pub use manifest::{MANIFEST, UNITS, shard_name};
pub use mapped::Mapped;
pub use mapped_bytes::MappedBytes;
pub use mapped_tokens::MappedTokens;
pub use output::{Format, Output, check_differs, is_same_output};
pub use output_file::OutputFile;
pub use output_folder::{contents, put_folder, put_folder_back, sync_all};
pub use parquet::{next_batch, open_parquet, provenance_in};
pub use parts::{Part, assemble, check_part, manifest, part, parts, remember, remembered, sha256_of, shards_near};
pub use paths::resolve;
pub use remap::Remap;
pub use streams::{stdin_was_closed, stdout_was_closed};
pub use table::Table;
pub use temporary::{Temporary, clear_all, sync_folder};
pub use trailer::{append_trailer, read_trailer, trailer};
pub use writer::Writer;
