//! `lib/scripts/msmarco.py`, the recipe of `make data-passage` and `make data-doc`, on the fixture collection
//! packed as MS MARCO packs its own: from a folder, and from a server that breaks connections.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use crate::common::{Command, Folder};

const PASSAGE: [&str; 8] = [
    "2019qrels-pass.txt",
    "collection.tsv",
    "msmarco-test2019-queries.tsv",
    "qrels.dev.small.tsv",
    "qrels.train.tsv",
    "queries.dev.small.tsv",
    "queries.eval.small.tsv",
    "queries.train.tsv",
];

const DOC: [&str; 8] = [
    "2019qrels-docs.txt",
    "docleaderboard-queries.tsv",
    "msmarco-docdev-qrels.tsv",
    "msmarco-docdev-queries.tsv",
    "msmarco-docs.tsv",
    "msmarco-doctrain-qrels.tsv",
    "msmarco-doctrain-queries.tsv",
    "msmarco-test2019-queries.tsv",
];

/// The collection, `mirror` with its archives, and `rows.tsv` with the rows of each file.
struct Mirror {
    folder: Folder,
}

impl Mirror {
    fn new() -> Mirror {
        let folder = Folder::new();
        folder.write("queries.eval.small.tsv", "7\twho\n9\twhy\n");
        folder.write("docleaderboard-queries.tsv", "7\twho\n8\twhen\n9\twhy\n");
        folder.write_documents(".");
        let names = PASSAGE.into_iter().chain(DOC);
        let rows: String = names.map(|name| format!("{name}\t{}\n", folder.text(name).lines().count())).collect();
        folder.write("rows.tsv", rows);
        std::fs::create_dir(folder.path("mirror")).unwrap();
        folder
            .sh("cp -L 2019qrels-*.txt mirror; for f in msmarco-* docleaderboard-*; do gzip -c $f > mirror/$f.gz; done")
            .ok();
        let mirror = Mirror { folder };
        // As the real one, it has more in it than is wanted.
        mirror.pack("collection.tsv queries.*.tsv qrels.*.tsv rows.tsv");
        mirror
    }

    /// Makes the archive of passages, whose members' paths lead out of the folder that it is unpacked in.
    fn pack(&self, names: &str) {
        let tar = "tar -chPz --transform 's,^,../../escaped/,' -f mirror/collectionandqueries.tar.gz";
        self.folder.sh(&format!("{tar} {names}")).ok();
    }

    fn recipe(&self, form: &str, source: &str, options: &str) -> Command {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("lib/scripts/msmarco.py");
        self.folder.sh(&format!(
            "no_proxy='*' python3 '{}' {form} data --from {source} --trec-from {source} --tries 2 {options}",
            script.display()
        ))
    }

    fn fetch(&self, form: &str) -> Command {
        self.recipe(form, "mirror", "--rows rows.tsv")
    }

    /// What is in `data`, in order.
    fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.folder.path("data")).unwrap();
        let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[track_caller]
    fn has_all(&self, names: &[&str]) {
        assert_eq!(self.names(), names);
        for name in names {
            assert!(
                self.folder.read(&format!("data/{name}")) == self.folder.read(name),
                "{name} should be the original"
            );
        }
    }
}

/// Fails, and says `texts` in its last line, below the steps that went well.
#[track_caller]
fn refuses(command: Command, texts: &[&str]) {
    let done = command.done();
    done.check(done.code == Some(1), "should fail with exit code 1");
    done.check(done.stderr.lines().all(|line| line.starts_with("msmarco: ")), "should say only lines of its own");
    let last = done.stderr.lines().last().unwrap_or_default();
    for text in texts {
        done.check(last.contains(text), &format!("should say '{text}' at last"));
    }
}

/// A server of a folder, with the requests it got, each as `name` or `name range`.
struct Server {
    address: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// Its first answer ends after `cut` bytes; `ranges` says whether it knows the Range header.
    fn new(root: PathBuf, cut: usize, ranges: bool) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let list = requests.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                // A client may be gone before its answer.
                drop(answer(stream.unwrap(), &root, cut, ranges, &list));
            }
        });
        Server { address, requests }
    }

    fn requests(&self) -> Vec<String> {
        std::mem::take(&mut self.requests.lock().unwrap())
    }
}

