//! `train --dev-queries`: the curve, which model is written, and what a run leaves behind beside the model.

use std::os::unix::process::ExitStatusExt;

use arrow::array::{Array, AsArray};
use arrow::datatypes::Float64Type;
use serde_json::Value;

use crate::common::{Folder, Records, TRAINING, Terminal};

const DEV: &str = "--dev-queries dev.tokens.arrow --dev-qrels qrels.dev.small.tsv";
const SMALL: &str = "--batch-size 30 --warmup-steps 2 --optimizer adamw --learning-rate 1e-3";
/// Steps so large that nothing but harm comes of them.
const HARM: &str = "--batch-size 30 --warmup-steps 0 --optimizer adamw --learning-rate 0.3";

/// What `train adore` needs of a made folder.
fn adore() -> String {
    TRAINING.replace("--max-doc-length 32", "--embeddings docs.arrow --top-k 30")
}

/// The log of the model folder `model`.
fn log(folder: &Folder, model: &str) -> Records {
    Records::open(&folder.path(&format!("{model}/training-log.parquet")))
}

/// Number of steps and value of all measurements but the start's.
fn curve(log: &Records) -> Vec<(i64, f64)> {
    let values = log.rows.column_by_name("dev").unwrap().as_primitive::<Float64Type>().clone();
    let steps = log.i64s("step").into_iter().map(|step| step + 1);
    steps.zip(values.iter()).filter_map(|(step, value)| Some((step, value?))).collect()
}

fn start(log: &Records) -> f64 {
    log.metadata["hardmine.dev_start"].parse().unwrap()
}

/// What `score` says of `model` on the dev queries, each command run by itself.
fn scored(folder: &Folder, model: &str, docs: Option<&str>, query_length: usize, metric: &str) -> f64 {
    let docs = docs.map(str::to_owned).unwrap_or_else(|| {
        folder.run(&format!("embed --model {model} --max-length 32 docs.tokens.arrow -o by-hand.docs.arrow")).ok();
        "by-hand.docs.arrow".into()
    });
    folder
        .sh(&format!(
            "embed --model {model} --max-length {query_length} dev.tokens.arrow | rank --index {docs} --top-k 1000 \
             | remap-ids --to official --queries dev.tokens.arrow --docs docs.tokens.arrow -o by-hand.run.parquet"
        ))
        .ok();
    let done =
        folder.run(&format!("score --qrels qrels.dev.small.tsv -m {metric} --format json by-hand.run.parquet")).ok();
    let scores: Value = serde_json::from_str(done.text()).unwrap();
    scores[0]["value"].as_f64().unwrap()
}

#[track_caller]
fn assert_same(found: f64, expected: f64) {
    assert!((found - expected).abs() < 1e-12, "{found} is not {expected}");
}

#[test]
fn the_curve_is_what_score_says_of_the_start_and_of_the_model() {
    let folder = Folder::made();
    let adore = adore();
    for (method, inputs, options, metric) in [
        ("inbatch", TRAINING, "", "nDCG@10"),
        ("randneg", TRAINING, "--chunk-size 7", "MAP"),
        ("adore", &adore, "", "MRR@10"),
    ] {
        let dev = format!("{DEV} --dev-metric {metric} --evaluate-every 4 --keep last");
        let done = folder.run(&format!("train {method} {inputs} {SMALL} {options} {dev} --steps 6 -o {method}")).ok();
        let log = log(&folder, method);
        let (docs, length) = if method == "adore" { (Some("docs.arrow"), 64) } else { (None, 24) };
        assert_same(start(&log), scored(&folder, "bert", docs, length, metric));
        let curve = curve(&log);
        assert_eq!(curve.iter().map(|(step, _)| *step).collect::<Vec<_>>(), [4, 6], "{method}");
        assert_same(curve[1].1, scored(&folder, method, docs, length, metric));
        assert_eq!(log.metadata["hardmine.dev_metric"], metric);
        assert_eq!(log.metadata["hardmine.dev_step"], "6");
        let (start, at_4) = (start(&log), curve[0].1);
        done.check(
            done.stderr.contains(&format!("step 0 of 6: dev {metric} {start:.4} (60 queries")),
            "should say the start",
        );
        let line = format!("step 4 of 6: dev {metric} {at_4:.4} ({:+.4})", at_4 - start);
        done.check(done.stderr.contains(&line), "should say the value and the difference");
    }
}

