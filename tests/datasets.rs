//! Datasets: a folder of shards gives, to the byte, what the same rows in one file give, and a folder that is not what
//! its manifest says is refused.

use std::fs;

use crate::common::{Folder, Records};

/// The stages, with names that end in SLASH where a dataset is written, and DIVIDED where one is divided.
const STAGES: [&str; 13] = [
    "tokenize --tokenizer bert collection.tsv DIVIDED -o t/docs.tokens.arrowSLASH",
    "tokenize --tokenizer bert --kind query queries.train.tsv DIVIDED -o t/train.tokens.arrowSLASH",
    "embed --model bert t/docs.tokens.arrow -o t/docs.arrowSLASH",
    "embed --model bert t/train.tokens.arrow -o t/train.arrowSLASH",
    "rank --index t/docs.arrow --top-k 50 t/train.arrow -o t/run.arrow",
    "rank --index t/docs.arrow --top-k 50 t/train.arrow --rerank t/docs.arrow -o t/reranked.arrow",
    "index t/docs.arrow -o t/docs.faiss",
    "remap-ids --queries t/train.tokens.arrow --docs t/docs.tokens.arrow --to internal qrels.train.tsv -o t/qrels.parquet",
    "remap-ids --queries t/train.tokens.arrow --docs t/docs.tokens.arrow --to official t/run.arrow -o t/run.trec",
    "mine-negatives --qrels t/qrels.parquet --top-k 20 t/run.arrow -o t/negatives.parquet",
    "score --qrels t/qrels.parquet -m MRR@10 --per-query t/metrics.parquet t/run.arrow",
    "train star --init bert --queries t/train.tokens.arrow --docs t/docs.tokens.arrow --qrels t/qrels.parquet --negatives t/negatives.parquet --max-doc-length 32 --steps 2 --batch-size 8 -o t/star",
    "train adore --init bert --queries t/train.tokens.arrow --qrels t/qrels.parquet --embeddings t/docs.arrow --steps 2 --batch-size 8 -o t/adore",
];

/// What the stages leave behind, besides datasets.
const LEFT: [&str; 9] = [
    "run.arrow",
    "reranked.arrow",
    "docs.faiss",
    "qrels.parquet",
    "run.trec",
    "negatives.parquet",
    "metrics.parquet",
    "star/model.safetensors",
    "adore/model.safetensors",
];

const QUERY: &str = "SELECT key, d.id, d.embedding FROM d JOIN t USING (id) ORDER BY d.id";

/// What all stages make; datasets are divided as `divided` says, and none are made where that is empty.
fn results(divided: &str) -> Vec<Vec<u8>> {
    let folder = Folder::new();
    fs::create_dir(folder.path("t")).unwrap();
    let slash = if divided.is_empty() { "" } else { "/" };
    for stage in STAGES {
        folder.run(&stage.replace("SLASH", slash).replace("DIVIDED", divided)).ok();
    }
    assert_eq!(folder.path("t/docs.arrow").is_dir(), !divided.is_empty());
    let tables = "sql --format json -t d=t/docs.arrow -t t=t/docs.tokens.arrow";
    let rows = folder.run(tables).arg(QUERY).ok().stdout;
    let about = folder.run(tables).arg("SELECT * FROM provenance").ok().stdout;
    LEFT.iter().map(|name| folder.read(&format!("t/{name}"))).chain([rows, about]).collect()
}

#[test]
fn every_stage_gives_the_bytes_of_one_file() {
    let expected = results("");
    for divided in ["--shards 1", "--shards 3", "--shards 7", "--shard-rows 45"] {
        for (index, (found, expected)) in results(divided).iter().zip(&expected).enumerate() {
            assert!(found == expected, "{divided}: {:?} differs", LEFT.get(index).unwrap_or(&"sql"));
        }
    }
}

/// The made files, with the tokens of the documents as a dataset of three shards.
fn divided() -> Folder {
    let folder = Folder::made();
    folder.run("tokenize --tokenizer bert collection.tsv --shards 3 -o d/").ok();
    folder
}

/// Changes the manifest of the dataset `d` so that it has no digests, as one that another program wrote.
fn without_digests(folder: &Folder) -> serde_json::Value {
    let mut manifest: serde_json::Value = serde_json::from_str(&folder.text("d/manifest.json")).unwrap();
    for shard in manifest["shards"].as_array_mut().unwrap() {
        shard.as_object_mut().unwrap().remove("sha256").unwrap();
    }
    manifest
}

