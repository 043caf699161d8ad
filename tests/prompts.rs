//! Prompts: what `tokenize` puts in front of texts, what the later programs compare, and what a trained model asks for.

use std::collections::HashMap;

use serde_json::{Value, json};

use crate::common::{Folder, Project, Records, fixture, save_stream};
use crate::tokenize::{CLS, SEP, vocabulary};

/// Families of encoders, each with what sentence-transformers 6 makes of some texts (`texts.json`).
const FAMILIES: [&str; 9] = [
    "bert",
    "distilbert",
    "mpnet",
    "xlm_roberta",
    "modernbert_cls",
    "modernbert_mean",
    "qwen3",
    "gemma3",
    "nomic_bert",
];

/// A folder with the collection, and with the model `m`: the tiny BERT with these prompts.
fn with_prompts(prompts: Value, default: Option<&str>) -> Folder {
    let folder = Folder::made();
    folder.copy_model("bert", "m");
    set_prompts(&folder, prompts, default);
    folder
}

fn set_prompts(folder: &Folder, prompts: Value, default: Option<&str>) {
    let config = json!({"prompts": prompts, "default_prompt_name": default, "similarity_fn_name": "dot"});
    folder.write("m/config_sentence_transformers.json", config.to_string());
}

fn e5() -> Value {
    json!({"query": "find: ", "passage": "text: ", "task": "list: "})
}

/// What `tokenize OPTIONS` makes of one text.
fn tokens(folder: &Folder, options: &str) -> Records {
    folder.write("one.tsv", "a\tazure vm\n");
    Records::stream(&folder.run(&format!("tokenize --tokenizer m {options} one.tsv")).ok().stdout)
}

fn prompt<'a>(records: &'a Records, name: &str) -> Option<&'a str> {
    records.metadata.get(&format!("hardmine.{name}")).map(String::as_str)
}

/// Writes tokens or embeddings anew with other metadata, as a stream.
fn change_metadata(folder: &Folder, from: &str, to: &str, change: impl Fn(&mut HashMap<String, String>)) {
    let Records { rows, mut metadata } = Records::open(&folder.path(from));
    change(&mut metadata);
    folder.write(to, save_stream(&rows, 1000, metadata));
}

fn config(folder: &Folder, model: &str) -> Value {
    serde_json::from_str(&folder.text(&format!("{model}/config_sentence_transformers.json"))).unwrap()
}

#[test]
fn ids_are_those_of_sentence_transformers() {
    for (family, version) in FAMILIES.iter().flat_map(|family| [(family, 6), (family, 3)]) {
        let (folder, files) = (Folder::empty(), fixture("encoders").join(family));
        let copy = |from: &str| folder.sh(&format!("cp -r --no-preserve=mode {from}")).arg("bash").arg(&files).ok();
        copy("\"$1\" m");
        if version == 3 {
            copy("\"$1\"/v3/. m");
        }
        let texts: Value = serde_json::from_str(&folder.text("m/texts.json")).unwrap();
        let lines = texts["texts"].as_array().unwrap().iter().enumerate();
        let lines: String = lines.map(|(id, text)| json!({"_id": id, "text": text}).to_string() + "\n").collect();
        folder.write("texts.jsonl", lines);
        for (way, expected) in texts["input_ids"].as_object().unwrap() {
            let expected: Vec<Vec<i32>> = serde_json::from_value(expected.clone()).unwrap();
            let (way, length) = match way.strip_suffix("_max12") {
                Some(way) => (way, "--max-length 12"),
                None => (way.as_str(), ""),
            };
            let kind = match way {
                "plain" => "--kind query --no-prompt",
                "query" => "--kind query",
                // This folder has no prompt named document. sentence-transformers then takes an empty one, although it
                // documents that it takes the one named passage, as we do.
                _ if *family == "xlm_roberta" && version == 3 => "--kind passage --no-prompt",
                _ => "--kind passage",
            };
            let command = folder.run(&format!("tokenize --tokenizer m {kind} {length} texts.jsonl"));
            // The prompt fills all of it: two texts of words have the same ids.
            if expected[2] == expected[3] {
                command.fails(&["--max-length 12: leaves no room for a text: its prompt and special tokens are "]);
                continue;
            }
            let found = Records::stream(&command.ok().stdout);
            assert_eq!(found.token_ids(), expected, "{family}, version {version}, {way} {length}");
            let text = texts["prompts"][way].as_str().unwrap_or_default();
            assert_eq!(prompt(&found, "prompt"), Some(text));
        }
    }
}

