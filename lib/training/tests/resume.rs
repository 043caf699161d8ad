//! A run taken up at a checkpoint ends with the same bytes; chunks change nothing but the memory.

mod common;

use std::fs;
use std::path::Path;

use common::{encoder, lists, run, settings, star, tokens};
use hardmine_encoder::Encoder;
use hardmine_files::MappedTokens;
use hardmine_training::{
    Chunks, Decay, DocumentLists, Encoding, Freeze, Loss, Objective, Rule, Texts, TrainingSettings,
};
use tch::{Device, Kind, Tensor};

/// Batches of 5 out of 16 queries: the order and the draws matter.
fn small_batches(save_every: u64) -> TrainingSettings {
    TrainingSettings { epochs: 2, batch_size: 5, save_every, ..settings(Rule::AdamW) }
}

fn saved(encoder: &Encoder, folder: &Path) -> Vec<u8> {
    encoder.save(folder).unwrap();
    fs::read(folder.join("model.safetensors")).unwrap()
}

#[test]
fn a_resumed_run_ends_with_the_same_bytes() {
    // 8 steps of 5, 5, 5 and 1 queries; the checkpoint is written after 3.
    check_resumed(&small_batches(3), (5, 1 + 16));
}

#[test]
fn whatever_the_settings_a_resumed_run_ends_with_the_same_bytes() {
    let settings = TrainingSettings {
        epochs: 7,
        accumulate: 3,
        objective: Objective { loss: Loss::InfoNce { symmetric: true }, temperature: 0.5, dimensions: vec![8, 4] },
        chunks: Some(Chunks::Tokens(50)),
        freeze: Some(Freeze::Embeddings),
        schedule: Decay::Cosine,
        weight_decay: 0.1,
        max_gradient_norm: 0.3,
        ..small_batches(3)
    };
    // 28 batches, 3 in a step: 10 steps, and after 3 of them 9 batches are done, of which 2 had 1 query.
    check_resumed(&settings, (5, 7 * 16 - (7 * 5 + 2)));
}

/// Trains without a break, and again from the checkpoint that there is after so many steps, with so many queries left.
fn check_resumed(settings: &TrainingSettings, (kept_after, queries_left): (u64, u64)) {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path();
    let queries = tokens(home, "queries");
    let method = star(home, &queries);
    let relevant = lists("qrels.tsv", &queries, &tokens(home, "docs"));
    let (output, kept) = (home.join("model"), home.join("kept"));

    let whole = encoder(home, true);
    let mut first = run(&whole, &method, &queries, &relevant, settings, &output);
    let mut steps = 0;
    first
        .train(|_| {
            steps += 1;
            if steps == kept_after {
                fs::copy(home.join("model.checkpoint"), &kept).unwrap();
            }
        })
        .unwrap();
    let (log, checkpoint) = first.finish();
    checkpoint.remove().unwrap();
    assert!(!home.join("model.checkpoint").exists());

    fs::rename(&kept, home.join("model.checkpoint")).unwrap();
    let taken_up = encoder(home, true);
    let mut second = run(&taken_up, &method, &queries, &relevant, settings, &output);
    assert_eq!(second.remaining_queries(), queries_left);
    second.train(|_| ()).unwrap();
    let (log_again, _) = second.finish();
    let losses = |log: &[hardmine_training::log::Row]| log.iter().map(|row| row.loss).collect::<Vec<_>>();
    assert_eq!(losses(&log), losses(&log_again));
    assert!(saved(&whole, &home.join("a")) == saved(&taken_up, &home.join("b")));
}

#[test]
fn a_checkpoint_of_other_settings_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path();
    let queries = tokens(home, "queries");
    let method = star(home, &queries);
    let relevant = lists("qrels.tsv", &queries, &tokens(home, "docs"));
    let (settings, output) = (small_batches(3), home.join("model"));
    let encoder = encoder(home, false);
    run(&encoder, &method, &queries, &relevant, &settings, &output).train(|_| ()).unwrap();

    let other = TrainingSettings { learning_rate: 0.5, ..settings };
    let identity = hardmine_training::identity(&encoder, &method, &queries, &relevant, &other, None);
    let checkpoint = hardmine_training::Checkpoint::beside(&output, identity);
    let refused = hardmine_training::Run::start(&encoder, &method, &queries, &relevant, &other, None, checkpoint);
    let message = refused.err().unwrap().to_string();
    assert!(message.contains("model.checkpoint: belongs to a run with other settings"), "{message}");
}

