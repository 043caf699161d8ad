//! From texts to records of tokens: reading, tokenizing on all cores and writing at the same time,
//! in order and in constant memory.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::mpsc::{SyncSender, sync_channel};

use arrow::array::RecordBatch;
use hardmine_records::{Error, Fingerprint, KeyHasher, Result, TokensBatch};
use rayon::prelude::*;

use crate::{Corpus, Judged, Text, Tokenizer};

/// A batch has at most this many texts, and ends early when they have this many bytes.
const BATCH_ROWS: usize = 8192;
const BATCH_BYTES: usize = 8 << 20;
/// How many texts a core takes at once.
const SHARE: usize = 64;

/// Counts of what was done with a corpus.
#[derive(Debug)]
pub struct Summary {
    /// Fingerprint of the keys of the rows.
    pub keys: Fingerprint,
    /// Number of texts that were written.
    pub rows: u64,
    /// How many of them have nothing in them but white space.
    pub empty: u64,
    /// How many of them had more token ids than were kept.
    pub cut: u64,
    /// Number of texts that were left out because nobody judged them.
    pub unjudged: u64,
    /// The judged queries that have no text, in the order of their ids.
    pub without_text: Vec<String>,
}

/// Tokenizes the texts of `corpus`, those in `judged` if that is given, and hands batches of tokens
/// (`id, key, token_ids`, ids from 0 on) to `write` in order. No list is longer than `max_length`. With `range`, only
/// the texts of these rows are tokenized, whose ids are the numbers of these rows; the others are only read.
///
/// # Errors
/// The first error of reading, tokenizing or `write`. It is an error, too, if no text is judged, or if there are fewer
/// rows than `range` says.
pub fn tokenize(
    corpus: Corpus,
    tokenizer: &Tokenizer,
    max_length: usize,
    range: Option<Range<u64>>,
    judged: Option<&Judged>,
    mut write: impl FnMut(&RecordBatch) -> Result<()>,
) -> Result<Summary> {
    let name = corpus.name().to_owned();
    let mut hasher = KeyHasher::default();
    let range = range.unwrap_or(0..u64::MAX);
    let first = range.start as i64;
    let (mut rows, mut empty, mut cut, mut unjudged) = (first, 0, 0, 0);
    let mut without_text: HashSet<&str> = judged.iter().flat_map(|judged| judged.ids()).collect();
    std::thread::scope(|scope| {
        let (read, texts) = sync_channel::<Result<Batch>>(1);
        let (encoded, tokens) = sync_channel(1);
        scope.spawn(move || read_batches(corpus, range, judged, &read));
        scope.spawn(move || {
            for batch in texts {
                if encoded.send(batch.and_then(|batch| encode(batch, tokenizer, max_length))).is_err() {
                    break;
                }
            }
        });
        for batch in tokens {
            let batch: Tokens = batch?;
            for key in &batch.keys {
                hasher.update(key);
                without_text.remove(key.as_str());
            }
            empty += batch.empty;
            cut += batch.cut;
            unjudged += batch.unjudged;
            let records = TokensBatch::build(rows, batch.keys, batch.lengths, batch.ids)?;
            rows += records.num_rows() as i64;
            write(&records)?;
        }
        Ok(())
    })?;
    match judged {
        Some(judged) if rows == first => {
            let message = format!("none of its {unjudged} queries is among the {} in {}", judged.len(), judged.name());
            Err(Error::new(name, message).hint("are the qrels those of this split?"))
        }
        _ => {
            let mut without_text: Vec<String> = without_text.into_iter().map(str::to_owned).collect();
            without_text.sort_unstable();
            Ok(Summary { keys: hasher.finish(), rows: (rows - first) as u64, empty, cut, unjudged, without_text })
        }
    }
}

#[derive(Default)]
struct Batch {
    texts: Vec<Text>,
    bytes: usize,
    unjudged: u64,
}

/// Sends the texts of `range` in batches, until their end, an error, or until nobody listens.
fn read_batches(corpus: Corpus, range: Range<u64>, judged: Option<&Judged>, batches: &SyncSender<Result<Batch>>) {
    let mut batch = Batch::default();
    let name = corpus.name().to_owned();
    let mut row = corpus.passed();
    for text in corpus {
        if row == range.end {
            break;
        }
        row += 1;
        match text {
            Ok(_) if row <= range.start => {}
            Ok(text) if judged.is_some_and(|judged| !judged.contains(&text.key)) => batch.unjudged += 1,
            Ok(text) => {
                batch.bytes += text.key.len() + text.fields.len();
                batch.texts.push(text);
                if (batch.texts.len() == BATCH_ROWS || batch.bytes >= BATCH_BYTES)
                    && batches.send(Ok(std::mem::take(&mut batch))).is_err()
                {
                    return;
                }
            }
            Err(error) => {
                // Nobody listens any more if an error came first elsewhere.
                drop(batches.send(Err(error)));
                return;
            }
        }
    }
    if range.end != u64::MAX && row < range.end {
        let text = format!("has {row} texts, so that there are no rows {}..{}", range.start, range.end);
        drop(batches.send(Err(Error::new(name, text))));
        return;
    }
    drop(batches.send(Ok(batch)));
}

/// Token ids of some texts, one after the other.
#[derive(Default)]
struct Tokens {
    keys: Vec<String>,
    ids: Vec<i32>,
    lengths: Vec<usize>,
    empty: u64,
    cut: u64,
    unjudged: u64,
}

