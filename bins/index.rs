//! Builds an index: a faiss index from embeddings or codes, or a lexical index from texts; and says what an index of codes
//! holds.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use hardmine_command::{self as command, Common, Report, TextColumns};
// Also full speed for faiss's products, which are libtorch's.
use hardmine_encoder::{DeviceChoice, Encoder, Precision};
use hardmine_files::{Input, Output, OutputFile};
use hardmine_quantization::PqIndex;
use hardmine_records::{Error, Provenance, provenance};
use hardmine_search::lexical::{Bm25, LexicalBuilder};
use hardmine_search::{FaissIndex, add_lists, create_index};
use hardmine_text::{Columns, Corpus, Text, TextKind};

/// Builds an index: a faiss index from embeddings or codes, or a lexical index from texts
///
/// From embeddings it builds a faiss index, by inner product. rank can search it, and so can every program that uses
/// faiss, because faiss.read_index opens it. Exact search needs no index: give rank the embeddings themselves, which is
/// as fast and takes less memory.
///
/// An index of product quantization, such as OPQ48,IVF1,PQ48x8, keeps a code of each vector instead of the vector: here 48
/// bytes. train jpq makes it better, and rank searches it with all cores. With --centroids it is built from codes that
/// embed --codes has made. --add-lists gives it inverted lists, and --inspect says what it holds.
///
/// With --lexical it builds an inverted index from the texts of a collection, which rank searches by BM25. The collection
/// is read as tokenize reads it: MS MARCO's TSV, BEIR's JSONL or Parquet, packed or not. Words are runs of letters and
/// digits, in lower case, without 33 English stop words, and stemmed by the English stemmer of Snowball. The index is a
/// folder. The tokens of the documents are not needed, and no model is.
#[derive(Parser)]
#[command(
    version,
    after_help = "\
Examples:
  index docs.arrow --factory IVF256,Flat -o docs.faiss
  index docs.arrow --factory OPQ48,IVF1,PQ48x8np -o docs.opq.faiss
  index --inspect docs.opq.faiss
  index --lexical collection.tsv -o docs.lexical"
)]
pub(crate) struct Args {
    /// File with the embeddings, as embed writes them; with --lexical, file with the texts; with --centroids, file with
    /// the codes; with --add-lists and --inspect, file with the index. Without it, or with -, it is read from standard
    /// input
    #[arg(default_value = "-", hide_default_value = true)]
    input: Input,

    /// File to write the index to. Without this option, or with -, a faiss index goes to standard output. A lexical index
    /// is a folder, and needs this option
    #[arg(short, long, value_name = "FILE", default_value = "-", hide_default_value = true)]
    output: PathBuf,

    /// Kind of index, as a factory string of faiss. Flat keeps all vectors and is exact. HNSW32 is fast and takes half
    /// as much memory again; when it is built on several cores it differs a little from run to run, which
    /// OMP_NUM_THREADS=1 prevents. IVFn,Flat splits the vectors into n lists and searches some of them; n should be
    /// about 8 times the square root of the number of vectors. OPQm,IVF1,PQmx8 turns the vectors by a rotation, cuts them
    /// into m parts, and keeps of each part the number of the nearest of 256 centroids, which is a byte; m must divide the
    /// dimension, and there must be 256 vectors. Written as PQmx8np it leaves out a renumbering of the centroids that no
    /// search depends on and that takes 1.6 seconds for each of the m parts. All draws have the seed 1234, so the same
    /// vectors give the same index where faiss has the same number of threads, which OMP_NUM_THREADS sets
    #[arg(long, value_name = "STRING", default_value = "Flat")]
    factory: String,

    /// How many vectors to train the index or its lists on, for kinds that need training. They are drawn at random and
    /// held in memory. The default is 65,536, or 39 for each inverted list if that is more
    #[arg(long, value_name = "ROWS", value_parser = clap::value_parser!(u32).range(1..))]
    train_rows: Option<u32>,

    /// Build the index of codes, as embed --codes writes them, with the centroids of this tower, a model folder that train
    /// jpq or train repconc has written. Queries are then embedded with a tower, too
    #[arg(long, value_name = "TOWER", conflicts_with_all = ["factory", "train_rows"])]
    centroids: Option<PathBuf>,

    /// Put the documents of an index of codes into this many inverted lists, so that rank --search-parameters nprobe=n
    /// searches the n best of them. Codes, centroids and scores stay as they are. Lists are made by k-means of the decoded
    /// vectors
    #[arg(long, value_name = "LISTS", value_parser = clap::value_parser!(u32).range(1..), conflicts_with_all = ["factory", "centroids"])]
    add_lists: Option<u32>,

    /// Say what an index of codes holds. With --output, its codes are written there instead, as records that sql reads
    #[arg(long, conflicts_with_all = ["factory", "train_rows", "centroids", "add_lists"])]
    inspect: bool,

