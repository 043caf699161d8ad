//! One HTML page for a folder of results.

use std::collections::{BTreeSet, HashMap};
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use hardmine_command::{self as command, Common, Report};
use hardmine_files::{Input, OutputFile, check_differs};
use hardmine_records::{Error, Result};
use hardmine_report::{Lookup, Options, page};
use hardmine_text::Corpus;

/// Makes one HTML page of a folder of results
///
/// The page has the table with marks of significance, how the models were trained, how scores are distributed, two rows
/// query by query with the queries that changed most, what each stage took, and where every file came from. It is one
/// file that needs no network and no script, to be read on a screen or printed.
///
/// FOLDER is a task's folder as make leaves it, such as OUT/passage. It need not be complete: the page shows what is
/// there, and says what is missing.
#[derive(Parser)]
#[command(
    version,
    after_help = "\
Examples:
  report out/passage -o report.html
  report out/passage --baseline start --compare rand-neg star --qrels qrels.dev.small.tsv \\
    --texts collection.tsv --queries queries.dev.small.tsv -o report.html"
)]
pub(crate) struct Args {
    /// Folder of results: tokens, qrels, models, embeddings, negatives, runs and metrics, as far as they are made
    folder: PathBuf,

    /// Row that the others are tested against, by the name of its files [default: the first row of the table]
    #[arg(long, value_name = "ROW")]
    baseline: Option<String>,

    /// Two rows to compare query by query [default: the baseline and the best of the other rows]
    #[arg(long, num_args = 2, value_names = ["ROW", "ROW"])]
    compare: Option<Vec<String>>,

    /// Metric to compare them by, and to choose the best row by [default: that of the first column]
    #[arg(short, long)]
    metric: Option<String>,

    /// Relevance judgements of the queries that are compared, in any form that score reads. Relevant documents are then
    /// marked, and their scores shown beside those of others
    #[arg(long)]
    qrels: Option<Input>,

    /// Texts of the documents, in any form that tokenize reads
    #[arg(long, value_name = "COLLECTION")]
    texts: Option<Input>,

    /// Texts of the queries that are compared, in any form that tokenize reads
    #[arg(long)]
    queries: Option<Input>,

    /// File to write the page to. Without this option, or with -, it goes to standard output
    #[arg(short, long, value_name = "FILE", default_value = "-", hide_default_value = true)]
    output: PathBuf,

    #[command(flatten)]
    common: Common,
}

fn main() -> ExitCode {
    command::main(|args: &Args| &args.common, run)
}

fn run(args: Args, report: &mut Report) -> anyhow::Result<()> {
    let inputs: Vec<&Input> = [&args.qrels, &args.texts, &args.queries].into_iter().flatten().collect();
    command::check_inputs::<Args>(&inputs);
    check_differs(&args.output, &inputs)?;
    let mut file = OutputFile::create(&args.output)?;
    // Judgements are read by one table after the other, and of texts the first line tells their form.
    let reopenable = |input: &Option<Input>| input.as_ref().map(Input::reopenable).transpose();
    let (qrels, docs, queries) = (reopenable(&args.qrels)?, reopenable(&args.texts)?, reopenable(&args.queries)?);
    let options = Options {
        baseline: args.baseline,
        compare: args.compare.map(|rows| (rows[0].clone(), rows[1].clone())),
        metric: args.metric,
        qrels: qrels.as_ref().map(|qrels| qrels.path().to_owned()),
        docs: docs.as_ref().map(|input| -> Lookup { Box::new(move |ids| texts(input, ids)) }),
        queries: queries.as_ref().map(|input| -> Lookup { Box::new(move |ids| texts(input, ids)) }),
    };
    let (page, rows) = page(&args.folder, &options)?;
    file.write_all(page.as_bytes()).map_err(Error::io(file.place().to_owned()))?;
    report.add(rows as u64);
    Ok(file.commit()?)
}

/// The texts of `ids`, as far as they are there.
fn texts(input: &Input, ids: &BTreeSet<String>) -> Result<HashMap<String, String>> {
    let mut found = HashMap::new();
    for text in Corpus::open_collection(input)? {
        let text = text?;
        if ids.contains(&text.key) {
            found.insert(text.key, text.fields.joined().into_owned());
        }
    }
    Ok(found)
}
