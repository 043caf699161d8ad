//! The graph of files: which was made of which, as their provenance says it.

mod drawing;
mod edges;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;

use hardmine_files::{Content, Input, Table, open_parquet, provenance_in, read_trailer};
use hardmine_records::{Error, Kind, Provenance, Result};

pub(crate) use drawing::{Drawing, draw};

use crate::folder::Folder;

/// The parts whose files are in the graph, and what their names end in.
const FILES: [(&str, &str); 8] = [
    ("tokens", ".arrow"),
    ("qrels", ".parquet"),
    ("embeddings", ".arrow"),
    ("negatives", ".parquet"),
    ("lexical", ".parquet"),
    ("indexes", ".faiss"),
    ("runs", ".parquet"),
    ("metrics", ".parquet"),
];

/// The kinds of records that a file may hold.
const KINDS: [Kind; 7] =
    [Kind::Tokens, Kind::Embeddings, Kind::Run, Kind::Qrels, Kind::Negatives, Kind::Metrics, Kind::TrainingLog];

/// A file or a model folder.
pub(crate) struct Node {
    pub(crate) part: &'static str,
    /// Its name without the ending.
    pub(crate) name: String,
    pub(crate) provenance: Provenance,
    /// The place of its row among the rows of the table; none of what all rows share.
    pub(crate) row: Option<usize>,
}

/// Files, and which of them others were made of.
pub(crate) struct Graph {
    pub(crate) nodes: Vec<Node>,
    /// From what was there to what was made of it. An edge that a path says as well is left out.
    pub(crate) edges: Vec<(usize, usize)>,
}

/// The files of a folder.
///
/// # Errors
/// A file that can't be read.
pub(crate) fn graph(folder: &Folder) -> Result<Graph> {
    let row_of = |name: &str| folder.rows.iter().position(|row| row.name == name);
    let mut nodes = Vec::new();
    for (part, ending) in FILES {
        for file in folder.list(part) {
            let Some(name) = file.strip_suffix(ending) else { continue };
            let row = match part {
                "embeddings" | "indexes" => row_of(name),
                // Negatives are called like the row that is trained on them, but for those of STAR.
                "negatives" => name.split('.').next().and_then(|of| row_of(if of == "train" { "star" } else { of })),
                // Made of BM25's lists, for the model that is trained on them.
                "lexical" => row_of("bm25-neg"),
                "runs" | "metrics" => name.rsplit_once('.').and_then(|(row, _)| row_of(row)),
                _ => None,
            };
            let provenance = provenance(&folder.file(part, &file))?;
            nodes.push(Node { part, name: name.to_owned(), provenance, row });
        }
    }
    let index = folder.file("lexical", "index");
    if index.is_dir() {
        let name = "index".to_owned();
        nodes.push(Node { part: "lexical", name, provenance: of_lexical_index(&index)?, row: row_of("bm25") });
    }
    for name in folder.list("models") {
        let folder_of_model = folder.file("models", &name);
        if folder_of_model.is_dir() {
            let log = folder_of_model.join("training-log.parquet");
            let provenance = if log.exists() { provenance(&log)? } else { Provenance::default() };
            nodes.push(Node { part: "models", row: row_of(&name), name, provenance });
        }
    }
    let edges = edges::edges(&nodes);
    Ok(Graph { nodes, edges })
}

/// What the description of a lexical index, which is a folder, says of where it came from.
fn of_lexical_index(index: &Path) -> Result<Provenance> {
    let path = index.join("hardmine.json");
    let text = fs::read_to_string(&path).map_err(Error::io(path.display()))?;
    let entries: BTreeMap<String, String> = serde_json::from_str(&text).map_err(Error::at(path.display()))?;
    Ok(Provenance::from_metadata(&entries))
}

/// What a file says of where it came from.
fn provenance(path: &Path) -> Result<Provenance> {
    let input = Input::from(path);
    if input.is_dataset() {
        return Ok(Table::open(&input, &KINDS)?.provenance().clone());
    }
    match input.open()?.content {
        Content::Parquet => {
            let file = File::open(path).map_err(Error::io(path.display()))?;
            Ok(provenance_in(&open_parquet(&input.to_string(), file)?))
        }
        Content::Text if path.extension().is_some_and(|ending| ending == "faiss") => {
            let mut file = File::open(path).map_err(Error::io(path.display()))?;
            Ok(read_trailer(&mut file).map_err(Error::io(path.display()))?.0)
        }
        _ => Ok(Table::open(&input, &KINDS)?.provenance().clone()),
    }
}