#[test]
fn the_prompt_for_the_kind_goes_in_front_unless_options_say_otherwise() {
    let folder = with_prompts(e5(), None);
    let ids = vocabulary(&folder);
    let text = [ids["azure"], ids["vm"]];
    let plain = tokens(&folder, "--no-prompt");
    assert_eq!(plain.token_ids(), [[&[CLS][..], &text, &[SEP]].concat()]);
    assert_eq!((prompt(&plain, "prompt"), prompt(&plain, "prompt_tokens")), (Some(""), Some("0")));
    for (options, expected) in [
        ("--kind query", "find: "),
        ("--kind passage", "text: "),
        ("--kind query --prompt-name task", "list: "),
        ("--kind query --prompt=vm:", "vm:"),
        ("--kind query --prompt=", ""),
    ] {
        let found = tokens(&folder, options);
        assert_eq!(prompt(&found, "prompt"), Some(expected), "{options}");
        folder.write("joined.tsv", format!("a\t{expected}azure vm\n"));
        let joined = Records::stream(&folder.run("tokenize --tokenizer m --no-prompt joined.tsv").ok().stdout);
        assert_eq!(found.token_ids(), joined.token_ids(), "{options}");
        let in_front = if expected.is_empty() { 0 } else { found.token_ids()[0].len() - text.len() - 1 };
        assert_eq!(prompt(&found, "prompt_tokens"), Some(in_front.to_string().as_str()), "{options}");
        assert_eq!(found.metadata["hardmine.tokenizer"], plain.metadata["hardmine.tokenizer"]);
    }
    let done = folder.run("tokenize --tokenizer m --kind query one.tsv").ok();
    done.check(done.stderr.contains("with the prompt \"find: \""), "should say which prompt it put in front");

    set_prompts(&folder, json!({"all": "list: "}), Some("all"));
    assert_eq!(prompt(&tokens(&folder, "--kind passage"), "prompt"), Some("list: "));
    set_prompts(&folder, json!({"query": "", "document": "", "all": null}), Some("query"));
    assert_eq!(prompt(&tokens(&folder, "--kind query"), "prompt"), Some(""));
    set_prompts(&folder, json!({}), Some("all"));
    let done = folder.run("tokenize --tokenizer m one.tsv").ok();
    done.check(done.stderr.contains("default_prompt_name is \"all\", which is none of its prompts"), "should warn");
    // A model that only offers prompts.
    set_prompts(&folder, json!({"search_query": "q: ", "search_document": "d: "}), None);
    let done = folder.run("tokenize --tokenizer m --kind query one.tsv -o offered.arrow").ok();
    let offers = "m: asks for no prompt before queries, but has prompts named search_document, search_query";
    done.check(done.stderr.contains(offers), "should name what the model offers");
    let done = folder.run("embed --model m offered.arrow -o vectors.arrow").ok();
    done.check(done.stderr.contains(offers), "should name what the model offers");
    let done = folder.run("tokenize --tokenizer m --kind query --prompt-name search_query one.tsv -o named.arrow").ok();
    done.check(!done.stderr.contains("warning") && !done.stderr.contains("offers"), "should be content");
    folder.run("embed -q --model m named.arrow -o vectors.arrow").ok();
}

