//! `train`: the four methods, beside the reference where it made figures, and what a run leaves behind.

use std::collections::HashMap;
use std::os::unix::process::ExitStatusExt;

use arrow::array::{Array, Int64Array};
use safetensors::SafeTensors;
use serde_json::Value;

use crate::common::{Folder, Records, TRAINING, column, fixture, save, save_tokens, vectors};

/// The reference's texts, judgements and negatives, as `docs.arrow` and so on.
fn reference() -> Folder {
    let folder = Folder::empty();
    for name in ["docs", "queries"] {
        save_tokens(&folder, name);
    }
    for name in ["qrels.tsv", "qrels_adore.tsv", "negatives.tsv"] {
        folder.write(name, std::fs::read(fixture("training").join(name)).unwrap());
    }
    folder
}

/// Parameters by name.
fn parameters(bytes: &[u8]) -> HashMap<String, Vec<f32>> {
    let tensors = SafeTensors::deserialize(bytes).unwrap();
    let numbers = |data: &[u8]| data.chunks(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
    tensors.tensors().into_iter().map(|(name, view)| (name, numbers(view.data()))).collect()
}

#[track_caller]
fn check_against_reference(folder: &Folder, name: &str, tolerance: f32) {
    let trajectories: Value =
        serde_json::from_slice(&std::fs::read(fixture("training/trajectories.json")).unwrap()).unwrap();
    let steps = trajectories[name].as_array().unwrap();
    let log = Records::open(&folder.path("model/training-log.parquet"));
    assert_eq!(log.len(), steps.len());
    for (step, (found, expected)) in log.f32s("loss").into_iter().zip(steps).enumerate() {
        let expected = expected["loss"].as_f64().or(expected["all_loss"].as_f64()).unwrap();
        assert!((f64::from(found) / expected - 1.0).abs() < 1e-4, "step {step}: loss {found} instead of {expected}");
    }
    let found = parameters(&folder.read("model/model.safetensors"));
    let expected = parameters(&std::fs::read(fixture("training").join(format!("{name}.safetensors"))).unwrap());
    // The true gradient of the key's bias is zero: the optimizer turns rounding into steps.
    for (name, expected) in expected.iter().filter(|(name, _)| !name.ends_with("attention.self.key.bias")) {
        let off = found[name].iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(off < tolerance, "{name} is off by {off}");
    }
}

const SIX_STEPS: &str = "--steps 6 --epochs 6 --batch-size 16 --learning-rate 1e-3 --warmup-steps 2 -o model";

#[test]
fn star_goes_the_way_of_the_reference() {
    let folder = reference();
    let line = format!(
        "train star --queries queries.parquet --docs docs.parquet --qrels qrels.tsv --negatives negatives.tsv \
         --optimizer lamb --max-query-length 12 --max-doc-length 40 {SIX_STEPS} --init"
    );
    folder.run(&line).arg(fixture("training/init")).ok();
    check_against_reference(&folder, "star_lamb", 1e-4);
}

#[test]
fn adore_goes_the_way_of_the_reference() {
    let folder = reference();
    let bytes = std::fs::read(fixture("training/embeddings.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let docs = tensors.tensor("docs").unwrap();
    let numbers: Vec<f32> = docs.data().chunks(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
    let docs: Vec<Vec<f32>> = numbers.chunks(docs.shape()[1]).map(<[f32]>::to_vec).collect();
    let ids = arrow::array::Int64Array::from_iter_values(0..docs.len() as i64);
    save(&folder.path("docs.arrow"), vec![column("id", ids), column("embedding", vectors(&docs))]);
    for (name, cut) in [("adore_cut30", "--metric-cut 30"), ("adore_nocut", "")] {
        let line = format!(
            "train adore --queries queries.parquet --docs docs.parquet --qrels qrels_adore.tsv --embeddings docs.arrow \
             --top-k 40 {cut} --optimizer adamw --max-query-length 24 {SIX_STEPS} --init"
        );
        folder.run(&line).arg(fixture("training/init")).ok();
        check_against_reference(&folder, name, 2e-4);
    }
}

const SMALL: &str = "--batch-size 30 --warmup-steps 2 --optimizer adamw --learning-rate 1e-3";

#[test]
fn every_method_learns_and_leaves_a_model_that_embeds() {
    let folder = Folder::made();
    let adore = TRAINING.replace("--max-doc-length 32", "--embeddings docs.arrow");
    for (method, inputs, options) in [
        ("inbatch", TRAINING, ""),
        ("randneg", TRAINING, "--rand-num 2"),
        ("star", TRAINING, "--negatives train.negatives.parquet --hard-num 2"),
        ("adore", &adore, "--top-k 30 --metric-cut 20"),
    ] {
        folder.run(&format!("train {method} {inputs} {options} {SMALL} --steps 40 --epochs 8 -o {method}")).ok();
        let log = Records::open(&folder.path(&format!("{method}/training-log.parquet")));
        assert_eq!(log.i64s("step"), (0..40).collect::<Vec<_>>(), "{method}");
        // Five steps see each query once; ADORE's losses are of lists that change.
        let (values, sign) = if method == "adore" { (log.f32s("mrr_10"), 1.0) } else { (log.f32s("loss"), -1.0) };
        let (first, last) = (values[..10].iter().sum::<f32>(), values[30..].iter().sum::<f32>());
        assert!(sign * (last / first - 1.0) > 0.1, "{method} does not learn: {values:?}");
        let rates = log.f32s("learning_rate");
        assert_eq!((rates[0], rates[1], rates[2]), (0.0, 5e-4, 1e-3), "{method}");
        assert!(rates[2..].windows(2).all(|pair| pair[0] > pair[1]), "{method}: {rates:?}");
        let retrieved = log.rows.column_by_name("mrr_10").unwrap();
        assert_eq!(retrieved.null_count(), if method == "adore" { 0 } else { 40 }, "{method}");

        let names = ["config.json", "model.safetensors", "modules.json", "1_Pooling/config.json", "tokenizer.json"];
        for name in names {
            assert!(folder.path(&format!("{method}/{name}")).exists(), "{method}/{name}");
        }
        let done = folder.sh(&format!(
            "tokenize --tokenizer {method} --kind query queries.dev.small.tsv | embed --model {method} -o {method}.arrow"
        ));
        done.ok();
        assert_eq!(Records::open(&folder.path(&format!("{method}.arrow"))).len(), 60);
    }
    // An ADORE encoder searches the documents of the model it came from, and of no other.
    folder.run("rank --index docs.arrow adore.arrow").ok();
    folder.run("rank --index docs.arrow star.arrow").fails(&["star.arrow", "model"]);
}

#[test]
fn the_same_seed_gives_the_same_model() {
    let folder = Folder::made();
    let train = |options: &str, output: &str| {
        folder.run(&format!("train randneg {TRAINING} {SMALL} --steps 4 {options} -o {output}")).ok();
        folder.read(&format!("{output}/model.safetensors"))
    };
    let one = train("--seed 7", "one");
    assert!(one == train("--seed 7", "two"));
    assert!(one != train("--seed 8", "three"));
}

#[test]
fn an_interrupted_run_goes_on_where_it_was() {
    let folder = Folder::made();
    let line = |output: &str| {
        format!(
            "train star {TRAINING} --negatives train.negatives.parquet {SMALL} --steps 100 --save-every 5 -o {output}"
        )
    };
    folder.run(&line("whole")).ok();
    let mut child = folder.run(&line("parts")).start();
    let checkpoint = folder.path("parts.checkpoint");
    while !checkpoint.exists() {
        assert!(child.try_wait().unwrap().is_none(), "it ended before a checkpoint was there");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    child.kill().unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGKILL));
    assert!(!folder.path("parts").exists());
    // Other settings don't take it up.
    folder.run(&line("parts")).args(["--seed", "9"]).fails(&["parts.checkpoint", "other settings"]);
    let done = folder.run(&line("parts")).ok();
    done.check(done.stderr.contains("parts.checkpoint"), "should say that it goes on");
    assert!(!checkpoint.exists());
    assert!(folder.read("parts/model.safetensors") == folder.read("whole/model.safetensors"));
    let logs = ["parts", "whole"].map(|name| Records::open(&folder.path(&format!("{name}/training-log.parquet"))));
    assert_eq!(logs[0].f32s("loss"), logs[1].f32s("loss"));
}

#[test]
fn a_stream_of_tokens_or_parquet_trains_the_same() {
    let folder = Folder::made();
    folder.run("tokenize --tokenizer bert collection.tsv -o docs.parquet").ok();
    let model = |docs: &str| {
        let options = TRAINING.replace("docs.tokens.arrow", docs);
        folder
            .sh(&format!("tokenize --tokenizer bert collection.tsv | train inbatch {options} {SMALL} --steps 2 -o out"))
            .ok();
        folder.read("out/model.safetensors")
    };
    let file = model("docs.tokens.arrow");
    assert!(file == model("docs.parquet"));
    assert!(file == model("-"));
}

#[test]
fn queries_without_a_relevant_document_are_left_out_and_counted() {
    let folder = Folder::made();
    let qrels: String = folder.text("qrels.train.tsv").lines().skip(3).map(|line| format!("{line}\n")).collect();
    folder.write("some.tsv", qrels);
    let options = TRAINING.replace("train.qrels.parquet", "some.tsv");
    let done = folder.run(&format!("train inbatch {options} {SMALL} --steps 1 -o out")).ok();
    done.check(done.stderr.contains("queries without a relevant document left out"), "should count them");
}

/// Integers are looked up among the keys, which are not in the order of their numbers here.
#[test]
fn integer_ids_of_other_programs_are_the_collections_own() {
    let folder = Folder::made();
    let text = folder.text("qrels.train.tsv");
    let rows: Vec<Vec<i64>> =
        text.lines().map(|line| line.split('\t').map(|field| field.parse().unwrap()).collect()).collect();
    let columns = [("query_id", 0), ("doc_id", 2), ("relevance", 3)]
        .map(|(name, field)| column(name, Int64Array::from_iter_values(rows.iter().map(|row| row[field]))));
    save(&folder.path("integers.parquet"), columns.into());
    let train = |qrels: &str| {
        let options = TRAINING.replace("train.qrels.parquet", qrels);
        let done = folder.run(&format!("train inbatch {options} --steps 2 --batch-size 8 -o {qrels}.model")).ok();
        (Records::open(&folder.path(&format!("{qrels}.model/training-log.parquet"))).f32s("loss"), done.stderr)
    };
    let (right, _) = train("qrels.train.tsv");
    let (found, said) = train("integers.parquet");
    assert_eq!(found, right);
    assert!(said.contains("integers.parquet: its integer ids were taken for the collection's own"), "{said}");
}

#[test]
fn judgements_of_unknown_documents_can_be_left_out() {
    let folder = Folder::made();
    folder.write("more.tsv", folder.text("qrels.train.tsv") + "4\t0\tgone\t1\nnobody\t0\t4\t1\n");
    let options = TRAINING.replace("train.qrels.parquet", "more.tsv");
    let line = format!("train inbatch {options} --steps 2 --batch-size 8 -o out");
    folder.run(&line).fails(&["more.tsv: row ", "--skip-unknown"]);
    let done = folder.run(&line).arg("--skip-unknown").ok();
    done.check(
        done.stderr.contains("more.tsv: 2 rows with an unknown query or document left out"),
        "should count them",
    );
}

#[test]
fn a_folder_with_anything_that_train_did_not_write_is_left_alone() {
    let folder = Folder::made();
    let line = format!("train inbatch {TRAINING} {SMALL} --steps 1 -o");
    folder.sh("mkdir -p mine/empty other; echo text > mine/thesis.tex; cp -rL bert other/model; : > file").ok();
    folder.run(&line).arg("mine").fails(&["mine: exists and is not a model folder that train wrote", "hint: "]);
    folder.run(&line).arg("other/model").fails(&["other/model: exists and is not a model folder that train wrote"]);
    folder.run(&line).arg("file").fails(&["file: is a file"]);
    folder.run(&line).arg("bert").fails(&["bert: is --init and --output at once"]);
    folder.run(&line).arg("bert/new").fails(&["bert/new: lies in --init bert"]);
    folder.run(&line).arg(".").fails(&[".: "]);
    folder.run(&line).arg("/").fails(&["/: "]);
    assert_eq!(folder.text("mine/thesis.tex"), "text\n");

    // An empty folder may be filled, and a model of train's own replaced, until something else is in it.
    std::fs::create_dir(folder.path("model")).unwrap();
    folder.run(&line).arg("model").ok();
    folder.run(&line).arg("model/").ok();
    let before = folder.read("model/model.safetensors");
    for (foreign, made) in [
        ("notes.txt", ": > model/notes.txt"),
        ("1_Pooling/deep/x", "mkdir model/1_Pooling/deep; : > model/1_Pooling/deep/x"),
        ("kept", "mkdir model/kept"),
        (".hidden", "ln -s nowhere model/.hidden"),
    ] {
        folder.sh(made).ok();
        folder.run(&line).arg("model").fails(&[&format!("model: holds {foreign}, which train did not write")]);
        folder.sh(&format!("rm -r model/{}", foreign.trim_end_matches("/x"))).ok();
    }
    folder.sh("cp -r model warm; mkdir model/warm; mv warm/* model/warm").ok();
    let nested = line.replace("--init bert", "--init model/warm");
    folder.run(&nested).arg("model").fails(&["model: holds --init model/warm"]);
    folder.sh("mv model/warm warm; sed -i s/hidden_size/hidden_sizes/ model/config.json").ok();
    folder.run(&line).arg("model").fails(&["model: holds another model than train wrote there"]);
    assert!(folder.read("model/model.safetensors") == before);
    assert!(folder.names().iter().all(|name| !name.contains(".tmp") && !name.contains("checkpoint")));
}

#[test]
fn every_spelling_of_the_output_is_the_same_place() {
    let folder = Folder::made();
    folder.sh("mkdir deep real; ln -s real link; ln -s to-be dangling").ok();
    let home = folder.path("").display().to_string();
    let absolute = format!("{home}/model/");
    for (output, place) in [
        ("model/", "model"),
        ("./model", "model"),
        ("deep/../model", "model"),
        ("not-there/../model//", "model"),
        ("model/.", "model"),
        (&absolute, "model"),
        ("link", "real"),
        ("link/", "real"),
        ("dangling", "to-be"),
    ] {
        let line = format!("train inbatch {TRAINING} {SMALL} --steps 30 --save-every 1 -o {output}");
        let mut child = folder.run(&line).start();
        while !folder.path(&format!("{place}.checkpoint")).exists() {
            assert!(child.try_wait().unwrap().is_none(), "{output}: it ended before a checkpoint was there");
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let done = folder.run(&line).ok();
        done.check(done.stderr.contains(&format!("{place}.checkpoint")), "should go on");
        assert!(folder.path(&format!("{place}/model.safetensors")).exists(), "{output}");
        assert!(!folder.path(&format!("{place}.checkpoint")).exists(), "{output}");
    }
    assert!(folder.path("link").is_symlink() && folder.path("dangling").is_symlink());
}

#[test]
fn a_model_that_started_from_adore_encodes_its_documents_itself() {
    let folder = Folder::made();
    let adore = TRAINING.replace("--max-doc-length 32", "--embeddings docs.arrow");
    folder.run(&format!("train adore {adore} {SMALL} --steps 1 -o adore")).ok();
    let texts = TRAINING.replace("--init bert", "--init adore");
    for (method, own) in [("inbatch", ""), ("randneg", ""), ("star", "--negatives train.negatives.parquet")] {
        folder.run(&format!("train {method} {texts} {own} {SMALL} --steps 1 -o {method}")).ok();
        for tokens in ["docs", "dev"] {
            folder.run(&format!("embed --model {method} {tokens}.tokens.arrow -o {method}.{tokens}.arrow")).ok();
        }
        folder.run(&format!("rank --index {method}.docs.arrow {method}.dev.arrow -o run.parquet")).ok();
    }
}

#[test]
fn a_damaged_checkpoint_is_one_line() {
    let folder = Folder::made();
    let line = format!("train inbatch {TRAINING} {SMALL} --steps 100 --save-every 5 -o model");
    let mut child = folder.run(&line).start();
    while !folder.path("model.checkpoint").exists() {
        assert!(child.try_wait().unwrap().is_none(), "it ended before a checkpoint was there");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let whole = folder.read("model.checkpoint");
    let header = 8 + u64::from_le_bytes(whole[..8].try_into().unwrap()) as usize;
    for place in [0, 3, 9, 200, header - 3, header, header + 4001, whole.len() / 2, whole.len() - 9, whole.len() - 1] {
        for change in [0x01, 0x80, 0xff] {
            let mut damaged = whole.clone();
            damaged[place] ^= change;
            folder.write("model.checkpoint", damaged);
            folder.run(&line).fails(&["model.checkpoint: "]);
        }
    }
    for length in [0, 7, header, whole.len() - 1] {
        folder.write("model.checkpoint", &whole[..length]);
        folder.run(&line).fails(&["model.checkpoint: "]);
    }
    folder.sh("rm model.checkpoint; mkdir model.checkpoint").ok();
    folder.run(&line).fails(&["model.checkpoint: is not a regular file"]);
}

#[test]
fn numbers_may_be_as_large_as_they_like() {
    let folder = Folder::made();
    let largest = u64::MAX;
    let adore = TRAINING.replace("--max-doc-length 32", "--embeddings docs.arrow");
    for (line, options) in [
        ("inbatch", format!("{TRAINING} --epochs {largest} --steps 2 --batch-size 8 --save-every {largest}")),
        ("inbatch", format!("{TRAINING} --epochs 1 --steps {largest} --batch-size {largest} --warmup-steps {largest}")),
        ("randneg", format!("{TRAINING} --steps 1 --batch-size 8 --chunk-size {largest} --rand-num 4294967295")),
        ("adore", format!("{adore} --steps 2 --top-k {} --metric-cut {}", i64::MAX, i64::MAX)),
    ] {
        folder.run(&format!("train {line} {options} -o model")).ok();
    }
    let done = folder.run(&format!("train inbatch {TRAINING} --steps 1 --batch-size 1000 -o model")).ok();
    done.check(done.stderr.contains("only 150 queries, fewer than --batch-size 1000"), "should tell");
    // A run that never ends begins at once.
    let mut child =
        folder.run(&format!("train inbatch {TRAINING} --epochs {largest} --save-every 1 -o endless")).start();
    while !folder.path("endless.checkpoint").exists() {
        assert!(child.try_wait().unwrap().is_none(), "it ended by itself");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
}
