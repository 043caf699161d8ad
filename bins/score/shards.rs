//! Scores runs part by part, each by a command of its own.

use hardmine_command::{self as command, Report};
use hardmine_evaluation::{Evaluation, Judgements, Metric, RunScores, run_names};
use hardmine_files::{Division, Input, Output, Table, divide};
use hardmine_records::{Kind, Result};
use hardmine_units::{Cluster, Job, Unit, files_of, run};

use super::Args;

/// Options that say where the work is done, that are about means, or that each command has for itself.
const ELSEWHERE: [&str; 7] = ["output", "cluster", "shard_rows", "per_query", "format", "complete", "metrics"];

pub(crate) fn score(
    cluster: &Cluster,
    args: &Args,
    evaluation: &Evaluation,
    judgements: &Judgements,
    metrics: &[Metric],
    report: &mut Report,
) -> anyhow::Result<Vec<RunScores>> {
    // What is made for the job goes beside the values of every query, or to where the program runs.
    let mut job = Job::new("score", args.per_query.as_ref().unwrap_or(&Output::Stdout))?;
    job.output = "--per-query".to_owned();
    job.options = command::options_given::<Args>(&[&ELSEWHERE[..], &super::baseline::OPTIONS].concat());
    job.options.extend(metrics.iter().map(|metric| format!("--metric={metric}")));
    job.settings = job.options.iter().filter(|option| !option.starts_with("--qrels=")).cloned().collect();
    let mut divided = Vec::new();
    for input in &args.runs {
        let open = |input: &Input| Table::open_with_ids(input, &[Kind::Run], args.foreign.ids);
        let from = job.reopenable(input, open)?;
        let Division { parts, queries } = divide(open(&from)?, args.shard_rows.get())?;
        let files = files_of([&args.qrels, &from])?;
        divided.push((parts.len(), queries.len()));
        report.add(parts.last().map_or(0, |part| part.end));
        job.units.extend(parts.iter().map(|rows| Unit::of_rows(rows, from.path()).reading(&files)));
    }
    let mut made = run(cluster, &job, |_| ())?.into_iter();
    let mut scores = Vec::new();
    for ((parts, lists), name) in divided.into_iter().zip(run_names(&args.runs)) {
        let values = made.by_ref().take(parts).map(|part| job.fetched(&part.path)).collect::<Result<Vec<_>>>()?;
        let values = values.iter().map(|path| Table::open(&Input::from(path.as_path()), &[Kind::Metrics]));
        let batches = values.flat_map(|table| match table {
            Ok(table) => table.collect::<Vec<_>>(),
            Err(error) => vec![Err(error)],
        });
        let joined = evaluation.join(&name, lists, judgements, metrics, &batches.collect::<Result<Vec<_>>>()?)?;
        super::note_judged(report, &name, joined.judged_lists(), lists);
        scores.push(joined);
    }
    job.clear()?;
    Ok(scores)
}
