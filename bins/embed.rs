//! Encodes tokenized texts into vectors.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use arrow::datatypes::DataType;
use clap::{Parser, ValueEnum};
use hardmine_command::{self as command, Common, Report};
use hardmine_encoder::{
    DeviceChoice, Embedding, Encoder, Network, Pooling, Precision, Similarity, Truncation, default_batch_tokens,
    digest, prepare_process,
};
use hardmine_files::{Input, Output, Table, Writer};
use hardmine_records::{Error, Kind, Provenance, provenance, schema};
use hardmine_text::{FolderSettings, Tokenizer};

/// Encodes tokenized texts into vectors
///
/// The output has a vector for each text, in the order of the input. Texts are encoded as they come in:
/// the collection never has to fit into memory.
#[derive(Parser)]
#[command(
    version,
    after_help = "Example: tokenize --tokenizer model collection.tsv | embed --model model -o docs.arrow"
)]
pub(crate) struct Args {
    /// File with the tokens, as tokenize writes them. Without it, or with -, they are read from standard input
    #[arg(default_value = "-", hide_default_value = true)]
    tokens: Input,

    /// File to write the embeddings to: .arrow (best for rank and train), .parquet or .arrows. Without this option, or
    /// with -, the embeddings go to standard output
    #[arg(short, long, default_value = "-", hide_default_value = true, value_parser = command::output())]
    output: Output,

    /// Model folder: one that train wrote, a RobertaDot, one in the layout of sentence-transformers, or a plain language
    /// model. The transformer may be a BERT, RoBERTa, XLM-R, CamemBERT, DistilBERT, MPNet, ModernBERT, Nomic-BERT, Qwen3
    /// or Gemma 3
    #[arg(long, value_name = "DIR")]
    model: PathBuf,

    /// Model folder of the encoder whose document vectors these queries will search. Only ADORE query encoders that
    /// train did not write need this, because their folder does not name the other encoder
    #[arg(long, value_name = "DIR")]
    document_model: Option<PathBuf>,

    /// Most token ids to encode of a text. A longer text keeps its first ids and the special tokens at its end. The
    /// default is the max_seq_length of a sentence-transformers folder, and otherwise the number of positions that the
    /// model has
    #[arg(long, value_name = "IDS", value_parser = clap::value_parser!(u32).range(2..))]
    max_length: Option<u32>,

    /// How a plain language model makes one vector of the hidden states of a text: cls, max, mean (the default),
    /// mean_sqrt_len_tokens, weightedmean or lasttoken, as in sentence-transformers. Several with commas between them
    /// give vectors side by side. Other folders say it themselves, and this option must agree with them
    #[arg(long, value_name = "MODES")]
    pooling: Option<Pooling>,

    /// How many of the first numbers of each vector to keep, for models that were trained for it (Matryoshka). Vectors
    /// of length 1 are brought back to length 1. The default is the folder's truncate_dim, and otherwise all of them
    #[arg(long, value_name = "D", value_parser = clap::value_parser!(u32).range(1..))]
    dimensions: Option<u32>,

    /// Device to compute on: cpu, cuda or cuda:N. auto takes the first GPU if there is one, otherwise the CPU
    #[arg(long, default_value_t)]
    device: DeviceChoice,

    /// Number type of the matrix products. f32 is exact. bf16 is faster on processors that support it, and changes
    /// scores in the third digit. f16 is for GPUs
    #[arg(long, default_value_t)]
    precision: Precision,

    /// Number type of the vectors that are written. f16 halves the file
    #[arg(long, value_enum, default_value = "f32")]
    output_type: OutputType,

    /// How many token ids are encoded at once. The default is 2,048 on a CPU and 65,536 on a GPU. A smaller number
    /// takes less memory
    #[arg(long, value_name = "IDS", value_parser = clap::value_parser!(u32).range(1..))]
    batch_tokens: Option<u32>,

    #[command(flatten)]
    common: Common,
}

#[derive(Clone, Copy, ValueEnum)]
enum OutputType {
    F32,
    F16,
}

fn main() -> ExitCode {
    command::main(|args: &Args| &args.common, run)
}

