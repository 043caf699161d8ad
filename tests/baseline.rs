//! `score --baseline`: tests, intervals and marks, in every form of output.

use serde_json::Value;

use crate::common::Folder;

/// The position of the one relevant document of each query, in three runs.
const RANKS: [(&str, [usize; 8]); 3] =
    [("start", [3, 2, 5, 1, 4, 2, 3, 6]), ("better", [1, 1, 2, 1, 3, 4, 1, 2]), ("same", [3, 2, 4, 1, 4, 3, 3, 6])];

const LINE: &str = "score --qrels qrels.tsv -m MRR --baseline start.tsv better.tsv same.tsv";

fn run(ranks: &[usize]) -> String {
    let list = |(query, &rank): (usize, &usize)| {
        (1..=rank).map(move |place| {
            let doc = if place == rank { "r".to_owned() } else { format!("x{place}") };
            format!("q{query}\t{doc}\t{place}\n")
        })
    };
    ranks.iter().enumerate().flat_map(list).collect()
}

fn folder() -> Folder {
    let folder = Folder::empty();
    folder.write("qrels.tsv", (0..8).map(|query| format!("q{query} 0 r 1\n")).collect::<String>());
    for (name, ranks) in RANKS {
        folder.write(&format!("{name}.tsv"), run(&ranks));
    }
    folder
}

#[track_caller]
fn near(found: &Value, expected: f64) {
    let found = found.as_f64().unwrap();
    assert!((found - expected).abs() < 1e-12, "{found} instead of {expected}");
}

/// scipy 1.17.1: `ttest_rel`, and `permutation_test` over all ways to exchange the values of the pairs.
#[test]
fn values_equal_those_of_scipy() {
    let folder = folder();
    let done = folder.run(&format!("{LINE} --format json")).ok();
    let rows: Vec<Value> = serde_json::from_str(done.text()).unwrap();
    assert_eq!(rows[0]["run"], "start");
    assert!(rows[0].get("p_t_test").is_none());
    let better = &rows[1];
    near(&better["difference"], 0.2875);
    near(&better["t"], 2.487279686245408);
    near(&better["p_t_test"], 0.041762559812889566);
    near(&better["p_fisher"], 0.046875);
    // Holm: the smaller of two is doubled.
    near(&better["p_t_test_holm"], 0.08352511962577913);
    near(&better["p_fisher_holm"], 0.09375);
    assert_eq!(better["significant"], false);
    assert_eq!((&better["wins"], &better["ties"], &better["losses"]), (&6.into(), &1.into(), &1.into()));
    let (low, high) = (better["low"].as_f64().unwrap(), better["high"].as_f64().unwrap());
    assert!(0.0 < low && low < 0.1 && 0.45 < high && high < 0.55, "{low} to {high}");
    let same = &rows[2];
    near(&same["difference"], -0.014583333333333337);
    near(&same["t"], -0.6455756518299951);
    near(&same["p_t_test_holm"], 0.5391314349222295);
    near(&same["p_fisher_holm"], 1.0);
    assert_eq!((&same["wins"], &same["ties"], &same["losses"]), (&1.into(), &6.into(), &1.into()));
}

#[test]
fn tables_have_marks() {
    let folder = folder();
    let line = "score --qrels qrels.tsv -m MRR@10 -m P@1 --baseline start.tsv better.tsv";
    let expected = "\
run     MRR@10      P@1
start   0.4104   0.1250
better  0.6979†  0.5000

† differs from start: p < 0.05 by a paired t-test

Differences from start over 8 queries
run     metric  difference        95% interval   p (t)  p (Fisher)  wins  ties  losses
better  MRR@10     +0.2875  +0.0688 to +0.4958  0.0418      0.0469     6     1       1
better  P@1        +0.3750  +0.1250 to +0.7500  0.0796      0.2500     3     5       0
";
    assert_eq!(folder.run(line).ok().text(), expected);
    let expected = r"% \usepackage{booktabs}
\begin{tabular}{lrr}
\toprule
Run & MRR@10 & P@1 \\
\midrule
start & 0.4104 & 0.1250 \\
better & \textbf{0.6979}$^{\dagger}$ & \textbf{0.5000} \\
\bottomrule
\end{tabular}
% $^{\dagger}$ differs from start: p \textless{} 0.05 by a paired t-test
";
    assert_eq!(folder.run(&format!("{line} --format latex")).ok().text(), expected);
    let expected = "\
| run | MRR@10 | P@1 |
|---|---:|---:|
| start | 0.4104 | 0.1250 |
| better | **0.6979**<sup>†</sup> | **0.5000** |

<sup>†</sup> differs from start: p &lt; 0.05 by Fisher's randomization test
";
    assert_eq!(folder.run(&format!("{line} --format markdown --test fisher")).ok().text(), expected);
    // Over two runs, Holm's correction takes the mark away; at another level it is there again.
    assert!(!folder.run(LINE).ok().text().contains('†'));
    let text = folder.run(&format!("{LINE} --alpha 0.1")).ok();
    text.check(text.text().contains("better  0.6979†"), "should mark it");
    text.check(text.text().contains("p < 0.1 by a paired t-test after Holm's correction over 2 runs"), "should say so");
    text.check(text.text().contains("90% interval"), "should have intervals of the level");
}