fn answer(stream: TcpStream, root: &Path, cut: usize, ranges: bool, list: &Mutex<Vec<String>>) -> std::io::Result<()> {
    let head: Vec<String> =
        BufReader::new(&stream).lines().map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
    let name = head[0].split(' ').nth(1).unwrap().trim_start_matches('/');
    let range = head.iter().find_map(|line| line.strip_prefix("Range: "));
    let first = {
        let mut list = list.lock().unwrap();
        list.push(range.map_or(name.to_owned(), |range| format!("{name} {range}")));
        list.len() == 1
    };
    let Ok(file) = std::fs::read(root.join(name)) else {
        return (&stream).write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    };
    let start = match range.and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')) {
        Some(start) if ranges => start.parse().unwrap(),
        _ => 0,
    };
    let (body, size) = (&file[start..], file.len());
    let status = match start {
        0 => "200 OK".to_owned(),
        _ => format!("206 Partial Content\r\nContent-Range: bytes {start}-{}/{size}", size - 1),
    };
    write!(&stream, "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len())?;
    (&stream).write_all(&body[..if first { cut.min(body.len()) } else { body.len() }])
}

#[test]
fn passages_from_a_folder() {
    let mirror = Mirror::new();
    let done = mirror.fetch("passage").ok();
    mirror.has_all(&PASSAGE);
    assert!(!mirror.folder.names().contains(&"escaped".to_owned()), "an archive's paths should not be followed");
    done.check(
        done.stderr.ends_with("data: all 8 files of passage ranking are there, 825 rows\n"),
        "should close with the sum",
    );
    // What is there is not fetched again.
    mirror.recipe("passage", "nowhere", "--rows rows.tsv").ok();
    // What is not there is fetched again, alone.
    std::fs::remove_file(mirror.folder.path("data/queries.train.tsv")).unwrap();
    let done = mirror.fetch("passage").ok();
    done.check(done.stderr.matches("unpacked").count() == 1, "should unpack one file");
    mirror.has_all(&PASSAGE);
}

#[test]
fn both_by_make() {
    let mirror = Mirror::new();
    let at = |name: &str| mirror.folder.path(name).display().to_string();
    let line = format!(
        "make -C '{}' -j2 data-passage data-doc DATA='{}' MSMARCO='file://{}' TREC='file://{}' MSMARCO_ROWS='{}'",
        env!("CARGO_MANIFEST_DIR"),
        at("data"),
        at("mirror"),
        at("mirror"),
        at("rows.tsv")
    );
    mirror.folder.sh(&line).without_env("MAKEFLAGS").without_env("MFLAGS").without_env("MAKELEVEL").ok();
    let mut names: Vec<&str> = PASSAGE.into_iter().chain(DOC).collect();
    names.sort();
    names.dedup();
    mirror.has_all(&names);
}

#[test]
fn a_cut_download_goes_on_where_it_stopped() {
    let mirror = Mirror::new();
    let server = Server::new(mirror.folder.path("mirror"), 5000, true);
    let done = mirror.recipe("doc", &server.address, "--rows rows.tsv").ok();
    done.check(done.stderr.contains("the connection ended after 5,000 of "), "should say why it tries again");
    assert_eq!(server.requests()[..2], ["msmarco-docs.tsv.gz", "msmarco-docs.tsv.gz bytes=5000-"]);
    mirror.has_all(&DOC);

    // The same with one try a run.
    std::fs::remove_dir_all(mirror.folder.path("data")).unwrap();
    let fetch = || mirror.recipe("doc", &server.address, "--rows rows.tsv --tries 1");
    refuses(
        fetch(),
        &["msmarco-docs.tsv.gz: the connection ended after 5,000 of ", "hint: run it again to go on from byte 5,000"],
    );
    assert_eq!(mirror.names(), [".doc-download"]);
    fetch().ok();
    assert_eq!(server.requests()[..2], ["msmarco-docs.tsv.gz", "msmarco-docs.tsv.gz bytes=5000-"]);
    mirror.has_all(&DOC);
}

#[test]
fn a_server_without_ranges_sends_all_again() {
    let mirror = Mirror::new();
    let server = Server::new(mirror.folder.path("mirror"), 5000, false);
    mirror.recipe("passage", &server.address, "--rows rows.tsv").ok();
    let archive = "collectionandqueries.tar.gz";
    assert_eq!(server.requests()[..2], [archive.to_owned(), format!("{archive} bytes=5000-")]);
    mirror.has_all(&PASSAGE);
}