#[test]
fn shards_have_consecutive_rows_and_the_manifest_tells_of_them() {
    let folder = divided();
    let manifest: serde_json::Value = serde_json::from_str(&folder.text("d/manifest.json")).unwrap();
    let whole = Records::open(&folder.path("docs.tokens.arrow"));
    assert_eq!(manifest["rows"], whole.len());
    assert_eq!(manifest["provenance"]["hardmine.keys"], whole.metadata["hardmine.keys"]);
    let mut ids = Vec::new();
    for shard in manifest["shards"].as_array().unwrap() {
        let rows = Records::open(&folder.path(&format!("d/{}", shard["file"].as_str().unwrap())));
        assert_eq!(shard["rows"], rows.len());
        assert_eq!(rows.kind(), "tokens");
        ids.extend(rows.i64s("id"));
    }
    assert_eq!(ids, whole.i64s("id"));
    // A second one takes its place as a whole.
    folder.run("tokenize --tokenizer bert collection.tsv --shard-rows 200 -o d/").ok();
    let names: Vec<_> = fs::read_dir(folder.path("d")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), whole.len().div_ceil(200) + 1, "{names:?}");
}

#[test]
fn shards_may_be_parquet_with_a_manifest_of_another_program() {
    let folder = divided();
    let mut manifest = without_digests(&folder);
    for shard in manifest["shards"].as_array_mut().unwrap() {
        let file = shard["file"].as_str().unwrap().to_owned();
        let parquet = file.replace(".arrow", ".parquet");
        let copied = folder.run(&format!("sql --format parquet -t t=d/{file}")).arg("SELECT * FROM t").ok().stdout;
        folder.write(&format!("d/{parquet}"), copied);
        fs::remove_file(folder.path(&format!("d/{file}"))).unwrap();
        shard["file"] = parquet.into();
    }
    manifest.as_object_mut().unwrap().remove("provenance").unwrap();
    folder.write("d/manifest.json", manifest.to_string());
    folder.run("embed --model bert d -o e.arrow").ok();
    assert_eq!(Records::open(&folder.path("e.arrow")).vectors(), Records::open(&folder.path("docs.arrow")).vectors());
    let [one, many] = ["docs.tokens.arrow", "d"].map(|docs| {
        let line = "remap-ids --queries train.tokens.arrow --to internal qrels.train.tsv -o q.tsv --docs";
        folder.run(&format!("{line} {docs}")).ok();
        folder.read("q.tsv")
    });
    assert!(one == many);
}

/// Every reader of datasets refuses `d` with `texts`, and writes nothing.
#[track_caller]
fn refused(folder: &Folder, texts: &[&str]) {
    for line in [
        "embed --model bert d -o new.arrow",
        "embed --model bert d -o new/",
        "remap-ids --queries train.tokens.arrow --docs d --to internal qrels.train.tsv -o new.parquet",
    ] {
        let names = folder.names();
        let done = folder.run(line).fails(texts);
        done.check(folder.names() == names, "should leave no file behind");
    }
}

#[test]
fn a_manifest_and_shards_that_disagree_are_refused() {
    let damages: [(&str, &[&str]); 6] = [
        ("rm d/00001.arrow", &["d/00001.arrow: is missing", "manifest.json"]),
        ("cp d/00001.arrow d/extra.arrow", &["d/extra.arrow: lies in the folder of a dataset"]),
        ("truncate -s -100 d/00002.arrow", &["d/00002.arrow: is not the shard", "cut off"]),
        ("cp d/00001.arrow x && mv d/00002.arrow d/00001.arrow && mv x d/00002.arrow", &["d/00001.arrow: is not the"]),
        ("rm d/manifest.json", &["d: is a folder without a manifest.json", "tokenize --shards N -o FOLDER/"]),
        ("head -c 100 d/manifest.json > x && mv x d/manifest.json", &["d/manifest.json: is no manifest"]),
    ];
    for (damage, texts) in damages {
        let folder = divided();
        folder.sh(damage).ok();
        refused(&folder, texts);
    }
}

#[test]
fn shards_without_digests_are_checked_by_what_is_in_them() {
    let set = |change: &dyn Fn(&Folder, &mut serde_json::Value)| {
        let folder = divided();
        let mut manifest = without_digests(&folder);
        change(&folder, &mut manifest);
        folder.write("d/manifest.json", manifest.to_string());
        folder
    };
    let exchanged = set(&|_, manifest| manifest["shards"].as_array_mut().unwrap().swap(0, 1));
    refused(&exchanged, &["d/00000.arrow: has id 0 after id ", "ids go on from shard to shard"]);
    let empty = set(&|_, manifest| manifest["shards"][1]["rows"] = 0.into());
    refused(&empty, &["d/00001.arrow: is a shard without rows"]);
    let miscounted = set(&|_, manifest| {
        manifest["shards"][1]["rows"] = (manifest["shards"][1]["rows"].as_u64().unwrap() - 1).into();
        manifest["rows"] = (manifest["rows"].as_u64().unwrap() - 1).into();
    });
    refused(&miscounted, &["d/00001.arrow: has 100 rows, but the dataset's manifest says 99"]);
    let cut_off = set(&|folder, _| drop(folder.sh("truncate -s -100 d/00002.arrow").ok()));
    refused(&cut_off, &["d/00002.arrow: is a truncated Arrow file"]);
    let mixed = set(&|folder, _| {
        fs::copy(folder.path("docs.arrow"), folder.path("d/00001.arrow")).unwrap();
    });
    refused(&mixed, &["d/00001.arrow: is a shard whose ", "can't be mixed"]);
    let twice = set(&|_, manifest| manifest["shards"][1]["file"] = "00000.arrow".into());
    fs::remove_file(twice.path("d/00001.arrow")).unwrap();
    refused(&twice, &["d/manifest.json: names the shard 00000.arrow twice"]);
    let outside = set(&|_, manifest| manifest["shards"][1]["file"] = "../docs.tokens.arrow".into());
    refused(&outside, &["d/manifest.json: shard '../docs.tokens.arrow' is not the name of a file in this folder"]);
}

