//! One HTML page for a folder of results, as make leaves it: the table, how the models were trained, how two rows
//! differ query by query, what each stage took, and where every file came from.
//!
//! The numbers are read with SQL from the records in the folder. The page needs nothing but itself: plots are SVG in
//! it, and there is no script. It has no time and no path of the machine in it, so the same folder gives the same page.

mod changed;
mod choice;
mod columns;
mod curves;
mod differences;
mod distributions;
mod folder;
mod graph;
mod metrics;
mod page;
mod plot;
mod rows;
mod stages;
mod table;

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use hardmine_records::Result;

use crate::changed::Changed;
use crate::choice::Choice;
use crate::differences::Differences;
use crate::distributions::Distribution;
use crate::folder::Folder;
use crate::graph::Graph;
use crate::metrics::Metrics;
use crate::page::{Compared, FileEntries, Page, StageLine};

/// How many of the queries that changed most are shown.
const CHANGED: usize = 20;

/// Finds texts by their official ids. Ids without a text are left out.
pub type Lookup<'a> = Box<dyn Fn(&BTreeSet<String>) -> Result<HashMap<String, String>> + 'a>;

/// What the page is to show, besides what is in the folder.
#[derive(Default)]
pub struct Options<'a> {
    /// The row that the others are tested against, by its name or as the table calls it. By default the first.
    pub baseline: Option<String>,
    /// Two rows to compare query by query. By default the baseline and the best of the others.
    pub compare: Option<(String, String)>,
    /// The metric that they are compared by. By default that of the first column.
    pub metric: Option<String>,
    /// The relevance judgements of the split that is compared.
    pub qrels: Option<PathBuf>,
    /// Texts of documents.
    pub docs: Option<Lookup<'a>>,
    /// Texts of queries.
    pub queries: Option<Lookup<'a>>,
}

/// The page for the results in `folder`, and the number of rows that its table has.
///
/// # Errors
/// A folder in which make has begun nothing, rows or metrics that are not there, and files that can't be read.
pub fn page(folder: &Path, options: &Options) -> Result<(String, usize)> {
    let folder = Folder::open(folder)?;
    let metrics = Metrics::read(&folder)?;
    let choice = Choice::new(&folder, &metrics, options)?;
    let (comparison, changed) = match choice.pair {
        Some(pair) => compare(&folder, &metrics, &choice, pair, options)?,
        None => (None, Vec::new()),
    };
    let (stages, total) = stage_lines(&folder)?;
    let graph = graph::graph(&folder)?;
    let page = Page {
        name: name(&folder.path),
        missing: folder.missing(),
        table: table::table(&folder, &metrics, choice.baseline),
        curves: curves::curves(&folder)?,
        negatives: negatives(&folder)?,
        lists: lists(&folder, &choice.split, options)?,
        no_scores: no_scores(&folder, options),
        split: choice.split.clone(),
        comparison,
        changed,
        shown: changed::SHOWN,
        no_texts: no_texts(options),
        stages,
        total,
        sizes: stages::sizes(&folder)
            .into_iter()
            .map(|(part, number, size)| (part, number, stages::bytes(size)))
            .collect(),
        graph: graph::draw(&graph, folder.rows.len()),
        files: files(&graph),
    };
    Ok((page.render()?, page.table.rows.len()))
}

