//! Builds a faiss index from embeddings.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
// Full speed for faiss's products, which are libtorch's.
use hardmine_encoder as _;
use hardmine_records::Input;
use hardmine_records::command::{self, Common, Report};
use hardmine_search::{FaissIndex, create_index};

/// Builds a faiss index from embeddings, by inner product
///
/// rank searches it, and so does anything else that uses faiss: faiss.read_index opens it. For exact search
/// no index is needed: give rank the embeddings themselves, which takes less memory and is as fast.
#[derive(Parser)]
#[command(version, after_help = "Example: index docs.arrow --factory IVF256,Flat -o docs.faiss")]
pub(crate) struct Args {
    /// Embeddings, as embed writes them; - or nothing for standard input
    #[arg(default_value = "-", hide_default_value = true)]
    embeddings: Input,

    /// Where the index goes; - or nothing for standard output
    #[arg(short, long, value_name = "FILE", default_value = "-", hide_default_value = true)]
    output: PathBuf,

    /// What kind of index, as faiss's index_factory takes it: Flat keeps all vectors and is exact; HNSW32 is
    /// fast and takes half as much again (built on several cores it differs a little from run to run;
    /// OMP_NUM_THREADS=1 makes it the same); IVFn,Flat searches a part of n lists, n about 8 times the square root
    /// of the number of vectors; IVFn,PQm keeps only m bytes a vector, where m divides the dimension
    #[arg(long, value_name = "STRING", default_value = "Flat")]
    factory: String,

    /// Vectors to train on, drawn at random, for kinds of index that need it; they are held in memory. If not
    /// given, 65,536, or 39 for each IVF list if that is more
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