#[test]
fn rows_that_do_not_match() {
    let mirror = Mirror::new();
    let hint = "to fetch it again, remove data/.passage-download/collectionandqueries.tar.gz";
    // The published numbers hold when no others are given.
    refuses(
        mirror.recipe("passage", "mirror", ""),
        &["collection.tsv: expected 8,841,823 rows, found 300; hint: ", hint],
    );
    assert_eq!(mirror.names(), [".passage-download"]);
    refuses(mirror.recipe("doc", "mirror", ""), &["msmarco-docs.tsv: expected 3,213,835 rows, found 300; hint: "]);
    // The last file of an archive counts as the first does.
    let wrong = mirror.folder.text("rows.tsv").replace("queries.eval.small.tsv\t2", "queries.eval.small.tsv\t3");
    mirror.folder.write("wrong.tsv", wrong);
    let fetch = || mirror.recipe("passage", "mirror", "--rows wrong.tsv");
    refuses(fetch(), &["queries.eval.small.tsv: expected 3 rows, found 2; hint: "]);
    assert_eq!(mirror.names(), [".doc-download", ".passage-download"]);
    mirror.fetch("passage").ok();
    mirror.fetch("doc").ok();
    // What is there is counted, too, packed or not.
    refuses(fetch(), &["data/queries.eval.small.tsv: expected 3 rows, found 2; hint: remove it"]);
    mirror.folder.sh("gzip data/*.tsv").ok();
    refuses(fetch(), &["data/queries.eval.small.tsv.gz: expected 3 rows, found 2; hint: remove it"]);
    mirror.fetch("passage").ok();
    for (rows, line) in
        [("collection.tsv\t3\ncollection.tsv 3\n", 2), ("collections.tsv\t3\n", 1), ("collection.tsv\t-3\n", 1)]
    {
        mirror.folder.write("wrong.tsv", rows);
        refuses(fetch(), &[&format!("wrong.tsv: line {line}: not a file's name as in MS MARCO, a tab and its rows")]);
    }
}

#[test]
fn archives_that_are_damaged() {
    let mirror = Mirror::new();
    let name = "mirror/collectionandqueries.tar.gz";
    let whole = mirror.folder.read(name);
    let (half, short) = (whole[..whole.len() / 2].to_vec(), whole[..whole.len() - 3].to_vec());
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 0x55;
    for bytes in [half, short, flipped, b"<html>Moved</html>".to_vec(), Vec::new()] {
        mirror.folder.write(name, bytes);
        refuses(
            mirror.fetch("passage"),
            &["collectionandqueries.tar.gz: cut off or damaged (", "hint: it was removed, run it again"],
        );
        assert_eq!(mirror.names(), [".passage-download"]);
        assert_eq!(std::fs::read_dir(mirror.folder.path("data/.passage-download")).unwrap().count(), 0);
    }
    mirror.pack("collection.tsv qrels.*.tsv queries.train.tsv");
    refuses(
        mirror.fetch("passage"),
        &["collectionandqueries.tar.gz: has no queries.dev.small.tsv, queries.eval.small.tsv in it; hint: "],
    );
    // Mended, the next run goes on.
    mirror.folder.write(name, whole);
    mirror.fetch("passage").ok();
    mirror.has_all(&PASSAGE);

    let queries = mirror.folder.read("mirror/msmarco-doctrain-queries.tsv.gz");
    mirror.folder.write("mirror/msmarco-doctrain-queries.tsv.gz", &queries[..queries.len() - 9]);
    refuses(mirror.fetch("doc"), &["msmarco-doctrain-queries.tsv.gz: cut off or damaged ("]);
    assert!(mirror.folder.path("data/msmarco-docs.tsv").exists(), "what came before is kept");
    assert!(!mirror.folder.path("data/msmarco-doctrain-queries.tsv").exists());
}

#[test]
fn servers_and_disks_that_fail() {
    let mirror = Mirror::new();
    let server = Server::new(mirror.folder.path("data"), usize::MAX, true);
    let fetch = |source: &str| mirror.recipe("passage", source, "--rows rows.tsv --tries 1");
    refuses(
        fetch(&server.address),
        &["/collectionandqueries.tar.gz: the server says 404 Not Found; hint: is the address right?"],
    );
    assert_eq!(server.requests(), ["collectionandqueries.tar.gz"], "there is no use in a second try");
    refuses(fetch("nowhere"), &["nowhere/collectionandqueries.tar.gz: cannot be read (", "No such file"]);
    refuses(fetch("gopher://nowhere"), &["cannot be read (unknown url type: gopher)"]);
    // A port that was free a moment ago.
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    refuses(
        fetch(&format!("http://{closed}")),
        &["/collectionandqueries.tar.gz: cannot be reached (", "hint: try again later"],
    );

    // The archive is small enough, the collection is not.
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("lib/scripts/msmarco.py");
    let line = format!(
        "ulimit -f 24; python3 '{}' passage data --from mirror --trec-from mirror --rows rows.tsv",
        script.display()
    );
    refuses(mirror.folder.sh(&line), &["File too large"]);
    let left: Vec<String> = std::fs::read_dir(mirror.folder.path("data/.passage-download"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(left, ["collectionandqueries.tar.gz"]);
    mirror.fetch("passage").ok();
    mirror.has_all(&PASSAGE);
}
