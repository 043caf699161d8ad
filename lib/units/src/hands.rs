//! Runs the command of a unit: our own program in a process of its own, which leaves nothing behind when it is killed
//! and gives all of its memory back when it ends.

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

use hardmine_files::{Input, Part, check_part, parts};
use hardmine_records::{Error, ErrorKind, Result, provenance::COMMAND_OF_WHOLE};
use hardmine_stores::Copies;
use serde_json::Value;

use crate::copied::Copied;
use crate::job::{Job, Unit};
use crate::last::Last;

/// The programs that compute on a device.
const COMPUTE: [&str; 2] = ["embed", "rank"];
/// What the system says of a disk that is full.
const DISK_FULL: &str = "No space left on device";

/// How the commands of this worker run.
pub struct Hands {
    /// The folder of the programs.
    programs: PathBuf,
    /// The device for programs that compute on one; none leaves it to them.
    device: Option<String>,
    /// How many threads each command has; none leaves it to the program.
    threads: Option<usize>,
    /// What the worker is called in errors.
    name: String,
    /// Copies of what is in object stores.
    copies: Last<Copies>,
    /// The job that was read last, whose units come one after the other. The name of its file tells its content.
    job: Last<Job>,
}

impl fmt::Debug for Hands {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "Hands({})", self.name)
    }
}

/// Why a unit has no outcome.
pub enum Failure {
    /// Its command failed, as it would elsewhere.
    Command(Error),
    /// This worker is at fault, so that another one may do better.
    Worker(String),
}

impl Hands {
    /// The programs beside this one, on the device `device` and with `threads` threads each where these are given.
    /// `name` is what this worker is called in errors.
    ///
    /// # Errors
    /// The system doesn't tell where this program is.
    pub fn new(device: Option<String>, threads: Option<usize>, name: String) -> Result<Hands> {
        let program = std::env::current_exe().map_err(Error::io("this program"))?;
        let programs = program.parent().map(Path::to_owned).unwrap_or_default();
        Ok(Hands { programs, device, threads, name, copies: Last::default(), job: Last::default() })
    }

    /// The job in the file `path`.
    ///
    /// # Errors
    /// As [`Job::read`].
    pub fn job(&self, path: &Path) -> Result<Arc<Job>> {
        self.job.get_or_make(path, || Job::read(path))
    }

    /// The shard of `unit` of `job`, whose command is only run if it is not there yet.
    ///
    /// # Errors
    /// A file that the unit reads is not what it was; its command fails; its shard has other provenance than is
    /// expected.
    pub fn run(&self, job: &Job, unit: &Unit) -> std::result::Result<Part, Failure> {
        let started = Instant::now();
        let copied = Copied::of(job, &self.copies).map_err(|error| self.failed(unit, error))?;
        let target = job.part(unit);
        let (path, is_made) = match &copied {
            Some(copied) => {
                (copied.our_path(&target), copied.is_made(&target).map_err(|error| self.failed(unit, error))?)
            }
            None => (target.clone(), target.exists()),
        };
        if !is_made {
            let check = |(read, sha256): &(PathBuf, String)| check_part(&job.folder.join(read), sha256);
            match &copied {
                Some(copied) => copied.fetch(job, unit),
                None => unit.reads.iter().try_for_each(check),
            }
            .map_err(|error| self.failed(unit, error))?;
            self.make(job, unit, &path, copied.as_ref())?;
        }
        let (shards, about) = parts(&Input::from(path.as_path())).map_err(|error| self.failed(unit, error))?;
        for (name, expected) in &job.expected {
            if about.get(name) != Some(expected) {
                drop(fs::remove_dir_all(&path));
                let (name, found) = (name.trim_start_matches("hardmine."), about.get(name).unwrap_or("missing"));
                let text = format!("its {name} is {found}, but was {expected} when the work began");
                return Err(self.failed(unit, Error::new(&job.program, text)));
            }
        }
        let Some(made) = shards.into_iter().next() else {
            return Err(self.failed(unit, Error::new(&job.program, "made no shard")));
        };
        if let Some(copied) = copied.filter(|_| !is_made) {
            copied.send(job, unit, &target).map_err(|error| self.failed(unit, error))?;
        }
        let seconds = started.elapsed().as_secs_f64();
        tracing::info!(target: "progress", "{} of {}: {} rows, {seconds:.1} s", job.program, unit.name, made.rows);
        Ok(made)
    }

