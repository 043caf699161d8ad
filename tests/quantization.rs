//! Indexes of product quantization: made by faiss, by codes and centroids, and with inverted lists; what they hold; and
//! the record of codes.

use std::collections::BTreeMap;

use arrow::array::Int64Array;
use rand::SeedableRng;
use rand_pcg::Pcg64;
use safetensors::SafeTensors;

use crate::common::{Folder, Records, column, fixture, numbers, save, save_tokens_of, vectors};

/// A folder with the fixture's index, of 500 documents, as `opq.faiss`, and with a tower of the same rotation and
/// centroids.
fn with_fixture() -> Folder {
    let folder = Folder::empty();
    std::fs::copy(fixture("compression/index/OPQ8,IVF1,PQ8x8.index"), folder.path("opq.faiss")).unwrap();
    write_tower(&folder);
    folder
}

/// Writes the tower: the fixture's encoder with the rotation and the centroids as two more tensors of its weights.
fn write_tower(folder: &Folder) {
    let read = |name: &str| std::fs::read(fixture("compression").join(name)).unwrap();
    let (encoder, start) = (read("init/model.safetensors"), read("start.safetensors"));
    let (encoder, start) = (SafeTensors::deserialize(&encoder).unwrap(), SafeTensors::deserialize(&start).unwrap());
    let more = ["rotation", "centroids"].map(|name| (name.to_owned(), start.tensor(name).unwrap()));
    let tensors = encoder.tensors().into_iter().chain(more);
    let mut config: serde_json::Value = serde_json::from_slice(&read("init/config.json")).unwrap();
    (config["MCQ_M"], config["MCQ_K"]) = (8.into(), 256.into());
    std::fs::create_dir(folder.path("tower")).unwrap();
    folder.write("tower/model.safetensors", safetensors::serialize(tensors, None).unwrap());
    folder.write("tower/config.json", config.to_string());
}

/// The lines of `index --inspect`: each name with its text.
fn inspect(folder: &Folder, index: &str) -> BTreeMap<String, String> {
    let text = String::from_utf8(folder.run("index --inspect").arg(index).ok().stdout).unwrap();
    text.lines().map(|line| (line[..24].trim_end().to_owned(), line[24..].to_owned())).collect()
}

/// The tensor `name` of the fixture's start.
fn tensor(name: &str) -> Vec<u8> {
    let bytes = std::fs::read(fixture("compression/start.safetensors")).unwrap();
    SafeTensors::deserialize(&bytes).unwrap().tensor(name).unwrap().data().to_vec()
}

/// The codes in a file of codes, one after the other.
fn codes(records: &Records) -> Vec<u8> {
    use arrow::array::AsArray;
    let codes = records.rows["code"].as_fixed_size_binary();
    codes.iter().flat_map(|code| code.unwrap().to_vec()).collect()
}

/// The scores of a run by query and document.
fn scores(folder: &Folder, line: &str) -> BTreeMap<(i64, i64), f32> {
    let run = Records::stream(&folder.run(line).ok().stdout);
    let pairs = run.i64s("query_id").into_iter().zip(run.i64s("doc_id"));
    pairs.zip(run.f32s("score")).collect()
}

#[test]
fn an_index_is_the_same_on_a_rerun_and_warns_once() {
    let folder = Folder::made();
    let line = "index docs.arrow --factory OPQ8,IVF1,PQ8x8np -o";
    let done = folder.run(line).arg("one.faiss").ok();
    let warnings: Vec<&str> = done.stderr.lines().filter(|line| line.contains("256 centroids")).collect();
    done.check(warnings.len() == 1, "should warn once");
    done.check(
        warnings[0].contains("300 vectors are few to train 256 centroids on; faiss advises 9984"),
        "should say so",
    );
    done.check(!done.stderr.contains("WARNING clustering"), "should not say what faiss says");
    folder.run(line).arg("two.faiss").ok();
    assert!(folder.read("one.faiss") == folder.read("two.faiss"));
    let lines = inspect(&folder, "one.faiss");
    assert_eq!(lines["form"], "OPQ8,IVF1,PQ8x8");
    assert_eq!(lines["documents"], "300");
    assert_eq!(lines["hardmine.seed"], "1234");
    assert_eq!(lines["hardmine.factory"], "OPQ8,IVF1,PQ8x8np");
}

