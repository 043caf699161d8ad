//! `mine-negatives`: hard negatives from the run of the training queries.

#[path = "mine-negatives/report.rs"]
mod report;
#[path = "mine-negatives/rules.rs"]
mod rules;
#[path = "mine-negatives/shards.rs"]
mod shards;

use std::num::NonZeroU64;
use std::ops::Range;
use std::process::ExitCode;

use clap::Parser;
use hardmine_command::{self as command, Common, ForeignIds, Report};
use hardmine_files::{Input, Output, Sharding, Table, Writer, is_same_output, read_ahead};
use hardmine_mining::{FilterBy, Miner, Reason, Rules, Sample, Summary};
use hardmine_records::provenance::{DOCS, DOCUMENT_MODEL, MODEL, QUERIES, SEED};
use hardmine_records::{Error, IdSpace, Kind, Provenance, Result, check_same_space, check_self, schema};
use hardmine_units::Cluster;

use self::report::{ReportArgs, Texts};
use self::rules::RuleArgs;

/// Takes each query's best-ranked documents that are not relevant to it, as its static hard negatives
///
/// Documents that rank high are often relevant although nobody judged them. Margins, bounds and rank windows leave out
/// those that are likely to be: first the score rules are applied, then what is left is ranked anew, then --skip-first
/// and --depth cut a window out of it, and --top-k documents of the window are taken.
#[derive(Parser)]
#[command(
    version,
    after_help = "\
Examples:
  rank --index docs.arrow --top-k 250 train.arrow \\
  | mine-negatives --qrels qrels.train.parquet --top-k 200 -o negatives.parquet

  rank --index docs.arrow --pairs qrels.train.parquet train.arrow -o positives.parquet
  rank --index docs.arrow --top-k 500 train.arrow \\
  | mine-negatives --qrels qrels.train.parquet --positives positives.parquet --relative-margin 0.05 \\
      -o negatives.parquet --report report.parquet"
)]
pub(crate) struct Args {
    /// Run of the training queries, sorted by query and rank. With -, it is read from standard input
    #[arg(default_value = "-")]
    run: Input,

    /// Judgements of the same queries. Judgements of another split are refused
    #[arg(long)]
    qrels: Input,

    /// How many negatives to keep for each query. The run must be longer than this by the number of documents that are
    /// left out
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
    top_k: u32,

    /// Leave out the document that has the query's own id, for collections whose documents are the queries
    #[arg(long)]
    exclude_self: bool,

    #[command(flatten)]
    rules: RuleArgs,

    /// Run of another ranker, with a score for every negative and for every relevant document. Its scores are put beside
    /// the negatives, for train star --loss marginmse and kl. It is held in memory
    #[arg(long, value_name = "RUN")]
    teacher: Option<Input>,

    #[command(flatten)]
    foreign: ForeignIds,

    /// File to write the negatives to: .parquet, .arrow, .arrows, .tsv (MS MARCO) or .trec. A name that ends in a slash is
    /// a folder of shards, which --cluster asks for. With -, they go to standard output
    #[arg(short, long, default_value = "-", value_parser = command::output())]
    output: Output,

    /// Divide the run among the workers of the scheduler at df://HOST:PORT (see worker --help), who must see the same
    /// folders under the same paths; or mine on this machine part by part, with here. The output is a folder, named with
    /// a slash at its end, which gets a shard for each part. What was mined already is kept when the command is cut off
    /// and started again
    #[arg(long, value_name = "ADDRESS", conflicts_with_all = ["report", "rows"])]
    cluster: Option<Cluster>,

    /// With --cluster: how many rows of the run make up a part, at least. Parts end where lists end
    #[arg(long, value_name = "N", default_value = "10000000", requires = "cluster")]
    shard_rows: NonZeroU64,

    /// Mine in these rows of the run only, counted from 0. They must begin and end with whole lists
    #[arg(long, value_name = "FROM..TO", value_parser = command::row_range, conflicts_with = "report")]
    rows: Option<Range<u64>>,

    #[command(flatten)]
    report: ReportArgs,

    #[command(flatten)]
    common: Common,
}

fn main() -> ExitCode {
    command::main(|args: &Args| &args.common, run)
}

