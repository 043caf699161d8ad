//! Turns texts into token ids.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use hardmine_records::command::{self, Common, Report};
use hardmine_records::{ForeignIds, Input, Kind, Output, Provenance, Writer, provenance, schema};
use hardmine_text::{Corpus, FolderSettings, Judged, TextKind, Tokenizer, tokenize};

/// Turns the texts of a collection or of queries into token ids
///
/// The texts are MS MARCO's TSV (id and text; for documents id, url, title and body), BEIR's JSONL
/// (_id, text, perhaps title) or Parquet (id, text, perhaps title); .gz and .zst are unpacked. Which of
/// these it is, is found from the content. Blank lines are skipped, and so is a first line of TSV that
/// has the names of the columns. The output has a row for each text: its row number, its id,
/// and its token ids with special tokens and without padding.
///
/// Texts are stripped; a title goes in front of its text with a space between, as BEIR does; url, title
/// and body of a document are joined with spaces, too. The settings that stand beside a tokenizer are
/// followed as transformers and sentence-transformers follow them; a warning names what is not.
#[derive(Parser)]
#[command(version, after_help = "Example: tokenize --tokenizer M collection.tsv | embed --model M -o docs.arrow")]
pub(crate) struct Args {
    /// Texts; - or nothing for standard input
    #[arg(default_value = "-", hide_default_value = true)]
    texts: Input,

    /// Where the tokens go: .arrow (best for train), .parquet, .arrows; - or nothing for standard output
    #[arg(short, long, default_value = "-", hide_default_value = true)]
    output: Output,

    /// Folder of the model the tokens are for, or a tokenizer.json; a folder may also hold vocab.json
    /// and merges.txt (RoBERTa) or vocab.txt (BERT)
    #[arg(long, value_name = "DIR")]
    tokenizer: PathBuf,

    /// What the texts are: sets the columns of TSV and the length
    #[arg(long, default_value = "passage", value_parser = PossibleValuesParser::new(TextKind::NAMES).try_map(|kind| kind.parse::<TextKind>()))]
    kind: TextKind,

    /// Most ids to keep of a text, special tokens included. If it is not given, this is the max_seq_length
    /// of a sentence-transformers folder, and for other folders 512, or 64 for queries. Later stages may
    /// take fewer, never more
    #[arg(long, value_name = "IDS", value_parser = clap::value_parser!(u32).range(3..))]
    max_length: Option<u32>,

    /// Run RoBERTa's tokenizer as version 2 of transformers did (lower-case, cut to 10,000 characters,
    /// url<sep>title<sep>body): for the published checkpoints of STAR and ADORE, and no others. Needs
    /// vocab.json and merges.txt
    #[arg(long, value_name = "VERSION", value_parser = ["transformers-2"])]
    compat: Option<String>,

    /// Longest line of a text file, in MiB, or in bytes with a B behind the number
    #[arg(long, value_name = "MIB|BYTES", default_value = "64", value_parser = line_length)]
    max_line: usize,

    /// Keep only queries with a row in these qrels, which have the collection's own ids
    #[arg(long, value_name = "QRELS")]
    judged: Option<Input>,

    #[command(flatten)]
    foreign: ForeignIds,

    #[command(flatten)]
    common: Common,
}

fn main() -> ExitCode {
    command::main(|args: &Args| &args.common, run)
}

fn run(args: Args, report: &mut Report) -> anyhow::Result<()> {
    let inputs: Vec<&Input> = [&args.texts].into_iter().chain(&args.judged).collect();
    command::check_inputs::<Args>(&inputs);
    args.output.check_differs(&inputs)?;
    let settings = FolderSettings::read(&args.tokenizer)?;
    let tokenizer = match args.compat {
        Some(_) => Tokenizer::open_transformers2(&args.tokenizer)?,
        None => Tokenizer::open(&args.tokenizer, &settings)?,
    };
    let max_length = args.max_length.map(|ids| ids as usize).or(settings.max_length());
    let max_length = max_length.unwrap_or(args.kind.default_length());
    tokenizer.check_length(max_length)?;
    settings.warn_of_texts(args.kind);
    tokenizer.warn();
    if args.judged.is_some() && args.kind != TextKind::Query {
        tracing::warn!("--judged keeps texts whose ids are those of judged queries, but --kind is {}", args.kind);
    }
    let judged = args.judged.as_ref().map(|qrels| Judged::open(qrels, args.foreign)).transpose()?;
    let corpus = Corpus::open(&args.texts, args.kind)?.with_max_line(args.max_line);

    let mut about = Provenance::default();
    about.set(provenance::TOKENIZER, tokenizer.digest()?);
    about.set(provenance::TEXT_KIND, args.kind);
    about.set(provenance::MAX_LENGTH, max_length);
    let (before, after) = tokenizer.special_tokens();
    about.set(provenance::SPECIAL_TOKENS, format!("{before} {after}"));
    about.set_some(provenance::COMPAT, args.compat);
    let mut writer = Writer::create(&args.output, Kind::Tokens, schema::tokens(), about)?;

    report.progress(None, "texts");
    let summary = tokenize(corpus, &tokenizer, max_length, judged.as_ref(), |batch| {
        report.add(batch.num_rows() as u64);
        writer.write(batch)
    })?;
    writer.provenance_mut().set(provenance::KEYS, summary.keys);
    writer.finish()?;
    judged.iter().flat_map(Judged::notes).for_each(|note| report.note(note));
    if summary.empty > 0 {
        report.note(format!("{} empty texts", summary.empty));
    }
    if summary.cut > 0 {
        report.note(format!("{} of {} texts cut to {max_length} tokens", summary.cut, summary.rows));
    }
    if summary.unjudged > 0 {
        report.note(format!("{} queries without judgements left out", summary.unjudged));
    }
    Ok(())
}

/// A length in MiB, such as 64, or in bytes, such as 4096B; as a number of bytes.
fn line_length(text: &str) -> Result<usize, String> {
    let (number, unit) = match text.strip_suffix('B') {
        Some(number) => (number, 1),
        None => (text, 1 << 20),
    };
    let bytes = number.parse::<usize>().ok().and_then(|number| number.checked_mul(unit)).filter(|&bytes| bytes > 0);
    bytes.ok_or_else(|| "expected a number of MiB, such as 64, or of bytes, such as 4096B".into())
}