fn run(args: Args, report: &mut Report) -> anyhow::Result<()> {
    args.output.check_differs(&[&args.tokens])?;
    let mut tokens = Table::open(&args.tokens, &[Kind::Tokens])?;
    let settings = FolderSettings::read(&args.model)?;
    check_tokenizer(&tokens, &args.model, &settings)?;
    prepare_process();
    let encoder =
        Encoder::load_pooled(&args.model, args.device.open()?, args.precision, args.pooling.clone())?.for_inference();
    settings.warn_of_vectors(encoder.similarity() == Similarity::Cosine);
    let whole = encoder.dimension();
    let encoder = match args.dimensions.map(|dimensions| dimensions as usize).or(settings.dimensions()) {
        Some(dimensions) => encoder.cut_to(dimensions)?,
        None => encoder,
    };
    let max_length = max_length(&args, &encoder, &settings)?;
    let truncation = Truncation::new(max_length, tokens.provenance())?;
    let float = match args.output_type {
        OutputType::F32 => DataType::Float32,
        OutputType::F16 => DataType::Float16,
    };

    let mut about = Provenance::default();
    about.set(provenance::MODEL, encoder.digest());
    let document_model = args.document_model.as_deref().map(digest).transpose()?;
    about.set_some(provenance::DOCUMENT_MODEL, document_model.as_deref().or(encoder.document_model()));
    about.set(provenance::PRECISION, args.precision);
    about.set_some(provenance::DIMENSIONS, (encoder.dimension() < whole).then_some(encoder.dimension()));
    for name in [provenance::KEYS, provenance::TOKENIZER, provenance::COMPAT, provenance::TEXT_KIND] {
        about.set_some(name, tokens.provenance().get(name));
    }
    let stored = tokens.provenance().get(provenance::MAX_LENGTH).and_then(|length| length.parse().ok());
    about.set(provenance::MAX_LENGTH, stored.unwrap_or(max_length).min(max_length));
    let schema = schema::embeddings(float.clone(), encoder.dimension());
    let mut writer = Writer::create(&args.output, Kind::Embeddings, schema, about)?;

    report.progress(None, "texts");
    let place = tokens.name().to_owned();
    let batch_tokens = args.batch_tokens.map_or(default_batch_tokens(encoder.device()), |tokens| tokens as usize);
    let embedding = Embedding { encoder: &encoder, truncation, batch_tokens, float, place: &place };
    let embedded = embedding.run(tokens.by_ref(), |records| writer.write(&records), |texts| report.add(texts))?;

    let known = tokens.provenance().get(provenance::KEYS).map(str::to_owned);
    writer.provenance_mut().set(provenance::KEYS, known.unwrap_or(embedded.keys.to_string()));
    writer.finish()?;
    if embedded.cut > 0 {
        report.note(format!("{} of {} texts cut to {max_length} tokens", embedded.cut, embedded.texts));
    }
    Ok(())
}

/// Refuses tokens of another tokenizer than the model's, where both are known.
fn check_tokenizer(tokens: &Table, model: &Path, settings: &FolderSettings) -> Result<(), Error> {
    let about = tokens.provenance();
    let (Some(theirs), None) = (about.get(provenance::TOKENIZER), about.get(provenance::COMPAT)) else { return Ok(()) };
    match Tokenizer::open(model, settings).and_then(|tokenizer| tokenizer.digest()) {
        // What is no folder is told of when the model is loaded.
        Ok(ours) if ours != theirs && model.is_dir() => {
            let text = format!("made with tokenizer {theirs}, but that of {} is {ours}", model.display());
            Err(Error::new(tokens.name(), text).hint(format!("tokenize --tokenizer {}", model.display())))
        }
        _ => Ok(()),
    }
}

fn max_length(args: &Args, encoder: &Network, settings: &FolderSettings) -> Result<usize, Error> {
    let most = encoder.max_positions();
    match args.max_length.map(|length| length as usize) {
        Some(length) if length > most => Err(Error::new(
            format!("--max-length {length}"),
            format!("the model has positions for {most} token ids only"),
        )),
        length => Ok(length.or(settings.max_length()).unwrap_or(most).min(most)),
    }
}
