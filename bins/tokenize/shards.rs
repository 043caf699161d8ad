//! Tokenizes a collection shard by shard, each by a command of its own.

use hardmine_command::{self as command, Report};
use hardmine_files::{LineEnd, Output, Part, sha256_of};
use hardmine_records::{Error, KeyHasher, Kind, provenance};
use hardmine_text::{Columns, Corpus, FolderSettings, Tokenizer};
use hardmine_units::{Cluster, Job, Unit, assemble, run};

use super::Args;

/// Options that say where the work is done, or that each command has for itself.
const ELSEWHERE: [&str; 3] = ["output", "cluster", "shard_rows"];

pub(crate) fn tokenize(cluster: &Cluster, args: &Args, report: &mut Report) -> anyhow::Result<()> {
    let (Output::Folder(output, _), Some(shard_rows)) = (&args.output, args.shard_rows) else {
        command::wrong_usage::<Args>("--cluster writes a folder: -o FOLDER/, with the slash".to_owned());
    };
    if !args.texts.is_reopenable() {
        let text = "can be read only once, and every shard reads it";
        return Err(Error::new(&args.texts, text).hint("name a file").into());
    }
    // One look at all texts finds what is wrong with one of them, ids that are there twice, and the fingerprint.
    let columns = Columns { id: args.columns.id_column.clone(), text: args.columns.text_columns.clone() };
    let mut corpus = Corpus::open_columns(&args.texts, args.kind, &columns)?.with_max_line(args.max_line);
    let (mut keys, mut rows, mut ends) = (KeyHasher::default(), 0, Vec::new());
    while let Some(text) = corpus.next() {
        keys.update(&text?.key);
        rows += 1;
        if rows % shard_rows == 0 {
            ends.push(corpus.end());
        }
    }
    let collection = Part { path: args.texts.path().into(), rows, sha256: sha256_of(args.texts.path())? };

    let mut job = Job::new("tokenize", &args.output)?;
    job.options = command::options_given::<Args>(&ELSEWHERE);
    job.settings = command::options_given::<Args>(&[&ELSEWHERE[..], &["tokenizer"]].concat());
    let settings = FolderSettings::read(&args.tokenizer)?;
    let tokenizer = match args.compat {
        Some(_) => Tokenizer::open_transformers2(&args.tokenizer)?,
        None => Tokenizer::open(&args.tokenizer, &settings)?.with_prompt(super::prompt(args, settings.prompts())?)?,
    };
    // What the folder decides is no option: a shard that was made before it changed must not be taken for one of now.
    job.expected.push((provenance::TOKENIZER.to_owned(), tokenizer.digest()?));
    job.expected.push((provenance::PROMPT.to_owned(), tokenizer.prompt().to_owned()));
    let max_length = args.max_length.map(|ids| ids as usize).or(settings.max_length());
    let max_length = max_length.unwrap_or(args.kind.default_length());
    job.expected.push((provenance::MAX_LENGTH.to_owned(), max_length.to_string()));
    for from in (0..rows).step_by(shard_rows.try_into().unwrap_or(usize::MAX)) {
        let before = (from / shard_rows).checked_sub(1).and_then(|shard| ends[shard as usize]);
        let before = before.map(|LineEnd { bytes, lines }| format!("--behind={bytes}:{lines}"));
        let mut unit = Unit::of_rows(&(from..rows.min(from + shard_rows)), args.texts.path());
        unit.arguments.extend(before);
        job.units.push(unit.reading([&collection]));
    }
    job.kept()?.into_iter().for_each(|note| report.note(note));
    report.progress(Some(job.units.len() as u64), "shards");
    let made = run(cluster, &job, |units| report.advance(units))?;
    report.add(rows);
    assemble(job, output, Kind::Tokens, &made, |whole| whole.set(provenance::KEYS, keys.finish()))?;
    Ok(())
}
