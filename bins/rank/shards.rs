//! Searches documents shard by shard, each by a command of its own, and makes one run of the runs.

use hardmine_command::{self as command, Report};
use hardmine_files::{Input, Sharding, Table, Writer, parts};
use hardmine_records::{Error, IdSpace, Kind, Provenance, provenance, schema};
use hardmine_search::RunBatches;
use hardmine_units::{Cluster, Job, Unit, run};

use super::Args;

/// Options that say where the work is done, and what is searched.
const ELSEWHERE: [&str; 4] = ["index", "output", "cluster", "device"];

pub(crate) fn rank(cluster: &Cluster, args: &Args, report: &mut Report) -> anyhow::Result<()> {
    args.lexical.check_absent(&args.index)?;
    let (shards, about) = parts(&args.index)?;
    if about.kind(&args.index.to_string())? != Some(Kind::Embeddings) {
        let text = "holds no embeddings, and only embeddings are searched in parts";
        return Err(Error::new(&args.index, text).hint("leave out --cluster").into());
    }
    let mut job = Job::new("rank", &args.output)?;
    let asking = job.reopenable(&args.queries, |queries| Table::open(queries, &[Kind::Embeddings]))?;
    let (queries, _) = parts(&asking)?;
    job.options = command::options_given::<Args>(&ELSEWHERE);
    job.settings.clone_from(&job.options);
    job.merge = Some(usize::from(args.top_k.get()));
    for shard in &shards {
        let (path, queries_path) = (shard.path.to_string_lossy(), asking.path().to_string_lossy());
        let unit = Unit {
            name: path.clone().into_owned(),
            arguments: vec![format!("--index={path}"), queries_path.into_owned()],
            reads: Vec::new(),
            settings: Vec::new(),
        };
        job.units.push(unit.reading(queries.iter().chain([shard])));
    }
    report.progress(Some(job.units.len() as u64), "shards");
    let made = run(cluster, &job, |units| report.advance(units))?;

    let top_k = usize::from(args.top_k.get());
    let output = args.output.clone().sharded(Sharding::Whole);
    let mut writer = Writer::create(&output, Kind::Run, schema::run(IdSpace::Internal), Provenance::default())?;
    let mut batches = RunBatches::new(top_k);
    let mut write = |batch: &_| writer.write(batch);
    for batch in Table::open(&Input::Path(job.merged()), &[Kind::Run])? {
        let batch = batch?;
        report.add(batch.num_rows() as u64);
        batches.push(&batch, &mut write)?;
    }
    batches.flush(&mut write)?;
    let documents: u64 = shards.iter().map(|shard| shard.rows).sum();
    if documents < top_k as u64 {
        report.note(format!("lists are shorter than --top-k {top_k}: there are only {documents} documents"));
    }
    writer.notes().into_iter().for_each(|note| report.note(note));
    let first = made.first().and_then(|part| part.path.parent()).map(|folder| parts(&Input::from(folder)));
    if let Some((_, of_part)) = first.transpose()? {
        writer.provenance_mut().merge(&of_part);
    }
    writer.provenance_mut().set_some(provenance::DOCS, about.get(provenance::KEYS));
    writer.finish()?;
    job.clear()?;
    Ok(())
}
