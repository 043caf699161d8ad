//! Turns texts into token ids.

#[path = "tokenize/shards.rs"]
mod shards;

use std::ops::Range;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use hardmine_command::{self as command, Common, ForeignIds, Report, TextColumns};
use hardmine_files::{Input, LineEnd, Output, Sharding, Writer};
use hardmine_records::{Error, Kind, Provenance, provenance, schema};
use hardmine_text::{Columns, Corpus, FolderSettings, Judged, Prompts, TextKind, Tokenizer, tokenize};
use hardmine_units::Cluster;

/// Turns the texts of a collection or of queries into token ids
///
/// The input is MS MARCO's TSV (id and text; for documents id, url, title and body), BEIR's JSONL (_id, text and an
/// optional title) or Parquet (id, text and an optional title). It may be packed with gzip or zstd. tokenize
/// recognizes the form from the content, and skips blank lines and a first TSV line that names the columns. The output
/// has one row for each text: its row number, its id, and its token ids, with special tokens and without padding.
///
/// A text in one piece is tokenized as it is, white space included. A title is put in front of its text with a space
/// between, and what comes of it is stripped, as BEIR does. Of a document with url, title and body, each field is
/// stripped, and those that are not empty are joined with spaces. The settings beside the tokenizer are followed as
/// transformers and sentence-transformers follow them. A warning names those that are not followed.
///
/// Many models were trained with a prompt such as "query: " in front of their queries, and lose much without it.
/// tokenize reads the prompts from config_sentence_transformers.json in the model folder, and puts the one for --kind
/// in front of every text: that named query for queries; that named document, passage or corpus (the first that is
/// there) for other texts; otherwise the folder's default prompt. The prompt counts towards --max-length, and a long
/// text is cut at its end. embed, train and rank refuse texts whose prompt is not the one that the model asks for.
#[derive(Parser)]
#[command(
    version,
    after_help = "Example: tokenize --tokenizer model collection.tsv | embed --model model -o docs.arrow"
)]
pub(crate) struct Args {
    /// File with the texts. Without it, or with -, they are read from standard input
    #[arg(default_value = "-", hide_default_value = true)]
    texts: Input,

    /// File to write the tokens to: .arrow (best for train), .parquet or .arrows, or a folder (see --shards). Without
    /// this option, or with -, the tokens go to standard output
    #[arg(short, long, default_value = "-", hide_default_value = true, value_parser = command::output())]
    output: Output,

    /// Divide the tokens among so many files of nearly equal numbers of rows. The output is then a folder, named with a
    /// slash at its end, which every command takes in the place of a file. While it is written, the tokens take twice
    /// their place on the disk
    #[arg(long, value_name = "N", conflicts_with = "shard_rows", value_parser = clap::value_parser!(u32).range(1..))]
    shards: Option<u32>,

    /// As --shards, but with so many rows in each file. The last one has what is left
    #[arg(long, value_name = "ROWS", value_parser = clap::value_parser!(u64).range(1..))]
    shard_rows: Option<u64>,

    /// Folder of the model that the tokens are for, or a tokenizer.json. The folder may have a tokenizer.json, or
    /// vocab.json and merges.txt (RoBERTa), or vocab.txt (BERT)
    #[arg(long, value_name = "DIR")]
    tokenizer: PathBuf,

    /// What the texts are. This decides which columns a TSV file has, and how long a text may be by default
    #[arg(long, default_value = "passage", value_parser = PossibleValuesParser::new(TextKind::NAMES).try_map(|kind| kind.parse::<TextKind>()))]
    kind: TextKind,

    /// Most token ids to keep of a text, special tokens included. The default is the max_seq_length of a
    /// sentence-transformers folder; for other folders it is 64 for queries and 512 for other texts. Later commands can
    /// keep fewer tokens, but not more
    #[arg(long, value_name = "IDS", value_parser = clap::value_parser!(u32).range(3..))]
    max_length: Option<u32>,

    /// Put this in front of every text, whatever prompt the model folder has. No space is added, so a prompt usually
    /// ends with one
    #[arg(long, value_name = "TEXT", group = "choice of prompt", conflicts_with = "compat")]
    prompt: Option<String>,

    /// Put the prompt that has this name in the model folder in front of every text, whatever kind they are of
    #[arg(long, value_name = "NAME", group = "choice of prompt", conflicts_with = "compat")]
    prompt_name: Option<String>,

    /// Put nothing in front of the texts, even if the model folder has a prompt for them
    #[arg(long, group = "choice of prompt")]
    no_prompt: bool,

    /// Tokenize as RoBERTa's tokenizer in version 2 of transformers did: lower-cased, cut to 10,000 characters,
    /// documents as url<sep>title<sep>body, without a prompt. Only the published checkpoints of STAR and ADORE need
    /// this. The folder must have vocab.json and merges.txt
    #[arg(long, value_name = "VERSION", value_parser = ["transformers-2"])]
    compat: Option<String>,

    #[command(flatten)]
    columns: TextColumns,

    /// Longest line that a text file may have, in MiB (64) or in bytes (4096B). A longer line is an error
    #[arg(long, value_name = "MIB|BYTES", default_value = "64", value_parser = line_length)]
    max_line: usize,

    /// Tokenize only these rows of the texts, counted from 0: --rows 0..65536 is the first 65,536 texts. The others are
    /// read all the same
    #[arg(long, value_name = "FROM..TO", value_parser = command::row_range, conflicts_with = "judged")]
    rows: Option<Range<u64>>,