#[test]
fn outputs_that_can_be_no_dataset_are_refused() {
    let folder = divided();
    let tokenize = "tokenize --tokenizer bert collection.tsv";
    folder.run(&format!("{tokenize} --shards 3 -o x.arrow")).fails_as_wrong_usage(&["-o FOLDER/"]);
    folder.run(&format!("{tokenize} --shards 100000 -o x/")).fails(&["x/: there are only 300 rows for 100000 shards"]);
    folder.write("y", "");
    folder.run(&format!("{tokenize} -o y/")).fails(&["y/: is a file, expected a folder"]);
    fs::create_dir(folder.path("mine")).unwrap();
    folder.write("mine/notes", "precious");
    folder.run(&format!("{tokenize} -o mine/")).fails(&["mine/: is a folder that holds notes"]);
    folder.write("d/notes", "precious");
    folder.run(&format!("{tokenize} -o d/")).fails(&["d/: is a folder that holds notes"]);
    fs::remove_file(folder.path("d/notes")).unwrap();
    folder.run("embed --model bert d -o d/").fails(&["d/: is input and output at once"]);
    folder
        .run("remap-ids --to official --queries dev.tokens.arrow --docs docs.tokens.arrow dev.run.parquet -o x/")
        .fails(&["x/: is a folder, and this program writes no folders"]);
    assert_eq!(folder.text("mine/notes"), "precious");
    assert!(!folder.path("x").exists());
    // An input that breaks off leaves the old dataset as it was.
    let before = folder.text("d/manifest.json");
    folder.write("broken.tsv", "1\ta\n2\n");
    folder.run("tokenize --tokenizer bert broken.tsv --shard-rows 1 -o d/").fails(&["broken.tsv: line 2"]);
    assert_eq!(folder.text("d/manifest.json"), before);
    folder.run("embed --model bert d -o whole.arrow").ok();
}

#[test]
fn rows_are_a_part_of_the_whole() {
    let folder = divided();
    let vectors = |name: &str| Records::open(&folder.path(name)).vectors();
    folder.run("embed --model bert --batch-tokens 64 docs.tokens.arrow -o whole.arrow").ok();
    let whole = Records::open(&folder.path("whole.arrow"));
    for (tokens, rows) in [("docs.tokens.arrow", 64..192), ("d", 128..192), ("d", 0..whole.len())] {
        let line =
            format!("embed --model bert --batch-tokens 64 {tokens} --rows {}..{} -o e.arrow", rows.start, rows.end);
        folder.run(&line).ok();
        assert_eq!(vectors("e.arrow"), whole.vectors()[rows.clone()]);
        assert_eq!(Records::open(&folder.path("e.arrow")).i64s("id"), whole.i64s("id")[rows]);
    }
    folder
        .sh("tokenize --tokenizer bert collection.tsv | embed --model bert --batch-tokens 64 --rows 64..128 -o e.arrow")
        .ok();
    assert_eq!(vectors("e.arrow"), whole.vectors()[64..128]);
    folder.run("tokenize --tokenizer bert --rows 7..9 collection.tsv -o t.arrow").ok();
    assert_eq!(Records::open(&folder.path("t.arrow")).i64s("id"), [7, 8]);
    folder.sh("sql --format jsonl -t a=t.arrow -t b=docs.tokens.arrow 'SELECT * FROM a EXCEPT SELECT * FROM b' -o diff.jsonl").ok();
    assert_eq!(folder.text("diff.jsonl"), "");

    let end = whole.len() + 1;
    folder
        .run(&format!("embed --model bert docs.tokens.arrow --rows 0..{end} -o x.arrow"))
        .fails(&["docs.tokens.arrow", "ends 1 rows"]);
    folder.run("embed --model bert d --rows 9000..9001 -o x.arrow").fails(&["d: has", "no rows 9000..9001"]);
    folder
        .run(&format!("tokenize --tokenizer bert --rows 0..{end} collection.tsv -o x.arrow"))
        .fails(&["collection.tsv: has"]);
    folder.run("embed --model bert d --rows 5..5 -o x.arrow").fails_as_wrong_usage(&["0..65536"]);
    assert!(!folder.path("x.arrow").exists());
}
