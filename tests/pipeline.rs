//! The Makefile's rows on the fixture: all six, once, and then only what depends on a change.

use std::path::{Path, PathBuf};

use crate::common::{BINARIES, Command, Folder, Records};

const ROWS: [&str; 6] = ["inbatch-neg", "rand-neg", "star", "adore-inbatch-neg", "adore-rand-neg", "adore-star"];

/// A few steps of everything.
const SETTINGS: &str = "STEPS=4 ADORE_STEPS=3 BATCH_SIZE=16 ADORE_BATCH_SIZE=16 OPTIMIZER=adamw LEARNING_RATE=1e-3 \
    ADORE_LEARNING_RATE=1e-3 WARMUP_STEPS=1 ADORE_WARMUP_STEPS=1 TOP_K=100 NEGATIVES=20 MARGIN=10 ADORE_TOP_K=30 \
    PASSAGE_LENGTH=48 DOCUMENT_LENGTH=48 QUERY_LENGTH=24 ADORE_QUERY_LENGTH=24 TRAIN_PASSAGE_LENGTH=32 \
    TRAIN_DOCUMENT_LENGTH=32 TRAIN_QUERY_LENGTH=16";

/// A folder with a copy of the collection, and commands that keep a list of what was run.
struct Project {
    folder: Folder,
}

impl Project {
    fn new() -> Project {
        let folder = Folder::new();
        for name in ["bin", "data"] {
            std::fs::create_dir(folder.path(name)).unwrap();
        }
        for name in BINARIES {
            let real = Path::new(env!("CARGO_BIN_EXE_tokenize")).with_file_name(name);
            let list = folder.path("ran");
            let script =
                format!("#!/bin/sh\necho \"{name} $*\" >> '{}'\nexec '{}' \"$@\"\n", list.display(), real.display());
            folder.write(&format!("bin/{name}"), script);
        }
        for name in folder.names().into_iter().filter(|name| name.ends_with(".tsv") || name.ends_with(".txt")) {
            folder.write(&format!("data/{name}"), folder.read(&name));
        }
        folder.sh("chmod +x bin/*").ok();
        folder.copy_model("bert", "init");
        Project { folder }
    }

    /// Makes `goals` from the collection with the model `init`, without building anything.
    fn make(&self, goals: &str) -> Command {
        let at = |name: &str| self.folder.path(name).display().to_string();
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        self.folder.write("ran", "");
        let line = format!(
            "make -C '{}' --old-file=build BIN='{}' DATA='{}' INIT='{}' OUT='{}' DEVICE=cpu {SETTINGS} {goals}",
            root.display(),
            at("bin"),
            at("data"),
            at("init"),
            at("out")
        );
        // Our own make, not a job of the one that runs the tests.
        self.folder.sh(&line).without_env("MAKEFLAGS").without_env("MFLAGS").without_env("MAKELEVEL")
    }

    /// First words of the commands that the last make ran.
    fn ran(&self) -> Vec<String> {
        self.folder.text("ran").lines().map(|line| line.split(' ').next().unwrap().to_owned()).collect()
    }

    fn count(&self, command: &str) -> usize {
        self.ran().iter().filter(|name| *name == command).count()
    }

    fn touch(&self, name: &str) {
        // Make compares whole files' times; the next tick of the clock must be another one.
        std::thread::sleep(std::time::Duration::from_millis(20));
        self.folder.sh(&format!("touch {name}")).ok();
    }
}

/// The table among the lines that make printed.
fn shown(text: &str) -> String {
    text.lines().filter(|line| line.starts_with(['+', '|'])).map(|line| format!("{line}\n")).collect()
}

