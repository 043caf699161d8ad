//! Encodes tokenized texts into vectors, or into codes of product quantization.

#[path = "embed/shards.rs"]
mod shards;

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use arrow::datatypes::{DataType, SchemaRef};
use clap::{Parser, ValueEnum};
use hardmine_command::{self as command, Common, Report};
use hardmine_encoder::{
    DeviceChoice, Embedding, Encoder, Form, Network, Pooling, Precision, Similarity, Truncation, default_batch_tokens,
    digest, prepare_process, window_texts,
};
use hardmine_files::{Input, Output, Sharding, Table, Writer, shards_near};
use hardmine_quantization::{Codebook, PqIndex, Rotation};
use hardmine_records::{Error, Kind, Provenance, provenance, schema};
use hardmine_text::{FolderSettings, TextKind, Tokenizer};
use hardmine_units::Cluster;

/// Encodes tokenized texts into vectors
///
/// The output has a vector for each text, in the order of the input. Texts are encoded as they come in:
/// the collection never has to fit into memory.
///
/// The vectors of a tower, as train jpq and train repconc write it, are rotated as its index of codes is.
#[derive(Parser)]
#[command(
    version,
    after_help = "\
Examples:
  tokenize --tokenizer model collection.tsv | embed --model model -o docs.arrow
  embed --model tower --codes docs.tokens.arrow | index --centroids tower -o docs.faiss"
)]
pub(crate) struct Args {
    /// File with the tokens, as tokenize writes them. Without it, or with -, they are read from standard input
    #[arg(default_value = "-", hide_default_value = true)]
    tokens: Input,

    /// File to write the embeddings to: .arrow (best for rank and train), .parquet or .arrows. A name that ends in a
    /// slash is a folder of shards: those of the tokens, but that each ends at a multiple of 2,048 rows (with another
    /// --batch-tokens, of that number). Without this option, or with -, the embeddings go to standard output
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
    /// scores in the third digit. f16 is for GPUs. int8 is for CPUs, and the fastest on those with AVX-512 VNNI. It rounds
    /// the weights once, and the numbers of each token before every product, and changes scores in the second digit.
    /// Queries and documents should have the same precision
    #[arg(long, default_value_t)]
    precision: Precision,

    /// Number type of the vectors that are written. f16 halves the file
    #[arg(long, value_enum, default_value = "f32")]
    output_type: OutputType,

    /// Write codes instead of vectors, one byte for each subvector of the rotated vector: the number of the nearest of
    /// its 256 centroids. The model must be a tower, or --quantizer must name an index that has rotation and
    /// centroids. index --centroids makes an index of the codes
    #[arg(long, conflicts_with_all = ["output_type", "dimensions"])]
    codes: bool,

    /// Index whose rotation and centroids make the codes, if the model is no tower. New documents for an index that
    /// train jpq wrote are coded by the index that its training started from, because only the codes of that index
    /// were made by nearest centroids
    #[arg(long, value_name = "INDEX", requires = "codes")]
    quantizer: Option<Input>,

    /// Write the vectors of a tower as they are before its rotation. Inner products with vectors of the same kind are the
    /// same
    #[arg(long, conflicts_with = "codes")]
    no_rotation: bool,

    /// How many token ids are encoded at once. The default is 2,048 on a CPU and 65,536 on a GPU. A smaller number
    /// takes less memory
    #[arg(long, value_name = "IDS", value_parser = clap::value_parser!(u32).range(1..))]
    batch_tokens: Option<u32>,

    /// Encode only these rows of the tokens, counted from 0: --rows 0..65536 is the first 65,536 texts. Parts that begin
    /// and end at multiples of 2,048 (with another --batch-tokens, of that number) have, to the last bit, the vectors of
    /// the whole
    #[arg(long, value_name = "FROM..TO", value_parser = command::row_range)]
    rows: Option<Range<u64>>,

    /// Divide the work among the workers of the scheduler at df://HOST:PORT (see worker --help), who must see the same
    /// folders under the same paths; or do it on this machine, with here. It is done shard by shard, so that a run that
    /// was cut off goes on where it was when it is started again. The output must be a folder, and gets the same bytes
    #[arg(long, value_name = "ADDRESS", conflicts_with = "rows")]
    cluster: Option<Cluster>,

