//! Scores runs against relevance judgements.

#[path = "score/baseline.rs"]
mod baseline;
#[path = "score/shards.rs"]
mod shards;

use std::io::Write;
use std::num::NonZeroU64;
use std::ops::Range;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use hardmine_command::{self as command, Common, ForeignIds, Report};
use hardmine_evaluation::significance::Baseline;
use hardmine_evaluation::{
    Evaluation, Judgements, METRICS, Metric, MetricList, Order, Ranking, ReportFormat, RunOptions, render, run_names,
    write_per_query,
};
use hardmine_files::{Input, Output, OutputFile, Sharding, Table, check_differs, is_same_output};
use hardmine_records::{Error, Kind};
use hardmine_units::Cluster;

use baseline::BaselineArgs;

const ORDERS: [(&str, &str, Order); 2] = [
    (
        "rank",
        "As msmarco_eval: positions are the run's ranks, and means are over all queries of the qrels",
        Order::Rank,
    ),
    (
        "score",
        "As trec_eval: positions follow from the scores, highest first, and equal scores are ordered by document id as \
         text, descending. Means are over the queries that are in both the run and the qrels",
        Order::Score,
    ),
];

const FORMATS: [(&str, &str, ReportFormat); 6] = [
    ("table", "A table with a row for each run and a column for each metric, with four decimals", ReportFormat::Table),
    ("markdown", "The same table in Markdown, the best values in bold", ReportFormat::Markdown),
    ("latex", "The same table in LaTeX with the rules of booktabs, the best values in bold", ReportFormat::Latex),
    ("json", "A list of objects: run, metric, value, queries (how many the mean is over)", ReportFormat::Json),
    ("tsv", "Lines of run, metric and value, below a header", ReportFormat::Tsv),
    ("msmarco", "The text that msmarco_eval prints; only for MRR@k", ReportFormat::Msmarco),
];

const EXAMPLES: &str = "\
Examples:
  score --qrels qrels.tsv -m MRR@10 -m R@100 star.parquet adore.parquet
  zcat run.tsv.gz | score --qrels qrels.tsv -m MRR@10
  score --qrels qrels.tsv -m MRR@10 --format msmarco run.tsv
  score --qrels 2019qrels-pass.txt -m nDCG@10 -m MAP --order score --relevance-level 2 run.trec
  score --qrels qrels.tsv -m MRR@10 -m R@100 --baseline start.parquet star.parquet adore.parquet
  score --qrels qrels.txt -m 'nDCG@10,MAP(rel=2),RBP(p=0.8)' --format latex run.trec
  score --qrels qrels.tsv -m MRR@10 --per-query metrics.parquet run.parquet";

/// Scores runs against relevance judgements
///
/// Runs may be Parquet, Arrow, MS MARCO's TSV (query, document, rank) or TREC's six columns, packed with gzip or zstd or
/// not; the form is recognized from the content. A metric is computed for each query, and then the mean is taken. A
/// query for which the run has nothing relevant counts 0. A run is called by the name of its file.
///
/// Text may have a header that names its columns, in any order and by any usual name (query_id, qid, corpus-id, docno,
/// rank, score, …), with tabs, commas or blanks between them. Without a header, fields are separated by tabs if that
/// gives the right number of columns, and otherwise by any white space. A line that begins with # is a comment, unless
/// it has the columns of a row.
///
/// Run and qrels must have the same kind of ids: row numbers of the same tokens files, or the collection's own ids.
/// remap-ids turns one into the other.
#[derive(Parser)]
#[command(version, after_help = format!("{METRICS}\n\n{EXAMPLES}"))]
pub(crate) struct Args {
    /// Runs to score; each gets a row of the table. Without any, or with -, one run is read from standard input
    #[arg(default_value = "-", hide_default_value = true)]
    runs: Vec<Input>,

    /// Relevance judgements: Parquet, Arrow, or text in the form of MS MARCO, TREC (query 0 document grade) or BEIR
    /// (query-id corpus-id score, below a header)
    #[arg(long, value_name = "QRELS")]
    qrels: Input,

    /// Metrics to compute, such as MRR@10, R@100, nDCG@10, MAP, Rprec, Bpref or RBP(p=0.8); all are listed below. Repeat
    /// the option or separate them by commas [default: MRR@10 R@100 nDCG@10]
    #[arg(short, long = "metric", value_name = "METRIC")]
    metrics: Vec<MetricList>,

    /// What decides the position of a document, and over which queries means are taken. With rank, ranks that are
    /// missing or count from 0 are replaced by positions in the file
    #[arg(long, default_value = "rank", value_parser = command::one_of(&ORDERS))]
    order: Order,

    /// Lowest grade that counts as relevant, for all metrics except nDCG and ERR. TREC DL passage uses 2. With 0 every
    /// judged document is relevant, as in msmarco_eval
    #[arg(long, value_name = "GRADE", default_value_t = 1, value_parser = clap::value_parser!(i32).range(0..))]
    relevance_level: i32,

    /// Take means over all queries of the qrels, including those that the run lacks (trec_eval -c). --order rank always
    /// does this. With --baseline, such queries are accepted in both orders, and count 0
    #[arg(long)]
    complete: bool,

    /// Leave the document with the query's own id out of its list, as BEIR does where queries are documents (ArguAna,
    /// Quora)
    #[arg(long)]
    exclude_self: bool,

    /// Take documents out of the lists that are not judged, or with a grade below 0, before anything is computed
    /// (trec_eval -J)
    #[arg(long)]
    judged_only: bool,

