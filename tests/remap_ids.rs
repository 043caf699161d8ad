//! `remap-ids`: there and back, and never between files that don't belong together.

use arrow::array::{Int64Array, StringArray};

use crate::common::{Folder, Records, column, save};

const TOKENS: &str = "--queries dev.tokens.arrow --docs docs.tokens.arrow";

#[test]
fn official_ids_become_row_numbers() {
    let folder = Folder::made();
    let qrels = Records::open(&folder.path("dev.qrels.parquet"));
    let [queries, docs] = ["dev.tokens.arrow", "docs.tokens.arrow"].map(|name| Records::open(&folder.path(name)));
    let (query_keys, doc_keys) = (queries.texts("key"), docs.texts("key"));
    let rows = qrels.i64s("query_id").into_iter().zip(qrels.i64s("doc_id")).zip(qrels.i32s("relevance"));
    let back: String = rows
        .map(|((query, doc), grade)| {
            format!("{}\t0\t{}\t{grade}\n", query_keys[query as usize], doc_keys[doc as usize])
        })
        .collect();
    assert_eq!(back, folder.text("qrels.dev.small.tsv"));
    assert_eq!(qrels.metadata["hardmine.queries"], queries.metadata["hardmine.keys"]);
    assert_eq!(qrels.metadata["hardmine.docs"], docs.metadata["hardmine.keys"]);
}

#[test]
fn runs_and_negatives_go_both_ways() {
    let folder = Folder::made();
    for (name, tokens) in [("dev.run", "dev"), ("train.negatives", "train")] {
        let tokens = format!("--queries {tokens}.tokens.arrow --docs docs.tokens.arrow");
        let line = format!("remap-ids {tokens} --to official {name}.parquet | remap-ids {tokens} --to internal");
        let back = Records::stream(&folder.sh(&line).ok().stdout);
        let original = Records::open(&folder.path(&format!("{name}.parquet")));
        assert!(back.rows == original.rows, "{name}");
        assert_eq!(back.kind(), original.kind());
    }
}

#[test]
fn text_goes_in_and_comes_out() {
    let folder = Folder::made();
    folder.run(&format!("remap-ids {TOKENS} --to official dev.qrels.parquet -o qrels.tsv")).ok();
    assert_eq!(folder.text("qrels.tsv"), folder.text("qrels.dev.small.tsv"));
    folder.run(&format!("remap-ids {TOKENS} --to official dev.run.parquet -o run.trec")).ok();
    folder.run(&format!("remap-ids {TOKENS} --to internal run.trec -o run.parquet")).ok();
    let [back, original] = ["run.parquet", "dev.run.parquet"].map(|name| Records::open(&folder.path(name)));
    assert!(back.rows == original.rows, "scores survive their text");
    folder.run(&format!("remap-ids {TOKENS} --to official dev.run.parquet -o run.tsv")).ok();
    let line = folder.text("run.tsv").lines().next().unwrap().to_owned();
    assert_eq!(line.split('\t').count(), 3, "{line}");
}

#[test]
fn tokens_of_another_split_are_refused() {
    let folder = Folder::made();
    let wrong = "remap-ids --queries train.tokens.arrow --docs docs.tokens.arrow --to official";
    folder.run(&format!("{wrong} dev.run.parquet")).fails(&["dev.run.parquet", "train.tokens.arrow", "queries"]);
    let line = format!("rank -q --index docs.arrow dev.arrow | {wrong} -o run.parquet");
    folder.sh(&line).fails(&["remap-ids: standard input: queries"]);
    assert!(!folder.path("run.parquet").exists());
    let swapped = "remap-ids --queries docs.tokens.arrow --docs dev.tokens.arrow --to internal qrels.dev.small.tsv";
    folder.run(swapped).fails(&["qrels.dev.small.tsv: row 0: id ", "is not a key of docs.tokens.arrow"]);
}

#[test]
fn ids_that_are_there_already_are_refused() {
    let folder = Folder::made();
    folder.run(&format!("remap-ids {TOKENS} --to internal dev.run.parquet")).fails(&["internal already"]);
    folder.run(&format!("remap-ids {TOKENS} --to official qrels.dev.small.tsv")).fails(&["official already"]);
}

/// Tokens of queries 1 and 2 and of documents 7, 0 and 1, in this order.
fn numbered() -> Folder {
    let folder = Folder::new();
    folder.write("queries.tsv", "1\tcreate a vm\n2\tdelete a vm\n");
    folder.write("docs.tsv", "7\tcreate\n0\tdelete\n1\tlist\n");
    folder.run("tokenize --tokenizer bert --kind query queries.tsv -o q.arrow").ok();
    folder.run("tokenize --tokenizer bert docs.tsv -o d.arrow").ok();
    folder
}

const NUMBERED: &str = "remap-ids --queries q.arrow --docs d.arrow";

