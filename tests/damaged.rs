//! Damaged and hostile input: one line, nothing harmed, and no more memory than the input is worth.

use std::io::Write;

use arrow::ipc::root_as_message;
use flate2::Compression;
use flate2::write::GzEncoder;
use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64;

use crate::common::{Folder, fixture, messages};

const TOKENIZE: &str = "tokenize --tokenizer bert";
const READ_ALL: &str = "SELECT * FROM t";

/// No command that these tests run may take more memory than this, in bytes.
const MEMORY: i64 = 1 << 30;

/// The most memory that any command has had, in bytes.
fn peak_memory() -> i64 {
    // SAFETY: getrusage fills the struct it is given, and all zeros is a valid one.
    unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_CHILDREN, &mut usage);
        usage.ru_maxrss * 1024
    }
}

fn gzip(parts: &[&[u8]]) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    parts.iter().for_each(|part| packed.write_all(part).unwrap());
    packed.finish().unwrap()
}

#[test]
fn arrow_with_lengths_offsets_and_types_that_are_wrong() {
    let folder = Folder::empty();
    for entry in std::fs::read_dir(fixture("damaged")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let healthy = name.matches('.').count() == 2;
        if name == "README.md" {
            continue;
        }
        folder.write(&name, std::fs::read(&path).unwrap());
        let command = folder.run("sql -o out.parquet").args(["-t", &format!("t={name}"), READ_ALL]);
        match healthy {
            true => drop(command.ok()),
            false => {
                let done = command.fails(&[name.as_str()]);
                done.check(!folder.path("out.parquet").exists(), "should leave no output behind");
            }
        }
        drop(std::fs::remove_file(folder.path("out.parquet")));
    }
    assert!(peak_memory() < MEMORY);
}

#[test]
fn lines_of_any_length_in_little_packed() {
    let folder = Folder::new();
    let long = vec![b'a'; 80 << 20];
    folder.write("line.tsv.gz", gzip(&[b"1\tshort\n2\t", &long]));
    folder.write("line.jsonl.gz", gzip(&[b"{\"_id\": \"1\", \"text\": \"", &long, b"\"}\n"]));
    folder.write("line.trec.gz", gzip(&[b"1 0 2 1\n", &long]));
    folder.run(&format!("{TOKENIZE} line.tsv.gz -o out.arrow")).fails(&["line.tsv.gz: line 2", "--max-line"]);
    folder.run(&format!("{TOKENIZE} line.jsonl.gz -o out.arrow")).fails(&["line.jsonl.gz: line 1", "--max-line"]);
    folder.run("score --qrels line.trec.gz qrels.dev.small.tsv").fails(&["line.trec.gz: line 2"]);
    folder.run("sql -t t=line.trec.gz").arg(READ_ALL).fails(&["line.trec.gz: line 2"]);
    folder.run("sql -f line.tsv.gz").fails(&["line.tsv.gz: has more than 16 MiB"]);
    folder.run(&format!("{TOKENIZE} --max-line 200B collection.tsv")).fails(&["collection.tsv: line ", "200 bytes"]);
    folder.run(&format!("{TOKENIZE} --max-line 1 collection.tsv -o out.arrow")).ok();
    folder.run(&format!("{TOKENIZE} --max-line 0 collection.tsv")).fails_as_wrong_usage(&["--max-line"]);
    assert!(peak_memory() < MEMORY);
}

#[test]
fn streams_that_unpack_to_more_than_they_are_worth() {
    let folder = Folder::made();
    let stream = folder
        .run("remap-ids --to internal --queries dev.tokens.arrow --docs docs.tokens.arrow")
        .arg("qrels.dev.small.tsv")
        .ok()
        .stdout;
    folder.write("behind.arrows.gz", gzip(&[&stream, &vec![0; 256 << 20]]));
    folder.run("sql -t t=behind.arrows.gz").arg(READ_ALL).fails(&["behind.arrows.gz: goes on after"]);

    // The first batch claims a body of 1 GiB.
    let batch = messages(&stream).into_iter().find(|range| body_length(&stream[range.clone()]) > 0).unwrap();
    let length = body_length(&stream[batch.clone()]).to_le_bytes();
    let at = batch.start + stream[batch.clone()].windows(8).position(|bytes| bytes == length).unwrap();
    let mut claims = stream.clone();
    claims[at..at + 8].copy_from_slice(&(1u64 << 30).to_le_bytes());
    folder.write("claims.arrows.gz", gzip(&[&claims]));
    folder.run("sql -t t=claims.arrows.gz").arg(READ_ALL).fails(&["claims.arrows.gz: batch 0 has 1073741824 bytes"]);
    folder.write("claims.arrows", claims);
    folder.run("sql -t t=claims.arrows").arg(READ_ALL).fails(&["claims.arrows: the stream is cut off"]);
    assert!(peak_memory() < MEMORY);
}

fn body_length(message: &[u8]) -> i64 {
    root_as_message(&message[8..]).unwrap().bodyLength()
}

#[test]
fn parquet_nested_without_end() {
    let folder = Folder::empty();
    let count = 100_000u32;
    // A version, and a list of groups that each have one child.
    let mut footer = vec![0x15, 0x02, 0x19, 0xfc];
    let mut left = count;
    while left >= 0x80 {
        footer.push(left as u8 | 0x80);
        left >>= 7;
    }
    footer.push(left as u8);
    (0..count).for_each(|_| footer.extend([0x48, 1, b'a', 0x15, 2, 0]));
    footer.push(0);
    let length = (footer.len() as u32).to_le_bytes();
    folder.write("deep.parquet", [&b"PAR1"[..], &footer, &length, b"PAR1"].concat());
    let nested = "deep.parquet: is a truncated or broken Parquet file: its schema is nested more than 64 deep";
    folder.run("index deep.parquet -o out.faiss").fails(&[nested]);
    folder.run("tokenize --tokenizer x deep.parquet").fails(&[]);
    for table in ["t=deep.parquet", "t=*.parquet", "t=."] {
        folder.run("sql").args(["-t", table, READ_ALL]).fails(&["nested more than 64 deep"]);
    }
}