fn encode(batch: Batch, tokenizer: &Tokenizer, max_length: usize) -> Result<Tokens> {
    let shares: Vec<Tokens> = batch
        .texts
        .par_chunks(SHARE)
        .map(|texts| {
            let mut tokens = Tokens::default();
            for Text { key, fields } in texts {
                let text = tokenizer.prepare(fields);
                let start = tokens.ids.len();
                let cut = tokenizer
                    .encode(&text, max_length, &mut tokens.ids)
                    .map_err(|e| Error::new(format!("text '{key}'"), e))?;
                tokens.lengths.push(tokens.ids.len() - start);
                tokens.empty += u64::from(fields.is_blank());
                tokens.cut += u64::from(cut);
            }
            Ok(tokens)
        })
        .collect::<Result<_>>()?;
    let mut all = Tokens { unjudged: batch.unjudged, ..Tokens::default() };
    all.ids.reserve_exact(shares.iter().map(|share| share.ids.len()).sum());
    for share in shares {
        all.ids.extend(share.ids);
        all.lengths.extend(share.lengths);
        all.empty += share.empty;
        all.cut += share.cut;
    }
    all.keys = batch.texts.into_iter().map(|text| text.key).collect();
    Ok(all)
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use hardmine_files::Input;

    use super::*;
    use crate::{FolderSettings, TextKind};

    const WORDS: usize = 20_000;

    /// A tokenizer whose words are w0, w1, …, and a corpus where text i is "wi".
    fn words(corpus: &str) -> (tempfile::TempDir, Tokenizer, Corpus) {
        let folder = tempfile::tempdir().unwrap();
        let mut vocabulary = String::from("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n");
        (0..WORDS).for_each(|word| writeln!(vocabulary, "w{word}").unwrap());
        std::fs::write(folder.path().join("vocab.txt"), vocabulary).unwrap();
        let path = folder.path().join("corpus.tsv");
        std::fs::write(&path, corpus).unwrap();
        let corpus = Corpus::open(&Input::Path(path), TextKind::Query).unwrap();
        let tokenizer = Tokenizer::open(folder.path(), &FolderSettings::default()).unwrap();
        (folder, tokenizer, corpus)
    }

    #[test]
    fn rows_keep_their_order_over_many_batches() {
        let lines: String = (0..WORDS).map(|word| format!("q{word}\tw{word}\n")).collect();
        let (_folder, tokenizer, corpus) = words(&lines);
        let (mut row, mut batches) = (0, 0);
        let summary = tokenize(corpus, &tokenizer, 8, None, None, |batch| {
            batches += 1;
            let texts = TokensBatch::new(batch)?;
            for i in 0..texts.len() {
                assert_eq!(texts.ids.value(i), row);
                assert_eq!(texts.keys.value(i), format!("q{row}"));
                assert_eq!(texts.token_ids(i), [2, 5 + row as i32, 3]);
                row += 1;
            }
            Ok(())
        });
        let summary = summary.unwrap();
        assert_eq!((summary.rows, row, summary.empty, batches), (WORDS as u64, WORDS as i64, 0, 3));
        let mut hasher = KeyHasher::default();
        (0..WORDS).for_each(|word| hasher.update(&format!("q{word}")));
        assert_eq!(summary.keys, hasher.finish());
    }

    #[test]
    fn only_judged_queries_are_kept_and_empty_ones_counted() {
        let (folder, tokenizer, corpus) = words("a\tw1\nb\t \nc\tw2\n");
        let qrels = folder.path().join("qrels.tsv");
        std::fs::write(&qrels, "b 0 d1 0\nc 0 d1 1\nzzz 0 d1 1\n".replace(' ', "\t")).unwrap();
        let judged = Judged::open(&Input::Path(qrels.clone()), None).unwrap();
        let mut keys = Vec::new();
        let summary = tokenize(corpus, &tokenizer, 8, None, Some(&judged), |batch| {
            keys.extend(TokensBatch::new(batch)?.keys.iter().flatten().map(str::to_owned));
            Ok(())
        });
        let summary = summary.unwrap();
        assert_eq!(keys, ["b", "c"]);
        assert_eq!((summary.rows, summary.empty, summary.unjudged), (2, 1, 1));

        let (_folder, tokenizer, corpus) = words("x\tw1\n");
        let error = tokenize(corpus, &tokenizer, 8, None, Some(&judged), |_| Ok(())).unwrap_err().to_string();
        assert!(error.contains("none of its 1 queries is among the 3 in "), "{error}");
    }

    #[test]
    fn the_first_error_ends_it() {
        let lines: String = (0..3 * BATCH_ROWS).map(|row| format!("{row}\tw1\n")).collect();
        let (_folder, tokenizer, corpus) = words(&lines);
        let error = tokenize(corpus, &tokenizer, 8, None, None, |_| Err(Error::new("disk", "full"))).unwrap_err();
        assert_eq!(error.to_string(), "disk: full");
        let (_folder, tokenizer, corpus) = words(&(lines + "broken"));
        let error = tokenize(corpus, &tokenizer, 8, None, None, |_| Ok(())).unwrap_err().to_string();
        assert!(error.contains(&format!("line {}: expected 2 fields", 3 * BATCH_ROWS + 1)), "{error}");
    }
}
