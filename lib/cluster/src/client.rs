//! Has units of work done, and waits until they are.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::UInt64Type;
use ballista_core::config::BALLISTA_SCHEDULER_MAX_PARTITIONS_PER_TASK;
use ballista_core::execution_plans::execute_physical_plan;
use ballista_core::extension::SessionConfigExt;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::{SessionConfig, SessionContext};
use datafusion_proto::protobuf::PhysicalPlanNode;
use futures::TryStreamExt;
use hardmine_records::{Error, Result};
use hardmine_stores::origin;
use hardmine_units::{Cluster, Hands, Job};
use tokio::runtime::{Builder, Runtime};

use crate::codec::Codec;
use crate::merge::{Lists, merge_runs};
use crate::plan::UnitsExec;

/// How long a client that has met its scheduler before waits for it to come back.
const PATIENCE: Duration = Duration::from_secs(120);
/// How often units are handed in where the connection breaks again and again.
const TRIES: usize = 20;

/// Has all units of the job in the file `path` done by `cluster`, and their lists merged if the job says so.
///
/// # Errors
/// There is no scheduler, or it went away and did not come back; the error of a unit, the first in their order.
pub fn submit(cluster: &Cluster, path: &Path) -> Result<()> {
    let job = Job::read(path)?;
    // What the command line of this process named in a store was fetched; workers have no such copy.
    let path = &origin(path).map_or_else(|| path.to_owned(), |job| job.to_string().into());
    let units: Vec<usize> = (0..job.units.len()).collect();
    let runtime = runtime()?;
    runtime.block_on(async {
        match cluster {
            Cluster::Here => {
                let hands = Arc::new(Hands::new(None, None, "this machine".into())?);
                let context = SessionContext::new().task_ctx();
                for unit in units {
                    let plan = UnitsExec::of(path, &[unit], Some(hands.clone())).map_err(|error| plain(&error))?;
                    let stream = plan.execute(0, context.clone()).map_err(|error| plain(&error))?;
                    check(&stream.try_collect::<Vec<_>>().await.map_err(|error| plain(&error))?)?;
                }
            }
            Cluster::Scheduler(address) => check(&on_scheduler(address, path, &units).await?)?,
        }
        Ok(())
    })?;
    let Some(top_k) = job.merge else { return Ok(()) };
    let lists = Lists::of(&job)?;
    runtime.block_on(merge_runs(cluster, &job, lists, top_k))
}