#[test]
fn sql_of_thousands_of_terms() {
    let folder = Folder::empty();
    for (name, query) in [
        ("sum", format!("SELECT {}", vec!["1"; 30_000].join("+"))),
        ("union", vec!["SELECT 1 AS a"; 5_000].join(" UNION ALL ")),
        ("or", format!("SELECT {}", vec!["1 = 2"; 20_000].join(" OR "))),
        ("brackets", format!("SELECT {}1{}", "(".repeat(20_000), ")".repeat(20_000))),
        ("nested", format!("{}SELECT 1{}", "SELECT * FROM (".repeat(5_000), ")".repeat(5_000))),
    ] {
        folder.write(name, query);
        folder.run(&format!("sql -f {name}")).fails(&["query: ", "4000 words"]);
    }
    folder.run("sql").arg(format!("SELECT {} AS sum", vec!["1"; 400].join("+"))).ok();
    let ids = (0..20_000).map(|id| id.to_string()).collect::<Vec<_>>().join(", ");
    folder.write("in", format!("SELECT 7 IN ({ids}) AS found"));
    folder.run("sql -f in").ok();
    assert!(peak_memory() < MEMORY);
}

#[test]
fn models_that_claim_more_than_their_weights() {
    let folder = Folder::made();
    folder.copy_model("bert", "layers");
    let config = folder.text("layers/config.json");
    let with = |name: &str, value: &str| {
        let start = config.find(&format!("\"{name}\"")).unwrap();
        let end = start + config[start..].find([',', '}']).unwrap();
        folder.write("layers/config.json", format!("{}\"{name}\": {value}{}", &config[..start], &config[end..]));
    };
    for (name, value) in [
        ("num_hidden_layers", "1000000000000"),
        ("num_hidden_layers", "18446744073709551615"),
        ("hidden_size", "4611686018427387904"),
        ("vocab_size", "4611686018427387904"),
        ("max_position_embeddings", "9223372036854775807"),
        ("intermediate_size", "1000000000"),
    ] {
        with(name, value);
        folder.run("embed --model layers dev.tokens.arrow -o out.arrow").fails(&["layers"]);
    }
    folder.write("layers/config.json", format!("{{\"model_type\": \"bert\", \"deep\": {}", "[".repeat(100_000)));
    folder.run("embed --model layers dev.tokens.arrow -o out.arrow").fails(&["layers/config.json: recursion limit"]);
    assert!(peak_memory() < MEMORY);
}

#[test]
fn faiss_indexes_whose_graph_or_ids_lead_outside() {
    let folder = Folder::made();
    for factory in ["HNSW8", "IVF4,Flat", "IDMap,Flat", "Flat"] {
        folder.run(&format!("index --factory {factory} docs.arrow -o whole.faiss")).ok();
        let whole = folder.read("whole.faiss");
        let mut random = Pcg64::seed_from_u64(3);
        for round in 0..20 {
            let mut damaged = whole.clone();
            let at = random.random_range(37..whole.len() - 2000);
            damaged[at..at + 8].copy_from_slice(&(1u64 << (8 + 2 * round)).to_le_bytes());
            folder.write("damaged.faiss", damaged);
            let done = folder.run("rank --index damaged.faiss --top-k 5 dev.arrow -o out.parquet").done();
            done.check(matches!(done.code, Some(0 | 1)), "should end well or with an error");
            done.check(done.stderr.lines().count() == 1, "should say one line");
        }
    }
    assert!(peak_memory() < MEMORY);
}

#[test]
fn three_hundred_damaged_tables() {
    let folder = Folder::made();
    let mut random = Pcg64::seed_from_u64(20);
    let compressed =
        ["run.lz4.arrow", "run.zstd.arrows"].map(|name| std::fs::read(fixture("damaged").join(name)).unwrap());
    let tables = [
        ("t.arrow", folder.read("docs.tokens.arrow")),
        ("t.parquet", folder.read("dev.official.parquet")),
        ("t.arrow", compressed[0].clone()),
        ("t.arrows", compressed[1].clone()),
    ];
    for round in 0..300 {
        let (name, mut bytes) = tables[round % tables.len()].clone();
        // Where the structure is, for half of them.
        let range = if round % 8 < 4 { bytes.len().saturating_sub(2000)..bytes.len() } else { 0..bytes.len() };
        let at = random.random_range(range);
        match random.random_range(0..4) {
            0 => bytes[at] ^= 1 << random.random_range(0..8),
            1 => bytes.truncate(at),
            2 => drop(bytes.drain(at..(at + 4).min(bytes.len() - 1).max(at))),
            _ => {
                let end = (at + 8).min(bytes.len());
                let huge = 1u64 << random.random_range(7..64);
                bytes[at..end].copy_from_slice(&huge.to_le_bytes()[..end - at]);
            }
        }
        folder.write(name, bytes);
        let done = folder.run("sql -o out.parquet").args(["-t", &format!("t={name}"), READ_ALL]).done();
        done.check(matches!(done.code, Some(0 | 1)), "should end well or with an error");
        done.check(done.stderr.lines().count() == 1, "should say one line");
        done.check(!done.stderr.contains("internal error"), "should not panic");
        done.check(folder.path("out.parquet").exists() == (done.code == Some(0)), "should be whole or absent");
        drop(std::fs::remove_file(folder.path("out.parquet")));
    }
    assert!(peak_memory() < MEMORY);
}