#[test]
fn options_that_cannot_be_are_refused() {
    let folder = with_prompts(e5(), None);
    folder.write("one.tsv", "a\tazure vm\n");
    folder.run("tokenize --tokenizer m --prompt-name passages one.tsv").fails(&[
        "--prompt-name passages: m has no prompt of this name; hint: its prompts are named passage, query, task",
    ]);
    folder
        .run("tokenize --tokenizer bert --prompt-name query one.tsv")
        .fails(&["--prompt-name query: bert has no prompts; hint: --prompt TEXT"]);
    folder
        .run("tokenize --tokenizer m --max-length 4 --kind query --prompt=vm: one.tsv")
        .fails(&["--max-length 4: leaves no room for a text: its prompt and special tokens are 4"]);
    folder.run("tokenize --tokenizer m --max-length 5 --kind query --prompt=vm: one.tsv").ok();
    for options in ["--prompt a --prompt-name query", "--prompt a --no-prompt", "--prompt-name query --no-prompt"] {
        folder.run(&format!("tokenize --tokenizer m {options} one.tsv")).fails_as_wrong_usage(&["cannot be used with"]);
    }
    folder
        .run("tokenize --tokenizer dot --compat transformers-2 --prompt a one.tsv")
        .fails_as_wrong_usage(&["cannot be used with"]);
}

#[test]
fn embed_takes_only_texts_with_the_prompt_of_the_model() {
    let folder = with_prompts(e5(), None);
    folder.write("one.tsv", "a\tazure vm\n");
    for (options, name) in [("--no-prompt", "none"), ("", "right"), ("--prompt list:", "other")] {
        folder.run(&format!("tokenize --tokenizer m --kind query {options} one.tsv -o {name}.arrow")).ok();
    }
    let hint = "hint: tokenize --tokenizer m --kind query, or --other-prompt to take them as they are";
    let asks = "but m asks for \"find: \" before queries";
    folder.run("embed --model m none.arrow -o v.arrow").fails(&["none.arrow: made without a prompt, ", asks, hint]);
    folder.run("embed --model m other.arrow -o v.arrow").fails(&[
        "other.arrow: made with the prompt \"list:\", ",
        asks,
        hint,
    ]);
    let done = folder.run("embed --model m --other-prompt other.arrow -o v.arrow").ok();
    done.check(!done.stderr.contains("prompt"), "should be silent");
    assert_eq!(prompt(&Records::open(&folder.path("v.arrow")), "prompt"), Some("list:"));
    folder.run("embed --model m right.arrow -o v.arrow").ok();
    let right = Records::open(&folder.path("v.arrow"));
    assert_eq!((prompt(&right, "prompt"), prompt(&right, "query_prompt")), (Some("find: "), None));
    folder.run("tokenize --tokenizer m one.tsv -o passage.arrow").ok();
    folder.run("embed --model m passage.arrow -o v.arrow").ok();
    let docs = Records::open(&folder.path("v.arrow"));
    assert_eq!((prompt(&docs, "prompt"), prompt(&docs, "query_prompt")), (Some("text: "), Some("find: ")));

    // A prompt that the model doesn't know, and one that nobody knows.
    let done = folder.run("embed --model bert right.arrow -o v.arrow").ok();
    done.check(
        done.stderr.contains("right.arrow: made with the prompt \"find: \", but the model asks for none"),
        "warns",
    );
    change_metadata(&folder, "none.arrow", "old.arrows", |metadata| drop(metadata.remove("hardmine.prompt")));
    folder.run("embed --model m old.arrows -o v.arrow").fails(&["old.arrows: made without a prompt, "]);
    change_metadata(&folder, "none.arrow", "foreign.arrows", HashMap::clear);
    let done = folder.run("embed --model m foreign.arrows -o v.arrow").ok();
    let unknown = "foreign.arrows: does not say which prompt its texts have; m asks for \"find: \" before queries and \
                   \"text: \" before documents";
    done.check(done.stderr.contains(unknown), "should warn");
    assert_eq!(prompt(&Records::open(&folder.path("v.arrow")), "prompt"), None);
}