    #[command(flatten)]
    foreign: ForeignIds,

    /// How to print the means
    #[arg(long, default_value = "table", value_parser = command::one_of(&FORMATS))]
    format: ReportFormat,

    /// File to write the means to, as text. Without this option, or with -, they go to standard output
    #[arg(short, long, value_name = "FILE", default_value = "-", hide_default_value = true)]
    output: PathBuf,

    /// Also write the values of every query to this file (.parquet, .arrow or .arrows). The means are in it, too, with
    /// a null as query_id. Values of gMAP are logarithms, as in trec_eval
    #[arg(long, value_name = "FILE", value_parser = command::output())]
    per_query: Option<Output>,

    /// Divide the runs among the workers of the scheduler at df://HOST:PORT (see worker --help), who must see the same
    /// folders under the same paths; or score them on this machine part by part, with here. Runs must be sorted by query.
    /// The means are the same to the last digit
    #[arg(long, value_name = "ADDRESS", conflicts_with = "rows")]
    cluster: Option<Cluster>,

    /// With --cluster: how many rows of a run make up a part, at least. Parts end where lists end
    #[arg(long, value_name = "N", default_value = "10000000", requires = "cluster")]
    shard_rows: NonZeroU64,

    /// Score the lists in these rows of a run only, counted from 0. They must begin and end with whole lists. --per-query
    /// then gets the values of their queries alone
    #[arg(long, value_name = "FROM..TO", value_parser = command::row_range, conflicts_with_all = ["baseline", "complete"])]
    rows: Option<Range<u64>>,

    #[command(flatten)]
    baseline: BaselineArgs,

    #[command(flatten)]
    common: Common,
}

fn main() -> ExitCode {
    command::main(|args: &Args| &args.common, run)
}

/// Says of the run `name` how many of its queries are judged, if not all are.
fn note_judged(report: &mut Report, name: &str, judged: usize, queries: usize) {
    if judged < queries {
        report.note(format!("{name}: {judged} of its {queries} queries are judged"));
    }
}

fn run(mut args: Args, report: &mut Report) -> anyhow::Result<()> {
    let place = args.baseline.place_among(&mut args.runs);
    let metrics = check(&args)?;
    let mut file = OutputFile::create(&args.output)?;
    let judgements = Arc::new(Judgements::open(&args.qrels, args.foreign.ids)?);
    judgements.notes.iter().for_each(|note| report.note(note));
    let Args { order, relevance_level: level, complete, exclude_self, judged_only, .. } = args;
    let ids = args.foreign.ids;
    let reading = RunOptions { order, ids, exclude_self, judged_only, is_part: args.rows.is_some() };
    let evaluation = Evaluation::new(order, level, complete)?;
    let mut scores = match &args.cluster {
        Some(cluster) => shards::score(cluster, &args, &evaluation, &judgements, &metrics, report)?,
        None => Vec::new(),
    };
    let here = args.runs.iter().zip(run_names(&args.runs)).filter(|_| args.cluster.is_none());
    for (input, name) in here {
        let table = Table::open_rows_with_ids(input, &[Kind::Run], ids, args.rows.clone())?;
        let ranking = Ranking::of_table(table, &judgements, reading)?;
        ranking.notes.iter().for_each(|note| report.note(note));
        if args.rows.is_none() {
            note_judged(report, &name, ranking.judged_lists(), ranking.lists);
        }
        // Where unjudged documents are taken out, every list is short.
        let too_short = ranking.note_on_depth(&name, &metrics, level).filter(|_| !judged_only && args.rows.is_none());
        too_short.into_iter().for_each(|note| report.note(note));
        scores.push(evaluation.score(&name, &ranking, &metrics)?);
        report.add(ranking.rows);
    }
    let settings = args.baseline.settings();
    let baseline = place.map(|place| Baseline::compare(&scores, place, settings, complete)).transpose()?.flatten();
    if place.is_some() && baseline.is_none() {
        report.note("no test is possible: the means are over one query only");
    }
    if let Some(output) = &args.per_query {
        write_per_query(&output.clone().sharded(Sharding::Whole), &scores)?;
    }
    let text = render(&scores, baseline.as_ref(), args.format)?;
    file.write_all(text.as_bytes()).map_err(Error::io(file.place().to_owned()))?;
    Ok(file.commit()?)
}

/// Refuses what can't be done together, and returns the metrics, each once.
fn check(args: &Args) -> anyhow::Result<Vec<Metric>> {
    let usage = |text: &str| -> ! { command::wrong_usage::<Args>(text.to_owned()) };
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
    if args.baseline.baseline.is_some() {
        if args.runs.len() < 2 {
            usage("--baseline is the only run; name the runs to compare with it");
        }
        if args.format == ReportFormat::Msmarco {
            usage("--format msmarco has no comparison with a baseline");
        }
    }
    let default: &[&str] = match args.format {
        ReportFormat::Msmarco => &["MRR@10"],
        _ => &["MRR@10", "R@100", "nDCG@10"],
    };
    let mut metrics: Vec<Metric> = Vec::new();
    let default = default.iter().filter_map(|name| name.parse().ok()).filter(|_| args.metrics.is_empty());
    for metric in args.metrics.iter().flat_map(|list| list.0.clone()).chain(default) {
        if args.format == ReportFormat::Msmarco && metric.reciprocal_rank_cut().is_none() {
            usage(&format!("--format msmarco prints MRR@k only, not {metric}"));
        }
        if !metrics.contains(&metric) {
            metrics.push(metric);
        }
    }
    Ok(metrics)
}
