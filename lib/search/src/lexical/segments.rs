//! tantivy's side: pieces of an index, and their merging into one.

use std::fs;
use std::path::Path;

use serde_json::Value;
use tantivy::directory::MmapDirectory;
use tantivy::indexer::{SingleSegmentIndexWriter, merge_indices};
use tantivy::schema::{FAST, IndexRecordOption, Schema, TextFieldIndexing, TextOptions};
use tantivy::{Index, TantivyDocument};

use super::analysis::Analyzer;

/// The field of the words, which are in the index and nowhere else.
pub(crate) const WORDS: &str = "words";
/// The field of the number of words.
pub(crate) const LENGTH: &str = "length";

/// tantivy's file that says which other files there are.
const META: &str = "meta.json";
/// A file that tantivy collects garbage by, of which there will be none.
const MANAGED: &str = ".managed.json";
/// Bytes that one piece may take in memory before tantivy would begin another one, which it never does here.
const BUDGET: usize = 1 << 30;

/// Our words have no spaces in them, so that tantivy can be given them with spaces between.
const TOKENIZER: &str = "whitespace";

fn schema() -> Schema {
    let mut schema = Schema::builder();
    let words = TextFieldIndexing::default()
        .set_tokenizer(TOKENIZER)
        .set_index_option(IndexRecordOption::WithFreqs)
        .set_fieldnorms(false);
    schema.add_text_field(WORDS, TextOptions::default().set_indexing_options(words));
    schema.add_u64_field(LENGTH, FAST);
    schema.build()
}

/// Writes an index of `texts`, in their order, into the new folder `folder`; returns how many of them have no word.
///
/// # Errors
/// The folder can't be written.
pub(crate) fn write_piece(folder: &Path, texts: &[String], analyzer: &mut Analyzer) -> tantivy::Result<u64> {
    fs::create_dir(folder)?;
    let schema = schema();
    let (words, length) = (schema.get_field(WORDS)?, schema.get_field(LENGTH)?);
    let mut writer: SingleSegmentIndexWriter =
        Index::builder().schema(schema).single_segment_index_writer(MmapDirectory::open(folder)?, BUDGET)?;
    let mut empty = 0;
    for text in texts {
        let (mut joined, mut count) = (String::with_capacity(text.len()), 0u64);
        analyzer.words(text, |word| {
            joined.push_str(word);
            joined.push(' ');
            count += 1;
        });
        let mut document = TantivyDocument::new();
        document.add_text(words, joined);
        document.add_u64(length, count);
        writer.add_document(document)?;
        empty += u64::from(count == 0);
    }
    writer.finalize()?;
    Ok(empty)
}

/// Merges the indexes of the folders `pieces` into one in `folder`: one segment, whose documents are those of the
/// pieces one after the other, and whose files are the same for the same documents.
///
/// # Errors
/// The folder can't be written.
pub(crate) fn merge_pieces(pieces: &[impl AsRef<Path>], folder: &Path) -> tantivy::Result<()> {
    let pieces = pieces.iter().map(Index::open_in_dir).collect::<tantivy::Result<Vec<_>>>()?;
    let merged = merge_indices(&pieces, MmapDirectory::open(folder)?)?;
    let segment = merged.searchable_segment_ids()?[0].uuid_string();
    Ok(name_files(folder, &segment)?)
}

/// Gives the files of a segment a name that does not change from run to run, as tantivy's random one does.
fn name_files(folder: &Path, segment: &str) -> std::io::Result<()> {
    let fixed = "0".repeat(segment.len());
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if let Some(ending) = name.strip_prefix(segment) {
            fs::rename(&path, folder.join(format!("{fixed}{ending}")))?;
        }
    }
    fs::remove_file(folder.join(MANAGED))?;
    let mut meta: Value = serde_json::from_slice(&fs::read(folder.join(META))?)?;
    meta["segments"][0]["segment_id"] = "00000000-0000-0000-0000-000000000000".into();
    // Which pieces it was merged from.
    meta["payload"] = Value::Null;
    // tantivy's own file could be read by its owner only.
    fs::remove_file(folder.join(META))?;
    fs::write(folder.join(META), serde_json::to_vec_pretty(&meta)?)
}