#[test]
fn an_index_says_what_it_holds() {
    let folder = with_fixture();
    let lines = inspect(&folder, "opq.faiss");
    let expected = [
        ("form", "OPQ8,IVF1,PQ8x8"),
        ("documents", "500"),
        ("dimensions", "32"),
        ("bytes a document", "8 of its code, and 8 of its id"),
        ("subvectors", "8 of 4 dimensions"),
        ("lists", "1, of 500 documents"),
        ("coarse centroids", "not 0, and codes stand for what is left when they are taken away"),
        ("ids", "row numbers"),
    ];
    for (name, text) in expected {
        assert_eq!(lines[name], text, "{name}");
    }
    assert!(lines["rotation"].starts_with("32 by 32, digest "));
    folder.run("bash -c").arg("index --inspect < opq.faiss | grep -q 'PQ8x8'").ok();
}

#[test]
fn codes_are_records() {
    let folder = with_fixture();
    for name in ["codes.arrow", "codes.parquet", "codes.arrows"] {
        folder.run("index --inspect opq.faiss -o").arg(name).ok();
        let query = "SELECT count(*) AS n, min(get_byte(code, 7)) AS least, get_byte(max(code), 8) AS none FROM c";
        let table = folder.run("sql --format csv -t").arg(format!("c={name}")).arg(query).ok().stdout;
        let least = tensor("codes").chunks(8).map(|code| code[7]).min().unwrap();
        assert_eq!(String::from_utf8(table).unwrap(), format!("n,least,none\n500,{least},\n"), "{name}");
    }
    let records = Records::open(&folder.path("codes.arrow"));
    assert_eq!(codes(&records), tensor("codes"));
    assert_eq!(records.i64s("id"), (0..500).collect::<Vec<i64>>());
    assert_eq!(records.metadata["hardmine.kind"], "codes");
    // How evenly a subvector's centroids are used.
    let query = "SELECT m, count(DISTINCT get_byte(code, m)) AS used FROM c, range(0, 8) AS s(m) GROUP BY m ORDER BY m";
    let table = folder.run("sql --format csv -t c=codes.parquet").arg(query).ok().stdout;
    assert_eq!(String::from_utf8(table).unwrap().lines().count(), 9);
}

#[test]
fn an_index_is_made_of_codes_and_a_tower() {
    let folder = with_fixture();
    folder.run("index --inspect opq.faiss -o codes.arrow").ok();
    folder.run("index --centroids tower codes.arrow -o conc.faiss").ok();
    let lines = inspect(&folder, "conc.faiss");
    let of_codes = Records::open(&folder.path("codes.arrow")).metadata;
    assert_eq!(lines["form"], "IVF1,PQ8x8");
    assert_eq!(lines["rotation"], "none: queries are taken as they are");
    assert_eq!(lines["coarse centroids"], "all 0, and codes stand for what is left when they are taken away");
    for name in ["hardmine.space", "hardmine.centroids"] {
        assert_eq!(lines[name], of_codes[name], "{name}");
    }
    assert_eq!(lines["hardmine.kind"], "index");
    folder.run("index --inspect conc.faiss -o again.arrow").ok();
    assert_eq!(codes(&Records::open(&folder.path("again.arrow"))), tensor("codes"));
    // From a pipe, and with ids that are no row numbers.
    let piped = "sql -t c=codes.arrow 'SELECT id * 2 AS id, code FROM c ORDER BY id' -o even.parquet && \
                 index --centroids tower even.parquet > even.faiss && index --inspect even.faiss -o even.codes.arrow";
    folder.run("bash -c").arg(piped).ok();
    assert_eq!(
        Records::open(&folder.path("even.codes.arrow")).i64s("id"),
        (0..500).map(|id| 2 * id).collect::<Vec<_>>()
    );
    assert_eq!(inspect(&folder, "even.faiss")["ids"], "any");
}

/// The authors' RepCONC has encoded the documents, and written the file with faiss.
#[test]
fn codes_and_a_tower_make_the_file_of_the_authors() {
    let folder = with_fixture();
    save_tokens_of(&folder, "compression", "docs");
    std::fs::copy(fixture("compression/conc1_stage1.safetensors"), folder.path("tower/model.safetensors")).unwrap();
    let line = "embed --model tower --codes --max-length 32 docs.parquet | index --centroids tower > conc.faiss";
    folder.run("bash -c").arg(line).ok();
    let expected = std::fs::read(fixture("compression/index/conc1_stage1.index")).unwrap();
    assert!(folder.read("conc.faiss").starts_with(&expected));
}

