//! Any collection: a folder in BEIR's layout, and files of other forms and names, through the make rules.

use crate::common::{Project, Records, fixture};

const ROWS: [&str; 6] = ["inbatch-neg", "rand-neg", "star", "adore-inbatch-neg", "adore-rand-neg", "adore-star"];

/// A project with a copy of the BEIR fixture in `beir`.
fn project() -> Project {
    let project = Project::new("bert");
    project.folder.sh(&format!("cp -r '{}' beir", fixture("beir").display())).ok();
    project
}

/// The goals, from the folder `beir`.
fn beir(project: &Project, goals: &str) -> String {
    format!("DATA='{}' {goals}", project.folder.path("beir").display())
}

fn table(project: &Project, task: &str) -> Vec<Vec<String>> {
    let text = project.folder.text(&format!("out/{task}/table.tsv"));
    text.lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect()
}

#[track_caller]
fn refused(project: &Project, goals: &str, texts: &[&str]) {
    let done = project.make(goals).done();
    done.check(done.code == Some(2), "make should fail");
    texts.iter().for_each(|text| done.check(done.stderr.contains(text), &format!("should say '{text}'")));
    assert!(project.ran().is_empty(), "{:?}", project.ran());
}

#[test]
fn a_beir_folder_goes_through_all_rows() {
    let project = project();
    let folder = &project.folder;
    folder.sh("gzip beir/corpus.jsonl beir/qrels/dev.tsv").ok();
    project.make(&beir(&project, "-j2 beir")).ok();
    assert_eq!(project.count("train"), ROWS.len());
    let table = table(&project, "beir");
    assert_eq!(table[0], ["row", "dev nDCG@10", "dev R@100", "test nDCG@10", "test R@100"]);
    let names: Vec<&str> = table[1..].iter().map(|line| line[0].as_str()).collect();
    let trained = ["Inbatch-Neg", "Rand-Neg", "STAR", "ADORE (Inbatch-Neg)", "ADORE (Rand-Neg)", "ADORE (STAR)"];
    assert_eq!(names, [&["start"], &trained[..]].concat());

    // Of queries.jsonl, each split has those that it judges, under their own ids.
    let judged = |split: &str| {
        let qrels = fixture(&format!("beir/qrels/{split}.tsv"));
        let line = "sql -q --format csv -t qrels=";
        let done = folder.run(&format!("{line}{}", qrels.display())).arg("SELECT DISTINCT query_id FROM qrels").ok();
        done.text().lines().count() - 1
    };
    for split in ["train", "dev", "test"] {
        let keys = Records::open(&folder.path(&format!("out/beir/tokens/{split}.arrow"))).texts("key");
        assert_eq!(keys.len(), judged(split), "{split}");
        assert!(!keys.contains(&"nobody judged this".into()));
    }
    let keys = Records::open(&folder.path("out/beir/tokens/docs.arrow")).texts("key");
    for id in ["0044", "az doc 51", "文書-84", "88.0", "\"91\"", "doc:107🙂", "-119"] {
        assert!(keys.contains(&id.to_owned()), "{id}");
    }
    // The table is what score says of the run, measured as trec_eval does.
    let line = "score -q --order score -m nDCG@10 -m R@100 --format tsv --qrels beir/qrels/test.tsv";
    let done = folder.run(&format!("{line} out/beir/runs/star.test.parquet")).ok();
    let values: Vec<&str> = done.text().lines().skip(1).map(|line| line.rsplit('\t').next().unwrap()).collect();
    assert_eq!(table[4][3..].iter().map(|value| value.parse().unwrap()).collect::<Vec<f64>>(), {
        values.iter().map(|value| value.parse().unwrap()).collect::<Vec<f64>>()
    });

    project.make(&beir(&project, "beir")).ok();
    assert_eq!(project.ran(), ["sql"], "a second time only the table is shown");
}

#[test]
fn splits_that_are_missing_are_said_and_left_out() {
    let project = project();
    let folder = &project.folder;
    folder.sh("rm beir/qrels/train.tsv beir/qrels/dev.tsv").ok();
    let done = project.make(&beir(&project, "beir")).ok();
    for text in ["no training judgements: models can be scored as they come", "TRAIN_SHARE=0.8", "no dev judgements"] {
        done.check(done.text().contains(text), text);
    }
    assert_eq!(project.count("train"), 0);
    assert_eq!(table(&project, "beir").len(), 2, "a header and the starting model");
    refused(&project, &beir(&project, "beir-star"), &["no training judgements", "hint: TRAIN_SHARE=0.8"]);
    folder.sh("mv beir/qrels/test.tsv whole.tsv").ok();
    let layout = "hint: DATA=folder names a folder in BEIR layout";
    refused(&project, &beir(&project, "beir"), &["no judgements to score with", layout]);
    refused(&project, "beir", &["no judgements to score with", layout]);
    folder.sh("mkdir data/qrels; cp whole.tsv data/qrels/test.tsv").ok();
    let elsewhere = format!("beir OUT='{}'", folder.path("elsewhere").display());
    refused(&project, &elsewhere, &["queries.jsonl; ", layout]);
}

