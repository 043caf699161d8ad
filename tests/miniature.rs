//! Both of the paper's tables in small: every target of the Makefile on a collection in MS MARCO's exact layout,
//! with a tiny RobertaDot that has RoBERTa's own vocabulary. Only the size of the full run is missing.

use crate::common::{Project, Records};

const ROWS: [&str; 6] = ["inbatch-neg", "rand-neg", "star", "adore-inbatch-neg", "adore-rand-neg", "adore-star"];

/// A project with the files of both forms, documents packed as MS MARCO's come.
fn miniature() -> Project {
    let project = Project::new("dot");
    let folder = &project.folder;
    folder.write_documents("data");
    for name in ["queries.eval.small.tsv", "docleaderboard-queries.tsv"] {
        folder.write(&format!("data/{name}"), folder.read("msmarco-test2019-queries.tsv"));
    }
    folder.sh("cd data && gzip msmarco-docs.tsv msmarco-doc*-q*.tsv docleaderboard-queries.tsv").ok();
    project
}

/// Everything that the two tables are made of, by name.
fn results(project: &Project) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    for (form, row) in ["passage", "doc"].into_iter().flat_map(|form| ROWS.map(|row| (form, row))) {
        for file in ["models/ROW/model.safetensors", "runs/ROW.dev.parquet", "runs/ROW.leaderboard.tsv"] {
            files.push(format!("out/{form}/{}", file.replace("ROW", row)));
        }
    }
    files.extend(["out/passage/table.tsv", "out/doc/table.tsv"].map(str::to_owned));
    files.into_iter().map(|name| (name.clone(), project.folder.read(&name))).collect()
}

const ALL: &str = "-j2 passage doc passage-leaderboard doc-leaderboard PAPER=yes";

#[test]
fn all_twelve_rows_and_again_after_a_kill() {
    let project = miniature();
    let folder = &project.folder;
    let done = project.make(ALL).ok();
    assert_eq!(project.count("train"), 12);
    assert!(folder.text("ran").contains("--compat transformers-2 --kind document"));
    let whole = results(&project);

    // Ours, the published figure and the difference, for each row and metric.
    let star: Vec<&str> = done.text().lines().filter(|line| line.starts_with("| STAR ")).collect();
    assert_eq!(star.len(), 2, "{}", done.text());
    let published = [["0.340", "0.867", "0.642"], ["0.390", "0.867*", "0.605"]];
    for (form, figures) in published.iter().enumerate() {
        // Passages and documents are made side by side and come in either order.
        let line = star.iter().find(|line| line.contains(figures[0])).unwrap_or_else(|| panic!("form {form}"));
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        for (number, figure) in figures.iter().enumerate() {
            let [ours, theirs, difference] = [0, 1, 2].map(|cell| cells[2 + 3 * number + cell]);
            assert_eq!(theirs, *figure);
            let value = |text: &str| text.trim_end_matches('*').parse::<f64>().unwrap();
            assert!((value(ours) - value(theirs) - value(difference)).abs() < 1.5e-3, "{line}");
        }
    }
    assert!(done.text().contains("* As printed."), "{}", done.text());

    // From an empty folder, killed while STAR trains, and made again: the same bytes.
    folder.sh("rm -r out").ok();
    let line = project.line(ALL);
    let kill = format!(
        "setsid {line} > log 2>&1 & made=$!
         until grep -q 'train star' ran || ! kill -0 $made; do sleep 0.02; done
         kill -9 -- -$made; wait $made || echo $?"
    );
    let killed = folder.sh(&kill).without_env("MAKEFLAGS").without_env("MFLAGS").without_env("MAKELEVEL").ok();
    assert_eq!(killed.text().trim(), "137");
    assert!(!folder.path("out/doc/table.tsv").exists() || !folder.path("out/passage/table.tsv").exists());
    project.make(ALL).ok();
    for ((name, before), (_, after)) in whole.iter().zip(results(&project)) {
        assert!(before == &after, "{name} is another one after the kill");
    }
}

