//! Stages on a cluster: the same bytes as by one process, whoever is killed on the way.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt;
use std::process::Child;
use std::time::{Duration, Instant};

use crate::common::{Command, Folder};

/// The stages by one process, each with an output of its own.
const STAGES: [&str; 4] = [
    "tokenize --tokenizer bert collection.tsv --shard-rows 45 -o ONE/tokens/",
    "embed --model bert --batch-tokens 64 one/tokens -o ONE/docs/",
    "rank --index one/docs --top-k 50 train.arrow -o ONE/run.arrow",
    "rank --index one/docs --top-k 7 train.arrow -o ONE/run.parquet",
];

/// A scheduler and workers on this machine, which end with it.
pub(crate) struct Cluster<'a> {
    folder: &'a Folder,
    port: u16,
    scheduler: Child,
    workers: Vec<Child>,
}

impl<'a> Cluster<'a> {
    pub(crate) fn start(folder: &'a Folder, workers: usize) -> Cluster<'a> {
        Cluster::start_as(folder, workers, |command| command)
    }

    /// [`Cluster::start`] with a scheduler that knows what `known` tells it.
    pub(crate) fn start_as(folder: &'a Folder, workers: usize, known: impl Fn(Command) -> Command) -> Cluster<'a> {
        let port = free_port();
        let mut cluster = Cluster { folder, port, scheduler: scheduler(folder, port, known), workers: Vec::new() };
        (0..workers).for_each(|_| cluster.add_worker());
        cluster
    }

    fn add_worker(&mut self) {
        self.add(self.folder.run("worker"));
    }

    /// Starts `worker`, which still lacks its arguments, as one of this cluster.
    pub(crate) fn add(&mut self, worker: Command) {
        let listen = format!("127.0.0.1:{}", free_port());
        self.workers.push(quiet(worker.args(["--cluster", &self.address(), "--listen", &listen])));
    }

    pub(crate) fn address(&self) -> String {
        format!("df://127.0.0.1:{}", self.port)
    }

    /// The stage `line` by this cluster, into the folder `two`.
    fn stage(&self, line: &str) -> String {
        format!("{} --cluster {}", line.replace("ONE", "two"), self.address())
    }
}

impl Drop for Cluster<'_> {
    fn drop(&mut self) {
        for child in self.workers.iter_mut().chain([&mut self.scheduler]) {
            drop(child.kill());
            drop(child.wait());
        }
    }
}

fn scheduler(folder: &Folder, port: u16, known: impl Fn(Command) -> Command) -> Child {
    let child = quiet(known(folder.run(&format!("worker --scheduler --listen 127.0.0.1:{port}"))));
    wait_until("the scheduler listens", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
    child
}

/// Starts a command; what it says goes nowhere.
fn quiet(command: Command) -> Child {
    let mut child = command.arg("--quiet").start();
    // Pipes that nobody reads would stop it.
    let (out, err) = (child.stdout.take(), child.stderr.take());
    std::thread::spawn(move || out.map(|mut pipe| std::io::copy(&mut pipe, &mut std::io::sink())));
    std::thread::spawn(move || err.map(|mut pipe| std::io::copy(&mut pipe, &mut std::io::sink())));
    child
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn wait_until(what: &str, mut ready: impl FnMut() -> bool) {
    let started = Instant::now();
    while !ready() {
        assert!(started.elapsed() < Duration::from_secs(60), "still not so after a minute: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The folder `one`, made by one process, and an empty folder `two`.
fn made_by_one() -> Folder {
    let folder = Folder::made();
    ["one", "two"].iter().for_each(|name| fs::create_dir(folder.path(name)).unwrap());
    STAGES.iter().for_each(|stage| drop(folder.run(&stage.replace("ONE", "one")).ok()));
    folder
}

/// Shards that a job has made so far.
fn parts(folder: &Folder, of: &str) -> usize {
    let entries = fs::read_dir(folder.path(&format!("two/.{of}.parts"))).into_iter().flatten().flatten();
    entries.filter(|entry| entry.path().join("manifest.json").exists()).count()
}

/// Asserts that `two` has, to the byte, what is in `one` under this name, and nothing of the way there.
#[track_caller]
fn assert_same(folder: &Folder, name: &str) {
    folder.sh(&format!("diff -r --exclude .units.json one/{name} two/{name}")).ok();
    assert!(!folder.path(&format!("two/.{name}.parts")).exists());
}

const OUTPUTS: [&str; 4] = ["tokens", "docs", "run.arrow", "run.parquet"];

#[test]
fn shard_by_shard_on_one_machine_gives_the_same_bytes() {
    let folder = made_by_one();
    for (stage, output) in STAGES.iter().zip(OUTPUTS) {
        folder.run(&format!("{} --cluster here", stage.replace("ONE", "two"))).ok();
        assert_same(&folder, output);
    }
}

#[test]
fn texts_of_any_form_are_divided() {
    let folder = Folder::new();
    let lines = folder.text("collection.tsv");
    let json = |line: &str| {
        let (id, text) = line.split_once('\t').unwrap();
        serde_json::json!({"_id": id, "text": text}).to_string() + "\r\n\n"
    };
    folder.write("c.jsonl", format!("\u{feff}\n{}", lines.lines().map(json).collect::<String>()));
    folder.write("named.tsv", format!("key\tbody\n{lines}"));
    folder.write("headed.tsv", format!("id\ttext\n{lines}"));
    folder.sh("gzip < collection.tsv > c.tsv.gz; sql -q -t t=collection.tsv 'SELECT * FROM t' -o c.parquet").ok();
    for texts in ["c.jsonl", "named.tsv --id-column key --text-column body", "headed.tsv", "c.tsv.gz", "c.parquet"] {
        let line = format!("tokenize -q --tokenizer bert --shard-rows 45 {texts}");
        folder.run(&format!("{line} -o one/")).ok();
        folder.run(&format!("{line} -o two/ --cluster here")).ok();
        folder.sh("diff -r --exclude .units.json one two && rm -r one two").ok();
    }
}

#[test]
fn any_number_of_workers_gives_the_same_bytes() {
    let folder = made_by_one();
    for workers in [1, 3, 7] {
        let cluster = Cluster::start(&folder, workers);
        for (stage, output) in STAGES.iter().zip(OUTPUTS) {
            folder.run(&cluster.stage(stage)).ok();
            assert_same(&folder, output);
        }
        drop(cluster);
        folder.sh("rm -r two && mkdir two").ok();
    }
}

#[test]
fn a_killed_worker_is_replaced_by_the_others() {
    let folder = made_by_one();
    for (stage, output) in [(1, "docs"), (2, "run.arrow")] {
        let mut cluster = Cluster::start(&folder, 2);
        let mut client = folder.run(&cluster.stage(STAGES[stage])).start();
        wait_until("a shard is made", || parts(&folder, output) > 0);
        cluster.workers[0].kill().unwrap();
        assert!(client.wait().unwrap().success());
        assert_same(&folder, output);
    }
}

#[test]
fn what_a_killed_client_left_is_taken_up() {
    let folder = made_by_one();
    let cluster = Cluster::start(&folder, 1);
    let mut client = folder.run(&cluster.stage(STAGES[1])).start();
    wait_until("a shard is made", || parts(&folder, "docs") > 0);
    client.kill().unwrap();
    client.wait().unwrap();
    assert!(!folder.path("two/docs").exists());
    folder.run(&cluster.stage(STAGES[1])).ok();
    assert_same(&folder, "docs");
}

#[test]
fn all_may_go_and_come_back() {
    let folder = made_by_one();
    let mut cluster = Cluster::start(&folder, 1);
    let mut client = folder.run(&cluster.stage(STAGES[1])).start();
    wait_until("a shard is made", || parts(&folder, "docs") > 0);
    cluster.scheduler.kill().unwrap();
    cluster.scheduler.wait().unwrap();
    cluster.workers[0].kill().unwrap();
    std::thread::sleep(Duration::from_millis(500));
    cluster.scheduler = scheduler(&folder, cluster.port, |command| command);
    cluster.add_worker();
    assert!(client.wait().unwrap().success());
    assert_same(&folder, "docs");
}

#[test]
fn a_scheduler_that_is_started_again_finds_its_workers() {
    let folder = made_by_one();
    let mut cluster = Cluster::start(&folder, 2);
    let mut client = folder.run(&cluster.stage(STAGES[1])).start();
    wait_until("a shard is made", || parts(&folder, "docs") > 0);
    cluster.scheduler.kill().unwrap();
    cluster.scheduler.wait().unwrap();
    cluster.scheduler = scheduler(&folder, cluster.port, |command| command);
    assert!(client.wait().unwrap().success());
    assert_same(&folder, "docs");
}

#[test]
fn what_a_worker_can_not_write_is_written_by_another_one() {
    let folder = made_by_one();
    let mut cluster = Cluster::start(&folder, 1);
    // No file of its programs may have more than a block, as if its disk were full.
    cluster.add(folder.sh("ulimit -f 1; exec worker \"$@\"").arg("worker"));
    folder.run(&cluster.stage(STAGES[1])).ok();
    assert_same(&folder, "docs");

    // Without another one, there is one line and no dataset.
    drop(cluster);
    folder.sh("rm -r two/docs").ok();
    let mut cluster = Cluster::start(&folder, 0);
    cluster.add(folder.sh("ulimit -f 1; exec worker \"$@\"").arg("worker"));
    folder.run(&cluster.stage(STAGES[1])).fails(&["embed of rows"]);
    assert!(!folder.path("two/docs").exists());
}

#[test]
fn runs_are_mined_scored_and_asked_part_by_part() {
    let folder = Folder::made();
    folder.sh("cp train.run.parquet run.parquet").ok();
    let cluster = Cluster::start(&folder, 3);
    let query = "SELECT query_id, doc_id, rank, score FROM t ORDER BY query_id, rank";
    let ask = |line: &str| folder.run(&format!("sql -q --format csv {line}")).arg(query).ok().stdout;

    // Negatives: the same rows, and with any number of workers the same bytes.
    let mine = "mine-negatives --qrels train.qrels.parquet --top-k 20 --min-score 0.1 run.parquet";
    folder.run(&format!("{mine} -o negatives.parquet")).ok();
    let sharded = format!("{mine} --shard-rows 1000 -o negatives/ --cluster");
    folder.run(&format!("{sharded} {}", cluster.address())).ok();
    let expected = ask("-t t=negatives.parquet");
    assert_eq!(ask("-t t=negatives"), expected);
    folder.sh("mv negatives by-three").ok();
    folder.run(&format!("{sharded} here")).ok();
    assert!(folder.path("negatives/00003.arrow").exists());
    folder.sh("diff -r by-three negatives").ok();

    // Scores: the same text, and the same values of every query.
    for options in ["", "--order score", "--order score --complete", "--judged-only -m gMAP -m nDCG@10"] {
        let score = format!("score -q --ids internal --qrels train.qrels.parquet {options} run.parquet --format json");
        let plain = folder.run(&format!("{score} --per-query plain.arrow")).ok().stdout;
        for place in ["here", &cluster.address()] {
            let line = format!("{score} --per-query sharded.arrow --shard-rows 700 --cluster {place}");
            assert_eq!(folder.run(&line).ok().text(), String::from_utf8_lossy(&plain), "{options} {place}");
            let values = |name: &str| {
                let ask = folder.run(&format!("sql -q --format csv -t m={name}"));
                ask.arg("SELECT * EXCEPT (run) FROM m").ok().stdout
            };
            assert!(values("plain.arrow") == values("sharded.arrow"), "{options} {place}");
        }
    }
    let two = "score -q --ids internal --qrels train.qrels.parquet -m MRR@10 <(cat run.parquet) <(cat run.parquet)";
    let text = |line: &str| folder.sh(line).ok().text().lines().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(text(&format!("{two} --cluster here")).len(), text(two).len());

    // Queries: the same rows.
    for table in ["run.parquet", "negatives", "docs.arrow"] {
        let query = match table {
            "docs.arrow" => "SELECT count(*) AS rows, min(id) AS first FROM t",
            _ => query,
        };
        let ask =
            |options: &str| folder.run(&format!("sql -q --format tsv -t t={table} {options}")).arg(query).ok().stdout;
        let plain = ask("");
        for place in ["here", &cluster.address()] {
            assert_eq!(ask(&format!("--cluster {place}")), plain, "{table} {place}");
        }
    }

    // What is wrong.
    let at = cluster.address();
    folder
        .run(&format!("sql --cluster {at} -t t=qrels.train.tsv"))
        .arg("SELECT 1")
        .fails(&["qrels.train.tsv", "--cluster"]);
    folder
        .run(&format!("sql --cluster {at} -t t=run.parquet -o x.csv"))
        .arg("SELECT nothing FROM t")
        .fails(&["nothing"]);
    folder.run(&format!("sql --cluster {at} -t t=run.parquet")).arg("SELECT get_byte('x', 0)").fails(&["get_byte"]);
    folder.run(&format!("sql --cluster {at} -t t=run.parquet")).arg("DROP TABLE t").fails(&["t"]);
    folder.run(&format!("{mine} -o x.parquet --cluster {at}")).fails_as_wrong_usage(&["-o FOLDER/"]);
    folder.write("again.tsv", "1\t1\t1\n2\t1\t1\n1\t2\t2\n");
    let again = "--ids internal --qrels train.qrels.parquet again.tsv";
    folder.run(&format!("score {again} --cluster {at}")).fails(&["again.tsv: row 2: query 1 comes again", "sort"]);
    folder.write("other.tsv", "900000\t1\t1\n");
    let other = "--ids internal --qrels train.qrels.parquet other.tsv";
    folder.run(&format!("mine-negatives {other} -o x/ --cluster {at}")).fails(&["none of its 1 queries is judged"]);
    assert!(!folder.path("x.csv").exists() && !folder.path("x").exists());
}

#[test]
fn a_collection_that_has_grown_encodes_its_new_shards_only() {
    let folder = Folder::made();
    let lines: Vec<String> = folder.text("collection.tsv").lines().map(|line| format!("{line}\n")).collect();
    folder.write("grown.tsv", lines[..128].concat());
    let stages = [
        "tokenize --tokenizer bert grown.tsv --shard-rows 64 -o tokens/ --cluster here",
        "embed --model bert --batch-tokens 64 tokens -o docs/ --cluster here",
    ];
    stages.iter().for_each(|stage| drop(folder.run(stage).ok()));
    let inode = |name: &str| fs::metadata(folder.path(name)).unwrap().ino();
    let before = ["docs/00000.arrow", "docs/00001.arrow"].map(inode);
    folder.write("grown.tsv", lines[..200].concat());
    stages.iter().for_each(|stage| drop(folder.run(stage).ok()));
    assert_eq!(["docs/00000.arrow", "docs/00001.arrow"].map(inode), before, "they were made again");
    folder.run("embed --model bert --batch-tokens 64 tokens -o whole/").ok();
    folder.sh("sed -i s/whole/docs/ whole/manifest.json; diff -r --exclude .units.json docs whole").ok();

    // Shards that another command put under the names of those that were made are not taken for them.
    folder.run("embed --model bert --batch-tokens 64 --max-length 5 tokens -o cut/").ok();
    folder.sh("cp cut/* docs/").ok();
    folder.run(stages[1]).ok();
    folder.sh("diff -r --exclude .units.json docs whole").ok();

    // Nor is a shard whose bytes are others. Those that are whole are kept, and how much is said changes nothing.
    folder.sh("cp docs/00000.arrow docs/00002.arrow").ok();
    let done = folder.run(&format!("{} -v", stages[1])).ok();
    assert!(done.stderr.contains("3 of 4 shards were there already"), "{}", done.stderr);
    folder.sh("diff -r --exclude .units.json docs whole").ok();
}

#[test]
fn a_setting_of_the_model_folder_that_changed_makes_the_shards_anew() {
    let folder = Folder::made();
    folder.copy_model("bert", "model");
    folder.run("tokenize --tokenizer bert collection.tsv --shard-rows 64 -o tokens/").ok();
    let embed = "embed --model model --batch-tokens 64 tokens -o docs/";
    folder.run(&format!("{embed} --cluster here")).ok();
    folder.write("model/sentence_bert_config.json", "{\"max_seq_length\": 6}");
    folder.run(&format!("{embed} --cluster here")).ok();
    folder.sh("mv docs by-parts").ok();
    folder.run(embed).ok();
    folder.sh("diff -r --exclude .units.json by-parts docs").ok();
}

#[test]
fn what_is_wrong_is_said_in_one_line_and_does_no_harm() {
    let folder = made_by_one();
    let nobody = format!("df://127.0.0.1:{}", free_port());
    folder.run(&format!("{} --cluster {nobody}", STAGES[1].replace("ONE", "two"))).fails(&[&nobody, "no scheduler"]);
    folder.run(&format!("worker --cluster {nobody} --listen 127.0.0.1:1 --cluster x")).fails_as_wrong_usage(&["df://"]);

    folder.run("worker --cluster df://10.0.0.1:50050").fails(&["df://10.0.0.1:50050: is another machine", "--listen"]);

    // A shard that was changed is named; the others are kept.
    let cluster = Cluster::start(&folder, 2);
    let taken = format!("worker --cluster {} --listen 127.0.0.1:{}", cluster.address(), cluster.port);
    folder.run(&taken).fails(&["address already in use", "--listen ADDRESS:PORT"]);
    folder.run(&cluster.stage("embed --model bert nowhere -o ONE/x/")).fails(&["nowhere: no such file"]);
    let shard = folder.path("one/tokens/00003.arrow");
    let whole = fs::read(&shard).unwrap();
    let mut broken = whole.clone();
    let middle = broken.len() / 2;
    broken[middle] ^= 1;
    fs::write(&shard, broken).unwrap();
    folder.run(&cluster.stage(STAGES[1])).fails(&["00003.arrow", "SHA-256"]);
    assert!(!folder.path("two/docs").exists());
    fs::write(&shard, whole).unwrap();
    let kept = parts(&folder, "docs");
    assert!(kept > 0, "nothing was kept");
    folder.run(&cluster.stage(STAGES[1])).ok();
    assert_same(&folder, "docs");

    // The error of a command is that of the command.
    folder.run(&cluster.stage("embed --model nowhere one/tokens -o ONE/x/")).fails(&["nowhere"]);
    folder.write("broken.tsv", "1\ta\n2\n");
    folder.run(&cluster.stage("tokenize --tokenizer bert broken.tsv --shard-rows 1 -o ONE/x/")).fails(&["line 2"]);
    folder.run(&cluster.stage("rank --index one/tokens train.arrow -o ONE/x.arrow")).fails(&["holds no embeddings"]);
    assert!(!folder.path("two/x").exists());

    // What is in the way is found before the work begins.
    folder.sh("mkdir two/taken && touch two/taken/notes.txt").ok();
    let taken = STAGES[1].replace("ONE/docs", "ONE/taken");
    folder.run(&cluster.stage(&taken)).fails(&["two/taken", "notes.txt", "not of a dataset"]);
    assert!(!folder.path("two/.taken.parts").exists());
}

#[test]
fn a_model_that_changes_and_a_plan_of_another_version_are_refused() {
    let folder = made_by_one();
    folder.copy_model("bert", "changing");
    let embed = "embed --model changing --batch-tokens 64 one/tokens -o ONE/docs/";
    let mut cluster = Cluster::start(&folder, 0);
    let client = folder.run(&cluster.stage(embed)).start();
    let job = || {
        let entries = fs::read_dir(folder.path("two/.docs.parts")).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).find(|path| path.extension().is_some_and(|ending| ending == "json"))
    };
    wait_until("the job is handed in", || job().is_some());
    let config = folder.text("changing/config.json");
    fs::write(folder.path("changing/config.json"), format!("{config}\n")).unwrap();
    cluster.add_worker();
    let output = client.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("its model is") && said.lines().count() == 1, "{said}");

    drop(cluster);
    folder.sh("rm -r two/.docs.parts").ok();
    let mut cluster = Cluster::start(&folder, 0);
    let client = folder.run(&cluster.stage(embed)).start();
    wait_until("the job is handed in", || job().is_some());
    let path = job().unwrap();
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replacen("\"version\": \"", "\"version\": \"9", 1)).unwrap();
    cluster.add_worker();
    let output = client.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("is hardmine") && said.contains("same version"), "{said}");
}
