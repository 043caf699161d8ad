//! Ranks the documents of a lexical index for the texts of queries.

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use hardmine_command::{Report, TextColumns};
use hardmine_files::{Input, MappedTokens, Output, Writer};
use hardmine_records::{Error, Kind};
use hardmine_search::lexical::{LexicalIndex, LexicalRanker, TokenRows};
use hardmine_text::{Columns, Corpus, Text, TextKind};

/// Options that only a lexical index has.
#[derive(Args)]
#[command(next_help_heading = "Lexical index")]
pub(crate) struct LexicalArgs {
    /// Tokens of the queries. With --docs, the run then has row numbers of these files for ids, as train and
    /// mine-negatives want them, and queries that are not among the tokens are left out
    #[arg(long = "queries", value_name = "TOKENS", requires = "docs")]
    tokens: Option<Input>,

    /// Tokens of the documents that the index was made from
    #[arg(long, value_name = "TOKENS", requires = "tokens")]
    docs: Option<Input>,

    /// What the texts of the queries are. This decides which columns a TSV file has, as in tokenize. The default is
    /// query
    #[arg(long, value_parser = PossibleValuesParser::new(TextKind::NAMES).try_map(|kind| kind.parse::<TextKind>()))]
    kind: Option<TextKind>,

    #[command(flatten)]
    columns: TextColumns,
}

impl LexicalArgs {
    /// The files that are read, where they are given.
    pub fn inputs(&self) -> impl Iterator<Item = &Input> {
        self.tokens.iter().chain(&self.docs)
    }

    /// Refuses these options where `index` is not lexical.
    pub fn check_absent(&self, index: &Input) -> Result<(), Error> {
        let given = match self {
            LexicalArgs { tokens: Some(_), .. } => "--queries",
            LexicalArgs { kind: Some(_), .. } => "--kind",
            LexicalArgs { columns: TextColumns { id_column: Some(_), .. }, .. } => "--id-column",
            LexicalArgs { columns: TextColumns { text_columns, .. }, .. } if !text_columns.is_empty() => {
                "--text-column"
            }
            _ => return Ok(()),
        };
        let text = format!("is for a lexical index, and {index} holds vectors, which have row numbers for ids");
        Err(Error::new(given, text).hint("leave it out; remap-ids turns row numbers into official ids"))
    }
}

/// Writes the run of the texts `queries`.
pub(crate) fn run(
    index: LexicalIndex,
    queries: &Input,
    output: &Output,
    (top_k, exclude_self): (usize, bool),
    args: LexicalArgs,
    report: &mut Report,
) -> anyhow::Result<()> {
    let tokens = match (&args.tokens, &args.docs) {
        (Some(queries), Some(docs)) => {
            Some(TokenRows { queries: MappedTokens::open(queries)?, docs: MappedTokens::open(docs)? })
        }
        _ => None,
    };
    let ranker = LexicalRanker::new(index, top_k, exclude_self, tokens)?;
    let columns = Columns { id: args.columns.id_column, text: args.columns.text_columns };
    let corpus = Corpus::open_columns(queries, args.kind.unwrap_or(TextKind::Query), &columns)?;
    let name = corpus.name().to_owned();
    let texts = corpus.map(|text| text.map(|Text { key, fields }| (key, fields.joined().into_owned())));
    let mut writer = Writer::create(output, Kind::Run, ranker.schema(), ranker.provenance())?;
    report.progress(None, "rows");
    let run = ranker.run(texts, |batch| {
        report.add(batch.num_rows() as u64);
        writer.write(batch)
    })?;
    if run.queries == 0 {
        let text = format!("none of its {} queries is among the tokens of --queries", run.unknown);
        return Err(Error::new(name, text).hint("are the tokens those of this split?").into());
    }
    if run.unknown > 0 {
        report.note(format!("{} queries that are not among the tokens left out", run.unknown));
    }
    if run.unmatched > 0 {
        report.note(format!("{} of {} queries share no word with any document", run.unmatched, run.queries));
    }
    if run.short > 0 {
        report.note(format!("{} queries have words of fewer than {top_k} documents", run.short));
    }
    writer.notes().into_iter().for_each(|note| report.note(note));
    writer.finish()?;
    Ok(())
}