#[test]
fn figures_stay_the_same_in_internal_ids_and_leaderboard_runs_are_whole() {
    let project = miniature();
    let folder = &project.folder;
    project
        .make(
            "doc-rand-neg out/doc/runs/rand-neg.leaderboard.tsv"
                .replace("out/", &(folder.path("out").display().to_string() + "/"))
                .as_str(),
        )
        .ok();
    let ids = "--to internal --queries out/doc/tokens/dev.arrow --docs out/doc/tokens/docs.arrow";
    folder.run(&format!("remap-ids {ids} out/doc/runs/rand-neg.dev.parquet -o run.parquet")).ok();
    folder.run(&format!("remap-ids {ids} data/msmarco-docdev-qrels.tsv.gz -o qrels.parquet")).ok();
    let score = |run: &str, qrels: &str| {
        let done = folder.run(&format!("score -m MRR@100 -m R@100 --format tsv --qrels {qrels} {run}")).ok();
        done.text().lines().skip(1).map(|line| line.split_once('\t').unwrap().1.to_owned()).collect::<Vec<_>>()
    };
    let official = score("out/doc/runs/rand-neg.dev.parquet", "data/msmarco-docdev-qrels.tsv.gz");
    assert_eq!(official, score("run.parquet", "qrels.parquet"));
    assert!(
        official.iter().all(|line| line.rsplit('\t').next().unwrap().parse::<f64>().unwrap() > 0.0),
        "{official:?}"
    );
    let run = Records::open(&folder.path("out/doc/runs/rand-neg.dev.parquet"));
    assert!(run.texts("doc_id").iter().all(|id| id.starts_with('D')));

    // Every query of the leaderboard, judged or not, with its 100 documents.
    let lines = folder.text("out/doc/runs/rand-neg.leaderboard.tsv");
    let queries: Vec<String> = folder
        .text("msmarco-test2019-queries.tsv")
        .lines()
        .map(|line| line.split('\t').next().unwrap().into())
        .collect();
    assert_eq!(lines.lines().count(), 100 * queries.len());
    let first: Vec<&str> = lines.lines().step_by(100).map(|line| line.split('\t').next().unwrap()).collect();
    assert_eq!(first, queries);
    assert!(lines.lines().all(|line| line.split('\t').nth(1).unwrap().starts_with('D')));
}

#[test]
fn published_checkpoints_are_scored_beside_the_published_figures() {
    let project = miniature();
    let folder = &project.folder;
    project.make("doc-adore-star PAPER=yes").ok();
    // A published checkpoint knows nothing of the model that its documents were encoded with.
    folder.sh("mkdir checkpoints; cp -rL out/doc/models/star out/doc/models/adore-star checkpoints").ok();
    let config: serde_json::Value = serde_json::from_slice(&folder.read("checkpoints/adore-star/config.json")).unwrap();
    let mut config = config.as_object().unwrap().clone();
    assert!(config.remove("hardmine").is_some());
    folder.write("checkpoints/adore-star/config.json", serde_json::to_vec(&config).unwrap());
    let checkpoints = folder.path("checkpoints").display().to_string();
    let goal = format!("reproduce-doc STAR={checkpoints}/star ADORE_STAR={checkpoints}/adore-star");
    // Without asking: the paper's tokens belong to its checkpoints.
    let done = project.make(&goal).ok();
    assert_eq!(project.count("train"), 0);
    for (row, label, published) in
        [("star", "| STAR ", "0.3903422772218344"), ("adore-star", "| ADORE (STAR) ", "0.4049777020859768")]
    {
        let line = done.text().lines().find(|line| line.starts_with(label)).unwrap();
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let qrels = "data/msmarco-docdev-qrels.tsv.gz";
        let score = folder
            .run(&format!("score -m MRR@100 --format tsv --qrels {qrels} out/doc/runs/published-{row}.dev.parquet"));
        let ours = score.ok().text().trim().rsplit('\t').next().unwrap().to_owned();
        assert_eq!(cells[2..5], ["MRR@100", ours.as_str(), published], "{line}");
    }
    // The same weights searched the same documents.
    let [ours, theirs] = ["adore-star", "published-adore-star"].map(|row| {
        let run = Records::open(&folder.path(&format!("out/doc/runs/{row}.dev.parquet")));
        (run.texts("query_id"), run.texts("doc_id"), run.f32s("score"))
    });
    assert_eq!(ours, theirs);
    let done = project.make("reproduce-passage").done();
    done.check(done.code == Some(2), "should fail");
    done.check(done.stderr.contains("give STAR=folder and ADORE_STAR=folder"), "should say what is missing");
}

#[test]
fn star_starts_from_a_warm_up_checkpoint_where_one_is_given() {
    let project = miniature();
    let checkpoint = project.folder.path("init").display().to_string();
    project.make(&format!("passage-star INIT_STAR={checkpoint}")).ok();
    let ran = project.folder.text("ran");
    // The tokens are the tokenizer's own where the paper is not asked for.
    assert!(!ran.contains("--compat"), "{ran}");
    assert_eq!(project.count("train"), 1, "{ran}");
    let star = ran.lines().find(|line| line.starts_with("train star")).unwrap();
    assert!(star.contains("--init") && star.contains("/passage/models/warm-up "), "{star}");
    assert_eq!(project.count("mine-negatives"), 1, "{ran}");
}