#[test]
fn a_train_split_is_carved_out_by_a_seeded_hash() {
    let project = project();
    let folder = &project.folder;
    refused(&project, &beir(&project, "beir TRAIN_SHARE=0.5"), &["TRAIN_SHARE is for a collection without a train"]);
    folder.sh("rm beir/qrels/train.tsv beir/qrels/dev.tsv; cp beir/qrels/test.tsv whole.tsv").ok();
    for share in ["80", "1", "0", "half"] {
        refused(&project, &beir(&project, &format!("beir-start TRAIN_SHARE={share}")), &["is not a share"]);
    }
    let carved = |out: &str, settings: &str| {
        let out = format!("OUT='{}'", folder.path(out).display());
        project.make(&beir(&project, &format!("beir-rand-neg {out} TRAIN_SHARE=0.6 {settings}"))).ok();
    };
    let queries =
        |out: &str, split: &str| Records::open(&folder.path(&format!("{out}/beir/tokens/{split}.arrow"))).texts("key");
    carved("out", "");
    let [train, test] = ["train", "test"].map(|split| queries("out", split));
    assert!(!train.is_empty() && !test.is_empty(), "{} and {}", train.len(), test.len());
    assert!(!train.iter().any(|query| test.contains(query)), "a query that is trained on is not tested on");
    let all = Records::stream(
        &folder.run("tokenize --tokenizer bert --kind query --judged whole.tsv beir/queries.jsonl").ok().stdout,
    );
    assert_eq!(train.len() + test.len(), all.len());
    let goals = beir(&project, "beir-rand-neg TRAIN_SHARE=0.7");
    let done = project.make(&goals).done();
    done.check(done.code == Some(2) && done.stderr.contains("was made with TRAIN_SHARE=0.6"), "should refuse");

    // The split does not depend on the order of the judgements, and does on the seed.
    folder.sh("{ head -1 whole.tsv; tail -n +2 whole.tsv | tac; } > beir/qrels/test.tsv").ok();
    carved("again", "");
    assert_eq!(train, queries("again", "train"));
    carved("other", "SEED=7");
    assert_ne!(train, queries("other", "train"));
}

#[test]
fn files_of_other_forms_and_names_are_a_collection() {
    let project = project();
    let folder = &project.folder;
    project.make(&beir(&project, "beir-rand-neg")).ok();
    let convert = |from: &str, query: &str, to: &str| {
        folder.run(&format!("sql -q -t t={from} -o {to}")).arg(query).ok();
    };
    convert("beir/corpus.jsonl", "SELECT text AS body, id AS key, title AS head FROM t", "docs.parquet");
    convert("beir/queries.jsonl", "SELECT id AS key, text AS question FROM t", "queries.jsonl");
    for split in ["train", "test"] {
        let query = "SELECT query_id AS q, doc_id AS d, relevance AS g FROM t";
        convert(&format!("beir/qrels/{split}.tsv"), query, &format!("{split}.jsonl"));
    }
    let at = |name: &str| folder.path(name).display().to_string();
    let files = format!(
        "DOCS='{}' QUERIES='{}' TRAIN_QRELS='{}' TEST_QRELS='{}'",
        at("docs.parquet"),
        at("queries.jsonl"),
        at("train.jsonl"),
        at("test.jsonl")
    );
    let columns = "DOC_ID=key DOC_TEXT=head,body QUERY_ID=key QUERY_TEXT=question QRELS_COLUMNS=q,d,g";
    project.make(&format!("collection-rand-neg {files} {columns}")).ok();
    for file in ["tokens/docs.arrow", "tokens/train.arrow", "runs/rand-neg.test.parquet"] {
        let [beir, other] =
            ["beir", "collection"].map(|task| Records::open(&folder.path(&format!("out/{task}/{file}"))));
        assert!(beir.rows == other.rows, "{file}");
    }
    // Other trainers get the texts under their usual names.
    let export = "collection-export-tevatron EXPORT_NEGATIVES=3";
    project.make(&format!("{export} {files} {columns}")).ok();
    let lines = folder.text("out/collection/export/tevatron.jsonl");
    let line: serde_json::Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
    assert_eq!(line["negative_passages"].as_array().unwrap().len(), 3);
    assert!(lines.contains("\"title\":\"vm create\",\"text\":"), "{}", lines.lines().next().unwrap());

    let renamed = columns.replace("head,body", "body");
    let done = project.make(&format!("collection-rand-neg {files} {renamed}")).done();
    done.check(done.code == Some(2) && done.stderr.contains("was made with DOC_TEXT=head,body"), "should refuse");
}