/// The rows of all `units`, by the workers of the scheduler at `address`. If it goes away, it is waited for, and the
/// units are handed in again: those that are done are not done a second time.
async fn on_scheduler(address: &str, job: &Path, units: &[usize]) -> Result<Vec<RecordBatch>> {
    let (mut met, mut lost, mut broken) = (false, Instant::now(), 0);
    loop {
        let error = match hand_in(address, job, units).await {
            Ok(rows) => return Ok(rows),
            Err(error) => error,
        };
        let text = error.to_string();
        match is_connection(&text) {
            false => return Err(plain(&error)),
            true if !met && !was_connected(&text) => {
                let text = format!("there is no scheduler ({})", last_cause(&text));
                return Err(Error::new(format!("df://{address}"), text).hint("worker --scheduler starts one"));
            }
            true => {}
        }
        if !met || was_connected(&text) {
            (met, lost, broken) = (true, Instant::now(), broken + 1);
            tracing::warn!("df://{address}: the scheduler went away; waiting for it to come back");
        }
        if lost.elapsed() > PATIENCE || broken > TRIES {
            let text = "the scheduler went away and did not come back; what was done is kept";
            return Err(Error::new(format!("df://{address}"), text).hint("run the same command again"));
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

async fn hand_in(address: &str, job: &Path, units: &[usize]) -> datafusion::error::Result<Vec<RecordBatch>> {
    // One unit a task: a worker must not be handed a second one while others wait for work.
    let session = SessionConfig::new_with_ballista().set_usize(BALLISTA_SCHEDULER_MAX_PARTITIONS_PER_TASK, 1);
    let plan: Arc<dyn ExecutionPlan> = Arc::new(UnitsExec::of(job, units, None)?);
    let id = format!("hardmine-{}", std::process::id());
    let codec = Codec::default();
    let ballista = session.ballista_config();
    let url = format!("http://{address}");
    let rows = execute_physical_plan::<PhysicalPlanNode>(url, &ballista, plan, &codec, id, session).await?;
    rows.try_collect().await
}

/// Refuses rows that tell of an error: that of the unit with the least number.
fn check(rows: &[RecordBatch]) -> Result<()> {
    let mut first: Option<(u64, &str)> = None;
    for batch in rows {
        let (numbers, errors) = (batch.column(0).as_primitive::<UInt64Type>(), batch.column(1).as_string::<i32>());
        for row in (0..batch.num_rows()).filter(|&row| errors.is_valid(row)) {
            let found = (numbers.value(row), errors.value(row));
            first = Some(first.map_or(found, |first| first.min(found)));
        }
    }
    match first {
        Some((_, error)) => match error.split_once(": ") {
            Some((place, text)) => Err(Error::new(place, text)),
            None => Err(Error::new("cluster", error)),
        },
        None => Ok(()),
    }
}

/// What Ballista says when no worker is left.
const NO_WORKERS: &str = "all executors were lost";

/// An error of Ballista without the names of its layers.
pub(crate) fn plain(error: &datafusion::error::DataFusionError) -> Error {
    let text = error.to_string();
    if text.contains(NO_WORKERS) {
        let text = "there is no worker, and none came within two minutes";
        return Error::new("cluster", text).hint("worker --cluster df://HOST:PORT starts one");
    }
    Error::new("cluster", last_cause(&text))
}

/// What a chain of errors says last. Errors within errors are written as Rust shows its values.
fn last_cause(text: &str) -> String {
    let marks = ["IO error: ", "Execution error: ", "message: ", "error: \"", "error: \\\""];
    let cut = marks.iter().filter_map(|mark| Some(text.rfind(mark)? + mark.len()));
    let cause = &text[cut.max().unwrap_or(0)..];
    let end = ["\" }", "\\\" }"].iter().filter_map(|mark| cause.find(mark)).min();
    cause[..end.unwrap_or(cause.len())].trim().trim_matches('"').to_owned()
}

/// Whether the scheduler can't be reached, or was not understood to its end.
fn is_connection(text: &str) -> bool {
    ["transport error", "Unavailable", "GrpcConnectionError", "ConnectError", "Connection refused", "h2 protocol error"]
        .iter()
        .any(|mark| text.contains(mark))
}

/// Whether a connection broke, rather than never came about.
fn was_connected(text: &str) -> bool {
    !["ConnectError", "Connection refused", "dns error", "tcp connect error"].iter().any(|mark| text.contains(mark))
}

/// What the work of clients, workers and schedulers runs in.
///
/// # Errors
/// The system gives no threads.
pub(crate) fn runtime() -> Result<Runtime> {
    Builder::new_multi_thread().enable_all().build().map_err(Error::at("runtime"))
}

#[cfg(test)]
mod tests {
    use super::last_cause;

    #[test]
    fn the_last_cause_stands_without_what_is_around_it() {
        for (text, cause) in [
            ("IO error: x: the disk is full (twice)", "x: the disk is full (twice)"),
            (r#"Shared(IoError(Custom { kind: Other, error: "vm:1: is wrong (403)" })))"#, "vm:1: is wrong (403)"),
            (r#"say "Shared(IoError(Custom { kind: Other, error: \"vm: is wrong\" })))""#, "vm: is wrong"),
            (r#"message: "Connection refused" })))"#, "Connection refused"),
        ] {
            assert_eq!(last_cause(text), cause);
        }
    }
}