    /// Build a lexical index from texts, for BM25
    #[arg(long, conflicts_with_all = ["factory", "train_rows", "centroids", "add_lists", "inspect"])]
    lexical: bool,

    /// BM25's k1: how much more a word counts that a text repeats. With 0 it counts once
    #[arg(long, value_name = "NUMBER", default_value = "0.9", requires = "lexical", value_parser = between(0.0, f64::MAX))]
    k1: f64,

    /// BM25's b: how much less a word counts in a long text, from 0 (no less) to 1
    #[arg(long, value_name = "NUMBER", default_value = "0.4", requires = "lexical", value_parser = between(0.0, 1.0))]
    b: f64,

    /// What the texts of a lexical index are. This decides which columns a TSV file has, as in tokenize
    #[arg(long, default_value = "passage", requires = "lexical", value_parser = PossibleValuesParser::new(TextKind::NAMES).try_map(|kind| kind.parse::<TextKind>()))]
    kind: TextKind,

    #[command(flatten)]
    columns: TextColumns,

    #[command(flatten)]
    common: Common,
}

fn main() -> ExitCode {
    command::main(|args: &Args| &args.common, run)
}

fn run(args: Args, report: &mut Report) -> anyhow::Result<()> {
    if args.lexical {
        return index_texts(args, report);
    }
    if args.columns.id_column.is_some() || !args.columns.text_columns.is_empty() {
        command::wrong_usage::<Args>("--id-column and --text-column are for the texts of --lexical".to_owned());
    }
    if args.inspect {
        return inspect(&args, report);
    }
    let output = create_index(&args.output, &args.input)?;
    let train_rows = args.train_rows.map(|rows| rows as usize);
    if let Some(folder) = &args.centroids {
        report.progress(None, "codes");
        let place = folder.display().to_string();
        let encoder = Encoder::load(folder, DeviceChoice::Cpu.open()?, Precision::F32)?;
        let tower = encoder.tower().ok_or_else(|| {
            Error::new(&place, "is no tower: its weights have no rotation and no centroids")
                .hint("train jpq and train repconc write towers")
        })?;
        let codebook = tower.codebook.clone();
        let add = |added| report.add(added as u64);
        return Ok(PqIndex::of_codes(&args.input, &tower.rotation, codebook, &place, add)?.write(output)?);
    }
    if let Some(lists) = args.add_lists {
        let index = PqIndex::open(&args.input)?;
        report.progress(Some(index.len() as u64), "documents");
        let index = add_lists(index, lists, train_rows, |added| report.add(added as u64))?;
        return Ok(index.write(output)?);
    }
    report.progress(None, "vectors");
    let index = FaissIndex::build(&args.input, &args.factory, train_rows, |added| report.add(added as u64))?;
    index.write(output)?;
    Ok(())
}

/// Writes what an index of codes holds to standard output, or its codes to a file.
fn inspect(args: &Args, report: &mut Report) -> anyhow::Result<()> {
    let output = Output::parse(args.output.as_os_str());
    let output = output.unwrap_or_else(|text| command::wrong_usage::<Args>(format!("--output {text}")));
    let index = PqIndex::open(&args.input)?;
    if output != Output::Stdout {
        output.check_differs(&[&args.input])?;
        report.progress(Some(index.len() as u64), "codes");
        index.write_codes(&output, |written| report.add(written as u64))?;
        return Ok(());
    }
    let mut to = OutputFile::create(&args.output)?;
    for (name, text) in index.describe() {
        writeln!(to, "{name:<24}{text}").map_err(Error::io(to.place()))?;
    }
    report.add(index.len() as u64);
    Ok(to.commit()?)
}

fn index_texts(args: Args, report: &mut Report) -> anyhow::Result<()> {
    let builder = LexicalBuilder::create(&args.output, Bm25 { k1: args.k1, b: args.b })?;
    let columns = Columns { id: args.columns.id_column, text: args.columns.text_columns };
    let corpus = Corpus::open_columns(&args.input, args.kind, &columns)?;
    let documents = corpus.map(|text| text.map(|Text { key, fields }| (key, fields.joined().into_owned())));
    let mut about = Provenance::default();
    about.set(provenance::TEXT_KIND, args.kind);
    report.progress(None, "texts");
    let summary = builder.build(documents, about, |added| report.add(added))?;
    if summary.empty > 0 {
        report.note(format!("{} of {} texts have no word to look up", summary.empty, summary.documents));
    }
    Ok(())
}

/// A number in a range, its ends included.
fn between(least: f64, most: f64) -> impl Fn(&str) -> Result<f64, String> + Clone {
    move |text| {
        let number = text.parse::<f64>().ok().filter(|number| (least..=most).contains(number));
        number.ok_or_else(|| match most {
            f64::MAX => format!("expected a number from {least} on"),
            _ => format!("expected a number from {least} to {most}"),
        })
    }
}