#[test]
fn queries_that_are_documents_are_left_out_of_their_lists() {
    let project = project();
    let folder = &project.folder;
    // Each of some documents is a query, for which its neighbour is relevant.
    folder.sh("head -60 beir/corpus.jsonl | sed 's/\"title\"/\"was\"/' > beir/queries.jsonl").ok();
    let neighbours = "SELECT id AS \"query-id\", next AS \"corpus-id\", 1 AS score
        FROM (SELECT id, lead(id) OVER () AS next, row_number() OVER () AS line FROM t)";
    for (split, lines) in [("train", "line <= 40"), ("test", "line > 40 AND next IS NOT NULL")] {
        let query = format!("{neighbours} WHERE {lines}");
        folder.run(&format!("sql -q -t t=beir/queries.jsonl -o beir/qrels/{split}.tsv")).arg(query).ok();
    }
    folder.sh("rm beir/qrels/dev.tsv").ok();
    project.make(&beir(&project, "beir-star EXCLUDE_SELF=yes")).ok();
    let keys = |name: &str| Records::open(&folder.path(&format!("out/beir/tokens/{name}.arrow"))).texts("key");
    let (queries, docs) = (keys("train"), keys("docs"));
    let negatives = Records::open(&folder.path("out/beir/negatives/train.parquet"));
    assert!(negatives.len() > 0);
    for (query, doc) in negatives.i64s("query_id").into_iter().zip(negatives.i64s("doc_id")) {
        assert_ne!(queries[query as usize], docs[doc as usize]);
    }
    let line =
        "score -q --order score -m nDCG@10 --format tsv --qrels beir/qrels/test.tsv out/beir/runs/star.test.parquet";
    let value = |line: &str| folder.run(line).ok().text().trim().rsplit('\t').next().unwrap().parse::<f64>().unwrap();
    let metrics = Records::open(&folder.path("out/beir/metrics/star.test.parquet"));
    let mean =
        metrics.texts("metric").iter().zip(metrics.f64s("value")).rfind(|(metric, _)| *metric == "nDCG@10").unwrap().1;
    assert_eq!(mean, value(&format!("{line} --exclude-self")));
    assert_ne!(mean, value(line));
}

#[test]
fn what_is_wrong_with_a_beir_folder_is_named() {
    let project = project();
    let folder = &project.folder;
    let fails = |goals: &str, texts: &[&str]| {
        let done = project.make(&beir(&project, goals)).done();
        done.check(done.code == Some(2), "make should fail");
        texts.iter().for_each(|text| done.check(done.stderr.contains(text), &format!("should say '{text}'")));
    };
    for (name, content, text) in [
        ("beir/corpus.jsonl", "", "corpus.jsonl: is empty"),
        ("beir/queries.jsonl", "{\"_id\": \"54\"}\n", "queries.jsonl: line 1: missing field `text`"),
        ("beir/qrels/test.tsv", "query-id\tcorpus-id\tscore\n", "is among the 0 in "),
        ("beir/qrels/test.tsv", "", "test.tsv: is empty"),
    ] {
        let kept = folder.read(name);
        folder.write(name, content);
        fails("beir-start", &[name, text]);
        folder.write(name, kept);
    }
    // A judged query without a text is no query, and is named.
    let more = folder.text("beir/qrels/test.tsv") + "no such query\tdoc25\t1\nnor this\tdoc25\t1\n";
    folder.write("beir/qrels/test.tsv", more);
    let done = project.make(&beir(&project, "beir-start")).ok();
    done.check(done.stderr.contains("2 judged queries have no text, such as 'no such query'"), "should name it");

    // An unknown document stops training, or is counted where that is wanted. Scoring takes it for one that is not found.
    let broken = folder.text("beir/qrels/train.tsv") + "54\tno such document\t1\n";
    folder.write("beir/qrels/train.tsv", broken);
    fails("beir-rand-neg", &["qrels/train.tsv", "no such document"]);
    let done = project.make(&beir(&project, "beir-rand-neg SKIP_UNKNOWN=yes")).ok();
    done.check(done.stderr.contains("1 rows with an unknown query or document left out"), "should count it");
    assert!(folder.path("out/beir/metrics/rand-neg.test.parquet").exists());
}