    /// Runs the command of `unit`, which makes the folder `path`.
    fn make(&self, job: &Job, unit: &Unit, path: &Path, copied: Option<&Copied>) -> std::result::Result<(), Failure> {
        let program = self.programs.join(&job.program);
        let mut command = command(&program);
        let ours = |argument: &String| copied.map_or_else(|| argument.clone(), |copied| copied.ours(argument));
        command
            .args(job.options.iter().chain(&unit.arguments).map(ours))
            .arg(&job.output)
            .arg(path.join(""))
            .args(["--log-format", "json"]);
        if let Some(device) = self.device.as_ref().filter(|_| COMPUTE.contains(&job.program.as_str())) {
            command.args(["--device", device]);
        }
        if let Some(threads) = self.threads {
            let threads = threads.to_string();
            command.env("OMP_NUM_THREADS", &threads).env("RAYON_NUM_THREADS", &threads);
        }
        command.env(COMMAND_OF_WHOLE, &job.command).env_remove("HARDMINE_JOURNAL").env_remove("RUST_LOG");
        // Where all is in stores, machines need not have the folders of the client.
        let folder = match copied {
            Some(copied) if !job.folder.is_dir() => copied.root(),
            _ => &job.folder,
        };
        command.current_dir(folder).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let done = command.output().map_err(|error| {
            let folder = folder.display();
            Failure::Worker(format!("{}: can't run {} in {folder} ({error})", self.name, program.display()))
        })?;
        let said = String::from_utf8_lossy(&done.stderr);
        let said = copied.map_or_else(|| said.clone().into_owned(), |copied| copied.with_urls(&said));
        if done.status.success() && path.exists() {
            return Ok(());
        }
        let (program, name) = (&job.program, &self.name);
        match done.status.code() {
            // Another worker may have room for its temporary files.
            Some(_) if said.contains(DISK_FULL) => Err(Failure::Worker(format!("{name}: {}", message(&said)))),
            // What it says is one line, and the last one.
            Some(_) => Err(self.failed(unit, Error::new(program, message(&said)))),
            None => Err(Failure::Worker(format!("{name}: {program} of {}: {}", unit.name, done.status))),
        }
    }

    fn failed(&self, unit: &Unit, error: Error) -> Failure {
        match error.kind() {
            ErrorKind::Io(io::ErrorKind::StorageFull) => Failure::Worker(format!("{}: {error}", self.name)),
            _ => Failure::Command(Error::new(format!("{} on {}", unit.name, self.name), error)),
        }
    }
}

/// A command that ends when this process does.
pub(crate) fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    // SAFETY: prctl is called between fork and exec, where it is allowed, and takes no memory.
    unsafe {
        command.pre_exec(|| match libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        });
    }
    command
}

/// What a program said last, with --log-format json.
pub(crate) fn message(said: &str) -> String {
    let last = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("failed without a word");
    let told =
        serde_json::from_str::<Value>(last).ok().and_then(|line| Some(line.get("message")?.as_str()?.to_owned()));
    told.unwrap_or_else(|| last.to_owned())
}

#[cfg(test)]
mod tests {
    use super::message;

    #[test]
    fn the_last_line_says_what_was_wrong() {
        let said = "{\"level\": \"WARN\"}\n{\"level\": \"ERROR\", \"message\": \"x: is empty\"}\n\n";
        assert_eq!(message(said), "x: is empty");
        assert_eq!(message("terminate called\n"), "terminate called");
        assert_eq!(message(""), "failed without a word");
    }
}
