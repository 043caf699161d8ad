//! Scores runs against relevance judgements.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};
use hardmine_evaluation::{
    Evaluation, Judgements, Metric, Order, Ranking, Reading, ReportFormat, render, run_names, write_per_query,
};
use hardmine_records::command::{self, Common, Report};
use hardmine_records::{Error, ForeignIds, Input, Output, OutputFile, check_differs, is_same_output};

/// Scores runs against relevance judgements
///
/// Runs are Parquet, Arrow, MS MARCO's TSV (query, document, rank) or TREC's six columns; .gz and .zst
/// are unpacked, and which of these a file is, is found from its content. Each value is computed query
/// by query, then the mean is taken; a query counts 0 where the run has nothing relevant for it. In
/// tables a run has the name of its file.
///
/// Text may also have a header that names its columns, in any order and by any of the names that are in use
/// (query_id, qid, corpus-id, docno, rank, score, …), separated by tabs, commas or blanks. Without a header, tabs
/// separate where there are as many columns as the form has, and white space elsewhere; a line that begins with # is
/// a comment unless it has the columns of a row.
///
/// Ids of run and qrels must be of one space: row numbers of the same tokens files, or the
/// collection's own ids; remap-ids turns one into the other.
#[derive(Parser)]
#[command(
    version,
    after_help = "\
Examples:
  score --qrels qrels.tsv -m MRR@10 -m R@100 star.parquet adore.parquet
  zcat run.tsv.gz | score --qrels qrels.tsv -m MRR@10
  score --qrels qrels.tsv -m MRR@10 --format msmarco run.tsv
  score --qrels 2019qrels-pass.txt -m nDCG@10 -m MAP --order score --relevance-level 2 run.trec
  score --qrels qrels.tsv -m MRR@10 --per-query metrics.parquet run.parquet"
)]
pub(crate) struct Args {
    /// Runs, to be scored side by side; - or nothing for standard input
    #[arg(default_value = "-", hide_default_value = true)]
    runs: Vec<Input>,

    /// Relevance judgements: Parquet, Arrow, or text as MS MARCO, TREC (query 0 document grade) and
    /// BEIR (query-id corpus-id score, below a header) have it
    #[arg(long, value_name = "QRELS")]
    qrels: Input,

    /// What to compute, any number of: MRR@k, R@k (also Recall@k), nDCG@k, MAP@k, P@k, Success@k; MRR,
    /// nDCG and MAP do without @k, over the whole list [default: MRR@10 R@100 nDCG@10]
    #[arg(short, long = "metric", value_name = "METRIC", value_delimiter = ',')]
    metrics: Vec<Metric>,

    /// What a document's position is, and which queries a mean goes over. Where ranks are missing or count from 0,
    /// rank order takes the positions in the file
    #[arg(long, value_enum, default_value_t = Order::Rank)]
    order: Order,

    /// Least grade that is relevant, for all but nDCG; TREC DL passage uses 2. With 0 every judged
    /// document is, as for msmarco_eval
    #[arg(long, value_name = "GRADE", default_value_t = 1, value_parser = clap::value_parser!(i32).range(0..))]
    relevance_level: i32,

    /// With --order score, take means over all queries of the qrels, also those the run lacks
    /// (trec_eval -c); with --order rank it is always so
    #[arg(long)]
    complete: bool,

    /// Leave out of each list the document that has the query's own id, as BEIR does where queries are documents
    /// (ArguAna, Quora)
    #[arg(long)]
    exclude_self: bool,

    #[command(flatten)]
    foreign: ForeignIds,

    /// Form of the means
    #[arg(long, value_enum, default_value_t = ReportFormat::Table)]
    format: ReportFormat,

    /// File the means go to; nothing or - for standard output
    #[arg(short, long, value_name = "FILE", default_value = "-", hide_default_value = true)]
    output: PathBuf,

    /// Also write every query's values, and the means with a null as query: .parquet, .arrow, .arrows
    #[arg(long, value_name = "FILE")]
    per_query: Option<Output>,

    #[command(flatten)]
    common: Common,
}

fn main() -> ExitCode {
    command::main(|args: &Args| &args.common, run)
}

fn run(args: Args, report: &mut Report) -> anyhow::Result<()> {
    let metrics = check(&args)?;
    let mut file = OutputFile::create(&args.output)?;
    let judgements = Arc::new(Judgements::open(&args.qrels, args.foreign)?);
    judgements.notes.iter().for_each(|note| report.note(note));
    let reading = Reading { order: args.order, ids: args.foreign, exclude_self: args.exclude_self };
    let evaluation = Evaluation::new(args.order, args.relevance_level, args.complete)?;
    let mut scores = Vec::new();
    for (input, name) in args.runs.iter().zip(run_names(&args.runs)) {
        let ranking = Ranking::open(input, &judgements, reading)?;
        ranking.notes.iter().for_each(|note| report.note(note));
        if ranking.judged_lists() < ranking.lists {
            report.note(format!("{name}: {} of its {} queries are judged", ranking.judged_lists(), ranking.lists));
        }
        scores.push(evaluation.score(&name, &ranking, &metrics)?);
        report.add(ranking.rows);
    }
    if let Some(output) = &args.per_query {
        write_per_query(output, &scores)?;
    }
    let text = render(&scores, args.format)?;
    file.write_all(text.as_bytes()).map_err(Error::io(file.place().to_owned()))?;
    Ok(file.commit()?)
}

/// Refuses what can't be done together, and returns the metrics, each once.
fn check(args: &Args) -> anyhow::Result<Vec<Metric>> {
    let usage = |text: &str| -> ! { Args::command().error(ErrorKind::ArgumentConflict, text).exit() };
    let inputs: Vec<&Input> = args.runs.iter().chain([&args.qrels]).collect();
    command::check_inputs::<Args>(&inputs);
    check_differs(&args.output, &inputs)?;
    if let Some(output) = &args.per_query {
        output.check_differs(&inputs)?;
        if is_same_output(&args.output, output.path()) {
            usage("the means and the values of every query can't go to the same place: give --per-query or -o a file");
        }
    }
    if matches!(args.output.extension().and_then(|ending| ending.to_str()), Some("parquet" | "arrow" | "arrows")) {
        usage("the means are text; --per-query writes Parquet and Arrow, the means among them");
    }
    let default: &[&str] = match args.format {
        ReportFormat::Msmarco => &["MRR@10"],
        _ => &["MRR@10", "R@100", "nDCG@10"],
    };
    let mut metrics: Vec<Metric> = Vec::new();
    let default = default.iter().filter_map(|name| name.parse().ok()).filter(|_| args.metrics.is_empty());
    for metric in args.metrics.iter().copied().chain(default) {
        if args.format == ReportFormat::Msmarco && metric.reciprocal_rank_cut().is_none() {
            usage(&format!("--format msmarco prints MRR@k only, not {metric}"));
        }
        if !metrics.contains(&metric) {
            metrics.push(metric);
        }
    }
    Ok(metrics)
}
