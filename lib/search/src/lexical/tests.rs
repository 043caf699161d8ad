//! Laws of the index, for any documents: how they are cut into pieces and how many cores there are changes nothing, and
//! scores are those of the formula written out.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use hardmine_records::{Provenance, Result, RunBatch};
use proptest::prelude::*;

use super::*;

/// Words that no stemmer changes, and one stop word.
const VOCABULARY: [&str; 9] = ["x1", "x2", "x3", "x4", "x5", "x6", "ω", "東京", "the"];

fn text() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(0..VOCABULARY.len(), 0..12)
}

fn joined(words: &[usize]) -> String {
    words.iter().map(|&word| VOCABULARY[word]).collect::<Vec<_>>().join(" ")
}

fn build(folder: &Path, texts: &[Vec<usize>], bm25: Bm25) -> LexicalIndex {
    let path = folder.join("index");
    let documents = texts.iter().enumerate().map(|(row, words)| Ok((format!("d{row}"), joined(words))));
    LexicalBuilder::create(&path, bm25).unwrap().build(documents, Provenance::default(), |_| ()).unwrap();
    LexicalIndex::open(&path).unwrap()
}

/// The run as rows of query, document and score.
fn run(index: LexicalIndex, queries: &[Vec<usize>], top_k: usize) -> Vec<(String, String, f32)> {
    let ranker = LexicalRanker::new(index, top_k, false, None).unwrap();
    let texts = queries.iter().enumerate().map(|(row, words)| Ok((format!("q{row}"), joined(words))));
    let mut found = Vec::new();
    let write = |batch: &arrow::array::RecordBatch| -> Result<()> {
        let rows = RunBatch::new(batch)?;
        found.extend((0..rows.len()).map(|row| {
            (rows.queries.text(row).into_owned(), rows.docs.text(row).into_owned(), rows.scores.value(row))
        }));
        Ok(())
    };
    ranker.run(texts, write).unwrap();
    found
}

/// The formula of the module's documentation.
fn plain(texts: &[Vec<usize>], query: &[usize], Bm25 { k1, b }: Bm25, top_k: usize) -> Vec<(usize, f64)> {
    let stop = VOCABULARY.len() - 1;
    let lengths: Vec<f64> =
        texts.iter().map(|words| words.iter().filter(|&&word| word != stop).count() as f64).collect();
    let (all, average) = (texts.len() as f64, lengths.iter().sum::<f64>() / texts.len() as f64);
    let count = |words: &[usize], word: usize| words.iter().filter(|&&other| other == word).count() as f64;
    let score = |row: usize| -> f64 {
        let of = |&word: &usize| {
            let with = texts.iter().filter(|words| words.contains(&word)).count() as f64;
            let tf = count(&texts[row], word);
            let idf = (1.0 + (all - with + 0.5) / (with + 0.5)).ln();
            if tf == 0.0 { 0.0 } else { idf * tf / (tf + k1 * (1.0 - b + b * lengths[row] / average)) }
        };
        query.iter().filter(|&&word| word != stop).map(of).sum()
    };
    let mut list: Vec<(usize, f64)> = (0..texts.len()).map(|row| (row, score(row))).filter(|hit| hit.1 > 0.0).collect();
    list.sort_by(|one, other| other.1.total_cmp(&one.1));
    list.truncate(top_k);
    list
}

fn bytes(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files.map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read(path).unwrap())).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn scores_are_those_of_the_formula(
        texts in prop::collection::vec(text(), 1..40),
        queries in prop::collection::vec(text(), 1..6),
        (k1, b) in (0.0..3.0f64, 0.0..=1.0f64),
        top_k in 1..50usize,
    ) {
        let (folder, bm25) = (tempfile::tempdir().unwrap(), Bm25 { k1, b });
        let found = run(build(folder.path(), &texts, bm25), &queries, top_k);
        let mut rows = found.iter();
        for (number, query) in queries.iter().enumerate() {
            let mut before: Option<(f32, usize)> = None;
            for (_, expected) in plain(&texts, query, bm25, top_k) {
                let (query, document, score) = rows.next().unwrap();
                let row: usize = document[1..].parse().unwrap();
                prop_assert_eq!(query, &format!("q{number}"));
                prop_assert!((f64::from(*score) - expected).abs() < 1e-5, "{} and {}", score, expected);
                // Score descending, then the order of the collection.
                prop_assert!(before.is_none_or(|(last, at)| last > *score || last == *score && at < row));
                before = Some((*score, row));
            }
        }
        prop_assert!(rows.next().is_none());
    }

    #[test]
    fn pieces_and_cores_change_nothing(
        texts in prop::collection::vec(text(), 1..300),
        queries in prop::collection::vec(text(), 1..30),
        cuts in prop::collection::vec(0..300usize, 0..6),
    ) {
        let texts_of = |range: &[Vec<usize>]| range.iter().map(|words| joined(words)).collect::<Vec<_>>();
        let merged = |cuts: &[usize]| {
            let folder = tempfile::tempdir().unwrap();
            let mut ends: Vec<usize> = cuts.iter().map(|cut| cut % texts.len()).chain([texts.len()]).collect();
            ends.sort_unstable();
            ends.dedup();
            let mut analyzer = analysis::Analyzer::new();
            let (mut pieces, mut start) = (Vec::new(), 0);
            for &end in ends.iter().filter(|&&end| end > 0) {
                pieces.push(folder.path().join(format!("piece{end}")));
                segments::write_piece(&pieces[pieces.len() - 1], &texts_of(&texts[start..end]), &mut analyzer).unwrap();
                start = end;
            }
            let whole = folder.path().join("whole");
            fs::create_dir(&whole).unwrap();
            segments::merge_pieces(&pieces, &whole).unwrap();
            bytes(&whole)
        };
        prop_assert_eq!(merged(&cuts), merged(&[]));

        let on = |cores: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(cores).build().unwrap();
            pool.install(|| {
                let folder = tempfile::tempdir().unwrap();
                let found = run(build(folder.path(), &texts, Bm25 { k1: 0.9, b: 0.4 }), &queries, 10);
                (found, bytes(&folder.path().join("index")))
            })
        };
        prop_assert_eq!(on(1), on(3));
    }
}
