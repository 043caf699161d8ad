//! Has a job done, and waits until it is.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use hardmine_files::{Input, Part, parts};
use hardmine_records::{Error, Result};

use crate::spokesman::Spokesman;
use crate::{Cluster, Job};

/// How often the client looks which shards were made, for its progress bar.
const LOOK: Duration = Duration::from_millis(100);
/// The same where the shards are in an object store, and each look is a request.
const LOOK_INTO_STORE: Duration = Duration::from_secs(2);

/// Has all units of `job` done by `cluster`; returns their shards, in the order of the units. `done` is given the number
/// of units that were done since it was last called. If the job has lists to merge, [`Job::merged`] is there afterwards.
///
/// # Errors
/// The program `worker` is missing; there is no scheduler, or it went away and did not come back; the error of a unit,
/// the first in their order.
pub fn run(cluster: &Cluster, job: &Job, mut done: impl FnMut(u64)) -> Result<Vec<Part>> {
    let path = job.write()?;
    let mut spokesman = Spokesman::start(cluster, |worker| worker.arg("--submit").arg(&path), b"")?;
    let mut missing: Vec<PathBuf> = job.units.iter().map(|unit| job.part(unit)).collect();
    let mut look = || {
        let before = missing.len();
        // A store that does not answer now may do so when the next look is taken, and the job does not need it.
        if let Err(error) = job.leave_missing(&mut missing) {
            tracing::debug!("{error}");
        }
        done((before - missing.len()) as u64);
    };
    let between = if job.location(&job.parts).is_some() { LOOK_INTO_STORE } else { LOOK };
    let mut last_look = Instant::now();
    while spokesman.try_wait()?.is_none() {
        match last_look.elapsed() < between {
            true => std::thread::sleep(LOOK),
            false => {
                look();
                last_look = Instant::now();
            }
        }
    }
    look();
    spokesman.end()?;
    let part = |unit| {
        job.fetch_part(unit)?;
        let (shards, _) = parts(&Input::from(job.part(unit).as_path()))?;
        shards.into_iter().next().ok_or_else(|| Error::new(cluster, "the job ended without some of its units"))
    };
    job.units.iter().map(part).collect()
}
