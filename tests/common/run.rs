//! Runs a command and says all about it when it did not do what was expected.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::FromRawFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

/// Our eleven.
pub const BINARIES: [&str; 11] =
    ["tokenize", "embed", "index", "rank", "mine-negatives", "train", "score", "remap-ids", "sql", "report", "worker"];

fn bin() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_tokenize")).parent().unwrap()
}

/// A command about to be run.
pub struct Command {
    inner: std::process::Command,
    folder: PathBuf,
    stdin: Option<Vec<u8>>,
}

/// What came of a command.
pub struct Done {
    line: String,
    listing: String,
    pub code: Option<i32>,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

impl Command {
    pub(super) fn new(folder: &Path, program: &str) -> Command {
        let ours = bin().join(program);
        let mut inner =
            std::process::Command::new(if BINARIES.contains(&program) { ours.as_path() } else { program.as_ref() });
        let path = std::env::var("PATH").unwrap_or_default();
        inner.current_dir(folder).env("PATH", format!("{}:{path}", bin().display()));
        // Several tests run at once, and idle threads that spin take their time.
        inner.env("OMP_NUM_THREADS", "1").env_remove("RUST_LOG").stdin(Stdio::null());
        // Under nohup, whoever runs the tests has SIGHUP ignored, and commands would inherit that.
        // SAFETY: signal may be called between fork and exec.
        unsafe {
            inner.pre_exec(|| {
                libc::signal(libc::SIGHUP, libc::SIG_DFL);
                Ok(())
            });
        }
        Command { inner, folder: folder.into(), stdin: None }
    }

    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Command {
        self.inner.arg(arg);
        self
    }

