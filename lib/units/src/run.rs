//! Has a job done, and waits until it is.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use hardmine_files::{Input, Part, parts};
use hardmine_records::{Error, Result};
use serde_json::Value;

use crate::hands::{command, message};
use crate::{Cluster, Job};

/// How often is looked for shards that were made.
const LOOK: Duration = Duration::from_millis(100);
/// The same, where each look is a request.
const LOOK_INTO_STORE: Duration = Duration::from_secs(2);

/// Has all units of `job` done by `cluster`, for which the program `worker` speaks; returns their shards, in the order
/// of the units. `done` is given the number of units that were done since it was last called. If the job has lists to
/// merge, [`Job::merged`] is there afterwards.
///
/// # Errors
/// The program is missing; there is no scheduler, or it went away and did not come back; the error of a unit, the first
/// in their order.
pub fn run(cluster: &Cluster, job: &Job, mut done: impl FnMut(u64)) -> Result<Vec<Part>> {
    let path = job.write()?;
    let worker = std::env::current_exe().map_err(Error::io("this program"))?.with_file_name("worker");
    let mut submit = command(&worker);
    submit.arg("--submit").arg(&path).arg("--cluster").arg(cluster.to_string()).args(["--log-format", "json"]);
    submit.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut running = submit
        .spawn()
        .map_err(|error| Error::io(worker.display())(error).hint("the program worker must lie beside this one"))?;
    let said = running.stderr.take();
    let listener = std::thread::spawn(move || {
        let mut last = String::new();
        for line in said.into_iter().flat_map(|said| BufReader::new(said).lines()).map_while(|line| line.ok()) {
            if let Some(warning) = warning(&line) {
                tracing::warn!("{warning}");
            }
            last = line;
        }
        last
    });
    let mut missing: Vec<PathBuf> = job.units.iter().map(|unit| job.part(unit)).collect();
    let mut look = || {
        let before = missing.len();
        job.leave_missing(&mut missing)?;
        done((before - missing.len()) as u64);
        Ok::<_, Error>(())
    };
    let between = if job.location(&job.parts).is_some() { LOOK_INTO_STORE } else { LOOK };
    let mut last_look = Instant::now();
    let status = loop {
        match running.try_wait().map_err(Error::io("worker"))? {
            Some(status) => break status,
            None if last_look.elapsed() < between => std::thread::sleep(LOOK),
            None => {
                look()?;
                last_look = Instant::now();
            }
        }
    };
    look()?;
    let said = listener.join().unwrap_or_default();
    if !status.success() {
        let told = message(&said);
        return Err(match told.split_once(": ") {
            Some((place, text)) => Error::new(place, text),
            None => Error::new(cluster, format!("{told} ({status})")),
        });
    }
    let part = |unit| {
        job.fetch_part(unit)?;
        let (shards, _) = parts(&Input::from(job.part(unit).as_path()))?;
        shards.into_iter().next().ok_or_else(|| Error::new(cluster, "the job ended without some of its units"))
    };
    job.units.iter().map(part).collect()
}

/// The text of a log line that is a warning of ours, and not of a library.
fn warning(line: &str) -> Option<String> {
    let line: Value = serde_json::from_str(line).ok()?;
    let ours = line.get("target")?.as_str()?.starts_with("hardmine") && line.get("level")? == "WARN";
    Some(line.get("fields")?.get("message")?.as_str()?.to_owned()).filter(|_| ours)
}

#[cfg(test)]
mod tests {
    use super::warning;

    #[test]
    fn warnings_of_ours_are_passed_on() {
        let line = |target| format!(r#"{{"level":"WARN","fields":{{"message":"gone"}},"target":"{target}"}}"#);
        assert_eq!(warning(&line("hardmine_cluster::client")), Some("gone".into()));
        assert_eq!(warning(&line("ballista_core::client")), None);
        assert_eq!(warning("no JSON"), None);
    }
}