fn run(args: Args, report: &mut Report) -> anyhow::Result<()> {
    let rules = args.rules.rules(args.top_k as usize, args.exclude_self);
    if rules.filter_by == FilterBy::Teacher && args.teacher.is_none() {
        command::wrong_usage::<Args>("--filter-by teacher needs the scores of --teacher RUN".to_owned());
    }
    let about = &args.report;
    let optional = [&args.teacher, &args.rules.positives, &about.compare, &about.texts, &about.query_texts];
    let inputs: Vec<&Input> = [&args.run, &args.qrels].into_iter().chain(optional.into_iter().flatten()).collect();
    command::check_inputs::<Args>(&inputs);
    args.output.check_differs(&inputs)?;
    if let Some(output) = &about.report {
        output.check_differs(&inputs)?;
        if is_same_output(output.path(), args.output.path()) {
            let text = "the negatives and the report would go to the same place";
            return Err(Error::new(output, text).hint("give --report a file of its own").into());
        }
    }
    if let Some(cluster) = &args.cluster {
        return shards::mine(cluster, &args, report);
    }
    let open = |input: &Input, kinds: &[Kind]| Table::open_with_ids(input, kinds, args.foreign.ids);
    let mut qrels = open(&args.qrels, &[Kind::Qrels])?;
    let run = Table::open_rows_with_ids(&args.run, &[Kind::Run], args.foreign.ids, args.rows.clone())?;
    let (name, qrels_name, judged) = (run.name().to_owned(), qrels.name().to_owned(), qrels.provenance().clone());
    let ids = run.ids();
    check_same_ids(&name, ids, &qrels_name, qrels.ids())?;
    check_same_split(&name, run.provenance(), &qrels_name, &judged)?;
    check_has_scores(&run, &rules, about.report.is_some())?;

    let mut provenance = run.provenance().clone();
    if let Sample::Random(seed) = rules.sample {
        provenance.set(SEED, seed);
    }
    let create = |output: &Output, kind, schema| Writer::create(output, kind, schema, provenance.clone());
    let schema = if args.teacher.is_some() { schema::taught_negatives(ids) } else { schema::negatives(ids) };
    let mut writer = create(&args.output.clone().sharded(Sharding::Whole), Kind::Negatives, schema)?;
    let report_writer = about.report.as_ref();
    let report_writer = report_writer.map(|output| create(output, Kind::MiningReport, schema::mining_report(ids)));
    let mut report_writer = report_writer.transpose()?;

    let mut miner = Miner::new(&mut qrels, &name, rules.clone())?;
    let (mut notes, mut positives_from) = (Vec::new(), None);
    // Takes in lists beside those that are mined, of the same queries and documents; tells where they came from.
    let mut take_in = |mut table: Table, take: &mut dyn FnMut(&mut Table) -> Result<()>| {
        check_same_ids(table.name(), table.ids(), &qrels_name, ids)?;
        take(&mut table)?;
        check_same_split(table.name(), table.provenance(), &qrels_name, &judged)?;
        notes.extend(table.notes());
        Ok::<_, Error>((table.name().to_owned(), table.provenance().clone()))
    };
    if let Some(positives) = &args.rules.positives {
        let table = open(positives, &[Kind::Run])?.without_ranks();
        let (positives, from) = take_in(table, &mut |table| miner.read_positives(table))?;
        check_same_model((&positives, &from), (&name, run.provenance()))?;
        positives_from = Some((positives, from));
    }
    if let Some(teacher) = &args.teacher {
        take_in(open(teacher, &[Kind::Run])?.without_ranks(), &mut |table| miner.read_teacher(table))?;
    }
    if about.report.is_some() {
        miner.keep_report();
    }
    if let Some(compare) = &about.compare {
        take_in(open(compare, &[Kind::Negatives])?, &mut |table| miner.read_earlier(table))?;
    }
    let texts = Texts::open(about)?;
    texts.hear(&mut miner, &name, run.provenance())?;

    report.progress(None, "rows");
    let run = read_ahead(run, 2, |batch| {
        if let Some(negatives) = miner.negatives(&batch)? {
            writer.write(&negatives)?;
        }
        report.add(batch.num_rows() as u64);
        Ok(())
    })?;
    if let Some(negatives) = miner.rest()? {
        writer.write(&negatives)?;
    }
    // A stream says where it comes from only at its end.
    check_same_split(&name, run.provenance(), &qrels_name, &judged)?;
    if let Some((positives, from)) = &positives_from {
        check_same_model((positives, from), (&name, run.provenance()))?;
    }
    if args.exclude_self {
        check_self(&name, ids, run.provenance())?;
    }
    let (summary, mined) = miner.finish();
    if args.rows.is_none() {
        summary.check_judged(&name, &qrels_name)?;
    }
    say(&summary, &rules, report);
    qrels.notes().into_iter().chain(run.notes()).chain(notes).chain(writer.notes()).for_each(|note| report.note(note));
    if let (Some(report_writer), Some(mined)) = (&mut report_writer, mined) {
        texts.write_report(mined, report_writer, &name, run.provenance(), report)?;
    }
    writer.provenance_mut().merge(run.provenance());
    writer.finish()?;
    // The negatives come first, so that there is no report of negatives that could not be written.
    report_writer.map(Writer::finish).transpose()?;
    Ok(())
}

