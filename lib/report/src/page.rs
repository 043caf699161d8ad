//! What the page has, as its template wants it. The template escapes every text; only plots go in as they are.

use hardmine_records::{Error, Result};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, UndefinedBehavior};
use serde::Serialize;

use crate::changed::Changed;
use crate::curves::Curves;
use crate::distributions::Distribution;
use crate::graph::Drawing;

/// The template, and the style that it includes.
const PAGE: &str = include_str!("../templates/page.html");
const STYLE: &str = include_str!("../templates/page.css");

#[derive(Serialize)]
pub(crate) struct Page {
    /// The folder's name, without where it lies.
    pub(crate) name: String,
    pub(crate) missing: Vec<String>,
    pub(crate) table: Table,
    pub(crate) curves: Vec<Curves>,
    pub(crate) negatives: Vec<Distribution>,
    /// Distributions of the runs.
    pub(crate) lists: Vec<Distribution>,
    /// Why there are none, where there are none.
    pub(crate) no_scores: Vec<String>,
    /// The split that is compared.
    pub(crate) split: String,
    pub(crate) comparison: Option<Compared>,
    pub(crate) changed: Vec<Changed>,
    /// How many documents of each list there are.
    pub(crate) shown: i64,
    pub(crate) no_texts: Vec<String>,
    pub(crate) stages: Vec<StageLine>,
    /// All stages together, as a sentence.
    pub(crate) total: String,
    /// Name, number of files and size of each folder.
    pub(crate) sizes: Vec<(&'static str, usize, String)>,
    pub(crate) graph: Drawing,
    pub(crate) files: Vec<FileEntries>,
}

impl Page {
    /// The page as HTML.
    pub(crate) fn render(&self) -> Result<String> {
        let mut templates = Environment::new();
        templates.set_auto_escape_callback(|_| AutoEscape::Html);
        templates.set_undefined_behavior(UndefinedBehavior::Strict);
        let syntax = SyntaxConfig::builder().trim_blocks(true).build().map_err(Error::at("page"))?;
        templates.set_syntax(syntax);
        let page = templates.add_template("page.html", PAGE).and_then(|()| templates.add_template("page.css", STYLE));
        page.and_then(|()| templates.get_template("page.html")?.render(Serde(self))).map_err(Error::at("page"))
    }
}

#[derive(Default, Serialize)]
pub(crate) struct Table {
    pub(crate) columns: Vec<Header>,
    pub(crate) rows: Vec<TableRow>,
    /// Sentences below the table.
    pub(crate) caption: Vec<String>,
}

#[derive(Serialize)]
pub(crate) struct Header {
    pub(crate) metric: String,
    /// The split, and how many queries it has.
    pub(crate) about: String,
}

#[derive(Serialize)]
pub(crate) struct TableRow {
    pub(crate) label: String,
    pub(crate) cells: Vec<Option<Cell>>,
}

#[derive(Serialize)]
pub(crate) struct Cell {
    /// In full precision, as in table.tsv.
    pub(crate) value: String,
    pub(crate) shown: String,
    pub(crate) is_best: bool,
    pub(crate) mark: &'static str,
    /// How it compares with the baseline; shown where the pointer rests on it.
    pub(crate) about: String,
}

/// Two rows, query by query.
#[derive(Serialize)]
pub(crate) struct Compared {
    pub(crate) first: String,
    pub(crate) second: String,
    pub(crate) metric: String,
    pub(crate) queries: usize,
    pub(crate) wins: usize,
    pub(crate) ties: usize,
    pub(crate) losses: usize,
    pub(crate) mean: String,
    pub(crate) plot: String,
    /// Whether the difference may be chance.
    pub(crate) about: String,
}

#[derive(Serialize)]
pub(crate) struct StageLine {
    pub(crate) file: String,
    /// Joined as in the pipe.
    pub(crate) commands: String,
    pub(crate) rows: u64,
    pub(crate) time: String,
    /// Per cent of the longest time.
    pub(crate) share: String,
    pub(crate) memory: u64,
    pub(crate) size: String,
}

/// What a file says of itself.
#[derive(Serialize)]
pub(crate) struct FileEntries {
    pub(crate) path: String,
    pub(crate) entries: Vec<(String, String)>,
}
