//! `train --loss …`: every loss learns, never trains against what is relevant, makes the same step of chunks, and says
//! what is wrong before it begins.

use std::path::Path;

use arrow::array::{Array, Float32Array, Int64Array};

use crate::common::{Folder, Records, TRAINING, column, save};

const SMALL: &str = "--batch-size 30 --warmup-steps 2 --optimizer adamw --learning-rate 1e-3";

/// With `still`, a model without dropout, its documents in `still.arrow`, and `teacher.parquet`, which scores every pair there is.
fn collection() -> Folder {
    let folder = Folder::made();
    folder.copy_model("bert", "still");
    let config = folder.text("still/config.json").replace("dropout_prob\": 0.1", "dropout_prob\": 0.0");
    folder.write("still/config.json", config);
    folder.run("embed --model still docs.tokens.arrow -o still.arrow").ok();
    folder.run("rank --index docs.arrow --top-k 300 train.arrow -o teacher.parquet").ok();
    folder
}

/// Every loss with a method that it can train by: the method, the options of both, and what is read besides [`TRAINING`].
const EVERY: [(&str, &str); 12] = [
    ("inbatch", "--loss softplus --similarity cosine --temperature 0.05"),
    ("inbatch", "--loss infonce --similarity dot --temperature 4"),
    ("inbatch", "--loss infonce --similarity cosine --symmetric"),
    ("randneg", "--loss infonce --similarity cosine --rand-num 2"),
    ("randneg", "--loss infonce --similarity cosine --symmetric --dimensions 32,8"),
    ("star", "--loss softplus --negatives train.negatives.parquet --dimensions 32,16"),
    ("star", "--loss infonce --similarity cosine --negatives train.negatives.parquet --hard-num 2"),
    ("star", "--loss marginmse --negatives train.negatives.parquet --hard-num 2 --teacher teacher.parquet"),
    (
        "star",
        "--loss kl --similarity cosine --negatives train.negatives.parquet --hard-num 4 --teacher teacher.parquet \
         --teacher-temperature 2 --dimensions 16,32",
    ),
    ("adore", "--loss infonce --embeddings still.arrow --top-k 30"),
    ("adore", "--loss infonce --embeddings still.arrow --top-k 30 --dimensions 32,8"),
    ("adore", "--loss softplus --embeddings still.arrow --top-k 30 --dimensions 32,8"),
];

/// The command that trains by `method` with `options`, but for the output.
fn line(method: &str, options: &str) -> String {
    let inputs = match method {
        "adore" => TRAINING.replace("--max-doc-length 32", ""),
        _ => TRAINING.to_owned(),
    };
    format!("train {method} {} {options} {SMALL}", inputs.replace("--init bert", "--init still"))
}

fn log(folder: &Folder, model: &str) -> Records {
    Records::open(&folder.path(&format!("{model}/training-log.parquet")))
}

#[test]
fn every_loss_learns() {
    let folder = collection();
    for (number, (method, options)) in EVERY.iter().enumerate() {
        let model = format!("model{number}");
        folder.run(&line(method, options)).args(["--steps", "40", "--epochs", "8", "-o", &model]).ok();
        let log = log(&folder, &model);
        // Five steps see each query once; ADORE's losses are of lists that change.
        let (values, sign) = if *method == "adore" { (log.f32s("mrr_10"), 1.0) } else { (log.f32s("loss"), -1.0) };
        let (first, last) = (values[..10].iter().sum::<f32>(), values[30..].iter().sum::<f32>());
        assert!(sign * (last / first - 1.0) > 0.05, "{method} {options} does not learn: {values:?}");
    }
}

