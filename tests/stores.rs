//! Object stores, by a server on this machine that speaks Amazon's protocol: moto, which `make test` fetches from PyPI.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::cluster::Cluster;
use crate::common::{Command, Folder};

/// A server with the bucket `lab`, which is empty.
struct Store {
    port: u16,
    server: Child,
}

impl Store {
    fn start() -> Store {
        let packages = Path::new(env!("CARGO_MANIFEST_DIR")).join(".deps/stores");
        assert!(packages.join("moto").is_dir(), "there is no {}; `make test` fetches it", packages.display());
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let server = std::process::Command::new("python3")
            .args(["-m", "moto.server", "--host", "127.0.0.1", "--port", &port.to_string()])
            .env("PYTHONPATH", packages)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let started = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(started.elapsed() < Duration::from_secs(60), "the server does not listen");
            std::thread::sleep(Duration::from_millis(50));
        }
        let store = Store { port, server };
        store.ask("PUT", "/lab", b"").unwrap();
        store
    }

    /// The body of the server's answer; none if there is no such file.
    fn ask(&self, method: &str, path: &str, body: &[u8]) -> Option<Vec<u8>> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let length = body.len();
        // The server asks for a name, and believes it.
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Length: {length}\r\n\
             Authorization: AWS4-HMAC-SHA256 Credential=who/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, \
             Signature=0\r\n\r\n"
        );
        stream.write_all(&[head.as_bytes(), body].concat()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").expect("an answer has a head");
        let status = String::from_utf8_lossy(&answer[9..12]).into_owned();
        match status.as_str() {
            "200" | "204" => Some(answer.split_off(end + 4)),
            "404" => None,
            _ => panic!("{method} {path}: {status}"),
        }
    }

    fn put(&self, name: &str, bytes: &[u8]) {
        self.ask("PUT", &format!("/lab/{name}"), bytes).unwrap();
    }

    /// Sends a file, or all that is in a folder, under `name`.
    fn put_all(&self, path: &Path, name: &str) {
        if !path.is_dir() {
            return self.put(name, &fs::read(path).unwrap());
        }
        for entry in fs::read_dir(path).unwrap() {
            let entry = entry.unwrap();
            self.put_all(&entry.path(), &format!("{name}/{}", entry.file_name().to_str().unwrap()));
        }
    }

    fn get(&self, name: &str) -> Option<Vec<u8>> {
        self.ask("GET", &format!("/lab/{name}"), b"")
    }

    /// The names of all files.
    fn names(&self) -> Vec<String> {
        let list = String::from_utf8(self.ask("GET", "/lab?list-type=2&max-keys=1000", b"").unwrap()).unwrap();
        let mut names: Vec<String> =
            list.split("<Key>").skip(1).map(|rest| rest.split('<').next().unwrap().to_owned()).collect();
        names.sort();
        names
    }

    /// A command that knows the way to the store.
    fn known(&self, command: Command) -> Command {
        command
            .env("AWS_ENDPOINT_URL", format!("http://127.0.0.1:{}", self.port))
            .env("AWS_ACCESS_KEY_ID", "who")
            .env("AWS_SECRET_ACCESS_KEY", "secret")
            .env("AWS_REGION", "us-east-1")
    }

    fn run(&self, folder: &Folder, line: &str) -> Command {
        self.known(folder.run(line))
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        drop(self.server.kill());
        drop(self.server.wait());
    }
}

/// Asserts that the store has, to the byte, what is in `folder` under this name.
#[track_caller]
fn assert_same(store: &Store, folder: &Folder, name: &str, stored: &str) {
    let path = folder.path(name);
    let files: Vec<PathBuf> = match path.is_dir() {
        true => fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()).collect(),
        false => vec![path.clone()],
    };
    for file in files.iter().filter(|file| !file.ends_with(".units.json")) {
        let within = file.strip_prefix(&path).unwrap().to_str().unwrap();
        let key = format!("{stored}/{within}");
        let found = store.get(key.trim_end_matches('/')).unwrap_or_else(|| panic!("{key} is missing"));
        assert!(found == fs::read(file).unwrap(), "{key} differs");
    }
}

