//! `mine-negatives`: hard negatives from the run of the training queries.

use std::process::ExitCode;

use clap::Parser;
use hardmine_command::{self as command, Common, ForeignIds, Report};
use hardmine_files::{Input, Output, Table, Writer, read_ahead};
use hardmine_mining::{Miner, Rules};
use hardmine_records::provenance::{DOCS, QUERIES};
use hardmine_records::{Error, IdSpace, Kind, Provenance, Result, check_same_space, check_self, schema};

/// Takes each query's best-ranked documents that are not relevant to it, as its static hard negatives
#[derive(Parser)]
#[command(
    version,
    after_help = "\
Example:
  rank --index docs.arrow --top-k 250 train.arrow \\
  | mine-negatives --qrels qrels.train.parquet --top-k 200 -o negatives.parquet"
)]
pub(crate) struct Args {
    /// Run of the training queries, sorted by query and rank. With -, it is read from standard input
    #[arg(default_value = "-")]
    run: Input,

    /// Judgements of the same queries. Judgements of another split are refused
    #[arg(long)]
    qrels: Input,

    /// How many negatives to keep for each query. The run must be longer than this by the number of relevant documents
    /// that a query may have
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
    top_k: u32,

    /// Leave out the document that has the query's own id, for collections whose documents are the queries
    #[arg(long)]
    exclude_self: bool,

    /// Run of another ranker, with a score for every negative and for every relevant document. Its scores are put beside
    /// the negatives, for train star --loss marginmse and kl. It is held in memory
    #[arg(long, value_name = "RUN")]
    teacher: Option<Input>,

    #[command(flatten)]
    foreign: ForeignIds,

    /// File to write the negatives to: .parquet, .arrow, .arrows, .tsv (MS MARCO) or .trec. With -, they go to standard
    /// output
    #[arg(short, long, default_value = "-", value_parser = command::output())]
    output: Output,

    #[command(flatten)]
    common: Common,
}

fn main() -> ExitCode {
    command::main(|args: &Args| &args.common, run)
}

fn run(args: Args, report: &mut Report) -> anyhow::Result<()> {
    let inputs: Vec<&Input> = [&args.run, &args.qrels].into_iter().chain(&args.teacher).collect();
    command::check_inputs::<Args>(&inputs);
    args.output.check_differs(&inputs)?;
    let mut qrels = Table::open_with_ids(&args.qrels, &[Kind::Qrels], args.foreign.ids)?;
    let run = Table::open_with_ids(&args.run, &[Kind::Run], args.foreign.ids)?;
    let (name, qrels_name, judged) = (run.name().to_owned(), qrels.name().to_owned(), qrels.provenance().clone());
    let ids = run.ids();
    check_same_ids(&name, ids, &qrels_name, qrels.ids())?;
    check_same_split(&name, run.provenance(), &qrels_name, &judged)?;

    let rules = Rules { top_k: args.top_k as usize, exclude_self: args.exclude_self };
    let (mut miner, mut schema, mut teacher_notes) =
        (Miner::new(&mut qrels, rules)?, schema::negatives(ids), Vec::new());
    if let Some(teacher) = &args.teacher {
        let mut teacher = Table::open_with_ids(teacher, &[Kind::Run], args.foreign.ids)?.without_ranks();
        check_same_ids(teacher.name(), teacher.ids(), &qrels_name, ids)?;
        miner = miner.with_teacher(&mut teacher)?;
        check_same_split(teacher.name(), teacher.provenance(), &qrels_name, &judged)?;
        (schema, teacher_notes) = (schema::taught_negatives(ids), teacher.notes());
    }
    let mut writer = Writer::create(&args.output, Kind::Negatives, schema, run.provenance().clone())?;
    report.progress(None, "rows");
    let run = read_ahead(run, 2, |batch| {
        writer.write(&miner.negatives(&name, &batch)?)?;
        report.add(batch.num_rows() as u64);
        Ok(())
    })?;
    // A stream says where it comes from only at its end.
    check_same_split(&name, run.provenance(), &qrels_name, &judged)?;
    if args.exclude_self {
        check_self(&name, ids, run.provenance())?;
    }
    let summary = miner.finish(&name, &qrels_name)?;
    if summary.short > 0 {
        report
            .note(format!("{} of {} queries have fewer than {} negatives", summary.short, summary.queries, args.top_k));
    }
    if summary.unjudged > 0 {
        report.note(format!("{} queries are not judged", summary.unjudged));
    }
    if args.exclude_self {
        report.note(format!("{} queries left out of their own lists", summary.selves));
    }
    if summary.twins > 0 {
        report.note(format!(
            "{} negatives have exactly the score of a relevant document, which suggests the same text under another id",
            summary.twins
        ));
    }
    let notes = qrels.notes().into_iter().chain(run.notes()).chain(teacher_notes).chain(writer.notes());
    notes.for_each(|note| report.note(note));
    writer.provenance_mut().merge(run.provenance());
    writer.finish()?;
    Ok(())
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
