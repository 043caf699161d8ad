//! A run taken up at a checkpoint ends with the same bytes; chunks change nothing but the memory.

mod common;

use std::fs;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use common::{encoder, lists, run, settings, star, tokens};
use hardmine_training::{Encoding, Lists, Rule, Settings};
use tch::{Device, Kind, Tensor};

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
    for chunk_size in [Some(5), Some(20)] {
        let difference = largest_difference(&whole, &trained(home, &relevant, chunk_size, false));
        assert!(difference < 1e-5, "chunks of {chunk_size:?}: off by {difference:e}");
        println!("chunks of {chunk_size:?}: parameters off by {difference:.1e}");
    }
    let with_dropout = trained(home, &relevant, Some(5), true);
    assert!(largest_difference(&with_dropout, &whole) > 1e-4, "there is no dropout");
}

#[test]
fn many_texts_are_encoded_as_one_batch_of_them_would_be() {
    let (_turn, folder) = (turn(), tempfile::tempdir().unwrap());
    let docs = tokens(folder.path(), "docs");
    let encoder = encoder(folder.path(), false);
    let weight = encoder.parameters()[0].1.set_requires_grad(true);
    let ids: Vec<u32> = (0..docs.len() as u32).rev().collect();
    let encode = |chunk_size| {
        let encoded = Encoding::new(&encoder, chunk_size).encode(&docs, &ids, 64, |_| 0).unwrap();
        let gradient = Tensor::arange(encoded.embeddings.numel() as i64, (Kind::Float, Device::Cpu)).sin();
        (&encoded.embeddings * gradient.view_as(&encoded.embeddings)).sum(Kind::Float).backward();
        let found = (encoded.embeddings.detach(), weight.grad().copy());
        let _ = weight.grad().zero_();
        found
    };
    let tokens: usize = ids.iter().map(|&id| docs.token_ids(id as usize).len()).sum();
    assert!(tokens > 2 * hardmine_encoder::default_batch_tokens(Device::Cpu), "one batch would do");
    let ((parts, of_parts), (whole, of_whole)) = (encode(None), encode(Some(ids.len())));
    for (one, other) in [(parts, whole), (of_parts, of_whole)] {
        let difference = (&one - &other).abs().max().double_value(&[]);
        assert!(difference < 1e-5 * other.abs().max().double_value(&[]), "off by {difference:e}");
    }
}

#[test]
fn chunks_encoded_again_draw_the_same_dropout() {
    let (_turn, folder) = (turn(), tempfile::tempdir().unwrap());
    let docs = tokens(folder.path(), "docs");
    let encoder = encoder(folder.path(), true);
    let weight = encoder.parameters()[0].1.set_requires_grad(true);
    let mut ids: Vec<u32> = (0..15).collect();
    ids.sort_by_key(|&id| docs.token_ids(id as usize).len());
    let seed = |chunk| 100 + chunk as i64;
    // Any fixed gradient will do.
    let gradient = |rows, dim| Tensor::arange(rows * dim, (Kind::Float, Device::Cpu)).sin().view([rows, dim]);

    let chunked = Encoding::new(&encoder, Some(5));
    let encoded = chunked.encode(&docs, &ids, 40, seed).unwrap();
    let dim = encoded.embeddings.size()[1];
    (&encoded.embeddings * gradient(15, dim)).sum(Kind::Float).backward();
    let vectors = encoded.embeddings.detach();
    chunked.backward(encoded, 40);
    let cached = weight.grad().copy();

    let _ = weight.grad().zero_();
    for (chunk, part) in ids.chunks(5).enumerate() {
        let encoded = Encoding::new(&encoder, None).encode(&docs, part, 40, |_| seed(chunk as u64)).unwrap();
        let rows = |x: &Tensor| x.narrow(0, 5 * chunk as i64, 5);
        assert!((&encoded.embeddings - rows(&vectors)).abs().max().double_value(&[]) < 1e-6);
        (encoded.embeddings * rows(&gradient(15, dim))).sum(Kind::Float).backward();
    }
    let difference = (weight.grad() - &cached).abs().max().double_value(&[]);
    assert!(difference < 1e-5 * cached.abs().max().double_value(&[]), "gradients differ by {difference:e}");
}
