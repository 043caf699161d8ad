//! Encodes a collection shard by shard, each by a command of its own.

use hardmine_command::{self as command, Report};
use hardmine_encoder::{default_batch_tokens, digest, window_texts};
use hardmine_files::{Output, parts, shards_near};
use hardmine_records::{Error, Kind, provenance};
use hardmine_text::{FolderSettings, TextKind};
use hardmine_units::{Cluster, Job, Unit, assemble, files_of, run};

use super::Args;

/// Options that say where the work is done, or that each command has for itself.
const ELSEWHERE: [&str; 4] = ["output", "cluster", "device", "batch_tokens"];
/// Options that name files, whose bytes count and not their names.
const FILES: [&str; 3] = ["model", "document_model", "quantizer"];

pub(crate) fn embed(cluster: &Cluster, args: &Args, report: &mut Report) -> anyhow::Result<()> {
    let Output::Folder(output, _) = &args.output else {
        command::wrong_usage::<Args>("--cluster writes a folder: -o FOLDER/, with the slash".to_owned());
    };
    let (shards, about) = parts(&args.tokens)?;
    if about.get(provenance::KEYS).is_none() {
        let text = "does not say of which texts it is, so that it can't be encoded in parts";
        return Err(Error::new(&args.tokens, text).hint("make it with tokenize").into());
    }
    let batch_tokens = args.batch_tokens.map_or(default_batch_tokens(args.device.expected()), |tokens| tokens as usize);
    let batch_option = format!("--batch-tokens={batch_tokens}");

    let mut job = Job::new("embed", &args.output)?;
    job.options = command::options_given::<Args>(&ELSEWHERE);
    job.options.push(batch_option.clone());
    job.settings = command::options_given::<Args>(&[&ELSEWHERE[..], &FILES].concat());
    job.settings.push(batch_option);
    job.expected.push((provenance::MODEL.to_owned(), digest(&args.model)?));
    if let Some(model) = &args.document_model {
        job.expected.push((provenance::DOCUMENT_MODEL.to_owned(), digest(model)?));
    }
    // What the folder decides is neither an option nor in the model's digest.
    let settings = FolderSettings::read(&args.model)?;
    let query_prompt = settings.prompts().of(TextKind::Query);
    job.settings.push(format!("{:?} {:?} {query_prompt}", settings.max_length(), settings.dimensions()));
    let quantizer = files_of(&args.quantizer)?;
    let rows: Vec<u64> = shards.iter().map(|shard| shard.rows).collect();
    let mut from = 0;
    for rows in shards_near(&rows, window_texts(batch_tokens) as u64) {
        let mut end = 0;
        let read = shards.iter().filter(|shard| {
            let start = end;
            end += shard.rows;
            start < from + rows && end > from
        });
        job.units.push(Unit::of_rows(&(from..from + rows), args.tokens.path()).reading(read.chain(&quantizer)));
        from += rows;
    }
    job.recall(output)?;
    job.kept()?.into_iter().for_each(|note| report.note(note));
    report.progress(Some(job.units.len() as u64), "shards");
    let made = run(cluster, &job, |units| report.advance(units))?;
    let kind = if args.codes { Kind::Codes } else { Kind::Embeddings };
    report.add(made.iter().map(|part| part.rows).sum());
    assemble(job, output, kind, &made, |whole| whole.set_some(provenance::KEYS, about.get(provenance::KEYS)))?;
    Ok(())
}