    /// Accept texts whose prompt is not the one that the model asks for
    #[arg(long)]
    other_prompt: bool,

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
    let inputs: Vec<&Input> = [&args.tokens].into_iter().chain(&args.quantizer).collect();
    args.output.check_differs(&inputs)?;
    if let Some(cluster) = &args.cluster {
        return shards::embed(cluster, &args, report);
    }
    let mut tokens = match args.rows.clone() {
        Some(rows) => Table::open_rows(&args.tokens, &[Kind::Tokens], rows)?,
        None => Table::open(&args.tokens, &[Kind::Tokens])?,
    };
    let settings = FolderSettings::read(&args.model)?;
    check_tokenizer(&tokens, &args.model, &settings)?;
    let kind = TextKind::of(tokens.provenance());
    check_prompt(&tokens, kind, &settings, args.other_prompt)?;
    prepare_process();
    let device = args.device.open()?;
    if args.precision == Precision::Int8 && device.is_cuda() {
        return Err(Error::new("--precision int8", "is for a CPU").hint("--device cpu, or --precision bf16").into());
    }
    let encoder = Encoder::load_pooled(&args.model, device, args.precision, args.pooling.clone())?;
    let Quantizer { rotation, codebook } = Quantizer::of(&args, &encoder)?;
    let encoder = encoder.for_inference();
    settings.warn_of_vectors(encoder.similarity() == Similarity::Cosine);
    let whole = encoder.dimension();
    let encoder = match args.dimensions.map(|dimensions| dimensions as usize).or(settings.dimensions()) {
        Some(dimensions) => encoder.cut_to(dimensions)?,
        None => encoder,
    };
    let encoder = match &rotation {
        Some(_) if encoder.dimension() < whole => {
            let text =
                format!("its rotation is of whole vectors, which can't be cut to {} numbers", encoder.dimension());
            let error = Error::new(args.model.display(), text);
            return Err(error.hint("--no-rotation takes the first numbers of the plain vectors").into());
        }
        Some(rotation) => encoder.rotated(rotation)?,
        None => encoder,
    };
    let max_length = max_length(&args, &encoder, &settings)?;
    let truncation = Truncation::new(max_length, tokens.provenance())?;
    let form = match (&codebook, args.output_type) {
        (Some(codebook), _) => Form::Codes(codebook),
        (None, OutputType::F32) => Form::F32,
        (None, OutputType::F16) => Form::F16,
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
    about.set_some(provenance::PROMPT, tokens.provenance().prompt());
    if kind != Some(TextKind::Query) {
        about.set(provenance::QUERY_PROMPT, settings.prompts().of(TextKind::Query));
    }
    let stored = tokens.provenance().get(provenance::MAX_LENGTH).and_then(|length| length.parse().ok());
    about.set(provenance::MAX_LENGTH, stored.unwrap_or(max_length).min(max_length));
    about.set_some(provenance::SPACE, rotation.as_ref().map(Rotation::digest));
    about.set_some(provenance::CENTROIDS, codebook.as_ref().map(Codebook::digest));
    let (kind, schema) = record(form, encoder.dimension());
    let batch_tokens = args.batch_tokens.map_or(default_batch_tokens(encoder.device()), |tokens| tokens as usize);
    let shards = if args.rows.is_none() { tokens.shards() } else { None };
    let sharding = shards.map(|rows| Sharding::Like(shards_near(&rows, window_texts(batch_tokens) as u64)));
    let mut writer =
        Writer::create(&args.output.clone().sharded(sharding.unwrap_or(Sharding::Whole)), kind, schema, about)?;

    report.progress(None, "texts");
    let place = tokens.name().to_owned();
    let first_row = args.rows.as_ref().map_or(0, |rows| rows.start as usize);
    let embedding = Embedding { encoder: &encoder, truncation, batch_tokens, form, place: &place, first_row };
    let embedded = embedding.run(tokens.by_ref(), |records| writer.write(&records), |texts| report.add(texts))?;

    let known = tokens.provenance().get(provenance::KEYS).map(str::to_owned);
    writer.provenance_mut().set(provenance::KEYS, known.unwrap_or(embedded.keys.to_string()));
    writer.finish()?;
    if embedded.cut > 0 {
        report.note(format!("{} of {} texts cut to {max_length} tokens", embedded.cut, embedded.texts));
    }
    Ok(())
}

/// What is done to the vectors of the encoder.
struct Quantizer {
    /// What they are multiplied by.
    rotation: Option<Rotation>,
    /// What they are coded by.
    codebook: Option<Codebook>,
}

impl Quantizer {
    /// What the options ask for.
    ///
    /// # Errors
    /// Codes are wanted, and nothing has the centroids for them, or the encoder is one of queries; an index that is
    /// broken, or of another model.
    fn of(args: &Args, encoder: &Encoder) -> Result<Self, Error> {
        if args.codes && encoder.document_model().is_some() {
            let text = "encodes queries only: its training kept the documents as another model had encoded them";
            return Err(Error::new(args.model.display(), text)
                .hint("--model names that model, and --quantizer the index that training started from"));
        }
        if let Some(index) = &args.quantizer {
            return Quantizer::of_index(index, encoder);
        }
        match encoder.tower() {
            Some(tower) => Ok(Quantizer {
                rotation: (!args.no_rotation).then(|| tower.rotation.clone()),
                codebook: args.codes.then(|| tower.codebook.clone()),
            }),
            None if args.codes => {
                let text = "is no tower: it has no rotation and no centroids to make codes with";
                Err(Error::new(args.model.display(), text)
                    .hint("--quantizer INDEX takes those of an index; train repconc writes a tower"))
            }
            None => Ok(Quantizer { rotation: None, codebook: None }),
        }
    }