/// The folder's own name.
fn name(path: &Path) -> String {
    let whole = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    whole.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Two rows query by query, and the queries that changed most.
fn compare(
    folder: &Folder,
    metrics: &Metrics,
    choice: &Choice,
    [first, second]: [usize; 2],
    options: &Options,
) -> Result<(Option<Compared>, Vec<Changed>)> {
    let (Some(of_first), Some(of_second)) = (metrics.get(first, choice.column), metrics.get(second, choice.column))
    else {
        return Ok((None, Vec::new()));
    };
    let differences = Differences::new(of_first, of_second);
    let queries = differences.sorted.len();
    let metric = &metrics.columns[choice.column].metric;
    let labels = [first, second].map(|row| folder.rows[row].label.clone());
    let compared = Compared {
        metric: metric.clone(),
        queries,
        wins: differences.wins,
        ties: differences.ties,
        losses: differences.losses,
        mean: format!("{:+.4}", differences.mean()),
        plot: differences.plot(&format!("difference in {metric}"))?,
        about: table::about_pair(of_first, of_second),
        first: labels[0].clone(),
        second: labels[1].clone(),
    };
    let run = |row: usize| folder.existing("runs", &format!("{}.{}.parquet", folder.rows[row].name, choice.split));
    let changed = match (run(first), run(second)) {
        (Some(first), Some(second)) => changed::changed(&differences.largest(CHANGED), [&first, &second], options)?,
        _ => Vec::new(),
    };
    Ok((Some(compared), changed))
}

/// The scores of each file of negatives.
fn negatives(folder: &Folder) -> Result<Vec<Distribution>> {
    let names = folder.list("negatives");
    // Beside the negatives there are the scores of relevant documents, and what mining did, with two endings.
    let names = names.iter().filter_map(|name| name.strip_suffix(".parquet")).filter(|name| !name.contains('.'));
    let of = |name: &str| {
        let positives = folder.existing("negatives", &format!("{name}.positives.parquet"));
        let negatives = folder.file("negatives", &format!("{name}.parquet"));
        distributions::of_negatives(&format!("{name}."), &negatives, positives.as_deref()).transpose()
    };
    names.filter_map(of).collect()
}

/// The scores of each row's lists, where it is known what is relevant.
fn lists(folder: &Folder, split: &str, options: &Options) -> Result<Vec<Distribution>> {
    let Some(qrels) = &options.qrels else { return Ok(Vec::new()) };
    let mut lists = Vec::new();
    for row in &folder.rows {
        if let Some(run) = folder.existing("runs", &format!("{}.{split}.parquet", row.name)) {
            lists.extend(distributions::of_run(&format!("{}.", row.label), &run, qrels)?);
        }
    }
    Ok(lists)
}

fn no_scores(folder: &Folder, options: &Options) -> Vec<String> {
    let mut missing = Vec::new();
    if folder.list("negatives").is_empty() {
        missing.push("No negatives have been mined yet.".to_owned());
    }
    if options.qrels.is_none() {
        missing.push(
            "The page was made without --qrels, so it does not know which documents of the lists are relevant."
                .to_owned(),
        );
    } else if folder.list("runs").is_empty() {
        missing.push("There are no runs yet.".to_owned());
    }
    missing
}

fn no_texts(options: &Options) -> Vec<String> {
    let without = [
        (options.qrels.is_none(), "--qrels, which says what is relevant"),
        (options.docs.is_none(), "--texts, which has the texts of documents"),
        (options.queries.is_none(), "--queries, which has the texts of queries"),
    ];
    without
        .iter()
        .filter(|(is_missing, _)| *is_missing)
        .map(|(_, what)| format!("The page was made without {what}."))
        .collect()
}

/// What each stage took, and all of them together.
fn stage_lines(folder: &Folder) -> Result<(Vec<StageLine>, String)> {
    let stages = stages::stages(folder)?;
    let longest = stages.iter().map(|stage| stage.seconds).fold(1e-9, f64::max);
    let seconds = stages.iter().map(|stage| stage.seconds).sum();
    let memory = stages.iter().map(|stage| stage.memory).max().unwrap_or(0);
    let total = format!(
        "Together that is {}, one after the other, and at most {memory} MiB at once.",
        stages::duration(seconds)
    );
    let line = |stage: stages::Stage| StageLine {
        file: stage.file,
        commands: stage.commands.join(" | "),
        rows: stage.rows,
        time: stages::duration(stage.seconds),
        share: format!("{:.1}", 100.0 * stage.seconds / longest),
        memory: stage.memory,
        size: stage.size.map_or_else(|| "gone".to_owned(), stages::bytes),
    };
    Ok((stages.into_iter().map(line).collect(), total))
}

/// What every file of the graph says of itself.
fn files(graph: &Graph) -> Vec<FileEntries> {
    let entries = |node: &graph::Node| {
        let entries = node.provenance.iter();
        let entries = entries.map(|(name, value)| (name.trim_start_matches("hardmine.").to_owned(), value.to_owned()));
        FileEntries { path: format!("{}/{}", node.part, node.name), entries: entries.collect() }
    };
    graph.nodes.iter().map(entries).collect()
}