#[test]
fn tsv_has_columns_more() {
    let folder = folder();
    let done = folder.run(&format!("{LINE} --format tsv")).ok();
    let lines: Vec<Vec<&str>> = done.text().lines().map(|line| line.split('\t').collect()).collect();
    assert_eq!(lines[0][..5], ["run", "metric", "value", "baseline", "difference"]);
    assert!(lines.iter().all(|line| line.len() == lines[0].len()));
    assert_eq!(lines[1][..5], ["start", "MRR", "0.41041666666666665", "", ""]);
    assert_eq!((lines[2][3], lines[2][15]), ("start", "false"));
}

#[test]
fn the_seed_decides() {
    let folder = Folder::empty();
    folder.write("qrels.tsv", (0..40).map(|query| format!("q{query} 0 r 1\n")).collect::<String>());
    for (name, step) in [("a.tsv", 7), ("b.tsv", 11)] {
        folder.write(name, run(&(0..40).map(|query| query * step % 9 + 1).collect::<Vec<_>>()));
    }
    let line = "score --qrels qrels.tsv -m MRR --baseline a.tsv b.tsv --format json --permutations 500 --seed";
    let text = |seed: u32| folder.run(&format!("{line} {seed}")).ok().text().to_owned();
    assert_eq!(text(1), text(1));
    assert_ne!(text(1), text(2));
}

#[test]
fn the_baseline_may_be_among_the_runs() {
    let folder = folder();
    let done = folder.run("score --qrels qrels.tsv -m MRR --baseline ./start.tsv better.tsv start.tsv").ok();
    let firsts: Vec<&str> = done.text().lines().filter_map(|line| line.split(' ').next()).take(3).collect();
    assert_eq!(firsts, ["run", "better", "start"]);
    folder.run("score --qrels qrels.tsv --baseline start.tsv start.tsv").fails_as_wrong_usage(&["--baseline"]);
    folder
        .run("score --qrels qrels.tsv -m MRR@10 --format msmarco --baseline start.tsv better.tsv")
        .fails_as_wrong_usage(&["msmarco"]);
    folder.run("score --qrels qrels.tsv better.tsv --test fisher").fails_as_wrong_usage(&["--baseline"]);
    for alpha in ["0", "1", "nan", "x"] {
        folder.run(&format!("{LINE} --alpha {alpha}")).fails_as_wrong_usage(&["alpha"]);
    }
}

#[test]
fn a_run_that_equals_the_baseline_differs_in_nothing() {
    let folder = folder();
    folder.write("copy.tsv", folder.read("start.tsv"));
    let done = folder.run("score --qrels qrels.tsv -m MRR --baseline start.tsv copy.tsv better.tsv --format json").ok();
    let rows: Vec<Value> = serde_json::from_str(done.text()).unwrap();
    for p in ["p_t_test", "p_t_test_holm", "p_fisher", "p_fisher_holm"] {
        near(&rows[1][p], 1.0);
    }
    near(&rows[2]["p_t_test_holm"], 2.0 * 0.041762559812889566);
}

#[test]
fn a_baseline_over_other_queries() {
    let folder = folder();
    let without = |query: &str| {
        let text = folder.text("better.tsv");
        text.lines().filter(|line| !line.starts_with(query)).map(|line| format!("{line}\n")).collect::<String>()
    };
    folder.write("less.tsv", without("q3"));
    for order in ["rank", "score"] {
        let line = format!("score --qrels qrels.tsv -m MRR --order {order} --baseline start.tsv less.tsv");
        folder.run(&line).fails(&[
            "less: is over other queries than start",
            "1 of 8 judged queries are only in start (q3)",
            "--complete",
        ]);
        let done = folder.run(&format!("{line} --complete --format json")).ok();
        let rows: Vec<Value> = serde_json::from_str(done.text()).unwrap();
        assert_eq!(rows[1]["losses"], 2);
    }
}

#[test]
fn one_query_only() {
    let folder = folder();
    folder.write("one.tsv", "q0 0 r 1\n");
    let done = folder.run("score --qrels one.tsv -m MRR --baseline start.tsv better.tsv").ok();
    assert_eq!(done.text(), "run        MRR\nstart   0.3333\nbetter  1.0000\n");
    done.check(done.stderr.contains("no test is possible: the means are over one query only"), "should say so");
}

/// Counts of documents are no means, and more is not better.
#[test]
fn counts_are_not_compared() {
    let folder = folder();
    let line = "score --qrels qrels.tsv -m NumRet,P@1 --baseline start.tsv better.tsv";
    let done = folder.run(&format!("{line} --format latex")).ok();
    done.check(done.text().contains(r"better & 15 & \textbf{0.5000}"), "should have no bold count");
    let done = folder.run(&format!("{line} --format json")).ok();
    let rows: Vec<Value> = serde_json::from_str(done.text()).unwrap();
    assert_eq!((&rows[2]["value"], rows[2].get("difference")), (&15.0.into(), None));
}