/// Parameters after a few steps with a chunk size.
fn trained(home: &Path, relevant: &DocumentLists, chunks: Option<Chunks>, dropout: bool) -> Vec<(String, Tensor)> {
    let queries = tokens(home, "queries");
    let method = star(home, &queries);
    let settings = TrainingSettings { chunks, epochs: 3, ..settings(Rule::Lamb) };
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
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path();
    let relevant = lists("qrels.tsv", &tokens(home, "queries"), &tokens(home, "docs"));
    let whole = trained(home, &relevant, Some(Chunks::Texts(64)), false);
    for chunk_size in [Some(Chunks::Texts(5)), Some(Chunks::Texts(20)), Some(Chunks::Tokens(100))] {
        let difference = largest_difference(&whole, &trained(home, &relevant, chunk_size, false));
        assert!(difference < 1e-5, "chunks of {chunk_size:?}: off by {difference:e}");
        println!("chunks of {chunk_size:?}: parameters off by {difference:.1e}");
    }
    let with_dropout = trained(home, &relevant, Some(Chunks::Texts(5)), true);
    assert!(largest_difference(&with_dropout, &whole) > 1e-4, "there is no dropout");
}

fn texts<'a>(tokens: &'a MappedTokens, ids: &[u32], max_length: usize, seed: impl Fn(u64) -> u64 + 'a) -> Texts<'a> {
    Texts { tokens, ids: ids.to_vec(), max_length, seed: Box::new(seed) }
}

/// Any gradient at embeddings (rows, dimension) will do.
fn waves(rows: usize, encoder: &Encoder) -> Tensor {
    let shape = [rows as i64, encoder.dimension() as i64];
    Tensor::arange(shape[0] * shape[1], (Kind::Float, Device::Cpu)).sin().view(shape)
}

/// Embeddings of `texts`, and what `gradient` at them is at the words.
fn there_and_back(encoder: &Encoder, chunk_size: Option<Chunks>, texts: Texts, gradient: &Tensor) -> (Tensor, Tensor) {
    for (_, parameter) in encoder.parameters() {
        let _ = parameter.set_requires_grad(true);
    }
    let encoding = Encoding::new(encoder, chunk_size).unwrap();
    let [encoded] = encoding.encode([texts]).unwrap();
    (&encoded.embeddings * gradient).sum(Kind::Float).backward();
    (encoded.embeddings.detach(), encoding.gradients([encoded]).swap_remove(0))
}

#[track_caller]
fn assert_close(one: &Tensor, other: &Tensor) {
    let difference = (one - other).abs().max().double_value(&[]);
    assert!(difference < 1e-5 * other.abs().max().double_value(&[]), "off by {difference:e}");
}

#[test]
fn many_texts_are_encoded_as_one_batch_of_them_would_be() {
    let folder = tempfile::tempdir().unwrap();
    let docs = tokens(folder.path(), "docs");
    let encoder = encoder(folder.path(), false);
    let ids: Vec<u32> = (0..docs.len() as u32).rev().collect();
    let tokens: usize = ids.iter().map(|&id| docs.token_ids(id as usize).len()).sum();
    assert!(tokens > 2 * hardmine_encoder::default_batch_tokens(Device::Cpu), "one batch would do");
    let gradient = waves(ids.len(), &encoder);
    let encode = |chunk_size| there_and_back(&encoder, chunk_size, texts(&docs, &ids, 64, |_| 0), &gradient);
    let (whole, of_whole) = encode(Some(Chunks::Texts(ids.len())));
    for threads in [1, 3] {
        tch::set_num_threads(threads);
        for chunk_size in [None, Some(Chunks::Texts(7)), Some(Chunks::Tokens(90))] {
            let (parts, of_parts) = encode(chunk_size);
            assert_close(&parts, &whole);
            assert_close(&of_parts, &of_whole);
            assert_eq!(encode(chunk_size), (parts, of_parts), "the same bytes again");
        }
    }
}

#[test]
fn chunks_encoded_again_draw_the_same_dropout() {
    let folder = tempfile::tempdir().unwrap();
    let docs = tokens(folder.path(), "docs");
    let encoder = encoder(folder.path(), true);
    let mut ids: Vec<u32> = (0..15).collect();
    ids.sort_by_key(|&id| docs.token_ids(id as usize).len());
    let gradient = waves(15, &encoder);
    let seed = |chunk| 100 + chunk;
    let (vectors, again) = there_and_back(&encoder, Some(Chunks::Texts(5)), texts(&docs, &ids, 40, seed), &gradient);

    let mut kept = again.zeros_like();
    for (chunk, part) in ids.chunks(5).enumerate() {
        let rows = |x: &Tensor| x.narrow(0, 5 * chunk as i64, 5);
        let part = texts(&docs, part, 40, |_| seed(chunk as u64));
        let (vectors_kept, of_part) = there_and_back(&encoder, Some(Chunks::Texts(5)), part, &rows(&gradient));
        assert!((vectors_kept - rows(&vectors)).abs().max().double_value(&[]) < 1e-6);
        kept += of_part;
    }
    assert_close(&kept, &again);
}
