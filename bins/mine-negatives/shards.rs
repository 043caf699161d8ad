//! Mines in a run part by part, each by a command of its own.

use std::collections::HashSet;

use hardmine_command::{self as command, Report};
use hardmine_files::{Division, Input, Output, Table, divide};
use hardmine_mining::unjudged;
use hardmine_records::{Kind, QrelsBatch, Result};
use hardmine_units::{Cluster, Job, Unit, assemble, files_of, run};

use super::Args;

/// Options that say where the work is done, or that each command has for itself.
const ELSEWHERE: [&str; 3] = ["output", "cluster", "shard_rows"];
/// Options that name files, whose bytes count and not their names.
const FILES: [&str; 3] = ["qrels", "teacher", "positives"];

pub(crate) fn mine(cluster: &Cluster, args: &Args, report: &mut Report) -> anyhow::Result<()> {
    let Output::Folder(output, _) = &args.output else {
        command::wrong_usage::<Args>("--cluster writes a folder: -o FOLDER/, with the slash".to_owned());
    };
    let mut job = Job::new("mine-negatives", &args.output)?;
    let open = |input: &Input, kind| Table::open_with_ids(input, &[kind], args.foreign.ids);
    let from = job.reopenable(&args.run, |run| open(run, Kind::Run))?;
    let Division { parts, queries } = divide(open(&from, Kind::Run)?, args.shard_rows.get())?;
    // That a part of the run has no judged query is no error, and so none of the parts would say so.
    if !is_judged(open(&args.qrels, Kind::Qrels)?, &queries)? {
        return Err(unjudged(&args.run.to_string(), queries.len(), &args.qrels.to_string()).into());
    }
    let rows = parts.last().map_or(0, |part| part.end);
    job.options = command::options_given::<Args>(&ELSEWHERE);
    job.settings = command::options_given::<Args>(&[&ELSEWHERE[..], &FILES].concat());
    let files = [&args.qrels].into_iter().chain(&args.teacher).chain(&args.rules.positives);
    let files = files_of(files.chain([&from]))?;
    job.units.extend(parts.iter().map(|rows| Unit::of_rows(rows, from.path()).reading(&files)));
    job.recall(output)?;
    job.kept()?.into_iter().for_each(|note| report.note(note));
    report.progress(Some(job.units.len() as u64), "shards");
    let made = run(cluster, &job, |units| report.advance(units))?;
    report.add(rows);
    assemble(job, output, Kind::Negatives, &made, |_| ())?;
    Ok(())
}

/// Whether one of `queries` is judged.
fn is_judged(qrels: Table, queries: &HashSet<String>) -> Result<bool> {
    for batch in qrels {
        let ids = QrelsBatch::new(&batch?)?.queries;
        if (0..ids.len()).any(|row| queries.contains(&*ids.text(row))) {
            return Ok(true);
        }
    }
    Ok(false)
}
