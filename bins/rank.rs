//! Ranks documents for queries.

use std::num::NonZero;
use std::process::ExitCode;

use clap::Parser;
use hardmine_encoder::DeviceChoice;
use hardmine_records::command::{self, Common, Report};
use hardmine_records::{IdSpace, Input, Kind, Output, Provenance, Writer, schema};
use hardmine_search::{Ranker, Settings};

/// Ranks documents for queries by inner product
///
/// The run has the best documents of each query, score descending, then id ascending. Its ids are internal:
/// remap-ids makes them official.
#[derive(Parser)]
#[command(
    version,
    after_help = "Example: embed --model M queries.tokens.arrow | rank --index docs.arrow --top-k 100 -o run.parquet"
)]
pub(crate) struct Args {
    /// Embeddings of queries, as embed writes them; - or nothing for standard input
    #[arg(default_value = "-", hide_default_value = true)]
    queries: Input,

    /// What to search: embeddings (exact search straight off the file; .arrow is read fastest), or an index that
    /// `index` or faiss wrote
    #[arg(long, value_name = "FILE")]
    index: Input,

    /// Where the run goes: .parquet, .arrow, .arrows, .tsv (MS MARCO) or .trec; - or nothing for standard output
    #[arg(short, long, value_name = "FILE", default_value = "-", hide_default_value = true)]
    output: Output,

    /// Documents for each query: 1000 for evaluation, 200 and a margin for mining negatives; all if there are fewer
    #[arg(long, value_name = "K", default_value = "1000")]
    top_k: NonZero<u16>,

    /// Leave each text out of its own list, where the queries are the documents: both must be embeddings of the same
    /// tokens. Where only some documents are queries, score and mine-negatives have --exclude-self for official ids
    #[arg(long)]
    exclude_self: bool,

    /// Where exact search multiplies: auto takes the first GPU if there is one; cpu, cuda or cuda:N. The run
    /// is the same. An index is searched there, too, if faiss was built for it
    #[arg(long, default_value_t)]
    device: DeviceChoice,

    /// Memory for vectors and ranked lists, in MiB (an index comes on top, and libtorch with some 250 MiB). With
    /// less, queries are searched for in more parts, each of which reads the documents again; the run is the same
    #[arg(long, value_name = "MIB", default_value = "1024", value_parser = clap::value_parser!(u32).range(16..))]
    memory: u32,

    /// Search parameters of an index, as faiss names them, separated by commas: nprobe=16 searches 16 lists of an
    /// IVF index (1 if not given), efSearch=64 looks further in an HNSW index. More is slower and finds more
    #[arg(long, value_name = "NAME=VALUE,…")]
    search_parameters: Option<String>,

    #[command(flatten)]
    common: Common,
}

fn main() -> ExitCode {
    command::main(|args: &Args| &args.common, run)
}

fn run(args: Args, report: &mut Report) -> anyhow::Result<()> {
    let inputs = [&args.queries, &args.index];
    command::check_inputs::<Args>(&inputs);
    args.output.check_differs(&inputs)?;
    let top_k = usize::from(args.top_k.get());
    let memory = (args.memory as usize) << 20;
    let (device, parameters, exclude_self) = (args.device.open()?, args.search_parameters, args.exclude_self);
    let settings = Settings { top_k, exclude_self, device, memory, parameters };
    let ranker = Ranker::open(&args.queries, &args.index, settings)?;
    let run = schema::run(IdSpace::Internal);
    let mut writer = Writer::create(&args.output, Kind::Run, run, Provenance::default())?;
    report.progress(None, "rows");
    let ranked = ranker.run(|batch| {
        report.add(batch.num_rows() as u64);
        writer.write(batch)
    })?;
    if ranked.documents < top_k + usize::from(exclude_self) {
        report.note(format!("lists are shorter than --top-k {top_k}: there are only {} documents", ranked.documents));
    } else if ranked.short > 0 {
        report.note(format!("{} queries with fewer than {top_k} documents; raise nprobe or efSearch", ranked.short));
    }
    writer.notes().into_iter().for_each(|note| report.note(note));
    writer.provenance_mut().merge(&ranked.provenance);
    writer.finish()?;
    Ok(())
}
