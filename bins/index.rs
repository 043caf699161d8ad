//! Builds a faiss index from embeddings.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
// Full speed for faiss's products, which are libtorch's.
use hardmine_command::{self as command, Common, Report};
use hardmine_encoder as _;
use hardmine_files::Input;
use hardmine_search::{FaissIndex, create_index};

/// Builds a faiss index from embeddings, by inner product
///
/// rank can search the index, and so can every program that uses faiss, because faiss.read_index opens it. Exact search
/// needs no index: give rank the embeddings themselves, which is as fast and takes less memory.
#[derive(Parser)]
#[command(version, after_help = "Example: index docs.arrow --factory IVF256,Flat -o docs.faiss")]
pub(crate) struct Args {
    /// File with the embeddings, as embed writes them. Without it, or with -, they are read from standard input
    #[arg(default_value = "-", hide_default_value = true)]
    embeddings: Input,

    /// File to write the index to. Without this option, or with -, the index goes to standard output
    #[arg(short, long, value_name = "FILE", default_value = "-", hide_default_value = true)]
    output: PathBuf,

    /// Kind of index, as a factory string of faiss. Flat keeps all vectors and is exact. HNSW32 is fast and takes half
    /// as much memory again; when it is built on several cores it differs a little from run to run, which
    /// OMP_NUM_THREADS=1 prevents. IVFn,Flat splits the vectors into n lists and searches some of them; n should be
    /// about 8 times the square root of the number of vectors. IVFn,PQm keeps m bytes of each vector, where m divides
    /// the dimension
    #[arg(long, value_name = "STRING", default_value = "Flat")]
    factory: String,

    /// How many vectors to train the index on, for kinds that need training. They are drawn at random and held in
    /// memory. The default is 65,536, or 39 for each IVF list if that is more
    #[arg(long, value_name = "ROWS", value_parser = clap::value_parser!(u32).range(1..))]
    train_rows: Option<u32>,

    #[command(flatten)]
    common: Common,
}

fn main() -> ExitCode {
    command::main(|args: &Args| &args.common, run)
}

fn run(args: Args, report: &mut Report) -> anyhow::Result<()> {
    let output = create_index(&args.output, &args.embeddings)?;
    report.progress(None, "vectors");
    let train_rows = args.train_rows.map(|rows| rows as usize);
    let index = FaissIndex::build(&args.embeddings, &args.factory, train_rows, |added| report.add(added as u64))?;
    index.write(output)?;
    Ok(())
}