#[test]
fn chunks_make_the_step_of_the_whole_batch() {
    let folder = collection();
    for (method, options) in EVERY {
        let figures = |chunks: &str| {
            folder
                .run(&line(method, options))
                .args(chunks.split_whitespace())
                .args(["--steps", "3", "-o", "model"])
                .ok();
            let log = log(&folder, "model");
            std::fs::remove_dir_all(folder.path("model")).unwrap();
            [log.f32s("loss"), log.f32s("gradient_norm")].concat()
        };
        let whole = figures("");
        for chunks in ["--chunk-size 7", "--chunk-tokens 60"] {
            for (one, other) in figures(chunks).iter().zip(&whole) {
                assert!((one / other - 1.0).abs() < 1e-4, "{method} {options} {chunks}: {one} instead of {other}");
            }
        }
    }
}

#[test]
fn a_relevant_document_is_never_trained_against() {
    let folder = collection();
    // All hard negatives are relevant to every query, so that only the positives of the batch are left.
    let pairs = |docs: &[i64]| {
        let rows = (0..150).flat_map(|query| docs.iter().map(move |&doc| (query, doc)));
        let (queries, docs): (Vec<i64>, Vec<i64>) = rows.unzip();
        (column("query_id", Int64Array::from(queries)), column("doc_id", Int64Array::from(docs)))
    };
    let qrels = Records::open(&folder.path("train.qrels.parquet"));
    let (mut queries, mut docs) = (qrels.i64s("query_id"), qrels.i64s("doc_id"));
    queries.extend(0..150);
    docs.extend([299; 150]);
    let grades = arrow::array::Int32Array::from(vec![1; queries.len()]);
    save(
        &folder.path("all.parquet"),
        vec![
            column("query_id", Int64Array::from(queries)),
            column("doc_id", Int64Array::from(docs)),
            column("relevance", grades),
        ],
    );
    let (queries, docs) = pairs(&[299]);
    save(&folder.path("bad.parquet"), vec![queries, docs, column("score", Float32Array::from(vec![1.0; 150]))]);
    for options in ["--loss softplus", "--loss infonce", "--loss infonce --symmetric"] {
        let losses = |method: &str, own: &str| {
            let line = line(method, &format!("{options} --similarity cosine --temperature 0.1 {own} --ids internal"));
            let line = line.replace("train.qrels.parquet", "all.parquet");
            let done = folder.run(&line).args(["--steps", "8", "-o", method]).ok();
            (log(&folder, method).f32s("loss"), done.stderr)
        };
        let (without, _) = losses("inbatch", "");
        let (with, told) = losses("star", "--negatives bad.parquet");
        assert!(told.contains("bad.parquet: 150 of its documents are relevant, and are not trained on"), "{told}");
        for (one, other) in with.iter().zip(&without) {
            assert!((one / other - 1.0).abs() < 1e-4, "{options}: {with:?} instead of {without:?}");
        }
    }
}

