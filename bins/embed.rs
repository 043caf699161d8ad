//! Encodes tokenized texts into vectors.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use arrow::datatypes::DataType;
use clap::{Parser, ValueEnum};
use hardmine_encoder::{
    DeviceChoice, Embedding, Encoder, Pooling, Precision, Truncation, default_batch_tokens, digest,
};
use hardmine_records::command::{self, Common, Report};
use hardmine_records::{Error, Input, Kind, Output, Provenance, Table, Writer, provenance, schema};
use hardmine_text::{FolderSettings, Tokenizer};

/// Encodes tokenized texts into vectors
///
/// The output has a vector for each text, in the order of the input. Texts are encoded as they come in:
/// the collection never has to fit into memory.
#[derive(Parser)]
#[command(version, after_help = "Example: tokenize --tokenizer M collection.tsv | embed --model M -o docs.arrow")]
pub(crate) struct Args {
    /// Tokens, as tokenize writes them; - or nothing for standard input
    #[arg(default_value = "-", hide_default_value = true)]
    tokens: Input,

    /// Where the embeddings go: .arrow (best for rank and train), .parquet, .arrows; - or nothing for
    /// standard output
    #[arg(short, long, default_value = "-", hide_default_value = true)]
    output: Output,

    /// Folder of the encoder: one that train wrote, a RobertaDot, a model in the layout of
    /// sentence-transformers, or a plain BERT or RoBERTa
    #[arg(long, value_name = "DIR")]
    model: PathBuf,

    /// Folder of the encoder whose document vectors will be searched, where that is not --model itself and --model
    /// doesn't say: for ADORE query encoders that train did not write
    #[arg(long, value_name = "DIR")]
    document_model: Option<PathBuf>,

    /// Most token ids of a text to encode; of a longer text the first are taken, and the special tokens at
    /// its end. If it is not given, this is the max_seq_length of a sentence-transformers folder, and for
    /// other folders as many as the model has positions
    #[arg(long, value_name = "IDS", value_parser = clap::value_parser!(u32).range(2..))]
    max_length: Option<u32>,

    /// How the hidden states of a plain BERT or RoBERTa become one vector: the first token's is taken
    /// (cls), or the mean over tokens, which is also the default. Other folders say it themselves
    #[arg(long, value_name = "cls|mean")]
    pooling: Option<Pooling>,

    /// Where to compute: auto takes the first GPU if there is one; cpu, cuda or cuda:N
    #[arg(long, default_value_t)]
    device: DeviceChoice,

    /// Arithmetic of the matrix products: f32 is exact; bf16 is faster where the processor has it and
    /// changes scores in the third digit; f16 is for GPUs
    #[arg(long, default_value_t)]
    precision: Precision,

    /// Type of the numbers written: f16 halves the file
    #[arg(long, value_enum, default_value = "f32")]
    output_type: OutputType,

    /// Token ids encoded at once; 2,048 on a CPU and 65,536 on a GPU if not given. Fewer take less memory
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
    let encoder = Encoder::load_pooled(&args.model, args.device.open()?, args.precision, args.pooling)?.for_inference();
    settings.warn_of_vectors(encoder.normalizes());
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

fn max_length(args: &Args, encoder: &Encoder, settings: &FolderSettings) -> Result<usize, Error> {
    let most = encoder.max_positions();
    match args.max_length.map(|length| length as usize) {
        Some(length) if length > most => Err(Error::new(
            format!("--max-length {length}"),
            format!("the model has positions for {most} token ids only"),
        )),
        length => Ok(length.or(settings.max_length()).unwrap_or(most).min(most)),
    }
}
