//! `train jpq` and `train repconc`: beside the authors' steps, what they leave behind, and what is refused.

use std::os::unix::process::ExitStatusExt;

use arrow::array::Array;
use safetensors::SafeTensors;
use serde_json::Value;

use crate::common::{Folder, Records, fixture, save_tokens_of};

/// A folder with the authors' texts, judgements and model, the index that JPQ starts from, and hard negatives.
fn folder() -> Folder {
    let folder = Folder::empty();
    for name in ["docs", "queries"] {
        save_tokens_of(&folder, "compression", name);
    }
    std::fs::create_dir(folder.path("start")).unwrap();
    for (from, to) in [
        ("init/config.json", "start/config.json"),
        ("init/model.safetensors", "start/model.safetensors"),
        ("index/OPQ8,IVF1,PQ8x8.index", "opq.faiss"),
        ("qrels_jpq.tsv", "qrels.tsv"),
        ("qrels_conc.tsv", "qrels_conc.tsv"),
    ] {
        folder.write(to, std::fs::read(fixture("compression").join(from)).unwrap());
    }
    let relevant = folder.text("qrels_conc.tsv");
    let pairs = std::fs::read_to_string(fixture("compression/pairs.tsv")).unwrap();
    let negative = |line: &str| {
        let ids: Vec<&str> = line.split_whitespace().collect();
        // One of the authors' hard negatives is relevant, which train would warn of.
        let is_relevant = relevant.contains(&format!("{}\t0\t{}\t", ids[0], ids[2]));
        if is_relevant { String::new() } else { format!("{}\t{}\t1\n", ids[0], ids[2]) }
    };
    folder.write("negatives.tsv", pairs.lines().map(negative).collect::<String>());
    folder
}

const JPQ: &str = "train jpq --init start --index opq.faiss --queries queries.parquet --docs docs.parquet \
                   --qrels qrels.tsv --top-k 40 --max-query-length 16 --batch-size 16 --learning-rate 1e-3 \
                   --centroid-rate 5e-3 --warmup-steps 2";
const REPCONC: &str = "train repconc --init start --index opq.faiss --queries queries.parquet --docs docs.parquet \
                       --qrels qrels_conc.tsv --negatives negatives.tsv --epsilon 0.5 --batch-size 32 \
                       --max-query-length 16 --max-doc-length 32 --learning-rate 3e-4 --centroid-rate 3e-3";