#[test]
fn negatives_carry_what_the_teacher_says() {
    let folder = collection();
    let mine = "mine-negatives --qrels train.qrels.parquet --top-k 20 train.run.parquet";
    let output = |name: &str| format!("{mine} --teacher teacher.parquet -o {name}");
    folder.run(&output("taught.parquet")).ok();
    let (plain, taught) = (log_of(&folder, "train.negatives.parquet"), log_of(&folder, "taught.parquet"));
    assert_eq!((taught.i64s("query_id"), taught.i64s("doc_id")), (plain.i64s("query_id"), plain.i64s("doc_id")));
    // The teacher is the ranker that the negatives were mined with.
    assert_eq!(taught.f32s("teacher"), plain.f32s("score"));
    let (teacher, qrels) = (log_of(&folder, "teacher.parquet"), log_of(&folder, "train.qrels.parquet"));
    let relevant: Vec<(i64, i64)> = qrels.i64s("query_id").into_iter().zip(qrels.i64s("doc_id")).collect();
    let pairs = teacher.i64s("query_id").into_iter().zip(teacher.i64s("doc_id"));
    let scored: Vec<((i64, i64), f32)> = pairs.zip(teacher.f32s("score")).collect();
    for (query, found) in taught.i64s("query_id").into_iter().zip(taught.f32s("teacher_positive")).step_by(20) {
        let of_query = scored.iter().filter(|(pair, _)| pair.0 == query && relevant.contains(pair));
        assert_eq!(Some(found), of_query.map(|&(_, score)| score).reduce(f32::min), "query {query}");
    }

    // Training takes the same step whichever of the two files tells the scores, where a query has one positive.
    let single: Vec<usize> = (0..relevant.len())
        .filter(|&row| relevant.iter().filter(|pair| pair.0 == relevant[row].0).count() == 1)
        .collect();
    let rows = arrow::array::UInt32Array::from_iter_values(single.iter().map(|&row| row as u32));
    let columns = ["query_id", "doc_id", "relevance"];
    let taken = columns.map(|name| (name, arrow::compute::take(&qrels.rows[name], &rows, None).unwrap()));
    save(&folder.path("single.parquet"), taken.into());
    let model = |options: &str, output: &str| {
        let line = line("star", &format!("--loss marginmse --ids internal {options} --steps 4 -o {output}"));
        let done = folder.run(&line.replace("train.qrels.parquet", "single.parquet")).ok();
        assert!(!done.stderr.contains("several relevant documents"), "{}", done.stderr);
        folder.read(&format!("{output}/model.safetensors"))
    };
    let beside = model("--negatives taught.parquet", "beside");
    assert!(beside == model("--negatives train.negatives.parquet --teacher teacher.parquet", "run"));
    // Where it has several, the user is told.
    let done = folder.run(&line("star", "--loss kl --negatives taught.parquet --steps 1 -o told")).ok();
    done.check(done.stderr.contains("for 3 queries with several relevant documents"), "should tell");

    // The columns go with the rows into another id space, and into no text.
    let remap = "remap-ids --queries train.tokens.arrow --docs docs.tokens.arrow --to official taught.parquet";
    folder.run(remap).args(["-o", "official.parquet"]).ok();
    assert_eq!(log_of(&folder, "official.parquet").f32s("teacher"), taught.f32s("teacher"));
    let official = line("star", "--loss marginmse --negatives official.parquet --steps 4 -o official");
    folder.run(&official).ok();
    let hint = ["has no place for a teacher's scores; hint: write Parquet or Arrow"];
    folder.run(&output("taught.tsv")).fails(&hint);
    folder.run(remap).args(["-o", "official.trec"]).fails(&hint);
}

fn log_of(folder: &Folder, name: &str) -> Records {
    Records::open(&folder.path(name))
}