#[test]
fn the_lines_of_the_curve_stand_above_the_progress_bar() {
    let folder = Folder::made();
    let line = format!("train inbatch {TRAINING} {SMALL} {DEV} --steps 8 --evaluate-every 2 -o model");
    let (done, shown) = folder.run(&line).on_terminal(&[Terminal::Stderr]);
    done.check(done.code == Some(0), "should succeed");
    // What the terminal shows on one line: a carriage return or "erase line" begins it anew.
    let lines: Vec<&str> = shown.split(['\n', '\r']).flat_map(|line| line.split("\x1b[2K")).collect();
    let measured: Vec<&&str> = lines.iter().filter(|line| line.contains(": dev nDCG@10 ")).collect();
    assert_eq!(measured.len(), 5, "{shown:?}");
    assert!(measured.iter().all(|line| !line.contains(" queries, ")), "{measured:?}");
}

#[test]
fn the_best_model_is_written() {
    let folder = Folder::made();
    let fast = SMALL.replace("1e-3", "1e-2");
    let line = format!("train inbatch {TRAINING} {fast} {DEV} --dev-metric MRR@10 --steps 12 --evaluate-every 1");
    folder.run(&format!("{line} -o best")).ok();
    folder.run(&format!("{line} --keep last -o last")).ok();
    let (best, last) = (log(&folder, "best"), log(&folder, "last"));
    assert_eq!(curve(&best), curve(&last));
    let points = curve(&best);
    let highest = points.iter().map(|point| point.1).fold(start(&best), f64::max);
    let earliest = points.iter().find(|point| point.1 == highest).map_or(0, |point| point.0);
    assert!(0 < earliest && earliest < 12, "there is nothing to choose from: {points:?}");
    assert_eq!(best.metadata["hardmine.dev_step"], earliest.to_string());
    assert_eq!(last.metadata["hardmine.dev_step"], "12");
    assert_same(scored(&folder, "best", None, 24, "MRR@10"), highest);
    assert_same(scored(&folder, "last", None, 24, "MRR@10"), points[11].1);
}

#[test]
fn training_that_does_harm_is_stopped_and_leaves_the_start() {
    let folder = Folder::made();
    let line = format!("train inbatch {TRAINING} {HARM} {DEV} --evaluate-every 1");
    let done = folder.run(&format!("{line} --steps 40 --patience 3 -o model")).ok();
    let log = log(&folder, "model");
    assert_eq!(curve(&log).len(), 3, "{:?}", curve(&log));
    assert_eq!(log.metadata["hardmine.dev_step"], "0");
    done.check(done.stderr.contains("stopped at step 3 of 40"), "should say that it stopped");
    done.check(done.stderr.contains("no step was better on dev than the start"), "should say what was written");
    assert_same(scored(&folder, "model", None, 24, "nDCG@10"), start(&log));
    let done = folder.run(&format!("{line} --steps 2 --keep last -o last")).ok();
    done.check(done.stderr.contains("no better on dev than its start"), "should say that training did not help");
}

#[test]
fn an_interrupted_run_has_the_same_curve_and_the_same_model() {
    let folder = Folder::made();
    let line = |output: &str| {
        format!(
            "train inbatch {TRAINING} {SMALL} {DEV} --steps 60 --evaluate-every 7 --save-every 5 --tensorboard -o {output}"
        )
    };
    folder.run(&line("whole")).ok();
    let mut child = folder.run(&line("parts")).start();
    let checkpoint = folder.path("parts.checkpoint");
    // After the third checkpoint there is a best model in it, which is not the one of the last step.
    let mut seen = std::collections::HashSet::new();
    while seen.len() < 3 {
        assert!(child.try_wait().unwrap().is_none(), "it ended before there were checkpoints");
        seen.extend(checkpoint.metadata().ok().map(|file| std::os::unix::fs::MetadataExt::ino(&file)));
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    child.kill().unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGKILL));
    // Another way to choose a model is another run.
    folder.run(&line("parts")).args(["--keep", "last"]).fails(&["parts.checkpoint", "other settings"]);
    let done = folder.run(&line("parts")).ok();
    done.check(done.stderr.contains("went on at step"), "should say that it goes on");
    done.check(!done.stderr.contains("step 0 of 60"), "should not measure the start again");
    assert_eq!(curve(&log(&folder, "parts")), curve(&log(&folder, "whole")));
    for file in ["model.safetensors", "README.md", EVENTS] {
        let [parts, whole] = ["parts", "whole"].map(|name| folder.read(&format!("{name}/{file}")));
        assert!(parts == whole, "{file} differs");
    }
}

