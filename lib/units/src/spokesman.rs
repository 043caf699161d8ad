//! The program `worker` as it speaks to a cluster for this process. Only `worker` knows Ballista.

use std::io::{self, BufRead, BufReader, Write};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;

use hardmine_records::{Error, Result};
use serde_json::Value;

use crate::Cluster;
use crate::hands::{command, message};

/// A process of `worker`, whose warnings become ours.
pub(crate) struct Spokesman {
    process: Child,
    /// Gives the last line that it said.
    listener: JoinHandle<String>,
    cluster: String,
}

impl Spokesman {
    /// Starts `worker` with the `arguments` and `--cluster`, and with `input` on its standard input.
    ///
    /// # Errors
    /// The program is missing.
    pub fn start(
        cluster: &Cluster,
        arguments: impl FnOnce(&mut Command) -> &mut Command,
        input: &[u8],
    ) -> Result<Spokesman> {
        let worker = std::env::current_exe().map_err(Error::io("this program"))?.with_file_name("worker");
        let mut start = command(&worker);
        arguments(&mut start);
        start.arg("--cluster").arg(cluster.to_string()).args(["--log-format", "json"]);
        start.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = start
            .spawn()
            .map_err(|error| Error::io(worker.display())(error).hint("the program worker must lie beside this one"))?;
        let said = process.stderr.take();
        // It would wait if nobody read what it says.
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
        if let Some(mut pipe) = process.stdin.take() {
            match pipe.write_all(input) {
                // It ended before it had read everything, and says why.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
                written => written.map_err(Error::io("worker"))?,
            }
        }
        Ok(Spokesman { process, listener, cluster: cluster.to_string() })
    }

    /// What it writes to standard output.
    pub fn output(&mut self) -> Option<ChildStdout> {
        self.process.stdout.take()
    }

    /// How it ended, if it has.
    ///
    /// # Errors
    /// The system doesn't know the process.
    pub fn try_wait(&mut self) -> Result<Option<ExitStatus>> {
        self.process.try_wait().map_err(Error::io("worker"))
    }

    /// Waits until it ends.
    ///
    /// # Errors
    /// What it said last, if it failed.
    pub fn end(mut self) -> Result<()> {
        let status = self.process.wait().map_err(Error::io("worker"))?;
        let said = self.listener.join().unwrap_or_default();
        if status.success() {
            return Ok(());
        }
        let told = message(&said);
        Err(match told.split_once(": ") {
            Some((place, text)) => Error::new(place, text),
            None => Error::new(self.cluster, format!("{told} ({status})")),
        })
    }
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