#[test]
fn integer_ids_of_other_programs_are_the_collections_own() {
    let folder = numbered();
    let columns = vec![
        column("query_id", Int64Array::from(vec![1, 2])),
        column("doc_id", Int64Array::from(vec![0, 7])),
        column("relevance", Int64Array::from(vec![1, 2])),
    ];
    save(&folder.path("qrels.parquet"), columns);
    let done = folder.run(&format!("{NUMBERED} --to internal qrels.parquet -o internal.parquet")).ok();
    done.check(done.stderr.contains("qrels.parquet: its integer ids were taken for"), "should say so");
    let internal = Records::open(&folder.path("internal.parquet"));
    assert_eq!((internal.i64s("query_id"), internal.i64s("doc_id")), (vec![0, 1], vec![1, 0]));
    folder.run(&format!("{NUMBERED} --to official qrels.parquet")).fails(&["official already", "--ids internal"]);
    folder.run(&format!("{NUMBERED} --to internal --ids internal qrels.parquet")).fails(&["internal already"]);
    let columns = vec![
        column("query_id", Int64Array::from(vec![0, 1])),
        column("doc_id", Int64Array::from(vec![1, 0])),
        column("relevance", Int64Array::from(vec![1, 2])),
    ];
    save(&folder.path("rows.parquet"), columns);
    folder.run(&format!("{NUMBERED} --to official --ids internal rows.parquet -o official.tsv")).ok();
    assert_eq!(folder.text("official.tsv"), "1\t0\t0\t1\n2\t0\t7\t2\n");
    // Integers beside text are text, too.
    let columns = vec![
        column("qid", Int64Array::from(vec![1])),
        column("docno", StringArray::from(vec!["7"])),
        column("label", Int64Array::from(vec![1])),
    ];
    save(&folder.path("mixed.parquet"), columns);
    folder.run(&format!("{NUMBERED} --to internal mixed.parquet -o mixed.tsv")).ok();
    assert_eq!(folder.text("mixed.tsv"), "0\t0\t0\t1\n");
}

#[test]
fn judgements_of_a_later_round_stay_judgements() {
    let folder = numbered();
    for text in ["1 4.5 7 2\n1 4.5 1 0\n", "1 1 7 2\n1 1 1 0\n"] {
        folder.write("round.txt", text);
        folder.run(&format!("{NUMBERED} --to internal round.txt -o round.parquet")).ok();
        let qrels = Records::open(&folder.path("round.parquet"));
        assert_eq!(qrels.kind(), "qrels");
        assert_eq!((qrels.i64s("doc_id"), qrels.i32s("relevance")), (vec![0, 2], vec![2, 0]));
    }
    folder.write("both.txt", "1 7 1 2\n");
    let line = format!("{NUMBERED} --to internal both.txt -o both.arrow");
    folder.run(&line).fails(&["both.txt: can be read as a run", "as qrels", "--kind run or qrels"]);
    folder.run(&line).args(["--kind", "run"]).ok();
    assert_eq!(Records::open(&folder.path("both.arrow")).i64s("doc_id"), [0]);
    folder.run(&line).args(["--kind", "qrels"]).ok();
    assert_eq!(Records::open(&folder.path("both.arrow")).i64s("doc_id"), [2]);
}

#[test]
fn rows_with_unknown_ids_can_be_left_out() {
    let folder = numbered();
    folder.write("qrels.tsv", "1\t0\t7\t1\n1\t0\tgone\t1\nnobody\t0\t0\t1\n2\t0\t0\t1\n");
    let line = format!("{NUMBERED} --to internal qrels.tsv -o qrels.parquet");
    folder.run(&line).fails(&["qrels.tsv: row 2: id 'nobody'", "--skip-unknown"]);
    let done = folder.run(&line).arg("--skip-unknown").ok();
    done.check(done.stderr.contains("2 rows with an unknown query or document left out"), "should count them");
    let qrels = Records::open(&folder.path("qrels.parquet"));
    assert_eq!((qrels.i64s("query_id"), qrels.i64s("doc_id")), (vec![0, 1], vec![0, 1]));
    folder.write("qrels.tsv", "a\t0\tx\t1\n");
    folder.run(&line).arg("--skip-unknown").fails(&["qrels.tsv: none of its 1 rows"]);
}

/// trec_eval sorts by score, then by document id, last first.
#[test]
fn trec_output_has_our_order_also_for_trec_eval() {
    let folder = numbered();
    folder.write("run.tsv", "qid docno rank score\n1 7 1 5\n1 0 2 5\n1 1 3 5\n2 1 1 0\n2 0 2 -0\n2 7 3 -1\n");
    folder.run(&format!("{NUMBERED} --to internal run.tsv -o run.parquet")).ok();
    assert_eq!(Records::open(&folder.path("run.parquet")).f32s("score"), [5.0, 5.0, 5.0, 0.0, -0.0, -1.0]);
    let done = folder.run(&format!("{NUMBERED} --to official run.parquet -o run.trec")).ok();
    done.check(done.stderr.contains("3 equal scores were moved by the least step"), "should count them");
    let text = folder.text("run.trec");
    let scores: Vec<f32> = text.lines().map(|line| line.split(' ').nth(4).unwrap().parse().unwrap()).collect();
    let below = |score: f32| score.next_down();
    assert_eq!(scores, [5.0, below(5.0), below(below(5.0)), 0.0, below(0.0), -1.0]);
    folder.write("qrels.txt", "1 0 0 1\n2 0 0 1\n");
    for order in ["rank", "score"] {
        let line = format!("score --qrels qrels.txt -m MRR --format tsv --order {order} run.trec");
        assert!(folder.run(&line).ok().text().ends_with("\t0.5\n"), "{order}");
    }
}