#[test]
fn rank_takes_only_queries_with_the_prompt_of_the_documents_encoder() {
    let folder = with_prompts(e5(), None);
    let embed = |options: &str, to: &str| {
        let line = format!(
            "tokenize --tokenizer m {options} queries.dev.small.tsv | embed --model m --other-prompt -o {to}.arrow"
        );
        folder.sh(&line).ok();
    };
    folder.sh("tokenize --tokenizer m collection.tsv | embed --model m -o m.docs.arrow").ok();
    folder.run("index m.docs.arrow -o flat.faiss").ok();
    folder.run("index m.docs.arrow --factory HNSW8 -o graph.faiss").ok();
    embed("--kind query", "right");
    embed("--kind query --no-prompt", "none");
    for index in ["m.docs.arrow", "flat.faiss", "graph.faiss"] {
        folder.run(&format!("rank --index {index} right.arrow -o run.parquet")).ok();
        folder.run(&format!("rank --index {index} none.arrow -o run.parquet")).fails(&[
            "none.arrow: its queries have no prompt, but the encoder of ",
            "asks for the prompt \"find: \"; hint: make them with tokenize --kind query",
        ]);
        folder.run(&format!("rank --index {index} --other-prompt none.arrow -o run.parquet")).ok();
    }
    // Made before there were prompts.
    folder.run("rank --index docs.arrow dev.arrow -o run.parquet").ok();
    change_metadata(&folder, "none.arrow", "old.arrows", |metadata| drop(metadata.remove("hardmine.prompt")));
    folder.run("rank --index m.docs.arrow old.arrows -o run.parquet").fails(&["its queries have no prompt"]);
    // Queries that are documents.
    folder.run("rank --index right.arrow --exclude-self right.arrow -o run.parquet").ok();
}

#[test]
fn a_trained_model_asks_for_the_prompts_that_it_was_trained_with() {
    let folder = with_prompts(e5(), None);
    let tokenize = |options: &str, from: &str, to: &str| {
        folder.run(&format!("tokenize --tokenizer m {options} {from} -o {to}.arrow")).ok();
    };
    tokenize("--kind query", "queries.train.tsv", "q");
    tokenize("--kind query --prompt-name task", "queries.train.tsv", "task");
    tokenize("", "collection.tsv", "d");
    tokenize("--no-prompt", "collection.tsv", "plain");
    let train = |init: &str, queries: &str, docs: &str| {
        format!(
            "train inbatch --init {init} --queries {queries}.arrow --docs {docs}.arrow --qrels qrels.train.tsv \
             --max-doc-length 32 --steps 1 --batch-size 8"
        )
    };
    folder.run(&format!("{} -o same", train("m", "q", "d"))).ok();
    assert_eq!(config(&folder, "same")["prompts"], e5());
    folder
        .run(&format!("{} -o t", train("m", "task", "d")))
        .fails(&["task.arrow: made with the prompt \"list: \", but m asks for \"find: \" before queries; \
         hint: tokenize --tokenizer m --kind query, or --other-prompt"]);
    folder.run(&format!("{} -o t", train("m", "q", "plain"))).fails(&[
        "plain.arrow: made without a prompt, but m asks for \"text: \" before passages",
        "hint: tokenize --tokenizer m --kind passage",
    ]);
    folder.run(&format!("{} --other-prompt -o other", train("m", "task", "plain"))).ok();
    let expected = json!({"query": "list: ", "document": "", "passage": "text: ", "task": "list: "});
    assert_eq!(config(&folder, "other")["prompts"], expected);
    assert_eq!(
        prompt(
            &{
                folder.sh("rm -r m && cp -r other m").ok();
                tokens(&folder, "--kind query")
            },
            "prompt"
        ),
        Some("list: ")
    );
    assert_eq!(prompt(&tokens(&folder, "--kind passage"), "prompt"), Some(""));

    // A model that asks for none learns to.
    folder.run(&format!("{} -o learned", train("bert", "q", "d"))).ok();
    let learned = config(&folder, "learned");
    assert_eq!(learned["prompts"], json!({"query": "find: ", "document": "text: "}));
    folder.run("embed --model learned q.arrow -o q.vectors.arrow").ok();
    folder.run("embed --model learned d.arrow -o d.vectors.arrow").ok();
    folder.run("rank --index d.vectors.arrow q.vectors.arrow -o run.parquet").ok();
    folder
        .run("embed --model learned train.tokens.arrow -o v.arrow")
        .fails(&["train.tokens.arrow: made without a prompt"]);

    // ADORE's documents are encoded already.
    let adore = "train adore --qrels qrels.train.tsv --docs d.arrow --embeddings d.vectors.arrow --steps 1 \
                 --batch-size 8 --top-k 20";
    folder.run(&format!("{adore} --init learned --queries q.arrow -o adore")).ok();
    assert_eq!(config(&folder, "adore")["prompts"], learned["prompts"]);
    folder.run(&format!("{adore} --init learned --queries train.tokens.arrow -o t")).fails(&["made without a prompt"]);
    folder.run(&format!("{adore} --init bert --queries train.tokens.arrow -o half")).ok();
    assert_eq!(config(&folder, "half")["prompts"], json!({"document": "text: "}));
    folder.run(&format!("{adore} --init learned --queries task.arrow --other-prompt -o own")).ok();
    folder.run("embed --model own task.arrow -o own.arrow").ok();
    folder.run("rank --index d.vectors.arrow own.arrow -o run.parquet").ok();
}

