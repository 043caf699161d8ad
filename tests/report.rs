//! `report`: what the page has of a folder of results, whole, half-made and hostile.

use crate::common::{Folder, Project};

/// Options of a page with texts.
const TEXTS: &str = "--qrels qrels.dev.small.tsv --texts collection.tsv --queries queries.dev.small.tsv";

/// A folder `out` with two rows: one as it is, and one that has its lists in the opposite order.
fn results() -> Folder {
    let folder = Folder::made();
    folder.sh("mkdir -p out/tokens out/qrels out/models out/embeddings out/negatives out/runs out/metrics").ok();
    folder
        .sh("cp dev.official.parquet out/runs/start.dev.parquet
             cp docs.tokens.arrow out/tokens/docs.arrow; cp train.qrels.parquet out/qrels/train.parquet
             cp docs.arrow out/embeddings/start.arrow; cp train.negatives.parquet out/negatives/train.parquet
             cp -r trained out/models/star
             sql -q -t run=dev.official.parquet 'SELECT query_id, doc_id, CAST(51 - rank AS INT) AS rank,
               CAST(-score AS FLOAT) AS score FROM run' -o out/runs/star.dev.parquet")
        .ok();
    for row in ["start", "star"] {
        let score = "score -q --qrels qrels.dev.small.tsv -m MRR@10 -m R@50 --per-query";
        folder.run(&format!("{score} out/metrics/{row}.dev.parquet out/runs/{row}.dev.parquet")).ok();
    }
    folder
}

/// What stands behind `start` in the page, up to `end`, each time.
fn between<'a>(page: &'a str, start: &str, end: &str) -> Vec<&'a str> {
    page.split(start).skip(1).map(|rest| rest.split(end).next().unwrap()).collect()
}

fn page(folder: &Folder, options: &str) -> String {
    folder.run(&format!("report -q out {options}")).ok().text().to_owned()
}

#[test]
fn numbers_are_those_of_score_and_sql() {
    let folder = results();
    let page = page(&folder, TEXTS);
    let means = "SELECT value FROM m WHERE query_id IS NULL ORDER BY run = 'star.dev', metric";
    let means = folder.run("sql -q --format csv -t m=out/metrics").arg(means).ok();
    let means: Vec<&str> = means.text().lines().skip(1).collect();
    assert_eq!(between(&page, "<data value=\"", "\""), means);

    // The marks of score, and its wins, ties and losses.
    let line = "score -q --qrels qrels.dev.small.tsv -m MRR@10 -m R@50 --format json --baseline out/runs/start.dev.parquet out/runs/star.dev.parquet";
    let rows: Vec<serde_json::Value> = serde_json::from_str(folder.run(line).ok().text()).unwrap();
    let compared: Vec<&serde_json::Value> = rows.iter().filter(|row| row.get("significant").is_some()).collect();
    let significant = compared.iter().filter(|row| row["significant"] == true).count();
    assert_eq!(page.matches("<sup>†</sup>").count(), significant, "{rows:?}");
    let counts = between(&page, "<dd>", "</dd>");
    let mrr = compared.iter().find(|row| row["metric"] == "MRR@10").unwrap();
    for (found, name) in counts.iter().zip(["wins", "ties", "losses"]) {
        assert_eq!(*found, mrr[name].to_string(), "{name}");
    }
    let p = format!("p = {:.4}", mrr["p_t_test"].as_f64().unwrap());
    assert!(page.contains(&p) || page.contains("p &lt; 0.0001"), "{p}");
}

#[test]
fn what_changed_most_stands_side_by_side() {
    let folder = results();
    let page = page(&folder, TEXTS);
    let changed = "SELECT count(*) AS n FROM (SELECT query_id FROM m WHERE metric = 'MRR@10' AND query_id IS NOT NULL
        GROUP BY query_id HAVING max(value) > min(value))";
    let changed = folder.run("sql -q --format csv -t m=out/metrics").arg(changed).ok();
    let changed: usize = changed.text().lines().nth(1).unwrap().parse().unwrap();
    let shown = between(&page, "<span class=\"difference", "</details>");
    assert_eq!(shown.len(), changed.min(20));
    assert_eq!(shown[0].matches("<h4>").count(), 2);
    assert_eq!(shown[0].matches("<li value=").count(), 10);
    assert!(page.contains("class=\"relevant\""));
    let text = folder.text("queries.dev.small.tsv");
    let known = text.lines().filter_map(|line| line.split_once('\t')).any(|(_, text)| shown[0].contains(text));
    assert!(known, "{}", shown[0]);
}

#[test]
fn the_same_folder_gives_the_same_bytes_and_no_network() {
    let folder = results();
    let page = page(&folder, TEXTS);
    folder.run(&format!("report out {TEXTS} -o again.html")).ok();
    assert_eq!(folder.text("again.html"), page);
    for text in ["<script", "http://", "https://", "url(", "@import", "src="] {
        let own = page.replace("http://www.w3.org/2000/svg", "");
        assert!(!own.contains(text), "{text}");
    }
    for (option, label) in [("--compare star start", "start against STAR"), ("--metric R@50", "by R@50")] {
        assert!(self::page(&folder, option).contains(label), "{option}");
    }
}

