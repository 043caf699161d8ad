//! The Makefile's rows on the fixture: all six, once, and then only what depends on a change.

use arrow::array::Array;

use crate::common::{Project, Records};

const ROWS: [&str; 6] = ["inbatch-neg", "rand-neg", "star", "adore-inbatch-neg", "adore-rand-neg", "adore-star"];

/// The table among the lines that make printed.
fn shown(text: &str) -> String {
    text.lines().filter(|line| line.starts_with(['+', '|'])).map(|line| format!("{line}\n")).collect()
}

#[test]
fn all_rows_of_the_passage_table() {
    let project = Project::new("bert");
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
    assert!(!done.text().contains("published"), "the paper's figures are about MS MARCO");
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

    // Each setting that decides what is in the files is kept with them, and no other value is passed over in silence.
    let unkept = [
        "OUT",
        "DEVICE",
        "CLUSTER",
        "SHARD_ROWS",
        "CHUNK_SIZE",
        "MSMARCO",
        "TREC",
        "MSMARCO_ROWS",
        "STAR",
        "ADORE_STAR",
        "TABLE_ROWS",
    ];
    let unkept = [&unkept[..], &["PAPER", "PUBLISHED", "DOCUMENT_LENGTH", "TRAIN_DOCUMENT_LENGTH"]].concat();
    // These are of rows that were not made here.
    let unkept = [&unkept[..], &["BM25_K1", "BM25_B", "FUSION"]].concat();
    let codes = ["PQ_M", "M", "INDEX_THREADS", "JPQ", "JPQ_INDEX", "LAMBDA_CUT"];
    let of_codes = |name: &str| codes.contains(&name) || name.starts_with("JPQ_") || name.starts_with("CONC_");
    // These say how to do what DEV_EVERY asks for, and are kept with it.
    let unkept = [&unkept[..], &["DEV_EVERY", "DEV_METRIC", "DEV_DOCS", "KEEP", "PATIENCE"]].concat();
    // These choose what the report shows.
    let unkept = [&unkept[..], &["BASELINE", "COMPARE"]].concat();
    // One more round changes none of those before.
    let unkept = [&unkept[..], &["ROUNDS"]].concat();
    let settings =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/lib/experiments/settings.mk")).unwrap();
    let names = settings.lines().filter_map(|line| line.split_once(" ?=")).map(|(name, _)| name);
    let kept: Vec<&str> = names.filter(|name| !unkept.contains(name) && !of_codes(name)).collect();
    assert!(kept.contains(&"COMPAT") && kept.contains(&"SEED"), "{kept:?}");
    for name in kept {
        let done = project.make(&format!("-n passage {name}=7")).done();
        done.check(done.code == Some(2), "should refuse");
        done.check(done.stderr.contains(" was made with ") && done.stderr.contains(&format!("{name}=7; hint: ")), name);
    }
    project.make("table BATCH_SIZE=7").ok();
}

#[test]
fn models_are_measured_on_training_queries_that_are_held_out() {
    let project = Project::new("bert");
    let folder = &project.folder;
    let rows = "ROWS='inbatch-neg adore-inbatch-neg'";
    let goals = format!("passage {rows} DEV_EVERY=2 DEV_METRIC=MRR@10 DEV_DOCS=20 KEEP=last PATIENCE=5");
    let done = project.make(&goals).ok();
    // The curve of one row has 0, 2 and 4 steps, and that of the other 0, 2 and 3.
    let shown = shown(done.text());
    let curves: Vec<&str> = shown.lines().skip_while(|line| !line.contains("MRR@10 on held-out")).collect();
    assert_eq!(curves.len(), 1 + 1 + 4 + 1, "a header, a line below it, the numbers of steps and a frame: {curves:?}");
    let [trained, held_out, all] = ["trained", "held-out", "train"]
        .map(|name| Records::open(&folder.path(&format!("out/passage/qrels/{name}.parquet"))).i64s("query_id"));
    assert!(held_out.iter().all(|query| query % 10 == 9) && trained.iter().all(|query| query % 10 != 9));
    assert_eq!(trained.len() + held_out.len(), all.len());
    for row in ["inbatch-neg", "adore-inbatch-neg"] {
        let log = Records::open(&folder.path(&format!("out/passage/models/{row}/training-log.parquet")));
        assert_eq!(log.metadata["hardmine.dev_metric"], "MRR@10", "{row}");
        assert_eq!(log.rows.column_by_name("dev").unwrap().null_count(), log.len() - 2, "{row}");
        let done = project.make(&goals.replace("DEV_EVERY=2", "")).done();
        done.check(done.code == Some(2) && done.stderr.contains("was made with DEV_EVERY=2"), "should refuse");
    }
    project.make(&goals).ok();
    assert_eq!(project.ran(), ["sql", "sql"], "the table and the curves");
}

