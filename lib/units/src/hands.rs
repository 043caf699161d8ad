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

use hardmine_files::{Input, Part, parts};
use hardmine_records::{Error, ErrorKind, Result, provenance::COMMAND_OF_WHOLE};
use hardmine_stores::Copies;
use serde_json::Value;

use crate::job::{Job, Unit};
use crate::job_copies::JobCopies;
use crate::last::Last;

/// The programs that compute on a device.
const COMPUTE: [&str; 2] = ["embed", "rank"];
/// What the system says of a disk that is full.
const DISK_FULL: &str = "no space left on device";
/// Errors of the system that another worker may not meet.
const OF_THIS_MACHINE: [io::ErrorKind; 3] =
    [io::ErrorKind::StorageFull, io::ErrorKind::NotConnected, io::ErrorKind::PermissionDenied];

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
    /// The job that was read last, because its units come one after the other. Its file never changes: the name has the
    /// digest of its bytes.
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
    Command(String),
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
    pub fn job(&self, path: &Path) -> std::result::Result<Arc<Job>, Failure> {
        let read = || {
            tracing::info!("reading the job {}", path.display());
            Job::read(path)
        };
        self.job.get_or_make(path, read).map_err(|error| self.failure(&error, error.to_string()))
    }

    /// The shard of `unit` of `job`, whose command is only run if it is not there yet.
    ///
    /// # Errors
    /// A file that the unit reads is not what it was; its command fails; its shard has other provenance than is
    /// expected.
    pub fn run(&self, job: &Job, unit: &Unit) -> std::result::Result<Part, Failure> {
        let started = Instant::now();
        let copies = JobCopies::of(job, &self.copies).map_err(|error| self.failed(unit, error))?;
        let made = self.run_with(&copies, job, unit).map_err(|failure| match failure {
            Failure::Command(text) => Failure::Command(copies.with_urls(&text)),
            Failure::Worker(text) => Failure::Worker(copies.with_urls(&text)),
        })?;
        let (unit, seconds) = (copies.with_urls(&unit.name), started.elapsed().as_secs_f64());
        tracing::info!(target: "progress", "{} of {unit}: {} rows, {seconds:.1} s", job.program, made.rows);
        Ok(made)
    }

    fn run_with(&self, copies: &JobCopies, job: &Job, unit: &Unit) -> std::result::Result<Part, Failure> {
        let failed = |error| self.failed(unit, error);
        let target = job.part(unit);
        let path = copies.our_path(&target);
        let is_made = copies.is_made(&target).map_err(failed)?;
        if !is_made {
            copies.fetch(job, unit).map_err(failed)?;
            self.make(job, unit, &path, copies)?;
        }
        let (shards, about) = parts(&Input::from(path.as_path())).map_err(failed)?;
        for (name, expected) in &job.expected {
            if about.get(name) != Some(expected) {
                drop(fs::remove_dir_all(&path));
                let (name, found) = (name.trim_start_matches("hardmine."), about.get(name).unwrap_or("missing"));
                let text = format!("its {name} is {found}, but was {expected} when the work began");
                return Err(failed(Error::new(&job.program, text)));
            }
        }
        let Some(made) = shards.into_iter().next() else {
            return Err(failed(Error::new(&job.program, "made no shard")));
        };
        if !is_made {
            copies.send(job, unit, &target).map_err(failed)?;
        }
        Ok(made)
    }

    /// Runs the command of `unit`, which makes the folder `path`.
    fn make(&self, job: &Job, unit: &Unit, path: &Path, copies: &JobCopies) -> std::result::Result<(), Failure> {
        let program = self.programs.join(&job.program);
        let mut command = command(&program);
        command
            .args(job.options.iter().chain(&unit.arguments).map(|argument| copies.our_argument(argument)))
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
        let folder = copies.root().filter(|_| !job.folder.is_dir()).unwrap_or(&job.folder);
        command.current_dir(folder).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let done = command.output().map_err(|error| {
            let folder = folder.display();
            Failure::Worker(format!("{}: can't run {} in {folder} ({error})", self.name, program.display()))
        })?;
        let said = String::from_utf8_lossy(&done.stderr);
        if done.status.success() && path.exists() {
            return Ok(());
        }
        let (program, name) = (&job.program, &self.name);
        match done.status.code() {
            // Another worker may have room for its temporary files.
            Some(_) if said.to_lowercase().contains(DISK_FULL) => {
                Err(Failure::Worker(format!("{name}: {}", message(&said))))
            }
            // What it says is one line, and the last one.
            Some(_) => Err(self.failed(unit, Error::new(program, message(&said)))),
            None => Err(Failure::Worker(format!("{name}: {program} of {}: {}", unit.name, done.status))),
        }
    }

    fn failed(&self, unit: &Unit, error: Error) -> Failure {
        self.failure(&error, format!("{} on {}: {error}", unit.name, self.name))
    }

    /// What an error means, and the `text` for it if it is nobody's fault here.
    fn failure(&self, error: &Error, text: String) -> Failure {
        match error.kind() {
            ErrorKind::Io(kind) if OF_THIS_MACHINE.contains(&kind) => {
                Failure::Worker(format!("{}: {error}", self.name))
            }
            _ => Failure::Command(text),
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
    use std::io;

    use hardmine_records::Error;

    use super::{DISK_FULL, message};

    #[test]
    fn the_last_line_says_what_was_wrong() {
        let said = "{\"level\": \"WARN\"}\n{\"level\": \"ERROR\", \"message\": \"x: is empty\"}\n\n";
        assert_eq!(message(said), "x: is empty");
        assert_eq!(message("terminate called\n"), "terminate called");
        assert_eq!(message(""), "failed without a word");
    }

    #[test]
    fn a_full_disk_is_known_by_what_a_program_says_of_it() {
        let full = io::Error::from_raw_os_error(libc::ENOSPC);
        assert!(full.to_string().to_lowercase().contains(DISK_FULL));
        assert!(Error::io("x")(full).to_string().contains(DISK_FULL));
    }
}