#[test]
fn hostile_texts_stay_texts() {
    let folder = results();
    let evil = "<script>alert(1)</script>\"'&";
    for name in ["collection.tsv", "queries.dev.small.tsv"] {
        let text: String = folder.text(name).lines().map(|line| format!("{line} {evil}\n")).collect();
        // At the beginning, so that it is not cut away.
        let text: String = text.lines().map(|line| line.replacen('\t', &format!("\t{evil} "), 1) + "\n").collect();
        folder.write(name, text);
    }
    folder.sh("mv out '<b>&out'; cd '<b>&out'; mv metrics/star.dev.parquet 'metrics/<i>x.dev.parquet'").ok();
    folder.sh("cd '<b>&out'; mv runs/star.dev.parquet 'runs/<i>x.dev.parquet'; mv models/star 'models/<i>x'").ok();
    folder.run("report -q -o page.html").arg("<b>&out").args(TEXTS.split(' ')).ok();
    let page = folder.text("page.html");
    for tag in ["<script", "<b>&out", "<i>"] {
        assert!(!page.contains(tag), "{tag}");
    }
    assert!(page.contains("&lt;script&gt;alert(1)&lt;&#x2f;script&gt;") || page.contains("&lt;script&gt;alert(1)"));
    assert!(page.contains("&lt;i&gt;x"));
}

#[test]
fn a_half_made_folder_shows_what_is_there() {
    let folder = results();
    folder.sh("rm -r out/metrics out/negatives").ok();
    let without = page(&folder, TEXTS);
    for text in ["There is nothing in metrics.", "There is nothing in negatives.", "There are no metrics yet."] {
        assert!(without.contains(text), "{text}");
    }
    assert!(without.contains("aria-label=\"Loss of STAR by steps\""));
    folder.sh("rm -r out/runs out/models out/embeddings out/qrels out/tokens/*").ok();
    assert!(page(&folder, TEXTS).contains("There is no file of records yet."));

    let folder = results();
    folder.sh("rm out/metrics/star.dev.parquet out/runs/star.dev.parquet").ok();
    let page = page(&folder, "");
    assert!(page.contains("metrics has nothing of dev for STAR."), "{page}");
    assert!(page.contains("There are no two rows with values of the same queries yet."));
    assert!(page.contains("The page was made without --qrels"));
}

#[test]
fn rows_over_other_queries_are_not_tested() {
    let folder = results();
    folder.sh("head -n 3 qrels.dev.small.tsv > few.tsv").ok();
    folder
        .run("score -q --qrels few.tsv -m MRR@10 --per-query out/metrics/star.dev.parquet out/runs/star.dev.parquet")
        .ok();
    let page = page(&folder, "");
    assert!(!page.contains("<sup>†</sup>"));
    assert!(page.contains("Not every value of STAR was tested"), "{page}");
}

#[test]
fn what_is_no_folder_of_results_is_refused() {
    let folder = results();
    folder.write("page.html", "as it was");
    folder.sh("mkdir other").ok();
    folder.run("report other -o page.html").fails(&["other: is no folder of results", "hint: "]);
    folder.run("report . -o page.html").fails(&[".: is no folder of results", "out is one"]);
    folder.run("report nowhere -o page.html").fails(&["nowhere: "]);
    folder.run("report collection.tsv -o page.html").fails(&["collection.tsv: "]);
    folder.run("report out --baseline adore -o page.html").fails(&["--baseline adore: is no row", "start, star"]);
    folder.run("report out --compare star none -o page.html").fails(&["--compare none: is no row"]);
    folder.run("report out --metric nDCG -o page.html").fails(&["--metric nDCG: is not among", "MRR@10, R@50"]);
    folder.run("report out --texts nowhere.tsv -o page.html").fails(&["nowhere.tsv"]);
    folder.run("report").fails_as_wrong_usage(&["FOLDER"]);
    folder.sh("head -c 200 out/runs/star.dev.parquet > cut; mv cut out/runs/star.dev.parquet").ok();
    folder.run("report out -o page.html").fails(&["star.dev.parquet"]);
    assert_eq!(folder.text("page.html"), "as it was");
}

#[test]
fn make_keeps_what_stages_took_and_makes_the_page() {
    let project = Project::new("bert");
    project.make("passage-rand-neg").ok();
    let folder = &project.folder;
    let journal = folder.text("out/passage/stages.jsonl");
    let stages = between(&journal, "\"stage\":\"", "\"");
    for stage in ["tokens/docs.arrow", "models/rand-neg/config.json", "runs/rand-neg.dev.parquet"] {
        assert!(stages.contains(&stage), "{stage} is not in {stages:?}");
    }
    let done = project.make("report").ok();
    assert!(done.text().contains("out/passage/report.html"), "{}", done.text());
    let page = folder.text("out/passage/report.html");
    assert!(page.contains("embed | rank | remap-ids") || page.contains("rank | embed | remap-ids"), "{journal}");
    assert!(page.contains("<title>negatives/") || page.contains("<title>embeddings/rand-neg"));
    assert!(!page.contains("made without"), "the collection is there");
    // The report is no stage.
    assert_eq!(folder.text("out/passage/stages.jsonl"), journal);
}

#[test]
fn make_knows_the_files_of_a_collection_and_its_only_split() {
    let project = Project::new("bert");
    let data = project.folder.path("data").display().to_string();
    let files = format!(
        "DOCS={data}/collection.tsv TEST_QUERIES={data}/queries.dev.small.tsv TEST_QRELS={data}/qrels.dev.small.tsv"
    );
    project.make(&format!("collection-start {files}")).ok();
    // The files are found by what is kept of the settings.
    project.make("report").ok();
    let page = project.folder.text("out/collection/report.html");
    assert!(page.contains("test, 60 queries") && !page.contains("made without"), "{page}");
    project.folder.sh("rm -r out/collection/metrics; echo harm > out/collection/runs/start.test.parquet").ok();
    let done = project.make("report").done();
    assert_ne!(done.code, Some(0));
    assert!(done.stderr.contains("start.test.parquet"), "{}", done.stderr);
    assert_eq!(project.folder.text("out/collection/report.html"), page);
}