#[test]
fn bm25_and_the_rows_that_begin_with_it() {
    let project = Project::new("bert");
    let folder = &project.folder;
    // It needs no model.
    folder.sh("mv init away").ok();
    project.make("passage-bm25").ok();
    assert_eq!(project.ran(), ["index", "rank", "score", "rank", "score"]);
    folder.sh("mv away init").ok();

    let rows = "TABLE_ROWS='bm25 bm25-neg bm25-neg+bm25' ROWS=";
    project.make(&format!("passage {rows}")).ok();
    assert_eq!((project.count("index"), project.count("train")), (0, 1));
    assert!(
        folder.text("ran").lines().any(|line| line.starts_with("train star") && line.contains("lexical/negatives"))
    );
    let table = folder.text("out/passage/table.tsv");
    let names: Vec<&str> = table.lines().skip(1).map(|line| line.split('\t').next().unwrap()).collect();
    assert_eq!(names, ["BM25", "BM25-Neg", "BM25-Neg + BM25"], "{table}");
    let weight = Records::open(&folder.path("out/passage/fusion/bm25-neg.weight.parquet")).f64s("weight");
    assert!(weight.len() == 1 && (0.0..=1.0).contains(&weight[0]), "{weight:?}");
    project.make(&format!("passage {rows}")).ok();
    assert_eq!(project.ran(), ["sql"]);

    // STAR can start from it, and other settings are not passed over in silence.
    let model = folder.path("out/passage/models/bm25-neg");
    let done = project.make(&format!("-n passage-star INIT_STAR={}", model.display())).ok();
    assert!(done.text().contains("models/warm-up --docs") && !done.text().contains("train randneg"), "{}", done.text());
    for setting in ["BM25_K1=7", "BM25_B=1", "FUSION=rrf", "HARD_NUM=7"] {
        let done = project.make(&format!("-n passage {rows} {setting}")).done();
        done.check(done.code == Some(2) && done.stderr.contains(&format!("{setting}; hint: ")), "should refuse");
    }
    folder.sh("rm -r out/passage/fusion out/passage/runs/bm25-neg+bm25.*").ok();
    project.make(&format!("passage {rows} FUSION=rrf")).ok();
    assert_eq!((project.count("embed"), project.count("rank")), (0, 0), "reciprocal ranks have no weight to choose");
}