#[test]
fn scores_that_are_missing_or_no_numbers_are_refused() {
    let folder = collection();
    let star = |options: &str| folder.run(&line("star", &format!("--loss kl {options} --steps 1 -o model")));
    star("--negatives train.negatives.parquet").fails(&[
        "train.negatives.parquet: has no teacher's scores, which the loss learns from",
        "; hint: give --teacher RUN",
    ]);
    // The run holds the best 50 documents of a query only.
    star("--negatives train.negatives.parquet --teacher train.run.parquet").fails(&[
        "train.run.parquet: no score for query ",
        ", which is relevant to it; ",
        "; hint: score this pair",
    ]);
    let teacher = log_of(&folder, "teacher.parquet");
    let with = |name: &str, scores: Float32Array| {
        let columns = ["query_id", "doc_id"].map(|name| (name, teacher.rows[name].clone()));
        save(&folder.path(name), columns.into_iter().chain([column("score", scores)]).collect());
    };
    let scores = teacher.f32s("score");
    with("nan.parquet", scores.iter().enumerate().map(|(row, &s)| Some(if row == 7 { f32::NAN } else { s })).collect());
    with("null.parquet", scores.iter().enumerate().map(|(row, &s)| (row != 7).then_some(s)).collect());
    let internal = "--ids internal --negatives train.negatives.parquet --teacher";
    star(&format!("{internal} nan.parquet")).fails(&["nan.parquet: row 7: score NaN is not a finite number"]);
    star(&format!("{internal} null.parquet")).fails(&["null.parquet: row 7: column score is null"]);

    folder.run("mine-negatives --qrels train.qrels.parquet --top-k 20 train.run.parquet --teacher teacher.parquet -o taught.parquet").ok();
    let taught = log_of(&folder, "taught.parquet");
    let broken = |name: &str, column: &str, value: Option<f32>| {
        let schema = taught.rows.schema();
        let columns = schema.fields().iter().zip(taught.rows.columns()).map(|(field, values)| {
            let field = field.name().as_str();
            if field != column {
                return (field, values.clone());
            }
            let values = taught.f32s(column).into_iter().enumerate();
            let values: Float32Array = values.map(|(row, old)| if row == 5 { value } else { Some(old) }).collect();
            (field, std::sync::Arc::new(values) as arrow::array::ArrayRef)
        });
        save(&folder.path(name), columns.collect());
    };
    let taught_by = |name: &str| star(&format!("--ids internal --negatives {name}"));
    broken("broken.parquet", "teacher", Some(f32::NAN));
    taught_by("broken.parquet").fails(&["broken.parquet: row 5: teacher NaN is not a finite number"]);
    broken("broken.parquet", "teacher_positive", Some(f32::INFINITY));
    taught_by("broken.parquet").fails(&["broken.parquet: row 5: teacher_positive inf is not a finite number"]);
    broken("broken.parquet", "teacher", None);
    taught_by("broken.parquet").fails(&["broken.parquet: row 5: column teacher is null"]);
    let half = ["query_id", "doc_id", "rank", "score", "teacher"].map(|name| (name, taught.rows[name].clone()));
    save(&folder.path("half.parquet"), half.into());
    taught_by("half.parquet").fails(&["half.parquet: expected negatives", "teacher_positive, found"]);

    // Mining wants a score for whatever it takes, and for what is relevant.
    let mine = "mine-negatives --qrels train.qrels.parquet teacher.parquet -o mined.parquet --teacher";
    folder.run(&format!("{mine} train.run.parquet")).fails(&[
        "train.run.parquet",
        "has no score for",
        "; hint: let the teacher score",
    ]);
    folder.run(&format!("{mine} dev.run.parquet")).fails(&["dev.run.parquet", "train.qrels.parquet"]);
    assert!(!folder.path("model").exists() && !folder.path("mined.parquet").exists());
}

#[test]
fn options_that_do_not_go_together_are_wrong_usage() {
    let folder = Folder::made();
    let usage = |method: &str, options: &str, text: &str| {
        folder.run(&line(method, &format!("{options} -o model"))).fails_as_wrong_usage(&[text]);
    };
    for temperature in ["0", "-1", "NaN", "inf", "warm"] {
        let options = format!("--loss infonce --temperature={temperature}");
        usage("inbatch", &options, "expected a number above 0, such as 0.05");
    }
    for loss in ["marginmse", "kl"] {
        for method in ["inbatch", "randneg"] {
            usage(
                method,
                &format!("--loss {loss}"),
                "learns from a teacher's scores of hard negatives, which only star has",
            );
        }
    }
    usage("adore", "--embeddings still.arrow --loss kl", "which only star has");
    let star = "--negatives train.negatives.parquet";
    usage(
        "star",
        &format!("{star} --teacher train.run.parquet"),
        "--teacher is for marginmse and kl, not for softplus",
    );
    usage("inbatch", "--symmetric", "--symmetric is for infonce, not for softplus");
    usage("adore", "--embeddings still.arrow --loss infonce --symmetric", "adore has retrieved lists");
    usage("adore", "--embeddings still.arrow --loss infonce --metric-cut 9", "--metric-cut is for softplus");
    usage("inbatch", "--loss infonce --teacher-temperature 2", "--teacher-temperature is for kl, not for infonce");
    usage(
        "inbatch",
        "--loss hinge",
        "[possible values: softplus, infonce, marginmse, kl, weighted, list, unmasked-list, pair, lambda]",
    );
    usage("inbatch", "--similarity euclid", "expected dot or cosine");
    usage("inbatch", "--dimensions 0,8", "0");
    usage("inbatch", "--schedule steps", "[possible values: linear, cosine, constant]");
    usage("inbatch", "--freeze head", "expected embeddings or layers:N");
    usage("inbatch", "--weight-decay=-1", "expected a number from 0");
    usage("inbatch", "--max-gradient-norm 0", "expected a number above 0");
    usage("inbatch", "--accumulate 0", "0");
    usage("inbatch", "--chunk-size 3 --chunk-tokens 9", "cannot be used with");
}