/// A store with the collection, a model, and judgements.
fn filled(folder: &Folder) -> Store {
    let store = Store::start();
    for name in [
        "collection.tsv",
        "bert",
        "qrels.dev.small.tsv",
        "train.qrels.parquet",
        "train.arrow",
        "dev.arrow",
        "dev.tokens.arrow",
    ] {
        store.put_all(&fs::canonicalize(folder.path(name)).unwrap(), name);
    }
    store
}

#[test]
fn stages_read_from_a_store_and_write_to_it_what_they_write_to_a_disk() {
    let folder = Folder::made();
    let store = filled(&folder);
    let before = folder.names();
    let stages = [
        ("tokenize --tokenizer IN/bert IN/collection.tsv --shard-rows 100 -o OUT/tokens/", "tokens"),
        ("embed --model=IN/bert --batch-tokens 64 OUT/tokens -oOUT/docs/", "docs"),
        ("rank --index OUT/docs --top-k 50 IN/dev.arrow --output=OUT/run.parquet", "run.parquet"),
        (
            "remap-ids --to official --queries IN/dev.tokens.arrow --docs OUT/tokens OUT/run.parquet -o OUT/run.tsv",
            "run.tsv",
        ),
    ];
    fs::create_dir(folder.path("here")).unwrap();
    for (stage, name) in stages {
        // A command line has file names in it, and is written into files.
        let local = stage.replace("-oOUT", "-o OUT").replace("OUT", "here").replace("IN/", "");
        folder.run(&local).ok();
        store.run(&folder, &stage.replace("OUT", "s3://lab/out").replace("IN", "s3://lab")).ok();
        if name.ends_with(".tsv") {
            assert_same(&store, &folder, &format!("here/{name}"), &format!("out/{name}"));
        }
    }
    // The records are the same; only the provenance differs, by the command line.
    for table in ["tokens", "docs", "run.parquet"] {
        let rows = |place: &str| {
            let command = folder.run(&format!("sql -q --format jsonl -t t={place}/{table}"));
            store.known(command.arg("SELECT * FROM t")).ok().stdout
        };
        assert!(rows("here") == rows("s3://lab/out") && !rows("here").is_empty(), "{table}");
    }
    let score = |run: &str| {
        store
            .run(&folder, &format!("score -q --qrels s3://lab/qrels.dev.small.tsv -m MRR@10 {run} --format tsv"))
            .ok()
            .stdout
    };
    assert_eq!(score("s3://lab/out/run.tsv"), score("here/run.tsv"));
    // Nothing is left on this machine.
    folder.sh("rm -r here").ok();
    assert_eq!(folder.names(), before);

    // A dataset takes the place of another one, and nothing of that is left.
    store
        .run(&folder, "tokenize --tokenizer s3://lab/bert s3://lab/collection.tsv --shards 2 -o s3://lab/out/tokens/")
        .ok();
    let shards: Vec<String> = store.names().into_iter().filter(|name| name.starts_with("out/tokens/")).collect();
    assert_eq!(shards, ["out/tokens/00000.arrow", "out/tokens/00001.arrow", "out/tokens/manifest.json"]);

    // Options of one letter may stand together, and a table may be given twice.
    store.run(&folder, "rank --index s3://lab/dev.arrow --top-k 3 s3://lab/dev.arrow -qo s3://lab/out/self.arrow").ok();
    let twice =
        "rank --index s3://lab/dev.arrow --top-k 3 s3://lab/dev.arrow -o s3://lab/out/self2.arrow --cluster here";
    store.run(&folder, twice).ok();
    let rows = |name: &str| {
        store.run(&folder, &format!("sql --format csv -t t=s3://lab/out/{name}")).arg("SELECT * FROM t").ok().stdout
    };
    assert!(rows("self.arrow") == rows("self2.arrow"));

    // Files of this machine have URLs, too.
    let url = format!("file://{}", folder.path("qrels.dev.small.tsv").display());
    folder.run(&format!("sql -t q={url} --format csv")).arg("SELECT count(*) AS n FROM q").ok();
}