#[test]
fn documents_as_codes_have_rows_and_a_table() {
    let project = Project::new("bert");
    let folder = &project.folder;
    let settings = "PQ_M='16 8' JPQ_STEPS=2 JPQ_BATCH_SIZE=16 JPQ_TOP_K=30 CONC_STEPS=2 CONC_BATCH_SIZE=16 CONC_DOC_LENGTH=32 \
                    CONC_JPQ_STEPS=2 CONC_JPQ_BATCH_SIZE=16 CONC_EPSILON=0.5";
    let done = project.make(&format!("passage-compressed {settings}")).ok();
    let ran = folder.text("ran");
    for (command, times) in [("train jpq", 4), ("train repconc", 2), ("train star", 1), ("index", 4)] {
        assert_eq!(ran.lines().filter(|line| line.starts_with(command)).count(), times, "{command}: {ran}");
    }
    let table = folder.text("out/passage/compressed.tsv");
    let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split('\t').take(2).collect()).collect();
    let of =
        |bytes: &'static str| ["OPQ ", "JPQ ", "RepCONC "].map(|method| [format!("{method}{bytes}"), bytes.into()]);
    let expected =
        [vec![["row", "bytes a document"].map(String::from)], vec![["STAR, whole", "128"].map(String::from)]];
    let expected = [expected.concat(), of("16").to_vec(), of("8").to_vec()].concat();
    assert_eq!(rows, expected, "{table}");
    assert!(shown(done.text()).contains("| RepCONC 16  | 16"), "{}", done.text());

    // Nothing is made twice, and no other setting is passed over in silence.
    project.make(&format!("passage-compressed {settings}")).ok();
    assert_eq!(project.ran(), ["sql"]);
    for (setting, model) in
        [("LAMBDA_CUT=7", "jpq-16"), ("CONC_ITERATIONS=7", "conc-16"), ("CONC_JPQ_LEARNING_RATE=7", "repconc-16")]
    {
        let done = project.make(&format!("-n passage-compressed {settings} {setting}")).done();
        let text = format!("models/{model} was made with ");
        done.check(done.code == Some(2) && done.stderr.contains(&text), "should refuse");
        done.check(done.stderr.contains(&format!("{setting}; hint: ")), "should name the setting");
    }
    // Other bytes are more rows, of the same STAR.
    let more = project.make(&format!("-n passage-jpq-32 {settings} PQ_M=32")).ok();
    assert!(more.text().contains("OPQ32,IVF1,PQ32x8np") && !more.text().contains("train star"), "{}", more.text());

    // What the authors left can be scored, without our provenance.
    let model = folder.path("out/passage/models/jpq-16");
    let at = format!("JPQ='{}' JPQ_INDEX='{}/index.faiss' M=16", model.display(), model.display());
    let done = project.make(&format!("reproduce-passage-jpq {settings} COMPAT= {at}")).ok();
    assert!(shown(done.text()).contains("JPQ 16") && shown(done.text()).contains("0.273"), "{}", done.text());
    let done = project.make(&format!("reproduce-passage-jpq {settings} COMPAT=")).done();
    done.check(done.code == Some(2) && done.stderr.contains("JPQ=folder"), "should say what is missing");
}