    fn of_index(input: &Input, encoder: &Encoder) -> Result<Self, Error> {
        let index = PqIndex::open(input)?.fold()?;
        let (dim, model) = (index.rotation().map_or(index.codebook().dim(), Rotation::dim_in), encoder.dimension());
        if dim != model {
            let text = format!("is of vectors of {dim} numbers, but those of the model have {model}");
            return Err(Error::new(input, text).hint("encode with the model whose documents are in the index"));
        }
        let about = index.provenance();
        if about.get(provenance::MODEL).is_some_and(|coded| coded != encoder.digest()) {
            let text = "its documents were encoded by another model than --model";
            return Err(Error::new(input, text).hint("encode with the model whose documents are in the index"));
        }
        if index.rotation().is_none() && about.get(provenance::SPACE).is_some() {
            let text = "its codes are of rotated vectors, but it has no rotation";
            return Err(
                Error::new(input, text).hint("--model names the tower that made the codes, without --quantizer")
            );
        }
        Ok(Quantizer { rotation: index.rotation().cloned(), codebook: Some(index.codebook().clone()) })
    }
}

/// The kind of record that is written, and its columns.
fn record(form: Form, dimension: usize) -> (Kind, SchemaRef) {
    match form {
        Form::F32 => (Kind::Embeddings, schema::embeddings(DataType::Float32, dimension)),
        Form::F16 => (Kind::Embeddings, schema::embeddings(DataType::Float16, dimension)),
        Form::Codes(codebook) => (Kind::Codes, schema::codes(codebook.subvectors())),
    }
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

/// Refuses tokens that don't have the prompt that the model asks for, and warns of one that it doesn't know.
fn check_prompt(tokens: &Table, kind: Option<TextKind>, settings: &FolderSettings, other: bool) -> Result<(), Error> {
    let (prompts, kind) = (settings.prompts(), kind.unwrap_or(TextKind::Passage));
    prompts.check(tokens.name(), tokens.provenance(), kind, other)?;
    match tokens.provenance().prompt().unwrap_or_default() {
        "" => {}
        prompt if !other && prompts.of(kind).is_empty() && !prompts.contains(prompt) => {
            tracing::warn!("{}: made with the prompt {prompt:?}, but the model asks for none", tokens.name());
        }
        _ => {}
    }
    Ok(())
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
