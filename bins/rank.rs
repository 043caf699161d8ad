//! Ranks documents for queries.

#[path = "rank/lexical.rs"]
mod lexical;
#[path = "rank/shards.rs"]
mod shards;

use std::num::NonZero;
use std::process::ExitCode;

use clap::Parser;
use hardmine_command::{self as command, Common, ForeignIds, Report};
use hardmine_encoder::{DeviceChoice, prepare_process};
use hardmine_files::{Input, Output, Sharding, Table, Writer};
use hardmine_records::{Error, IdSpace, Kind, Provenance, schema};
use hardmine_search::lexical::LexicalIndex;
use hardmine_search::{PairScorer, RankSettings, Ranker};
use hardmine_units::Cluster;

use self::lexical::LexicalArgs;

/// Ranks documents for queries, by inner product of vectors or by BM25
///
/// The run has the best documents of each query, by descending score; equal scores are ordered by id.
///
/// Vectors of queries are searched among the vectors of documents, by inner product. The run's ids are row numbers
/// (internal ids); remap-ids turns them into the collection's own.
///
/// Texts of queries are searched in a lexical index, by BM25: MS MARCO's TSV, BEIR's JSONL or Parquet, packed or not. A
/// list has the documents that share a word with the query, and no others. The run's ids are the collection's own, unless
/// --queries and --docs name tokens files. No model is needed.
#[derive(Parser)]
#[command(
    version,
    after_help = "\
Examples:
  embed --model model queries.tokens.arrow | rank --index docs.arrow --top-k 100 -o run.parquet

  rank --index docs.arrow --pairs qrels.parquet queries.arrow -o positives.parquet

  rank --index opq96.faiss --rerank docs.arrow --top-k 200 queries.arrow -o reranked.parquet

  rank --index docs.lexical --top-k 100 queries.tsv -o bm25.parquet"
)]
pub(crate) struct Args {
    /// File with the embeddings of queries, as embed writes them; for a lexical index, file with their texts. Without
    /// it, or with -, they are read from standard input
    #[arg(default_value = "-", hide_default_value = true)]
    queries: Input,

    /// What to search: embeddings, which are searched exactly and without an index (.arrow is read fastest); an index
    /// that `index` or faiss wrote, whose codes stay in the file if they are of product quantization; or the folder of a
    /// lexical index, as index --lexical writes it
    #[arg(long, value_name = "FILE")]
    index: Input,

    /// File to write the run to: .parquet, .arrow, .arrows, .tsv (MS MARCO) or .trec. Without this option, or with -,
    /// the run goes to standard output
    #[arg(short, long, value_name = "FILE", default_value = "-", hide_default_value = true, value_parser = command::output())]
    output: Output,

    /// How many documents to keep for each query: 1000 for evaluation, 200 plus a margin for mining negatives. A
    /// smaller collection gives shorter lists
    #[arg(long, value_name = "K", default_value = "1000")]
    top_k: NonZero<u16>,

    /// Score the pairs of query and document in this file instead of searching: qrels, a run or negatives, whose ids are
    /// row numbers. The scores are those that a search gives the same pairs, to the last bit. --index must then be
    /// embeddings. The pairs are held in memory
    #[arg(long, value_name = "FILE", conflicts_with_all = ["top_k", "exclude_self", "rerank", "search_parameters"])]
    pairs: Option<Input>,

    /// Score the documents of each list again by these embeddings, which are of all documents, and order the list by
    /// that: for an index whose scores are approximate. Of an .arrow file, only the vectors of documents in lists are
    /// read; a file of another form is copied to a temporary one first
    #[arg(long, value_name = "EMBEDDINGS")]
    rerank: Option<Input>,

    #[command(flatten)]
    foreign: ForeignIds,

    /// Leave each text out of its own list, for collections whose documents are the queries. Embeddings of queries and
    /// documents must be of the same tokens file. If only some documents are queries, use --exclude-self of score or
    /// mine-negatives, which compare official ids, as this option does with a lexical index
    #[arg(long)]
    exclude_self: bool,

    /// Accept queries whose prompt is not the one that the documents' encoder asks for
    #[arg(long)]
    other_prompt: bool,

    /// Device for exact search: cpu, cuda or cuda:N. auto takes the first GPU if there is one. The device does not
    /// change the run. A faiss index is searched on the GPU only if faiss was built for it
    #[arg(long, default_value_t)]
    device: DeviceChoice,

    /// Memory for vectors and ranked lists, in MiB. An index that faiss searches, and about 250 MiB for libtorch, come on
    /// top. With less memory the queries are split into more parts, and the documents are read once for each part. The
    /// run stays the same
    #[arg(long, value_name = "MIB", default_value = "1024", value_parser = clap::value_parser!(u32).range(16..))]
    memory: u32,