/// Numbers of a tensor in a safetensors file.
fn numbers(bytes: &[u8], name: &str) -> Vec<f32> {
    let tensors = SafeTensors::deserialize(bytes).unwrap();
    let data = tensors.tensor(name).unwrap().data().to_vec();
    data.chunks(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
}

fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

fn log(folder: &Folder, model: &str) -> Records {
    Records::open(&folder.path(&format!("{model}/training-log.parquet")))
}

#[test]
fn jpq_goes_the_way_of_the_authors() {
    let folder = folder();
    folder.run(&format!("{JPQ} --steps 6 --lambda-cut 10 -o jpq")).ok();
    let trajectories: Value =
        serde_json::from_slice(&std::fs::read(fixture("compression/trajectories.json")).unwrap()).unwrap();
    for (found, step) in log(&folder, "jpq").f32s("loss").iter().zip(trajectories["jpq_cut10"].as_array().unwrap()) {
        let expected = step["loss"].as_f64().unwrap();
        assert!((f64::from(*found) / expected - 1.0).abs() < 1e-4, "loss {found} instead of {expected}");
    }
    // The tower has the rotation of the index, and both have the trained centroids.
    let tower = folder.read("jpq/model.safetensors");
    let expected = std::fs::read(fixture("compression/jpq_cut10.safetensors")).unwrap();
    let start = std::fs::read(fixture("compression/start.safetensors")).unwrap();
    assert_eq!(numbers(&tower, "rotation"), numbers(&start, "rotation"));
    assert!(largest_difference(&numbers(&tower, "centroids"), &numbers(&expected, "centroids")) < 1e-4);
    let inspected = folder.run("index --inspect jpq/index.faiss").ok();
    inspected.check(inspected.text().contains("OPQ8,IVF1,PQ8x8"), "should be the same kind of index");
    for name in ["opq.faiss", "jpq/index.faiss"] {
        folder.run(&format!("index --inspect {name} -o {name}.codes.parquet")).ok();
    }
    let codes = |name: &str| Records::open(&folder.path(name)).rows["code"].to_data();
    assert!(codes("opq.faiss.codes.parquet") == codes("jpq/index.faiss.codes.parquet"));

    // Rotated or not, its queries find in its index what the authors' find in theirs.
    let expected = std::fs::read_to_string(fixture("compression/run_jpq_cut10.tsv")).unwrap();
    let expected: Vec<i64> = expected.lines().map(|line| line.split('\t').nth(1).unwrap().parse().unwrap()).collect();
    for rotation in ["", "--no-rotation"] {
        let embed = format!("embed --model jpq --max-length 16 {rotation} queries.parquet");
        let done = folder.sh(&format!("{embed} | rank --index jpq/index.faiss --top-k 40 -o run.parquet"));
        done.ok();
        let found = Records::open(&folder.path("run.parquet")).i64s("doc_id");
        assert_eq!(found[..expected.len()], expected, "{rotation}");
    }
}

#[test]
fn both_stages_of_repconc_end_in_an_index_that_rank_searches() {
    let folder = folder();
    folder.run(&format!("{REPCONC} --steps 8 -o conc")).ok();
    let first = log(&folder, "conc");
    for name in ["mse", "imbalance"] {
        assert!(first.f32s(name).iter().all(|number| *number > 0.0), "{name}");
    }
    assert_eq!(first.i64s("fallbacks"), [0; 8]);
    assert_eq!(first.rows["mrr_10"].null_count(), 8);
    let rates = first.f32s("learning_rate");
    assert!(rates.iter().all(|rate| *rate == 3e-4), "{rates:?}");

    let codes = "embed --model conc --codes --max-length 32 docs.parquet";
    folder.sh(&format!("{codes} | index --centroids conc -o conc.faiss")).ok();
    let second = "train jpq --loss list --init conc --index conc.faiss --queries queries.parquet --docs docs.parquet \
                  --qrels qrels_conc.tsv --top-k 40 --max-query-length 16 --batch-size 16 --steps 4";
    folder.run(&format!("{second} --optimizer-state conc/optimizer.safetensors -o second")).ok();
    let second_log = log(&folder, "second");
    assert_eq!(second_log.f32s("learning_rate")[..2], [0.0, 1.5e-6], "goes on from the first stage with a rate of 0");
    assert_eq!(second_log.rows["mse"].null_count(), 4);
    let queries = "embed --model second --max-length 16 queries.parquet";
    folder.sh(&format!("{queries} | rank --index second/index.faiss --top-k 5 -o run.parquet")).ok();
    // Without those moments it is another run, which begins with the whole rate.
    folder.run(&format!("{second} -o fresh")).ok();
    assert_eq!(log(&folder, "fresh").f32s("learning_rate")[0], 2e-6);
    // A plain model of the second stage would have no rotation.
    let plain = second.replace("--init conc", "--init start");
    folder.run(&format!("{plain} -o plain")).fails(&["conc.faiss", "another model"]);
    // What train wrote may be written anew.
    folder.run(&format!("{second} -o second")).ok();
    folder.run(&format!("{REPCONC} --steps 1 -o conc")).ok();
}

#[test]
fn the_second_release_has_settings_of_its_own() {
    let folder = folder();
    // What would overflow in the first release does not.
    let line = REPCONC.replace("--epsilon 0.5", "--release 2 --hard-num 3 --hardest 5");
    folder.run(&format!("{line} --steps 3 -o conc")).ok();
    assert_eq!(log(&folder, "conc").i64s("fallbacks"), [0; 3]);
    let card = folder.text("conc/README.md");
    for row in [
        "| release | 2 |",
        "| hardest | 5 |",
        "| optimizer | torch-adamw |",
        "| codes | epsilon 0.003, iterations 100 |",
    ] {
        assert!(card.contains(row), "{row} in {card}");
    }
    // Another number of hardest negatives, or another release, is another loss.
    for (name, other) in [("--hardest 5", "--hardest 6"), ("--release 2", "--release 2 --no-constraint")] {
        folder.run(&format!("{} --steps 3 -o other", line.replace(name, other))).ok();
        assert_ne!(log(&folder, "other").f32s("loss"), log(&folder, "conc").f32s("loss"), "{other}");
    }
    folder.sh("embed --model conc --codes --max-length 32 docs.parquet | index --centroids conc -o conc.faiss").ok();
    let second = "train jpq --loss unmasked-list --init conc --index conc.faiss --queries queries.parquet --docs docs.parquet \
                  --qrels qrels_conc.tsv --top-k 40 --batch-size 16 --steps 4 -o second";
    folder.run(second).ok();
    assert_eq!(log(&folder, "second").f32s("learning_rate"), [2e-6; 4]);
}

#[test]
fn an_overflow_is_counted_and_trains_all_the_same() {
    let folder = folder();
    let line = REPCONC.replace("--epsilon 0.5", "--epsilon 0.005");
    folder.run(&format!("{line} --steps 2 -o conc --tensorboard")).ok();
    assert_eq!(log(&folder, "conc").i64s("fallbacks"), [1; 2]);
    folder.run(&format!("{line} --no-constraint --steps 2 -o free")).ok();
    assert_eq!(log(&folder, "free").i64s("fallbacks"), [0; 2]);
    assert_eq!(log(&folder, "free").f32s("loss"), log(&folder, "conc").f32s("loss"));
}

#[test]
fn dev_queries_search_the_compressed_documents() {
    let folder = folder();
    let dev = "--dev-queries queries.parquet --dev-qrels qrels_dev.tsv --dev-metric MRR@10 --evaluate-every 2";
    folder.write("qrels_dev.tsv", folder.text("qrels.tsv"));
    folder.write("more.parquet", folder.read("queries.parquet"));
    let dev = dev.replace("queries.parquet", "more.parquet");
    for (line, options) in [(JPQ, ""), (JPQ, "--dev-docs 100"), (REPCONC, ""), (REPCONC, "--keep last")] {
        folder.run(&format!("{line} {dev} {options} --steps 4 -o model")).ok();
        let values = log(&folder, "model");
        assert_eq!(values.rows["dev"].null_count(), 2, "{line} {options}");
    }
}

#[test]
fn an_interrupted_run_goes_on_where_it_was() {
    let folder = folder();
    for (line, file) in [(JPQ, "index.faiss"), (REPCONC, "optimizer.safetensors")] {
        let line = |output: &str| format!("{line} --epochs 99 --steps 90 --save-every 5 --chunk-size 7 -o {output}");
        folder.run(&line("whole")).ok();
        let mut child = folder.run(&line("parts")).start();
        let checkpoint = folder.path("parts.checkpoint");
        while !checkpoint.exists() {
            assert!(child.try_wait().unwrap().is_none(), "it ended before a checkpoint was there");
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        child.kill().unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGKILL));
        folder.run(&line("parts")).args(["--seed", "9"]).fails(&["parts.checkpoint", "other settings"]);
        let done = folder.run(&line("parts")).ok();
        done.check(done.stderr.contains("parts.checkpoint"), "should say that it goes on");
        assert!(folder.read("parts/model.safetensors") == folder.read("whole/model.safetensors"));
        if file == "index.faiss" {
            // The command in the provenance at the end names the output.
            let (one, other) = (folder.read("parts/index.faiss"), folder.read("whole/index.faiss"));
            assert!(one[..45251] == other[..45251]);
        } else {
            assert!(folder.read(&format!("parts/{file}")) == folder.read(&format!("whole/{file}")));
        }
    }
}

