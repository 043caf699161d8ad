//! `remap-ids`: runs, negatives and qrels from official ids to row numbers of tokens files, or back.

use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use hardmine_records::command::{self, Common, Report};
use hardmine_records::provenance::{DOCS, KEYS, QUERIES};
use hardmine_records::{Error, IdSpace, Input, Kind, MappedTokens, Output, Remap, Table, Writer, read_ahead};

/// Turn the ids of a run, of negatives or of qrels into row numbers of tokens files, or back
#[derive(Parser)]
#[command(
    version,
    after_help = "\
Example:
  remap-ids --queries queries.tokens.arrow --docs docs.tokens.arrow --to internal \\
    qrels.tsv -o qrels.parquet"
)]
struct Args {
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
    to: Space,

    /// Where to write: .parquet, .arrow, .arrows, .tsv (MS MARCO) or .trec/.txt; - is standard output
    #[arg(short, long, default_value = "-")]
    output: Output,

    #[command(flatten)]
    common: Common,
}

#[derive(Clone, Copy, ValueEnum)]
enum Space {
    /// Row numbers of the tokens files
    Internal,
    /// Ids of the collection
    Official,
}

fn main() -> ExitCode {
    command::main(|args: &Args| &args.common, run)
}

fn run(args: Args, report: &mut Report) -> anyhow::Result<()> {
    args.output.check_differs(&[&args.input, &args.queries, &args.docs])?;
    let to = match args.to {
        Space::Internal => IdSpace::Internal,
        Space::Official => IdSpace::Official,
    };
    let table = Table::open(&args.input, &[Kind::Run, Kind::Qrels, Kind::Negatives])?;
    if table.ids() == to {
        let text = format!("its ids are {to} already");
        return Err(Error::new(table.name(), text).hint("nothing to do, or the other direction is meant").into());
    }
    let (queries, docs) = (MappedTokens::open(&args.queries)?, MappedTokens::open(&args.docs)?);
    let mut remap = Remap::new(&queries, &docs, to)?;
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
    writer.provenance_mut().merge(table.provenance());
    writer.provenance_mut().set_some(QUERIES, queries.provenance().get(KEYS));
    writer.provenance_mut().set_some(DOCS, docs.provenance().get(KEYS));
    writer.finish()?;
    Ok(())
}