    /// Search parameters of a faiss index, under faiss's names and separated by commas. nprobe=16 searches 16 lists of
    /// an IVF index (the default is 1); efSearch=64 looks at more of an HNSW index. Higher values are slower and find
    /// more
    #[arg(long, value_name = "NAME=VALUE,…")]
    search_parameters: Option<String>,

    /// Divide the documents among the workers of the scheduler at df://HOST:PORT (see worker --help), who must see the
    /// same folders under the same paths; or search them on this machine shard by shard, with here. Each shard of the
    /// documents is searched by a command of its own, so that a run that was cut off goes on where it was when it is
    /// started again. The documents must be embeddings. The run has the same bytes
    #[arg(long, value_name = "ADDRESS", conflicts_with_all = ["pairs", "rerank", "search_parameters", "exclude_self"])]
    cluster: Option<Cluster>,

    #[command(flatten)]
    lexical: LexicalArgs,

    #[command(flatten)]
    common: Common,
}

fn main() -> ExitCode {
    command::main(|args: &Args| &args.common, run)
}

fn run(args: Args, report: &mut Report) -> anyhow::Result<()> {
    let options = args.pairs.iter().chain(&args.rerank).chain(args.lexical.inputs());
    let inputs: Vec<&Input> = [&args.queries, &args.index].into_iter().chain(options).collect();
    command::check_inputs::<Args>(&inputs);
    args.output.check_differs(&inputs)?;
    if let Some(cluster) = &args.cluster {
        return shards::rank(cluster, &args, report);
    }
    if args.index.path().is_dir() && !args.index.is_dataset() {
        check_for_vectors(&args)?;
        let index = LexicalIndex::open(args.index.path())?;
        let lists = (usize::from(args.top_k.get()), args.exclude_self);
        return lexical::run(index, &args.queries, &args.output, lists, args.lexical, report);
    }
    args.lexical.check_absent(&args.index)?;
    match &args.pairs {
        Some(pairs) => score_pairs(&args, pairs, report),
        None if args.foreign.ids.is_some() => command::wrong_usage::<Args>("--ids says what --pairs holds".to_owned()),
        None => search(args, report),
    }
}

/// Scores what --pairs names.
fn score_pairs(args: &Args, pairs: &Input, report: &mut Report) -> anyhow::Result<()> {
    let kinds = [Kind::Qrels, Kind::Run, Kind::Negatives];
    let mut pairs = Table::open_with_ids(pairs, &kinds, args.foreign.ids)?.without_ranks();
    let memory = (args.memory as usize) << 20;
    let scorer = PairScorer::open(&mut pairs, &args.queries, &args.index, args.other_prompt, memory)?;
    let mut writer = Writer::create(&args.output, Kind::Run, schema::run(IdSpace::Internal), Provenance::default())?;
    report.progress(None, "pairs");
    let scored = scorer.run(|batch| {
        report.add(batch.num_rows() as u64);
        writer.write(batch)
    })?;
    if scored.unpaired > 0 {
        report.note(format!("{} queries have no pair", scored.unpaired));
    }
    pairs.notes().into_iter().chain(writer.notes()).for_each(|note| report.note(note));
    writer.provenance_mut().merge(&scored.provenance);
    writer.finish()?;
    Ok(())
}

fn search(args: Args, report: &mut Report) -> anyhow::Result<()> {
    let top_k = usize::from(args.top_k.get());
    let memory = (args.memory as usize) << 20;
    prepare_process();
    let (exclude_self, other_prompt) = (args.exclude_self, args.other_prompt);
    let (device, parameters) = (args.device.open()?, args.search_parameters);
    let settings = RankSettings { top_k, exclude_self, other_prompt, device, memory, parameters };
    // SAFETY: no other thread is at work yet. One waits for signals, and those that libraries started wait for work.
    let ranker = unsafe { Ranker::open(&args.queries, &args.index, args.rerank.as_ref(), settings)? };
    let run = schema::run(IdSpace::Internal);
    let output = args.output.sharded(Sharding::Whole);
    let mut writer = Writer::create(&output, Kind::Run, run, Provenance::default())?;
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

/// Refuses options of vectors where the index is lexical.
fn check_for_vectors(args: &Args) -> Result<(), Error> {
    let given = match args {
        Args { pairs: Some(_), .. } => "--pairs",
        Args { rerank: Some(_), .. } => "--rerank",
        Args { search_parameters: Some(_), .. } => "--search-parameters",
        Args { other_prompt: true, .. } => "--other-prompt",
        _ => return Ok(()),
    };
    let text = format!("is for vectors, and {} is a lexical index, which is searched with texts", args.index);
    Err(Error::new(given, text).hint("leave it out"))
}