    /// Where the text before the first of --rows ended: bytes and lines of the file. --cluster gives it to its
    /// commands, so that none of them reads what comes before
    #[arg(long, value_name = "BYTES:LINES", value_parser = line_end, requires = "rows", hide = true)]
    behind: Option<LineEnd>,

    /// Divide the work among the workers of the scheduler at df://HOST:PORT (see worker --help), who must see the same
    /// folders under the same paths; or do it on this machine, with here. It is done shard by shard, so that a run that
    /// was cut off goes on where it was when it is started again. The output must be a folder of shards of
    /// --shard-rows, and gets the same bytes
    #[arg(long, value_name = "ADDRESS", conflicts_with_all = ["rows", "judged", "shards"], requires = "shard_rows")]
    cluster: Option<Cluster>,

    /// Keep only the queries that have a row in this qrels file, whose ids are the collection's own
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
    let sharding = match (args.shards, args.shard_rows) {
        (Some(shards), _) => Sharding::Shards(shards.into()),
        (_, Some(rows)) => Sharding::Rows(rows),
        _ => Sharding::Whole,
    };
    if sharding != Sharding::Whole && !args.output.is_folder() {
        command::wrong_usage::<Args>("--shards and --shard-rows write a folder: -o FOLDER/, with the slash".to_owned());
    }
    args.output.check_differs(&inputs)?;
    if let Some(cluster) = &args.cluster {
        return shards::tokenize(cluster, &args, report);
    }
    let output = args.output.clone().sharded(sharding);
    let settings = FolderSettings::read(&args.tokenizer)?;
    let tokenizer = match args.compat {
        Some(_) => Tokenizer::open_transformers2(&args.tokenizer)?,
        None => {
            let prompt = prompt(&args, settings.prompts())?;
            Tokenizer::open(&args.tokenizer, &settings)?.with_prompt(prompt)?
        }
    };
    let max_length = args.max_length.map(|ids| ids as usize).or(settings.max_length());
    let max_length = max_length.unwrap_or(args.kind.default_length());
    tokenizer.check_length(max_length)?;
    settings.warn_of_texts();
    tokenizer.warn();
    if args.judged.is_some() && args.kind != TextKind::Query {
        tracing::warn!("--judged keeps texts whose ids are those of judged queries, but --kind is {}", args.kind);
    }
    let judged = args.judged.as_ref().map(|qrels| Judged::open(qrels, args.foreign.ids)).transpose()?;
    let columns = Columns { id: args.columns.id_column, text: args.columns.text_columns };
    let mut corpus = Corpus::open_columns(&args.texts, args.kind, &columns)?.with_max_line(args.max_line);
    if let (Some(rows), Some(end)) = (&args.rows, args.behind) {
        corpus.jump(rows.start, end)?;
    }

    let mut about = Provenance::default();
    about.set(provenance::TOKENIZER, tokenizer.digest()?);
    about.set(provenance::TEXT_KIND, args.kind);
    about.set(provenance::MAX_LENGTH, max_length);
    let (before, after) = tokenizer.special_tokens();
    about.set(provenance::SPECIAL_TOKENS, format!("{before} {after}"));
    about.set(provenance::PROMPT, tokenizer.prompt());
    about.set(provenance::PROMPT_TOKENS, tokenizer.prompt_tokens());
    about.set_some(provenance::COMPAT, args.compat);
    let mut writer = Writer::create(&output, Kind::Tokens, schema::tokens(), about)?;

    report.progress(None, "texts");
    let summary = tokenize(corpus, &tokenizer, max_length, args.rows.clone(), judged.as_ref(), |batch| {
        report.add(batch.num_rows() as u64);
        writer.write(batch)
    })?;
    writer.provenance_mut().set(provenance::KEYS, summary.keys);
    writer.finish()?;
    judged.iter().flat_map(Judged::notes).for_each(|note| report.note(note));
    if !tokenizer.prompt().is_empty() {
        report.note(format!("with the prompt {:?}", tokenizer.prompt()));
    }
    if summary.empty > 0 {
        report.note(format!("{} empty texts", summary.empty));
    }
    if summary.cut > 0 {
        report.note(format!("{} of {} texts cut to {max_length} tokens", summary.cut, summary.rows));
    }
    if let [first, ..] = &summary.without_text[..] {
        report.note(format!("{} judged queries have no text, such as '{first}'", summary.without_text.len()));
    }
    if summary.unjudged > 0 {
        report.note(format!("{} queries without judgements left out", summary.unjudged));
    }
    Ok(())
}

/// What goes in front of the texts: what the options say, and otherwise what the model asks for.
fn prompt<'a>(args: &'a Args, prompts: &'a Prompts) -> Result<&'a str, Error> {
    match (&args.prompt, &args.prompt_name) {
        (Some(text), _) => Ok(text),
        (_, Some(name)) => prompts.named(name),
        _ if args.no_prompt => Ok(""),
        _ => {
            prompts.warn(args.kind);
            Ok(prompts.of(args.kind))
        }
    }
}

/// Two numbers with a colon between.
fn line_end(text: &str) -> Result<LineEnd, String> {
    let numbers = text.split_once(':').and_then(|(bytes, lines)| Some((bytes.parse().ok()?, lines.parse().ok()?)));
    numbers.map(|(bytes, lines)| LineEnd { bytes, lines }).ok_or_else(|| "expected two numbers, as in 4096:12".into())
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