#[test]
fn all_rows_of_the_passage_table() {
    let project = Project::new();
    let folder = &project.folder;
    let done = project.make("-j2 passage").ok();
    assert_eq!(project.count("train"), 6);
    for row in ROWS {
        for file in [
            "models/ROW/model.safetensors",
            "models/ROW/training-log.parquet",
            "runs/ROW.dev.parquet",
            "metrics/ROW.test.parquet",
        ] {
            let name = format!("out/passage/{}", file.replace("ROW", row));
            assert!(folder.path(&name).exists(), "{name}");
        }
    }
    let table = folder.text("out/passage/table.tsv");
    let lines: Vec<Vec<&str>> = table.lines().map(|line| line.split('\t').collect()).collect();
    assert_eq!(lines.len(), 1 + ROWS.len(), "{table}");
    assert_eq!(lines[0][1..], ["MRR@10", "R@100", "nDCG@10"]);
    let names: Vec<&str> = lines[1..].iter().map(|line| line[0]).collect();
    let expected = ["Inbatch-Neg", "Rand-Neg", "STAR", "ADORE (Inbatch-Neg)", "ADORE (Rand-Neg)", "ADORE (STAR)"];
    assert_eq!(names, expected);
    assert_eq!(shown(done.text()).lines().count(), ROWS.len() + 4, "a frame, a header and the rows");
    for line in &lines[1..] {
        assert!(line[1..].iter().all(|value| (0.0..=1.0).contains(&value.parse::<f64>().unwrap())), "{line:?}");
    }
    // The table is what score says of the run.
    let run = folder.path("out/passage/runs/star.dev.parquet");
    let score = folder.run("score --format tsv -m MRR@10 --qrels qrels.dev.small.tsv").arg(run).ok();
    let value: f64 = score.text().trim().rsplit('\t').next().unwrap().parse().unwrap();
    let metrics = Records::open(&folder.path("out/passage/metrics/star.dev.parquet"));
    let mean = metrics.f64s("value").into_iter().zip(metrics.texts("metric")).rfind(|(_, metric)| metric == "MRR@10");
    assert_eq!(mean.unwrap().0, value);

    // A second time only the table is shown.
    let again = project.make("passage").ok();
    assert_eq!(project.ran(), ["sql"]);
    assert_eq!(shown(again.text()), shown(done.text()));
    project.make("passage-star passage-adore-star").ok();
    assert!(project.ran().is_empty(), "{:?}", project.ran());

    // Other dev judgements: other dev queries, runs and metrics, but no model and no document.
    project.touch("data/qrels.dev.small.tsv");
    project.make("passage").ok();
    assert_eq!((project.count("train"), project.count("mine-negatives")), (0, 0));
    assert_eq!((project.count("tokenize"), project.count("embed"), project.count("score")), (1, 6, 6));

    // Other negatives: STAR, and what came from it.
    project.touch("out/passage/negatives/train.parquet");
    project.make("passage").ok();
    assert_eq!((project.count("train"), project.count("mine-negatives"), project.count("tokenize")), (2, 0, 0));
    let trained: Vec<String> =
        folder.text("ran").lines().filter(|line| line.starts_with("train")).map(str::to_owned).collect();
    assert!(trained[0].starts_with("train star") && trained[1].starts_with("train adore"), "{trained:?}");
    // Two documents' and four queries' encodings are new: STAR's own, and the two rows' dev and test.
    assert_eq!(project.count("embed"), 5);
}

#[test]
fn a_row_of_the_document_table_with_a_roberta_dot() {
    let project = Project::new();
    let folder = &project.folder;
    std::fs::remove_dir_all(folder.path("init")).unwrap();
    folder.copy_model("dot", "init");
    let passages = folder.text("collection.tsv");
    let docs: String = passages
        .lines()
        .map(|line| {
            let (id, text) = line.split_once('\t').unwrap();
            let (title, body) = text.split_once(": ").unwrap_or((text, ""));
            format!("{id}\thttps://learn/{}\t{title}\t{body}\n", title.replace(' ', "/"))
        })
        .collect();
    folder.write("data/msmarco-docs.tsv", docs);
    for (from, to) in [
        ("queries.train.tsv", "msmarco-doctrain-queries.tsv"),
        ("qrels.train.tsv", "msmarco-doctrain-qrels.tsv"),
        ("queries.dev.small.tsv", "msmarco-docdev-queries.tsv"),
        ("qrels.dev.small.tsv", "msmarco-docdev-qrels.tsv"),
        ("2019qrels-pass.txt", "2019qrels-docs.txt"),
    ] {
        folder.write(&format!("data/{to}"), folder.read(from));
    }
    project.make("doc-adore-rand-neg").ok();
    let ran = folder.text("ran");
    assert_eq!(project.count("train"), 2, "{ran}");
    assert!(ran.contains("--compat transformers-2 --kind document"), "{ran}");
    let metrics = Records::open(&folder.path("out/doc/metrics/adore-rand-neg.dev.parquet"));
    assert!(metrics.texts("metric").contains(&"MRR@100".to_owned()));
}

#[test]
fn a_row_that_fails_leaves_no_target_behind() {
    let project = Project::new();
    let folder = &project.folder;
    let broken = folder.text("data/collection.tsv") + "a line without a tab\n";
    folder.write("data/collection.tsv", broken);
    let done = project.make("passage-inbatch-neg").done();
    done.check(done.code == Some(2), "make should fail");
    done.check(done.stderr.contains("collection.tsv: line 301: "), "should say why");
    assert!(!folder.path("out/passage/tokens/docs.arrow").exists());
    // Mended, it goes on.
    folder.write("data/collection.tsv", folder.read("collection.tsv"));
    project.make("passage-inbatch-neg").ok();
    assert!(folder.path("out/passage/metrics/inbatch-neg.dev.parquet").exists());
}