    pub fn args(mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Command {
        self.inner.args(args);
        self
    }

    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Command {
        self.inner.env(name, value);
        self
    }

    pub fn without_env(mut self, name: &str) -> Command {
        self.inner.env_remove(name);
        self
    }

    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Command {
        self.stdin = Some(bytes.into());
        self
    }

    /// Runs it to its end.
    pub fn done(mut self) -> Done {
        if self.stdin.is_some() {
            self.inner.stdin(Stdio::piped());
        }
        let mut child = self.inner.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // A command that fails early does not read all of its input.
        let feeder = self
            .stdin
            .take()
            .zip(child.stdin.take())
            .map(|(bytes, mut pipe)| std::thread::spawn(move || drop(pipe.write_all(&bytes))));
        let output = child.wait_with_output().unwrap();
        feeder.into_iter().for_each(|feeder| feeder.join().unwrap());
        self.finished(output.status.code(), output.stdout, &output.stderr)
    }

    /// Runs it to its end, which must be a good one.
    #[track_caller]
    pub fn ok(self) -> Done {
        let done = self.done();
        done.check(done.code == Some(0), "should succeed");
        done
    }

    /// Runs it to its end: exit code 1, nothing on standard output, and exactly one line on standard
    /// error, which begins with the command's name and has all of `texts` in it.
    #[track_caller]
    pub fn fails(self, texts: &[&str]) -> Done {
        let name = Path::new(self.inner.get_program()).file_name().unwrap().to_str().unwrap().to_owned();
        let done = self.done();
        done.check(done.code == Some(1), "should fail with exit code 1");
        done.check(done.stderr.lines().count() == 1, "should say one line");
        done.check(name == "bash" || done.stderr.starts_with(&format!("{name}: ")), "should begin with its name");
        done.check(!done.stderr.contains("internal error"), "should not panic");
        for text in texts {
            done.check(done.stderr.contains(text), &format!("should say '{text}'"));
        }
        done
    }

    /// Runs it to its end: exit code 2, and a usage message with all of `texts` in it.
    #[track_caller]
    pub fn fails_as_wrong_usage(self, texts: &[&str]) {
        let done = self.done();
        done.check(done.code == Some(2), "should fail with exit code 2");
        done.check(done.stdout.is_empty(), "should write nothing to standard output");
        for text in texts {
            done.check(done.stderr.contains(text), &format!("should say '{text}'"));
        }
    }

    /// Runs it to its end with a standard output that nobody reads.
    pub fn into_closed_pipe(mut self) -> Done {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let child = self.inner.stdout(writer).stderr(Stdio::piped()).spawn().unwrap();
        self.inner.stdout(Stdio::null());
        let output = child.wait_with_output().unwrap();
        self.finished(output.status.code(), Vec::new(), &output.stderr)
    }

    /// Starts it, its standard streams piped.
    pub fn start(mut self) -> Child {
        self.inner.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// Runs it with some of its streams on a terminal; returns what it did and what the terminal got.
    pub fn on_terminal(mut self, streams: &[Terminal]) -> (Done, String) {
        let (terminal, device) = open_terminal();
        let stream = |wanted| match streams.contains(&wanted) {
            true => Stdio::from(device.try_clone().unwrap()),
            false => Stdio::piped(),
        };
        self.inner.stdout(stream(Terminal::Stdout)).stderr(stream(Terminal::Stderr));
        if streams.contains(&Terminal::Stdin) {
            self.inner.stdin(device.try_clone().unwrap());
        }
        let child = self.inner.spawn().unwrap();
        // The terminal ends when the last holder of its device does.
        drop(device);
        self.inner.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let reader = std::thread::spawn(move || {
            let mut shown = Vec::new();
            let mut terminal = terminal;
            drop(terminal.read_to_end(&mut shown));
            String::from_utf8_lossy(&shown).into_owned()
        });
        let output = child.wait_with_output().unwrap();
        (self.finished(output.status.code(), output.stdout, &output.stderr), reader.join().unwrap())
    }

    fn finished(self, code: Option<i32>, stdout: Vec<u8>, stderr: &[u8]) -> Done {
        let words = std::iter::once(self.inner.get_program()).chain(self.inner.get_args());
        let line = words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ");
        // What is linked there is there for every test.
        let find = ["-mindepth", "1", "-maxdepth", "2", "!", "-type", "l", "-printf", "%M %8s %P\n"];
        let listing = std::process::Command::new("find").args(find).current_dir(&self.folder).output().unwrap();
        let listing = String::from_utf8_lossy(&listing.stdout).into_owned();
        Done { line, listing, code, stdout, stderr: String::from_utf8_lossy(stderr).into_owned() }
    }
}

impl Done {
    /// Standard output as text.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.stdout).unwrap()
    }

    #[track_caller]
    pub fn check(&self, holds: bool, wanted: &str) {
        let stdout = String::from_utf8_lossy(&self.stdout[..self.stdout.len().min(2000)]);
        assert!(
            holds,
            "{wanted}\n$ {}\nexit code {:?}\n--- folder\n{}--- standard output ({} bytes)\n{stdout}\n--- standard error\n{}",
            self.line,
            self.code,
            self.listing,
            self.stdout.len(),
            self.stderr
        );
    }
}

/// A stream of a command.
#[derive(Clone, Copy, PartialEq)]
pub enum Terminal {
    Stdin,
    Stdout,
    Stderr,
}

/// Our end of a new pseudo-terminal, and the end that a command gets.
fn open_terminal() -> (File, File) {
    let (mut ours, mut theirs) = (0, 0);
    // SAFETY: openpty fills in the two descriptors, and nobody else owns them.
    unsafe {
        let (name, settings) = (std::ptr::null_mut(), std::ptr::null());
        let size = libc::winsize { ws_row: 24, ws_col: 100, ws_xpixel: 0, ws_ypixel: 0 };
        assert_eq!(libc::openpty(&mut ours, &mut theirs, name, settings, &size), 0, "no pseudo-terminal");
        libc::fcntl(ours, libc::F_SETFD, libc::FD_CLOEXEC);
        libc::fcntl(theirs, libc::F_SETFD, libc::FD_CLOEXEC);
        (File::from_raw_fd(ours), File::from_raw_fd(theirs))
    }
}