#[test]
fn lists_are_added_to_an_index_of_codes() {
    let folder = Folder::made();
    folder.run("index docs.arrow --factory OPQ8,IVF1,PQ8x8np -o opq.faiss").ok();
    let done = folder.run("index --add-lists 4 opq.faiss -o ivf.faiss").ok();
    done.check(!done.stderr.contains("WARNING clustering"), "should not say what faiss says");
    folder.run("index --add-lists 4 opq.faiss -o again.faiss").ok();
    assert!(folder.read("ivf.faiss") == folder.read("again.faiss"));
    let lines = inspect(&folder, "ivf.faiss");
    assert_eq!(lines["form"], "OPQ8,IVF4,PQ8x8");
    assert_eq!(lines["coarse centroids"], "not 0, and codes stand for whole vectors");
    // All lists have all documents, with the scores that they had.
    let all = scores(&folder, "rank --index opq.faiss --top-k 300 dev.arrow");
    let again = scores(&folder, "rank --index ivf.faiss --search-parameters nprobe=4 --top-k 300 dev.arrow");
    assert!(all.keys().eq(again.keys()));
    assert!(all.iter().all(|(pair, score)| (score - again[pair]).abs() < 1e-4));
    let some = scores(&folder, "rank --index ivf.faiss --search-parameters nprobe=2 --top-k 300 dev.arrow");
    assert!(some.len() < all.len());
    assert!(!some.is_empty());
    // The codes are the same, list by list.
    for name in ["opq", "ivf"] {
        folder.run(&format!("index --inspect {name}.faiss -o {name}.codes.arrow")).ok();
    }
    assert_eq!(Records::open(&folder.path("ivf.codes.arrow")).i64s("id"), (0..300).collect::<Vec<i64>>());
    let query = "SELECT count(*) AS n FROM a JOIN b ON a.id = b.id AND a.code = b.code";
    let table = folder.run("sql --format csv -t a=opq.codes.arrow -t b=ivf.codes.arrow").arg(query).ok().stdout;
    assert_eq!(String::from_utf8(table).unwrap(), "n\n300\n");
    folder.run("index --add-lists 4 ivf.faiss -o more.faiss").fails(&["ivf.faiss", "has 4 lists already"]);
    folder
        .run("index --add-lists 301 opq.faiss -o more.faiss")
        .fails(&["opq.faiss", "300 documents, fewer than 301 lists"]);
    assert!(!folder.path("more.faiss").exists());
}

#[test]
fn what_can_not_be_an_index_is_refused() {
    let folder = Folder::made();
    folder.run("sql -t e=docs.arrow -o few.parquet").arg("SELECT * FROM e WHERE id < 200").ok();
    let refuse = |line: &str, texts: &[&str]| {
        folder.run(line).fails(texts);
        assert!(!folder.path("x.faiss").exists());
    };
    refuse(
        "index few.parquet --factory OPQ8,IVF1,PQ8x8np -o x.faiss",
        &["few.parquet", "200 vectors", "256 centroids"],
    );
    // faiss would write behind the end of its memory.
    let mut random = Pcg64::seed_from_u64(7);
    let wide: Vec<Vec<f32>> = (0..260).map(|_| numbers(&mut random, 264, 1.0)).collect();
    let columns = vec![column("id", Int64Array::from_iter_values(0..260)), column("embedding", vectors(&wide))];
    save(&folder.path("wide.parquet"), columns);
    refuse("index wide.parquet --factory OPQ4,IVF1,PQ4x8np -o x.faiss", &["260 vectors", "264 dimensions"]);
    folder.run("index wide.parquet --factory OPQ4_128,IVF1,PQ4x8np -o narrow.faiss").ok();
    assert_eq!(inspect(&folder, "narrow.faiss")["dimensions"], "264");
    for factory in ["OPQ5,IVF1,PQ5x8", "IVF1,PQ5x8np", "PQ5x8"] {
        let texts = ["--factory", factory, "does not divide the 32 dimensions of docs.arrow"];
        refuse(&format!("index docs.arrow --factory {factory} -o x.faiss"), &texts);
    }
    folder.run("index docs.arrow -o flat.faiss").ok();
    folder.run("index docs.arrow --factory PQ8x4np -o four.faiss").ok();
    refuse("index --inspect flat.faiss", &["flat.faiss", "product quantization", "IxFI"]);
    refuse("index --add-lists 4 four.faiss -o x.faiss", &["four.faiss", "codes of 4 bits a subvector"]);
    refuse("index --inspect docs.arrow", &["docs.arrow", "product quantization", "records"]);
    refuse("index --centroids tower docs.arrow -o x.faiss", &["tower", "no such model folder"]);
    refuse("index --centroids bert docs.arrow -o x.faiss", &["bert", "is no tower"]);
}