#[test]
fn some_of_the_documents_are_enough() {
    let folder = Folder::made();
    let line = format!("train inbatch {TRAINING} {SMALL} {DEV} --steps 2 --dev-docs 20");
    let done = folder.run(&format!("{line} -o model")).ok();
    let judged: std::collections::HashSet<String> =
        folder.text("qrels.dev.small.tsv").lines().map(|line| line.split('\t').nth(2).unwrap().to_owned()).collect();
    let all = judged.len() + 20;
    let said = format!("(60 queries among {all} of 300 documents, the judged ones and some drawn at random)");
    done.check(done.stderr.contains(&said), "should say how many documents there are");
    assert!(start(&log(&folder, "model")) > scored(&folder, "bert", None, 24, "nDCG@10"));
    // ADORE searches the same documents among the vectors that it has.
    folder.run("embed --model bert --max-length 32 docs.tokens.arrow -o cut.arrow").ok();
    let adore = adore().replace("docs.arrow", "cut.arrow");
    folder
        .run(&format!("train adore {adore} {SMALL} {DEV} --steps 2 --dev-docs 20 --max-query-length 24 -o adore"))
        .ok();
    assert_same(start(&log(&folder, "adore")), start(&log(&folder, "model")));
}

#[test]
fn dev_queries_that_are_trained_on_are_counted() {
    let folder = Folder::made();
    let dev = "--dev-queries train.tokens.arrow --dev-qrels train.qrels.parquet";
    let done = folder.run(&format!("train inbatch {TRAINING} {SMALL} {dev} --steps 1 -o model")).ok();
    let queries = folder.text("queries.train.tsv").lines().count();
    let said = format!("{queries} of {queries} dev queries have the ids of training queries");
    done.check(done.stderr.contains(&said), "should count them");
    // Queries of the same file that no judgement trains on are not.
    let halves = |wanted: usize| -> String {
        let text = folder.text("qrels.train.tsv");
        let query = |line: &&str| line.split('\t').next().unwrap().parse::<usize>().unwrap() % 2 == wanted;
        text.lines().filter(query).map(|line| format!("{line}\n")).collect()
    };
    folder.write("even.tsv", halves(0));
    folder.write("odd.tsv", halves(1));
    let inputs = TRAINING.replace("train.qrels.parquet", "even.tsv");
    let dev = "--dev-queries train.tokens.arrow --dev-qrels odd.tsv";
    let done = folder.run(&format!("train inbatch {inputs} {SMALL} {dev} --steps 1 -o model")).ok();
    done.check(!done.stderr.contains("training queries"), "should find no leak");
}

#[test]
fn dev_queries_that_cannot_be_measured_are_refused_before_training() {
    let folder = Folder::made();
    let line = |options: &str| folder.run(&format!("train inbatch {TRAINING} {SMALL} {options} --steps 1 -o model"));
    for (options, said) in [
        ("--dev-queries dev.tokens.arrow", "--dev-qrels"),
        ("--dev-qrels qrels.dev.small.tsv", "--dev-queries"),
        ("--patience 3", "--dev-queries"),
        ("--keep best", "--dev-queries"),
        ("--dev-docs 3", "--dev-queries"),
        (&format!("{DEV} --evaluate-every 0"), "--evaluate-every"),
        (&format!("{DEV} --dev-metric F1@10"), "unknown metric"),
    ] {
        line(options).fails_as_wrong_usage(&[said]);
    }
    let dev = |qrels: &str| format!("--dev-queries dev.tokens.arrow --dev-qrels {qrels}");
    folder.write("none.tsv", "1\t0\t4\t0\n");
    folder.write("gone.tsv", folder.text("qrels.dev.small.tsv") + "1\t0\tgone\t1\n");
    line(&dev("qrels.train.tsv")).fails(&["qrels.train.tsv: row ", "is not a key of dev.tokens.arrow"]);
    line(&dev("train.qrels.parquet")).fails(&["train.qrels.parquet", "dev.tokens.arrow"]);
    line(&dev("docs.arrow")).fails(&["docs.arrow: expected qrels"]);
    line(&dev("gone.tsv")).fails(&["gone.tsv: row "]);
    line(&dev("no.tsv")).fails(&["no.tsv"]);
    assert!(!folder.path("model").exists());
}