#[test]
fn what_is_wrong_with_a_store_is_said_in_one_line_and_does_no_harm() {
    let folder = Folder::made();
    let store = filled(&folder);
    let names = store.names();
    let embed = "embed --model s3://lab/bert s3://lab/dev.tokens.arrow -o";
    store
        .run(&folder, "embed --model s3://lab/bert s3://lab/nowhere.arrow -o x.arrow")
        .fails(&["s3://lab/nowhere.arrow: is not there"]);
    store.run(&folder, "embed --model s3://none/bert dev.tokens.arrow -o x.arrow").fails(&["s3://none/bert"]);
    store
        .run(&folder, "embed --model s3:///bert dev.tokens.arrow -o x.arrow")
        .fails(&["s3:///bert", "s3://BUCKET/PATH"]);
    store.run(&folder, "train inbatch --init bert -o s3://lab/model --docs docs.tokens.arrow --queries train.tokens.arrow --qrels train.qrels.parquet").fails(&["s3://lab/model", "folder of this machine"]);
    // Errors of the command name the URL.
    store
        .run(&folder, "embed --model s3://lab/bert s3://lab/collection.tsv -o x.arrow")
        .fails(&["s3://lab/collection.tsv: "]);
    // A folder of something else is not replaced by a dataset.
    store.run(&folder, &format!("{embed} s3://lab/bert/")).fails(&["s3://lab/bert", "which is not of a dataset"]);
    // Nor is what lies beside the shards of a dataset, or in the place of an index.
    store.run(&folder, "tokenize --tokenizer bert collection.tsv --shards 2 -o s3://lab/beside/").ok();
    ["beside/notes.txt", "beside/runs/a.tsv", "notes/a.txt"].iter().for_each(|name| store.put(name, b"ours"));
    store
        .run(&folder, "tokenize --tokenizer bert collection.tsv --shards 2 -o s3://lab/beside/")
        .fails(&["s3://lab/beside", "notes.txt, which is not of a dataset"]);
    store.run(&folder, "index --lexical --kind passage collection.tsv -o s3://lab/notes").fails(&["s3://lab/notes"]);
    let kept = ["beside/notes.txt", "beside/runs/a.tsv", "notes/a.txt"].map(|name| store.get(name));
    assert!(kept.iter().all(|bytes| bytes.as_deref() == Some(b"ours")));
    store.ask("DELETE", "/lab/notes/a.txt", b"");
    for name in store.names().iter().filter(|name| name.starts_with("beside/")) {
        store.ask("DELETE", &format!("/lab/{name}"), b"");
    }

    // Nothing listens there.
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let command = store.run(&folder, &format!("{embed} x.arrow"));
    command.env("AWS_ENDPOINT_URL", format!("http://{nobody}")).fails(&["s3://lab/bert", "AWS_ENDPOINT_URL"]);
    assert_eq!(store.names(), names);
    assert!(!folder.path("x.arrow").exists());

    // A shard that was changed is named.
    store.run(&folder, "tokenize --tokenizer bert collection.tsv --shards 3 -o s3://lab/t/").ok();
    let mut shard = store.get("t/00001.arrow").unwrap();
    let middle = shard.len() / 2;
    shard[middle] ^= 1;
    store.put("t/00001.arrow", &shard);
    store.run(&folder, "embed --model bert s3://lab/t -o s3://lab/docs/").fails(&["s3://lab/t/00001.arrow", "SHA-256"]);
    assert!(store.get("docs/manifest.json").is_none());
}

