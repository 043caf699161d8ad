//! What is said of a file that holds something else than what was expected.

use std::fmt::Display;

use hardmine_records::columns::Misfit;
use hardmine_records::{Error, Kind};

/// The file `name` should hold one of the `accepted` kinds, and holds what `found` says.
pub(crate) fn unexpected(name: &str, accepted: &[Kind], found: impl Display) -> Error {
    let expected = accepted.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(" or ");
    Error::new(name, format!("expected {expected}, found {found}")).hint(command_for(accepted[0]))
}

/// Says why the file `name` is not taken for one of the `accepted` kinds.
pub(crate) fn misfit(name: &str, accepted: &[Kind], problem: Misfit) -> Error {
    match problem {
        Misfit::Found(kind) => unexpected(name, accepted, kind),
        Misfit::Ambiguous => Error::new(name, "can be read as a run (query document rank score) and as qrels").hint(
            "remap-ids --kind run or qrels decides, and so does a header line such as: query_id doc_id rank score",
        ),
    }
}

/// The command that makes a kind.
fn command_for(kind: Kind) -> &'static str {
    match kind {
        Kind::Tokens => "make tokens with: tokenize --tokenizer MODEL collection.tsv -o docs.tokens.arrow",
        Kind::Embeddings => {
            "make embeddings with: embed --model MODEL docs.tokens.arrow -o docs.arrow; texts themselves can be searched \
             in a lexical index, which index --lexical makes"
        }
        Kind::Codes => "make codes with: embed --model TOWER --codes docs.tokens.arrow -o docs.codes.arrow",
        Kind::Qrels => {
            "qrels are four columns (query 0 document relevance), or have a header such as: query-id corpus-id score"
        }
        Kind::Run => "make a run with: rank --index docs.arrow queries.arrow -o run.parquet",
        Kind::Negatives => "make negatives with: mine-negatives --qrels qrels.parquet run.parquet -o negatives.parquet",
        Kind::Metrics => "make metrics with: score --qrels qrels.tsv --per-query metrics.parquet run.parquet",
        Kind::TrainingLog => "train writes training-log.parquet into its model folder",
        Kind::MiningReport => {
            "make a report with: mine-negatives --qrels qrels.parquet run.parquet --report report.parquet"
        }
    }
}
