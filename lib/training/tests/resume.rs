//! A run taken up at a checkpoint ends with the same bytes; chunks change nothing but the memory.

mod common;

use std::fs;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use common::{encoder, lists, run, settings, star, tokens};
use hardmine_training::{Lists, Rule, Settings};
use tch::Tensor;

/// Dropout draws from the one generator that libtorch has: runs of this file take turns.
static TURN: Mutex<()> = Mutex::new(());

fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Batches of 5 out of 16 queries: the order and the draws matter.
fn small_batches(save_every: u64) -> Settings {
    Settings { epochs: 2, batch_size: 5, save_every, ..settings(Rule::AdamW) }
}

fn saved(encoder: &hardmine_encoder::Encoder, folder: &Path) -> Vec<u8> {
    encoder.save(folder).unwrap();
    fs::read(folder.join("model.safetensors")).unwrap()
}

#[test]
fn a_resumed_run_ends_with_the_same_bytes() {
    let (_turn, folder) = (turn(), tempfile::tempdir().unwrap());
    let home = folder.path();
    let queries = tokens(home, "queries");
    let method = star(home, &queries);
    let relevant = lists("qrels.tsv", &queries, &tokens(home, "docs"));
    let settings = small_batches(3);
    let (output, kept) = (home.join("model"), home.join("kept"));

    let whole = encoder(home, true);
    let mut first = run(&whole, &method, &queries, &relevant, &settings, &output);
    let mut steps = 0;
    first
        .train(|_| {
            steps += 1;
            if steps == 5 {
                fs::copy(home.join("model.checkpoint"), &kept).unwrap();
            }
        })
        .unwrap();
    let (log, checkpoint) = first.finish();
    checkpoint.remove().unwrap();
    assert!(!home.join("model.checkpoint").exists());

    fs::rename(&kept, home.join("model.checkpoint")).unwrap();
    let taken_up = encoder(home, true);
    let mut second = run(&taken_up, &method, &queries, &relevant, &settings, &output);
    // 8 steps of 5, 5, 5 and 1 queries; the checkpoint was written after 3.
    assert_eq!(second.remaining_queries(), 1 + 16);
    second.train(|_| ()).unwrap();
    let (log_again, _) = second.finish();
    let losses = |log: &[hardmine_training::log::Row]| log.iter().map(|row| row.loss).collect::<Vec<_>>();
    assert_eq!(losses(&log), losses(&log_again));
    assert!(saved(&whole, &home.join("a")) == saved(&taken_up, &home.join("b")));
}

#[test]
fn a_checkpoint_of_other_settings_is_refused() {
    let (_turn, folder) = (turn(), tempfile::tempdir().unwrap());
    let home = folder.path();
    let queries = tokens(home, "queries");
    let method = star(home, &queries);
    let relevant = lists("qrels.tsv", &queries, &tokens(home, "docs"));
    let (settings, output) = (small_batches(3), home.join("model"));
    let encoder = encoder(home, false);
    run(&encoder, &method, &queries, &relevant, &settings, &output).train(|_| ()).unwrap();

    let other = Settings { learning_rate: 0.5, ..settings };
    let identity = hardmine_training::identity(&encoder, &method, &queries, &relevant, &other);
    let checkpoint = hardmine_training::Checkpoint::beside(&output, identity);
    let refused = hardmine_training::Run::start(&encoder, &method, &queries, &relevant, &other, checkpoint);
    let message = refused.err().unwrap().to_string();
    assert!(message.contains("model.checkpoint: belongs to a run with other settings"), "{message}");
}

/// Parameters after a few steps with a chunk size.
fn trained(home: &Path, relevant: &Lists, chunk_size: Option<usize>, dropout: bool) -> Vec<(String, Tensor)> {
    let queries = tokens(home, "queries");
    let method = star(home, &queries);
    let settings = Settings { chunk_size, epochs: 3, ..settings(Rule::Lamb) };
    let encoder = encoder(home, dropout);
    run(&encoder, &method, &queries, relevant, &settings, &home.join("model")).train(|_| ()).unwrap();
    encoder.parameters().iter().map(|(name, tensor)| (name.clone(), tensor.detach())).collect()
}

fn largest_difference(one: &[(String, Tensor)], other: &[(String, Tensor)]) -> f64 {
    let same = one.iter().zip(other).filter(|((name, _), _)| !name.ends_with("attention.self.key.bias"));
    same.map(|((_, one), (_, other))| (one - other).abs().max().double_value(&[])).fold(0.0, f64::max)
}

#[test]
fn chunks_make_the_step_of_the_whole_batch() {
    let (_turn, folder) = (turn(), tempfile::tempdir().unwrap());
    let home = folder.path();
    let relevant = lists("qrels.tsv", &tokens(home, "queries"), &tokens(home, "docs"));
    let whole = trained(home, &relevant, Some(64), false);
    for chunk_size in [None, Some(5)] {
        let difference = largest_difference(&whole, &trained(home, &relevant, chunk_size, false));
        assert!(difference < 1e-5, "chunks of {chunk_size:?}: off by {difference:e}");
        println!("chunks of {chunk_size:?}: parameters off by {difference:.1e}");
    }
    // 16 queries fit into one chunk of 16 and the 32 documents into two, the groups that are encoded at once anyway.
    let (cached, at_once) = (trained(home, &relevant, Some(16), true), trained(home, &relevant, None, true));
    let difference = largest_difference(&cached, &at_once);
    assert!(difference < 1e-6, "with dropout: off by {difference:e}");
    assert!(largest_difference(&at_once, &trained(home, &relevant, None, false)) > 1e-4);
}