#[test]
fn what_does_not_fit_the_model_is_refused() {
    let folder = collection();
    let refused = |method: &str, options: &str, texts: &[&str]| {
        folder.run(&line(method, &format!("{options} --steps 1 -o model"))).arg("-q").fails(texts);
    };
    refused(
        "inbatch",
        "--dimensions 16,64",
        &["--dimensions: 64 is more than the 32 dimensions of the model's vectors"],
    );
    refused("inbatch", "--freeze layers:3", &["--freeze: layers:3, but the model has 2 layers"]);
    refused("inbatch", "--freeze layers:2", &["--freeze: leaves nothing of the model to train"]);
    // Documents of an inner-product model have any length.
    let adore = "--embeddings still.arrow --similarity cosine --loss infonce";
    refused("adore", adore, &["still.arrow: id ", "expected 1, since the model compares by the cosine", "; hint: "]);
    assert!(!folder.path("model").exists());
}

#[test]
fn softplus_of_cosines_asks_for_a_temperature() {
    let folder = collection();
    let told = |options: &str| {
        let output = format!("{options} --steps 1 -o model");
        folder.run(&line("inbatch", &output)).ok().stderr.contains("hint: --temperature 0.05")
    };
    assert!(told("--similarity cosine"));
    assert!(!told("--similarity cosine --temperature 0.05"));
    assert!(!told("--similarity cosine --loss infonce"));
    assert!(!told("--similarity dot"));
}

#[test]
fn what_is_frozen_keeps_its_bytes() {
    let folder = collection();
    let tensors = |path: &Path| {
        let bytes = std::fs::read(path.join("model.safetensors")).unwrap();
        let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let of = |(name, view): (String, safetensors::tensor::TensorView)| (name, view.data().to_vec());
        tensors.tensors().into_iter().map(of).collect::<std::collections::BTreeMap<_, _>>()
    };
    let before = tensors(&folder.path("still"));
    for (part, frozen) in [("embeddings", "embeddings."), ("layers:1", "encoder.layer.0.")] {
        let options = format!("--freeze {part} --schedule constant --weight-decay 0.5 --steps 3 -o {part}");
        folder.run(&line("inbatch", &options)).ok();
        let after = tensors(&folder.path(part));
        for (name, bytes) in &after {
            let is_frozen = name.starts_with("embeddings.") || name.starts_with(frozen);
            // The true gradient of the key's bias is zero, and it does not decay.
            if !name.ends_with("key.bias") {
                assert_eq!(&before[name] == bytes, is_frozen, "--freeze {part}: {name}");
            }
        }
    }
}

#[test]
fn batches_that_are_accumulated_make_one_step() {
    let folder = collection();
    // 150 queries are 5 batches of 30 in an epoch: 2 epochs are 4 updates, of 3, 3, 3 and 1 batches.
    let line = line("inbatch", "--accumulate 3 --epochs 2 --schedule constant -o model");
    folder.run(&line.replace("--warmup-steps 2", "--warmup-steps 0")).ok();
    let log = log(&folder, "model");
    assert_eq!(log.i64s("step"), [0, 1, 2, 3]);
    let epochs = log.f32s("epoch");
    assert!(
        epochs.iter().zip([0.6, 1.2, 1.8, 2.0]).all(|(found, expected)| (found - expected).abs() < 1e-6),
        "{epochs:?}"
    );
    assert_eq!(log.f32s("learning_rate"), [1e-3; 4]);
    assert_eq!(log.rows.column_by_name("mrr_10").unwrap().null_count(), 4);
}
