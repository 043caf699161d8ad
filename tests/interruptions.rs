//! Signals at any moment: what was there is there, and nothing half done stays.

use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStdin};
use std::time::Duration;

use crate::common::{Folder, TRAINING};

fn kill(child: &Child, signal: i32) {
    // SAFETY: the child is ours, and has not been waited for.
    unsafe { libc::kill(child.id() as i32, signal) };
}

/// Names of temporary files and folders.
fn temporaries(folder: &Folder) -> Vec<String> {
    folder.names().into_iter().filter(|name| name.ends_with(".hardmine.tmp")).collect()
}

/// Waits until `ready`, which must be before the command ends.
fn wait_until(child: &mut Child, mut ready: impl FnMut() -> bool) {
    while !ready() {
        assert!(child.try_wait().unwrap().is_none(), "it ended by itself");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Starts `line`, which waits for more texts.
fn start(folder: &Folder, line: &str) -> (Child, ChildStdin) {
    let mut child = folder.run(line).start();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"1\tcreate a vm\n").unwrap();
    (child, stdin)
}

/// As [`start`], when its output has begun.
fn waiting(folder: &Folder, line: &str) -> (Child, ChildStdin) {
    let before = temporaries(folder).len();
    let (mut child, stdin) = start(folder, line);
    wait_until(&mut child, || temporaries(folder).len() > before);
    (child, stdin)
}

const TOKENIZE: &str = "tokenize --tokenizer bert --kind query -o out.arrow";

#[test]
fn a_signal_leaves_nothing_behind_and_says_so_by_its_code() {
    let folder = Folder::made();
    folder.write("out.arrow", "precious");
    let names = folder.names();
    let adore = TRAINING.replace("--max-doc-length 32", "--embeddings docs.arrow");
    for (line, signal) in [
        (TOKENIZE, libc::SIGTERM),
        (TOKENIZE, libc::SIGINT),
        (TOKENIZE, libc::SIGHUP),
        (&format!("train adore {adore} --epochs 100000 --batch-size 8 --top-k 20 -o model"), libc::SIGTERM),
        (&format!("train inbatch {TRAINING} --epochs 100000 --batch-size 8 -o model"), libc::SIGINT),
    ] {
        let (mut child, stdin) = waiting(&folder, line);
        kill(&child, signal);
        let status = child.wait().unwrap();
        drop(stdin);
        assert_eq!(status.code(), Some(128 + signal), "{line}");
        assert_eq!(folder.names(), names, "{line}");
        assert_eq!(folder.text("out.arrow"), "precious");
    }
}

#[test]
fn an_ignored_signal_stays_ignored() {
    let folder = Folder::made();
    folder
        .sh(&format!("trap '' HUP; (sleep 0.3; echo $'1\\tvm') | {TOKENIZE} & sleep 0.1; kill -HUP $!; wait $!"))
        .ok();
    assert!(folder.path("out.arrow").exists());
}

#[test]
fn what_a_killed_command_left_is_cleared_by_the_next_with_that_output() {
    let folder = Folder::made();
    let names = folder.names();
    let train = |steps| format!("train inbatch {TRAINING} --epochs 100000 --steps {steps} --batch-size 8 -o model");
    for line in [TOKENIZE, &train(100_000)] {
        let (mut child, _stdin) = waiting(&folder, line);
        kill(&child, libc::SIGKILL);
        assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGKILL));
    }
    let killed = temporaries(&folder);
    let left = |of: &str| temporaries(&folder).iter().filter(|name| name.starts_with(&format!(".{of}."))).count();
    assert!(left("out.arrow") == 1 && left("model") >= 1);
    // Another output is no business of theirs, and neither is what a living process writes.
    let (mut living, mut texts) = waiting(&folder, &TOKENIZE.replace("out", "other"));
    assert!(left("out.arrow") == 1 && left("other.arrow") == 1);
    folder.run(&train(2)).ok();
    assert_eq!(left("model"), 0);
    let (mut second, more) = start(&folder, TOKENIZE);
    let alone = |folder: &Folder| temporaries(folder).iter().all(|name| !killed.contains(name));
    wait_until(&mut second, || alone(&folder) && left("out.arrow") == 1);
    folder.run(&format!("{TOKENIZE} queries.dev.small.tsv")).ok();
    assert_eq!((left("out.arrow"), left("other.arrow")), (1, 1));
    texts.write_all(b"2\tdelete a vm\n").unwrap();
    drop((texts, more));
    assert!(living.wait().unwrap().success() && second.wait().unwrap().success());
    let left: Vec<String> = folder.names().into_iter().filter(|name| !names.contains(name)).collect();
    assert_eq!(left, ["model", "other.arrow", "out.arrow"]);
}

#[test]
fn copies_of_pipes_have_no_name_that_could_stay() {
    let folder = Folder::made();
    std::fs::create_dir(folder.path("scratch")).unwrap();
    for line in [
        "remap-ids --queries <(cat dev.tokens.arrow) --docs <(cat docs.tokens.arrow; sleep 5) --to official \
         dev.run.parquet -o out.tsv",
        "rank --index <(cat docs.arrow; sleep 5) dev.arrow -o out.tsv",
        "index --factory IVF4,Flat <(cat docs.arrow; sleep 5) -o out.faiss",
        "sql -t t=<(cat dev.run.parquet; sleep 5) 'SELECT 1' -o out.csv",
    ] {
        let mut child = folder.sh(&format!("TMPDIR=$PWD/scratch exec {line}")).start();
        std::thread::sleep(Duration::from_millis(300));
        assert!(child.try_wait().unwrap().is_none(), "{line} ended by itself");
        kill(&child, libc::SIGKILL);
        child.wait().unwrap();
        assert_eq!(std::fs::read_dir(folder.path("scratch")).unwrap().count(), 0, "{line}");
    }
}

/// The step a model folder was trained to, once it was found whole.
fn steps(folder: &Folder) -> usize {
    let log = crate::common::Records::open(&folder.path("model/training-log.parquet"));
    folder.run("embed --model model dev.tokens.arrow -o embedded.arrow").ok();
    log.len()
}

#[test]
fn whenever_training_is_ended_the_old_or_the_new_model_is_whole() {
    let folder = Folder::made();
    let line =
        |steps: usize| format!("train inbatch {TRAINING} --steps {steps} --batch-size 8 --save-every 1 -o model");
    folder.run(&line(1)).ok();
    let whole = std::time::Instant::now();
    folder.run(&line(2)).ok();
    let whole = whole.elapsed();
    let (mut old, mut new) = (2, 1);
    let rounds = 24;
    for round in 0..rounds {
        let signal = [libc::SIGTERM, libc::SIGKILL, libc::SIGINT][round % 3];
        let before = temporaries(&folder);
        let mut child = folder.run(&line(new)).start();
        // Most of the moments lie towards the end, when models change places.
        std::thread::sleep(whole.mul_f64(0.6 + 0.5 * round as f64 / rounds as f64));
        kill(&child, signal);
        let status = child.wait().unwrap();
        let found = steps(&folder);
        assert!(found == old || found == new, "{found} steps, neither {old} nor {new}: {status}");
        if signal != libc::SIGKILL {
            assert!(temporaries(&folder).iter().all(|name| before.contains(name)), "{status}");
        }
        if found == new {
            (old, new) = (new, old);
        }
        drop(std::fs::remove_file(folder.path("model.checkpoint")));
    }
    folder.run(&line(new)).ok();
    assert_eq!((steps(&folder), temporaries(&folder)), (new, vec![]));
}
