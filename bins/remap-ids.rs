//! `remap-ids`: runs, negatives and qrels from official ids to row numbers of tokens files, or back.

use std::process::ExitCode;

use clap::Parser;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use hardmine_command::{self as command, Common, ForeignIds, Report};
use hardmine_files::{Input, MappedTokens, Output, Remap, Table, Writer, read_ahead};
use hardmine_records::provenance::{DOCS, KEYS, QUERIES};
use hardmine_records::{Error, IdSpace, Kind};

/// Turns the ids of a run, of negatives or of qrels into row numbers of tokens files, or back
///
/// The form and kind of the input are recognized from its content (see --kind). Text has the columns of TREC or MS MARCO,
/// or a header that names its columns in any order, as BEIR's judgements have (query-id, corpus-id, score); below a
/// header, commas may separate the fields as well. Ranks that are missing or count from 0 are replaced by positions in
/// the list.
#[derive(Parser)]
#[command(
    version,
    after_help = "\
Example:
  remap-ids --queries queries.tokens.arrow --docs docs.tokens.arrow --to internal \\
    qrels.tsv -o qrels.parquet"
)]
pub(crate) struct Args {
    /// Run, negatives or qrels: Arrow, Parquet, TSV or TREC. With -, they are read from standard input
    #[arg(default_value = "-")]
    input: Input,

    /// Tokens of the queries, whose keys are the official query ids
    #[arg(long, value_name = "TOKENS")]
    queries: Input,

    /// Tokens of the documents, whose keys are the official document ids
    #[arg(long, value_name = "TOKENS")]
    docs: Input,

    /// Ids to write: internal ones for train and mine-negatives, official ones for score and for TREC's tools
    #[arg(long, value_name = "SPACE", value_parser = command::id_space())]
    to: IdSpace,

    /// What the input holds. This is needed only where the columns fit several kinds, as with text of four columns
    #[arg(long, value_parser = PossibleValuesParser::new(["run", "qrels", "negatives"]).try_map(|name| Kind::from_name(&name).ok_or("no such kind")))]
    kind: Option<Kind>,

    /// Leave out rows whose query or document is not in the tokens files. Their number is printed
    #[arg(long)]
    skip_unknown: bool,

    #[command(flatten)]
    foreign: ForeignIds,

    /// File to write the result to: .parquet, .arrow, .arrows, .tsv (MS MARCO) or .trec. With -, it goes to standard
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
    let inputs = [&args.input, &args.queries, &args.docs];
    command::check_inputs::<Args>(&inputs);
    args.output.check_differs(&inputs)?;
    let accepted = args.kind.map_or(vec![Kind::Run, Kind::Qrels, Kind::Negatives], |kind| vec![kind]);
    let table = Table::open_with_ids(&args.input, &accepted, args.foreign.ids)?;
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

    let mut writer =
        Writer::create(&args.output, kind, remap.schema(kind, &table.schema()), table.provenance().clone())?;
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