#[test]
fn what_does_not_belong_together_is_refused() {
    let folder = folder();
    // An index of another dimension, of other kinds, and no index.
    let wider = fixture("training/init").display().to_string();
    for line in [JPQ, REPCONC] {
        let line = line.replace("--init start", &format!("--init {wider}"));
        folder.run(&format!("{line} -o out")).fails(&["opq.faiss: vectors of 32 dimensions, expected 64"]);
    }
    folder.run("embed --model start --max-length 32 docs.parquet -o docs.arrow").ok();
    folder.run("index docs.arrow --factory OPQ8,IVF4,PQ8x8np -o lists.faiss").ok();
    folder.run("index docs.arrow --factory OPQ8,IVF1,PQ8x8np -o own.faiss").ok();
    folder.run("index docs.arrow --factory PQ8x8np -o plain.faiss").ok();
    let jpq = |index: &str| format!("{} -o out", JPQ.replace("opq.faiss", index));
    folder.run(&jpq("lists.faiss")).fails(&["lists.faiss", "4 lists", "IVF1"]);
    folder.run(&jpq("plain.faiss")).fails(&["plain.faiss", "no rotation", "no tower"]);
    folder.run(&jpq("docs.arrow")).fails(&["docs.arrow", "expected an index of product quantization"]);
    folder.run(&jpq("own.faiss")).arg("--steps=1").ok();
    // The index of another model, and of other documents.
    folder.run(&format!("{REPCONC} --steps 1 -o conc")).ok();
    let of_conc = |line: &str| line.replace("--init start", "--init conc").replace("opq.faiss", "own.faiss");
    folder.run(&format!("{} -o other", of_conc(JPQ))).fails(&["own.faiss", "another model than --init"]);
    folder.run(&format!("{} -o other", of_conc(REPCONC))).fails(&["own.faiss", "another model than --init"]);
    let conc = "embed --model conc --no-rotation --max-length 32 docs.parquet | index --factory OPQ8,IVF1,PQ8x8np -o turned.faiss";
    folder.sh(conc).ok();
    let turned = of_conc(JPQ).replace("own.faiss", "turned.faiss");
    folder.run(&format!("{turned} -o other")).fails(&["turned.faiss", "another rotation than the tower"]);
    let of_others = jpq("own.faiss").replace("--docs docs.parquet", "--docs queries.parquet");
    folder.run(&of_others).fails(&["own.faiss", "queries.parquet"]);
    folder.write("few.tsv", "0\t0\t5000\t1\n");
    folder.run(&format!("{} -o other", JPQ.replace("qrels.tsv", "few.tsv"))).fails(&["few.tsv"]);
    folder.write("none.tsv", "0\t0\t222\t0\n");
    folder.run(&format!("{} -o other", JPQ.replace("qrels.tsv", "none.tsv"))).fails(&["none.tsv"]);
    // Moments of other parameters, and no moments.
    let state = |file: &str| format!("{JPQ} --steps 1 --optimizer-state {file} -o other");
    folder.run(&state("start/model.safetensors")).fails(&["start/model.safetensors", "exp_avg"]);
    folder.run(&state("qrels_conc.tsv")).fails(&["qrels_conc.tsv", "no file of an optimizer's moments"]);
    assert!(!folder.path("other").exists());
}