#[test]
fn codes_that_do_not_fit_a_tower_are_refused() {
    let folder = with_fixture();
    folder.run("index --inspect opq.faiss -o codes.parquet").ok();
    folder.run("index --centroids tower opq.faiss -o x.faiss").fails(&["opq.faiss", "expected codes", "embed --model"]);
    let made = |name: &str, sql: &str| {
        folder.run("sql -t c=codes.parquet -o").arg(name).arg(sql).ok();
    };
    made("shuffled.parquet", "SELECT * FROM c ORDER BY id DESC");
    made("none.parquet", "SELECT * FROM c WHERE id < 0");
    let refuse = |codes: &str, texts: &[&str]| {
        folder.run("index --centroids tower -o x.faiss").arg(codes).fails(texts);
        assert!(!folder.path("x.faiss").exists());
    };
    refuse("shuffled.parquet", &["shuffled.parquet", "row 1", "ids must ascend"]);
    refuse("none.parquet", &["none.parquet", "no codes"]);
    // Of other vectors, and of other lengths.
    std::fs::copy(fixture("compression/index/conc2_warmup.index"), folder.path("other.faiss")).unwrap();
    folder.run("index --inspect other.faiss -o other.arrow").ok();
    let done = folder.run("index --centroids tower other.arrow -o other-tower.faiss").ok();
    done.check(done.stderr.contains("other centroids than those of tower"), "should warn");
    let made_here = Folder::made();
    made_here.run("index docs.arrow --factory OPQ8,IVF1,PQ8x8np -o opq.faiss").ok();
    made_here.run("index docs.arrow --factory PQ8x8np -o plain.faiss").ok();
    made_here.run("index docs.arrow --factory PQ4x8np -o four.faiss").ok();
    for (index, texts) in [("opq", "did not turn"), ("plain", "did not turn"), ("four", "codes of 4 bytes, but")] {
        made_here.run(&format!("index --inspect {index}.faiss -o codes.arrow")).ok();
        let tower = folder.path("tower");
        made_here.run("index codes.arrow -o x.faiss --centroids").arg(tower).fails(&["codes.arrow", texts]);
    }
}

#[test]
fn a_damaged_index_is_one_line() {
    let folder = with_fixture();
    let healthy = folder.read("opq.faiss");
    for length in [0, 1, 30, 100, 5000, healthy.len() - 1] {
        folder.write("cut.faiss", &healthy[..length]);
        folder.run("index --inspect cut.faiss").fails(&["cut.faiss"]);
    }
    let mut longer = healthy.clone();
    longer.push(0);
    folder.write("longer.faiss", longer);
    folder.run("index --inspect longer.faiss").fails(&["longer.faiss", "damaged"]);
}

#[test]
fn one_way_to_make_an_index_at_a_time() {
    let folder = Folder::empty();
    let pairs = [
        "--centroids tower --factory Flat",
        "--centroids tower --add-lists 4",
        "--inspect --add-lists 4",
        "--inspect --lexical",
        "--inspect --train-rows 5",
        "--add-lists 4 --factory Flat",
    ];
    for pair in pairs {
        folder.run(&format!("index {pair} x")).fails_as_wrong_usage(&["cannot be used with"]);
    }
    folder.run("index --add-lists 0 x").fails_as_wrong_usage(&["--add-lists"]);
    folder.run("index --inspect x -o codes.csv").fails_as_wrong_usage(&["--output", ".parquet, .arrow"]);
}