#[test]
fn rounds_of_mining_go_on_from_each_other() {
    let project = Project::new("bert");
    let folder = &project.folder;
    let rules = "NEGATIVES_RULES='--relative-margin 0.05 --skip-first 1'";
    let done = project.make(&format!("passage-ance ROUNDS=2 {rules}")).ok();
    let ran = folder.text("ran");
    assert_eq!((project.count("train"), project.count("mine-negatives")), (3, 2), "{ran}");
    let trained: Vec<&str> = ran.lines().filter(|line| line.starts_with("train star")).collect();
    for (line, parts) in trained.iter().zip([
        ["models/rand-neg ", "negatives/ance-1.parquet", "-o", "models/ance-1"],
        ["models/ance-1 ", "negatives/ance-2.parquet", "-o", "models/ance-2"],
    ]) {
        assert!(parts.iter().all(|part| line.contains(part)), "{line}");
    }
    let mined: Vec<&str> = ran.lines().filter(|line| line.starts_with("mine-negatives")).collect();
    assert!(mined.iter().all(|line| line.contains("--relative-margin 0.05 --skip-first 1")), "{mined:?}");
    assert!(mined[1].contains("--compare") && !mined[0].contains("--compare"), "{mined:?}");
    assert_eq!(ran.lines().filter(|line| line.starts_with("rank") && line.contains("--pairs")).count(), 2);
    let table = shown(done.text());
    assert_eq!(table.lines().count(), 2 + 4, "{table}");
    assert!(table.contains("| ance-1 | 0.") && table.contains("of the round before"), "{table}");

    // Its files are all there, and what was mined is told.
    for name in ["negatives/ance-2.report.parquet", "negatives/ance-2.positives.parquet", "metrics/ance-2.test.parquet"]
    {
        assert!(folder.path(&format!("out/passage/{name}")).exists(), "{name}");
    }
    assert!(!folder.path("out/passage/negatives/ance-2.queries.arrow").exists());
    let settings = folder.text("out/passage/negatives.settings");
    assert!(settings.contains("NEGATIVES_RULES=--relative-margin␣0.05␣--skip-first␣1"), "{settings}");
    let done = project.make("passage-ance ROUNDS=2").done();
    done.check(done.code == Some(2), "should refuse");
    done.check(done.stderr.contains("negatives was made with NEGATIVES_RULES="), "should name the rules");
    // Another round is one more, and STAR is not the first round's model under another name.
    project.make(&format!("passage-ance ROUNDS=3 {rules}")).ok();
    assert_eq!((project.count("train"), project.count("mine-negatives")), (1, 1));
}

#[test]
fn a_sweep_mines_by_each_of_its_rules() {
    let project = Project::new("bert");
    let line = project.line("").replace("--old-file=build", "-n -f lib/experiments/rules.mk TASK=quickstart-mining");
    let at = format!("{line} QUICKSTART='{}' quickstart-mining-sweep", project.folder.path("out").display());
    std::fs::create_dir_all(project.folder.path("out")).unwrap();
    let done = project.folder.sh(&at).without_env("MAKEFLAGS").without_env("MFLAGS").without_env("MAKELEVEL").ok();
    let commands = done.text().replace("\\\n", " ");
    let mined: Vec<&str> = commands.lines().filter(|line| line.contains("mine-negatives")).collect();
    assert_eq!(mined.len(), 4, "{mined:?}");
    for rules in ["--relative-margin 0.05", "--relative-margin 0.1", "--sample random --depth 200"] {
        assert_eq!(mined.iter().filter(|line| line.contains(rules)).count(), 1, "{rules}: {mined:?}");
    }
    assert_eq!(commands.lines().filter(|line| line.contains("train star")).count(), 4);
}

#[test]
fn a_model_of_other_settings_is_neither_used_nor_lost() {
    let project = Project::new("bert");
    let folder = &project.folder;
    project.make("passage-inbatch-neg").ok();
    let model = folder.read("out/passage/models/inbatch-neg/model.safetensors");
    let refused = |what: &str| {
        let done = project.make("passage-inbatch-neg STEPS=5").done();
        done.check(done.code == Some(2), "should refuse");
        done.check(done.stderr.contains("/models/inbatch-neg was made with STEPS=4, now STEPS=5; hint: "), what);
        assert!(project.ran().is_empty(), "{:?}", project.ran());
    };
    refused("a model");
    assert!(folder.read("out/passage/models/inbatch-neg/model.safetensors") == model);
    // Training that was interrupted is not lost either.
    folder.sh("rm -r out/passage/models/inbatch-neg; touch out/passage/models/inbatch-neg.checkpoint").ok();
    refused("a checkpoint");
    folder.sh("rm out/passage/models/inbatch-neg.checkpoint").ok();
    project.make("passage-inbatch-neg STEPS=5").ok();
    assert_eq!((project.count("train"), project.count("tokenize")), (1, 0));
    project.make("passage-inbatch-neg STEPS=5").ok();
    assert!(project.ran().is_empty(), "{:?}", project.ran());
}

#[test]
fn a_row_that_fails_leaves_no_target_behind() {
    let project = Project::new("bert");
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
