//! The text of `schemas/README.md`, made from the definitions of the records.

use crate::Kind;
use crate::provenance::*;
use crate::schema::{Column, ColumnType, Definition};

/// What each entry of the metadata holds.
const METADATA: [(&str, &str); 26] = [
    (KIND, "kind of record"),
    (SCHEMA_VERSION, "version of the kind's schema"),
    (PROGRAM, "program and version that wrote the file"),
    (
        COMMAND,
        "its command line; paths are cut to file names and the output is left out, so a rerun elsewhere gives the same bytes",
    ),
    (KEYS, "fingerprint of the keys of the file's rows, in order (tokens, embeddings, codes)"),
    (QUERIES, "fingerprint of the tokens file whose row numbers are in `query_id`"),
    (DOCS, "fingerprint of the tokens file whose row numbers are in `doc_id`"),
    (MODEL, "digest of the encoder: its configuration and weights"),
    (DOCUMENT_MODEL, "for a query encoder trained by ADORE: digest of the encoder of the documents it searches"),
    (
        SPACE,
        "digest of the rotation that the vectors, or those that the codes stand for, were multiplied by; absent where there was none",
    ),
    (CENTROIDS, "digest of the centroids that codes were made with; in an index, of those that it decodes them with"),
    (TOKENIZER, "digest of what the tokenizer does to a text"),
    (TEXT_KIND, "`passage`, `document` or `query`"),
    (MAX_LENGTH, "most token ids a text keeps"),
    (
        SPECIAL_TOKENS,
        "how many special tokens every list of ids begins and ends with, such as `1 1`; a program that shortens a list keeps these",
    ),
    (PROMPT, "text that was put in front of every text before it was tokenized; empty where that was nothing"),
    (
        PROMPT_TOKENS,
        "how many ids every list begins with that are of the prompt, special tokens before it included; a program that shortens a list keeps these",
    ),
    (
        QUERY_PROMPT,
        "of document vectors: the prompt that the encoder asks for before the queries that will search them",
    ),
    (
        DIMENSIONS,
        "to how many dimensions the encoder's vectors were cut; in a training log, those that the vectors were trained to be cut to, separated by commas",
    ),
    (COMPAT, "older program whose tokenization was reproduced: `transformers-2`, or absent"),
    (PRECISION, "arithmetic of the encoder: `f32`, `bf16`, `f16` or `int8`"),
    (SEED, "seed of random draws"),
    (DEV_METRIC, "in a training log: the metric that the model was measured by on dev queries while it was trained"),
    (DEV_START, "in a training log: the value of that metric for the model that training started from"),
    (DEV_STEP, "in a training log: after how many steps the model was as it was written, where there were dev queries"),
    (FILES, "in a training log: JSON list of the other files that `train` wrote into its model folder"),
];

/// How a folder of shards is one table.
const DATASETS: &str = r#"
## Datasets

A dataset is a folder of shards, which are Arrow (`.arrow`) or Parquet files of one kind with the same columns, and a `manifest.json`. Its rows are those of the shards in the order of the manifest. Ids of tokens, embeddings and codes go on from shard to shard.

```json
{
  "version": 1,
  "rows": 300,
  "shards": [
    {"file": "00000.arrow", "rows": 150, "sha256": "4c1329dd5accfc69f95d2c3053e78025094e5ddea3ef8f8ae88ac193cf3a3ebd"},
    {"file": "00001.arrow", "rows": 150, "sha256": "cd3b28d53aba6e88b9548b2e1c63b79bdd1ebd73382a9b2abb2c5557c840614a"}
  ],
  "provenance": {"hardmine.kind": "tokens", "hardmine.schema_version": "1", "hardmine.keys": "f1c6da36fe9da6f25a1a28bc8f9505c5"}
}
```

`rows` is the sum over the shards, each of which has one row at least. `sha256` is what `sha256sum` prints for the file. `provenance` has the entries below, of the whole; a shard that has an entry of its own must have the same value, except for `hardmine.program`, `hardmine.command` and `hardmine.keys`, which our shards leave to the whole. A manifest that another program writes may do without `sha256`, in which case a changed shard may go unnoticed, and without `provenance`, which then is that of the first shard. The folder holds nothing else; hidden files are left aside.
"#;