/// Says in the closing line how mining went.
fn say(summary: &Summary, rules: &Rules, report: &mut Report) {
    if summary.short > 0 {
        report.note(format!(
            "{} of {} queries have fewer than {} negatives",
            summary.short, summary.queries, rules.top_k
        ));
    }
    if summary.unjudged > 0 {
        report.note(format!("{} queries are not judged", summary.unjudged));
    }
    if rules.exclude_self {
        report.note(format!("{} queries left out of their own lists", summary.dropped.by(Reason::Itself)));
    }
    for (reason, what) in [
        (Reason::Judged, "were judged irrelevant"),
        (Reason::AbsoluteMargin, "are within the absolute margin"),
        (Reason::RelativeMargin, "are within the relative margin"),
        (Reason::MaxScore, "score above --max-score"),
        (Reason::MinScore, "score below --min-score"),
    ] {
        if let count @ 1.. = summary.dropped.by(reason) {
            report.note(format!("{count} documents left out that {what}"));
        }
    }
    if summary.twins > 0 {
        report.note(format!(
            "{} negatives have exactly the score of a relevant document, which suggests the same text under another id",
            summary.twins
        ));
    }
}

/// Refuses rules about scores, and a report of them, where the run has none.
fn check_has_scores(run: &Table, rules: &Rules, has_report: bool) -> Result<()> {
    let by_run = rules.ask_for_scores() && rules.filter_by == FilterBy::Run;
    if run.has_scores() || !(by_run || has_report) {
        return Ok(());
    }
    let what = if by_run { "margins and bounds" } else { "a report" };
    let hint = "write the run as TREC, Parquet or Arrow; or score its pairs anew with rank --pairs";
    Err(Error::new(run.name(), format!("has no scores, and {what} need them")).hint(hint))
}

fn check_same_ids(name: &str, ids: IdSpace, qrels: &str, of_qrels: IdSpace) -> Result<()> {
    if ids == of_qrels {
        return Ok(());
    }
    let hint = "remap-ids makes them the same; or --ids internal, if integers of another program are row numbers";
    Err(Error::new(name, format!("its ids are {ids}, those of {qrels} are {of_qrels}")).hint(hint))
}

fn check_same_split(run: &str, of_run: &Provenance, qrels: &str, of_qrels: &Provenance) -> Result<()> {
    check_same_space((QUERIES, run, of_run), (QUERIES, qrels, of_qrels))?;
    check_same_space((DOCS, run, of_run), (DOCS, qrels, of_qrels))
}

/// Refuses scores of relevant documents by another model than that of the run: a margin between them means nothing.
fn check_same_model((name, provenance): (&str, &Provenance), (run, of_run): (&str, &Provenance)) -> Result<()> {
    check_same_split(name, provenance, run, of_run)?;
    for model in [MODEL, DOCUMENT_MODEL] {
        if let (Some(one), Some(other)) = (provenance.get(model), of_run.get(model))
            && one != other
        {
            let text = format!("its scores are not by the model that made {run}");
            return Err(Error::new(name, text).hint("score the relevant documents with the same model: rank --pairs"));
        }
    }
    Ok(())
}