#[test]
fn the_model_card_says_where_the_model_came_from() {
    let folder = Folder::made();
    std::fs::create_dir_all(folder.path("hub/models--some--model/snapshots")).unwrap();
    folder.copy_model("bert", "hub/models--some--model/snapshots/0123abcd");
    let prompts = r#"{ "prompts": { "query": "search for: ", "document": "" } }"#;
    folder.write("hub/models--some--model/snapshots/0123abcd/config_sentence_transformers.json", prompts);
    let start_model = "hub/models--some--model/snapshots/0123abcd";
    for (texts, tokens) in
        [("queries.train.tsv", "prompted.train.arrow"), ("queries.dev.small.tsv", "prompted.dev.arrow")]
    {
        folder.run(&format!("tokenize --tokenizer {start_model} --kind query {texts} -o {tokens}")).ok();
    }
    let inputs = TRAINING.replace("--init bert", &format!("--init {start_model}"));
    let inputs = inputs.replace("train.tokens.arrow", "prompted.train.arrow");
    let dev = DEV.replace("dev.tokens.arrow", "prompted.dev.arrow");
    let options = "--loss infonce --temperature 0.05 --chunk-size 16 --max-gradient-norm inf";
    let line = format!("train inbatch {inputs} {SMALL} {options} {dev} --steps 4 --evaluate-every 2 -o model");
    folder.run(&line).ok();
    let (card, log) = (folder.text("model/README.md"), log(&folder, "model"));
    let digest = &log.metadata["hardmine.model"];
    for part in [
        "---\nlibrary_name: sentence-transformers\n",
        "\nbase_model: some/model\n",
        "\n- sentence-transformers\n",
        "from `some/model` by `train inbatch`",
        "encode_query",
        &format!("| this model | digest `{digest}` |"),
        "| documents | 300, fingerprint of the ids `",
        "| dev queries | 60, fingerprint",
        "| vectors are compared by | dot |",
        "| batch size | 30 |",
        "| loss | infonce |",
        "| temperature | 0.05 |",
        "| optimizer | adamw |",
        "| learning rate | 0.001 |",
        "| max gradient norm | inf |",
        "| chunk size | 16 |",
        "| max doc length | 32 |",
        "| precision | f32 |",
        "\n    train inbatch --init 0123abcd --queries prompted.train.arrow",
        &format!("| 0 | {:.4} | +0.0000 |", start(&log)),
    ] {
        assert!(card.contains(part), "{part} is not in\n{card}");
    }
    assert!(!card.contains(&folder.path("").display().to_string()), "{card}");
    // The card is no part of the model, and the next run may replace it.
    folder.run("embed --model model prompted.dev.arrow -o by-model.arrow").ok();
    assert_eq!(&Records::open(&folder.path("by-model.arrow")).metadata["hardmine.model"], digest);
    folder.run(&line).ok();
    assert_eq!(folder.text("model/README.md"), card);

    // A plain start has no name on the hub, and what ADORE trains encodes queries only.
    folder.run(&format!("train adore {} {SMALL} --steps 1 -o adore", adore())).ok();
    let card = folder.text("adore/README.md");
    assert!(!card.contains("base_model") && !card.contains("encode_query") && card.contains("from `bert`"), "{card}");
    assert!(card.contains("encodes queries only") && !card.contains("## On the dev queries"), "{card}");
    assert!(card.contains("| top k | 30 |") && !card.contains("| max doc length |"), "{card}");
}

/// The event file of TensorBoard.
const EVENTS: &str = "events.out.tfevents.0.hardmine";

#[test]
fn the_event_file_has_a_record_for_each_step_and_one_for_the_start() {
    let folder = Folder::made();
    folder.run(&format!("train inbatch {TRAINING} {SMALL} {DEV} --steps 5 --tensorboard -o model")).ok();
    let file = folder.read(&format!("model/{EVENTS}"));
    let (mut rest, mut records) = (&file[..], Vec::new());
    while !rest.is_empty() {
        let length = u64::from_le_bytes(rest[..8].try_into().unwrap()) as usize;
        records.push(&rest[12..12 + length]);
        rest = &rest[12 + length + 4..];
    }
    assert_eq!(records.len(), 1 + 1 + 5);
    assert!(records[0].ends_with(b"brain.Event:2"));
    // In each event the tag of a scalar is followed by its value: field 2, four bytes.
    let value = |record: &[u8], tag: &str| {
        let at = record.windows(tag.len()).position(|part| part == tag.as_bytes())? + tag.len();
        assert_eq!(record[at], 2 << 3 | 5);
        Some(f32::from_le_bytes(record[at + 1..at + 5].try_into().unwrap()))
    };
    let log = log(&folder, "model");
    assert_eq!(value(records[1], "dev/nDCG@10"), Some(start(&log) as f32));
    let of_steps = |tag: &str| records[2..].iter().map(|record| value(record, tag)).collect::<Vec<_>>();
    assert_eq!(of_steps("train/loss"), log.f32s("loss").into_iter().map(Some).collect::<Vec<_>>());
    assert_eq!(of_steps("train/learning_rate"), log.f32s("learning_rate").into_iter().map(Some).collect::<Vec<_>>());
    let dev = log.rows.column_by_name("dev").unwrap().as_primitive::<Float64Type>().clone();
    assert_eq!(of_steps("dev/nDCG@10"), dev.iter().map(|value| Some(value? as f32)).collect::<Vec<_>>());
    assert_eq!(dev.null_count(), 0, "a tenth of five steps is one at least");
    // Without the option there is none, and the next run may replace the folder.
    folder.run(&format!("train inbatch {TRAINING} {SMALL} --steps 1 -o model")).ok();
    assert!(!folder.path(&format!("model/{EVENTS}")).exists());
}