#[test]
fn machines_that_share_a_store_and_no_folder_work_together() {
    let folder = Folder::made();
    let store = filled(&folder);
    let stages = [
        "tokenize --tokenizer s3://lab/bert s3://lab/collection.tsv --shard-rows 45 -o s3://lab/OUT/tokens/",
        "embed --model s3://lab/bert --batch-tokens 64 s3://lab/OUT/tokens -o s3://lab/OUT/docs/",
        "rank --index s3://lab/OUT/docs --top-k 50 s3://lab/train.arrow -o s3://lab/OUT/run.arrow",
        "mine-negatives --qrels s3://lab/train.qrels.parquet --top-k 20 --shard-rows 400 s3://lab/OUT/run.arrow -o s3://lab/OUT/negatives/",
    ];
    for stage in stages {
        store.run(&folder, &format!("{} --cluster here", stage.replace("OUT", "one"))).ok();
    }
    let (client, elsewhere) = (Folder::empty(), [Folder::empty(), Folder::empty()]);
    let scheduler = Folder::empty();
    let mut cluster = Cluster::start_as(&scheduler, 0, |command| store.known(command));
    for there in &elsewhere {
        let logs = there.sh("exec worker \"$@\" 2> said.txt").arg("worker");
        cluster.add(store.known(logs).env("RUST_LOG", "hardmine_units=info"));
    }
    for stage in stages {
        let command = store.run(&client, &format!("{} --cluster {}", stage.replace("OUT", "two"), cluster.address()));
        command.ok();
    }
    // Workers are told where the job is in the store, not where the client has its copies.
    for there in &elsewhere {
        let said = there.text("said.txt");
        assert!(said.contains("reading the job s3://lab/two/.docs.parts/job-") && !said.contains(".stores."), "{said}");
    }
    let sorted = |place: &str| {
        let ask = "SELECT query_id, doc_id, rank, score FROM t ORDER BY query_id, rank";
        store.run(&folder, &format!("sql --format csv -t t=s3://lab/{place}/negatives")).arg(ask).ok().stdout
    };
    assert!(sorted("one") == sorted("two") && !sorted("one").is_empty());
    let count = |table: &str| {
        let line = format!("sql -q --format csv --cluster {} -t t=s3://lab/{table}", cluster.address());
        store.run(&client, &line).arg("SELECT count(*) AS rows FROM t")
    };
    // What the process says that asks the cluster must be read, however much that is.
    assert_eq!(count("train.qrels.parquet").env("RUST_LOG", "debug").ok().text().lines().next(), Some("rows"));
    count("two/negatives").fails(&["s3://lab/two/negatives: is Arrow in an object store"]);
    let made = |of: &str| -> Vec<String> {
        let names = store.names().into_iter();
        names.filter_map(|name| Some(name.strip_prefix(of)?.to_owned())).collect()
    };
    assert_eq!(made("one/"), made("two/"));
    for name in made("one/").iter().filter(|name| name.starts_with("docs/") && name.ends_with(".arrow")) {
        // The command lines differ, the vectors do not.
        let rows = |place: &str| {
            let command = store.run(&folder, &format!("sql --format jsonl -t t=s3://lab/{place}/{name}"));
            command.arg("SELECT * FROM t").ok().stdout
        };
        assert!(rows("one") == rows("two"), "{name}");
    }

    // A run that is a dataset in the store is divided by what is in it.
    store.put_all(&folder.path("train.run.parquet"), "runs/00000.parquet");
    let digest = folder.sh("sha256sum train.run.parquet").ok().text()[..64].to_owned();
    let line = "sql -q --format csv -t t=train.run.parquet";
    let rows = folder.run(line).arg("SELECT count(*) FROM t").ok().text().lines().nth(1).unwrap().to_owned();
    let shard = format!(r#"{{"file": "00000.parquet", "rows": {rows}, "sha256": "{digest}"}}"#);
    store.put("runs/manifest.json", format!(r#"{{"version": 1, "rows": {rows}, "shards": [{shard}]}}"#).as_bytes());
    let mine = "mine-negatives --ids internal --qrels s3://lab/train.qrels.parquet --top-k 20";
    store.run(&client, &format!("{mine} s3://lab/runs -o s3://lab/mined/ --cluster {}", cluster.address())).ok();

    // A worker that does not reach the store leaves the work to the others.
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    cluster.add(store.run(&elsewhere[0], "worker").env("AWS_ENDPOINT_URL", format!("http://{nobody}")));
    let line = format!("{} --cluster {}", stages[1].replace("OUT/docs", "three/docs"), cluster.address());
    store.run(&client, &line.replace("OUT", "two")).ok();
}