#[test]
fn a_robertadot_keeps_the_prompts_that_it_was_trained_with() {
    let folder = Folder::new();
    folder.run("tokenize --tokenizer dot --kind query --prompt=find: queries.train.tsv -o q.arrow").ok();
    folder.run("tokenize --tokenizer dot collection.tsv -o d.arrow").ok();
    let line = "train inbatch --init dot --queries q.arrow --docs d.arrow --qrels qrels.train.tsv --max-doc-length 32 \
                --steps 1 --batch-size 8 -o trained";
    folder.run(line).ok();
    assert_eq!(config(&folder, "trained"), json!({"prompts": {"query": "find:"}}));
    let found = folder.run("tokenize --tokenizer trained --kind query queries.dev.small.tsv").ok();
    assert_eq!(prompt(&Records::stream(&found.stdout), "prompt"), Some("find:"));
}

#[test]
fn make_takes_the_prompts_of_the_starting_model_or_those_that_are_given() {
    let project = Project::new("bert");
    let folder = &project.folder;
    let own = json!({"prompts": e5(), "similarity_fn_name": "dot"});
    folder.write("init/config_sentence_transformers.json", own.to_string());
    let prompts = || {
        let tokens =
            ["dev", "docs"].map(|name| Records::open(&folder.path(&format!("out/passage/tokens/{name}.arrow"))));
        tokens.map(|tokens| tokens.metadata["hardmine.prompt"].clone())
    };
    let goals = "passage-inbatch-neg passage-start";
    project.make(goals).ok();
    assert_eq!(prompts(), ["find: ", "text: "]);
    assert_eq!(config(folder, "out/passage/models/inbatch-neg")["prompts"], e5());
    let given = format!(r#"{goals} QUERY_PROMPT="it's | a: ""#);
    let done = project.make(&given).done();
    done.check(done.code == Some(2), "should refuse");
    done.check(
        done.stderr.contains("tokens was made with other settings, now QUERY_PROMPT=it's␣|␣a:␣; hint: "),
        "should say",
    );
    folder.sh("rm -r out").ok();
    project.make(&given).ok();
    assert_eq!(prompts(), ["it's | a: ", "text: "]);
    assert_eq!(config(folder, "out/passage/models/inbatch-neg")["prompts"]["query"], "it's | a: ");
    project.make(&given).ok();
    assert!(project.ran().is_empty(), "{:?}", project.ran());
    let done = project.make(goals).done();
    done.check(
        done.stderr.contains("tokens was made with QUERY_PROMPT=it's␣|␣a:␣, now none of them; hint: "),
        "should say",
    );
}