#[test]
fn documents_of_another_collection_are_refused() {
    let folder = Folder::made();
    folder.run("index docs.arrow --factory OPQ8,IVF1,PQ8x8np -o opq.faiss").ok();
    let shared =
        "--init bert --index opq.faiss --queries train.tokens.arrow --qrels train.qrels.parquet --steps 1 -o out";
    for line in [
        format!("train jpq {shared}"),
        format!("train repconc --max-doc-length 32 --negatives train.negatives.parquet {shared}"),
    ] {
        folder.run(&format!("{line} --docs docs.tokens.arrow --batch-size 8")).ok();
        folder.run(&format!("{line} --docs dev.tokens.arrow")).fails(&["opq.faiss", "dev.tokens.arrow"]);
    }
}

#[test]
fn options_that_don_t_go_together_are_wrong_usage() {
    let folder = folder();
    for (options, text) in [
        ("--centroid-rate 0", "expected a number above 0"),
        ("--loss infonce", "--loss infonce is not for jpq"),
        ("--loss list --lambda-cut 10", "--lambda-cut is for weighted"),
        ("--loss unmasked-list --lambda-cut 10", "--lambda-cut is for weighted"),
        ("--hardest 5", "--hardest is for infonce, not for weighted"),
        ("--dimensions 16,8", "--dimensions is not for jpq"),
        ("--lambda-cut=-1", "-1 is not in"),
    ] {
        let jpq = JPQ.replace("--centroid-rate 5e-3", "");
        folder.run(&format!("{jpq} {options} -o out")).fails_as_wrong_usage(&[text]);
    }
    for (options, text) in [
        ("--centroid-rate 0", "expected a number above 0"),
        ("--mse-weight=-1", "expected a number from 0"),
        ("--loss list", "--loss list is for jpq, not for repconc"),
        ("--loss kl", "only star has"),
        ("--dimensions 16,8", "--dimensions is not for repconc"),
        ("--release 3", "invalid value '3'"),
        ("--loss softplus --hardest 5", "--hardest is for infonce, not for softplus"),
        ("--symmetric --hardest 5", "--hardest is for infonce, not for infonce with --symmetric"),
    ] {
        let repconc = REPCONC.replace("--centroid-rate 3e-3", "");
        folder.run(&format!("{repconc} {options} -o out")).fails_as_wrong_usage(&[text]);
    }
}