/// The text of `schemas/README.md`: every kind with its columns.
fn readme() -> String {
    let mut text = String::from(
        "# Records\n\nMade from the `.json` files beside it: `UPDATE_GOLDEN=1 cargo test -p hardmine-records` writes it anew.\n\n\
         `id` is `int64` in the internal space (row number of a tokens file) and `utf8` in the official one \
         (the collection's own ids); `vector` is `fixed_size_list<float32 or float16, dim>`, and `code` is \
         `fixed_size_binary(M)`.\n",
    );
    for kind in Kind::ALL {
        let Definition { kind, version, about, columns } = kind.definition();
        text += &format!("\n## {kind}\n\n{about} Version {version}.\n\n| column | type | holds |\n|---|---|---|\n");
        for Column { name, type_, nullable, optional, about } in columns {
            let null = if *nullable { ", or null" } else { "" };
            let optional = if *optional { ", optional" } else { "" };
            text += &format!("| `{name}` | {}{null}{optional} | {about} |\n", type_name(*type_));
        }
    }
    text + OTHER_PROGRAMS + DATASETS + &metadata()
}

fn type_name(type_: ColumnType) -> &'static str {
    match type_ {
        ColumnType::Int64 => "int64",
        ColumnType::Int32 => "int32",
        ColumnType::Float32 => "float32",
        ColumnType::Float64 => "float64",
        ColumnType::Utf8 => "utf8",
        ColumnType::ListInt32 => "list\\<int32\\>",
        ColumnType::Vector => "vector",
        ColumnType::Code => "code",
        ColumnType::Id => "id",
    }
}

/// How runs, negatives and qrels of other programs are read.
const OTHER_PROGRAMS: &str = "
## Runs, negatives and qrels of other programs

**Tables** (Arrow, Parquet). Columns may have any of the names that are in use (`qid`, `query-id`, `docno`, `corpus_id`, \
`label`, …). Integer ids are taken for the collection's own; `--ids internal` says that they are row numbers. A run may do \
without ranks or without scores.

**Text** is UTF-8, also with a byte order mark. Blank lines are skipped, and white space around a field is removed; \
otherwise ids are taken as they are. A line that begins with `#` is a comment, unless it has the columns of a row.

- A first line that names a query, a document, and a relevance, rank or score is a header: the columns are found by name, in \
any order, and others are left aside. Tabs, commas or blanks separate, and a field may stand in double quotes as in CSV.
- Without a header there are `query 0 document relevance` (qrels), `query document rank [score]` (MS MARCO's run) and \
`query Q0 document rank score tag` (TREC's run). Tabs separate where that gives the right number of columns, and any white \
space elsewhere.
- Four columns are qrels if the second is 0 everywhere or the third can't be ranks, and a run if the fourth can't be grades or \
the third ranks the documents of a list. A file that can be both is refused by programs that accept both: \
`remap-ids --kind` decides, or a header.

**Ranks** that are missing or count from 0 become the positions in the file, whose lists must then be sorted by score. \
`score --order score` does not use ranks.

**TREC's form as output.** trec_eval sorts by score, in single precision, and equal scores by document id. Where a score is not \
below the one before it in its list, it is moved below it by the least step, so that trec_eval sees our order. Arrow and Parquet \
keep the scores as they are.
";

fn metadata() -> String {
    let mut text = String::from(
        "\n## Metadata\n\nIn the schema metadata of every file (Parquet: key-value metadata; a stream adds the fingerprint of its keys \
         with its last, empty batch). Digests and fingerprints are cut SHA-256 and depend on contents only, never on a path.\n\n\
         | entry | holds |\n|---|---|\n",
    );
    for (name, about) in METADATA {
        text += &format!("| `{name}` | {about} |\n");
    }
    text
}

#[test]
fn the_readme_of_schemas_is_up_to_date() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../schemas/README.md");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(path, readme()).unwrap();
    }
    assert_eq!(std::fs::read_to_string(path).unwrap(), readme(), "run with UPDATE_GOLDEN=1 to write it anew");
}
