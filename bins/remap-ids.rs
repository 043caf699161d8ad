//! `remap-ids`: runs, negatives and qrels from official ids to row numbers of tokens files, or back.

use std::process::ExitCode;

use clap::Parser;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use hardmine_records::command::{self, Common, Report};
use hardmine_records::provenance::{DOCS, KEYS, QUERIES};
use hardmine_records::{
    Error, ForeignIds, IdSpace, Input, Kind, MappedTokens, Output, Remap, Table, Writer, read_ahead,
};

/// Turn the ids of a run, of negatives or of qrels into row numbers of tokens files, or back
///
/// Text may be of TREC's or MS MARCO's columns, or have a header that names its columns in any order, as BEIR's
/// judgements do (query-id, corpus-id, score); then fields may also be separated by commas. Which kind it is, is found
/// from its columns: see --kind. Ranks that are missing or count from 0 become positions.
#[derive(Parser)]
#[command(
    version,
    after_help = "\
Example:
  remap-ids --queries queries.tokens.arrow --docs docs.tokens.arrow --to internal \\
    qrels.tsv -o qrels.parquet"
)]
pub(crate) struct Args {
    /// Run, negatives or qrels: Arrow, Parquet, TSV or TREC; - is standard input
    #[arg(default_value = "-")]
    input: Input,

    /// Tokens of the queries, whose keys are the official query ids
    #[arg(long, value_name = "TOKENS")]
    queries: Input,

    /// Tokens of the documents, whose keys are the official document ids
    #[arg(long, value_name = "TOKENS")]
    docs: Input,

    /// internal: row numbers, as train and mine-negatives want; official: the collection's ids, as score and TREC want
    #[arg(long, value_enum, value_name = "SPACE")]
    to: IdSpace,

    /// What the input holds: run, qrels or negatives. Needed where its columns fit several of them, such as text of four
    /// columns; otherwise it is found from the content
    #[arg(long, value_parser = PossibleValuesParser::new(["run", "qrels", "negatives"]).try_map(|name| Kind::from_name(&name).ok_or("no such kind")))]
    kind: Option<Kind>,

    /// Leave out rows whose query or document is not among the tokens, and count them
    #[arg(long)]
    skip_unknown: bool,

    #[command(flatten)]
    foreign: ForeignIds,

    /// Where to write: .parquet, .arrow, .arrows, .tsv (MS MARCO) or .trec/.txt; - is standard output
    #[arg(short, long, default_value = "-")]
    output: Output,

    #[command(flatten)]
    common: Common,
}

fn main() -> ExitCode {
    command::main(|args: &Args| &args.common, run)
}

fn run(args: Args, report: &mut Report) -> anyhow::Result<()> {
    let inputs = [&args.input, &args.queries, &args.docs];
    command::check_inputs::<Args>(&inputs);
    args.output.check_differs(&inputs)?;
    let accepted = args.kind.map_or(vec![Kind::Run, Kind::Qrels, Kind::Negatives], |kind| vec![kind]);
    let table = Table::open_with_ids(&args.input, &accepted, args.foreign)?;
    let to = args.to;
    if table.ids() == to {
        let text = format!("its ids are {to} already");
        let hint = match table.notes().is_empty() {
            true => "nothing to do, or the other direction is meant",
            false => "its integers are taken for the collection's own ids; --ids internal if they are row numbers",
        };
        return Err(Error::new(table.name(), text).hint(hint).into());
    }
    let (queries, docs) = (MappedTokens::open(&args.queries)?, MappedTokens::open(&args.docs)?);
    let mut remap = Remap::new(&queries, &docs, to, args.skip_unknown)?;
    let (name, kind) = (table.name().to_owned(), table.kind());
    remap.check(&name, table.provenance())?;

    let mut writer = Writer::create(&args.output, kind, remap.schema(kind), table.provenance().clone())?;
    report.progress(None, "rows");
    let table = read_ahead(table, 2, |batch| {
        let batch = remap.apply(&name, kind, &batch)?;
        writer.write(&batch)?;
        report.add(batch.num_rows() as u64);
        Ok(())
    })?;
    // A stream says where it comes from only at its end.
    remap.check(&name, table.provenance())?;
    if let (skipped @ 1.., rows) = remap.skipped() {
        if skipped == rows {
            return Err(Error::new(name, format!("none of its {rows} rows has a known query and document")).into());
        }
        report.note(format!("{skipped} rows with an unknown query or document left out"));
    }
    table.notes().into_iter().chain(writer.notes()).for_each(|note| report.note(note));
    writer.provenance_mut().merge(table.provenance());
    writer.provenance_mut().set_some(QUERIES, queries.provenance().get(KEYS));
    writer.provenance_mut().set_some(DOCS, docs.provenance().get(KEYS));
    writer.finish()?;
    Ok(())
}
