//! How every command behaves: logging, one-line errors, exit codes, progress, and the closing line.

use std::io::{IsTerminal, Write};
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use clap::error::ErrorKind;
use clap::{Args, CommandFactory, Parser, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use tracing_subscriber::EnvFilter;

use crate::error::one_line;
use crate::foreign::panic_text;
use crate::{Error, Input, source, streams, temporary};

/// Options that every command has.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Messages")]
pub struct Common {
    /// Say more: -v for what is done, -vv for details (RUST_LOG overrides it)
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    verbose: u8,

    /// Say nothing but errors
    #[arg(short, long, conflicts_with = "verbose", global = true)]
    quiet: bool,

    /// Form of log lines on standard error
    #[arg(long, value_enum, default_value_t = LogFormat::Text, global = true)]
    log_format: LogFormat,
}

/// Form of log lines.
#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
enum LogFormat {
    /// Lines for people
    Text,
    /// One JSON object a line
    Json,
}

/// What a command has done so far: drives the progress bar and the closing line.
pub struct Report {
    started: Instant,
    rows: u64,
    notes: Vec<String>,
    bar: ProgressBar,
    quiet: bool,
}

impl Report {
    /// Starts a progress bar over `total` rows (unknown for a stream) of what `unit` names, such as "texts".
    pub fn progress(&mut self, total: Option<u64>, unit: &str) {
        if self.quiet || !std::io::stderr().is_terminal() {
            return;
        }
        let (bar, template) = match total {
            Some(total) => (ProgressBar::new(total), "{bar:30} {human_pos}/{human_len} UNIT, {per_sec}, {eta} left"),
            None => (ProgressBar::new_spinner(), "{spinner} {human_pos} UNIT, {per_sec}"),
        };
        if let Ok(style) = ProgressStyle::with_template(&template.replace("UNIT", unit)) {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(200));
        self.bar = bar;
    }

    /// Counts rows done.
    pub fn add(&mut self, rows: u64) {
        self.rows += rows;
        self.bar.inc(rows);
    }

    /// Adds something the user should know to the closing line.
    pub fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }
}

/// Runs a command: parses its arguments, and turns what comes of it into an exit code (0 done, also
/// when the reader of our output went away; 1 failed, with one line on standard error; 2 wrong usage).
pub fn main<A: Parser>(common: fn(&A) -> &Common, run: fn(A, &mut Report) -> anyhow::Result<()>) -> ExitCode {
    let name = program_name();
    let matches = A::command().name(name).try_get_matches();
    let arguments = match matches.and_then(|matches| A::from_arg_matches(&matches)) {
        Ok(arguments) => arguments,
        Err(told) => return tell(name, &told),
    };
    let common = common(&arguments).clone();
    start_logging(&common);
    clear_temporaries_on_signals();
    // Our own line below says what happened; a backtrace would say it a second time.
    panic::set_hook(Box::new(|_| ()));

    let bar = ProgressBar::hidden();
    let mut report = Report { started: Instant::now(), rows: 0, notes: Vec::new(), bar, quiet: common.quiet };
    let result = panic::catch_unwind(AssertUnwindSafe(|| run(arguments, &mut report)));
    report.bar.finish_and_clear();
    let message = match result {
        Ok(Ok(())) => {
            if !common.quiet {
                closing_line(name, &report, common.log_format);
            }
            return ExitCode::SUCCESS;
        }
        Ok(Err(error)) if is_closed_pipe(&error) => return ExitCode::SUCCESS,
        Ok(Err(error)) => format!("{error:#}"),
        Err(panic) => format!("internal error, please report it: {}", panic_text(&*panic)),
    };
    let line = one_line(&message);
    match common.log_format {
        LogFormat::Text => say(&format!("{name}: {line}")),
        LogFormat::Json => say(&serde_json::json!({ "level": "ERROR", "command": name, "message": line }).to_string()),
    }
    ExitCode::FAILURE
}

/// Prints what clap has to say: what is wrong with the arguments, or the help or version that was asked for.
fn tell(name: &str, told: &clap::Error) -> ExitCode {
    let place = "standard output";
    let lost = match told.print() {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Some(Error::io(place)(error)),
        _ if !told.use_stderr() && streams::stdout_was_closed() => Some(Error::new(place, "is closed")),
        _ => None,
    };
    match lost {
        Some(error) => {
            say(&format!("{name}: {error}"));
            ExitCode::FAILURE
        }
        None => ExitCode::from(told.exit_code() as u8),
    }
}

/// The name the program was called by; clap would take that of the package.
fn program_name() -> &'static str {
    let path = std::env::args_os().next().unwrap_or_default();
    let name = Path::new(&path).file_name().map_or("hardmine".into(), |name| name.to_string_lossy().into_owned());
    // Once, for as long as the program runs.
    name.leak()
}

/// Unlike `eprintln!`, no panic when standard error is closed, as behind `2>&1 | head`.
fn say(line: &str) {
    drop(writeln!(std::io::stderr(), "{line}"));
}

fn start_logging(common: &Common) {
    let level = match (common.quiet, common.verbose) {
        (true, _) => "error",
        (_, 0) => "warn",
        (_, 1) => "info",
        _ => "debug",
    };
    let filter = match std::env::var("RUST_LOG") {
        Ok(filter) => EnvFilter::new(filter),
        Err(_) => EnvFilter::new(level),
    };
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match common.log_format {
        LogFormat::Text => lines.with_target(false).with_ansi(std::io::stderr().is_terminal()).init(),
        LogFormat::Json => lines.json().init(),
    }
}

fn closing_line(name: &str, report: &Report, format: LogFormat) {
    let seconds = report.started.elapsed().as_secs_f64();
    let speed = report.rows as f64 / seconds.max(1e-9);
    let memory = peak_memory() >> 20;
    match format {
        LogFormat::Text => {
            let notes: String = report.notes.iter().map(|note| format!(", {note}")).collect();
            say(&format!(
                "{name}: {} rows, {seconds:.1} s, {speed:.0} rows/s, peak memory {memory} MiB{notes}",
                report.rows
            ));
        }
        LogFormat::Json => {
            let rows = report.rows;
            let line = serde_json::json!({
                "level": "INFO", "command": name, "rows": rows, "seconds": seconds,
                "rows_per_second": speed, "peak_memory_mib": memory, "notes": report.notes,
            });
            say(&line.to_string());
        }
    }
}

/// The most memory this process, or one that worked for it, has had, in bytes.
pub fn peak_memory() -> u64 {
    // SAFETY: getrusage fills the struct it is given, and all zeros is a valid one.
    let peak = |who| unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(who, &mut usage);
        usage.ru_maxrss as u64 * 1024
    };
    peak(libc::RUSAGE_SELF).max(peak(libc::RUSAGE_CHILDREN))
}

/// Whether the reader of our output went away, which ends a pipe as `| head` does and is no failure.
fn is_closed_pipe(error: &anyhow::Error) -> bool {
    let io = error.chain().filter_map(|cause| cause.downcast_ref::<std::io::Error>());
    io.into_iter().any(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}

/// Ends the program as wrong usage where two of `inputs` name standard input, or the same pipe: the second reader would
/// find nothing, or every other piece.
pub fn check_inputs<A: CommandFactory>(inputs: &[&Input]) {
    if let Some(twice) = source::named_twice(inputs) {
        let text = format!("{twice} can be only one of the inputs: it is read once");
        A::command().name(program_name()).error(ErrorKind::ArgumentConflict, text).exit();
    }
}

/// Signals that end a program, and give it the time to clear away what is half done.
const ENDING: [libc::c_int; 3] = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP];

/// Has a thread of its own wait for the signals that end the program. It then clears the temporaries and exits with
/// 128 and the signal's number, as shells say it: 130 for SIGINT, 143 for SIGTERM.
fn clear_temporaries_on_signals() {
    // SAFETY: both structs are filled in before they are read. Threads that are started later inherit the mask, so
    // that none but the one that waits gets these signals.
    let awaited = unsafe {
        let mut awaited: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut awaited);
        for signal in ENDING {
            let mut action: libc::sigaction = std::mem::zeroed();
            libc::sigaction(signal, std::ptr::null(), &mut action);
            // nohup has it ignored, and that is meant. Shells have SIGINT ignored by what they start in the
            // background, where whoever sends it means the program.
            if signal != libc::SIGHUP || action.sa_sigaction != libc::SIG_IGN {
                libc::sigaddset(&mut awaited, signal);
            }
        }
        libc::pthread_sigmask(libc::SIG_BLOCK, &awaited, std::ptr::null_mut());
        awaited
    };
    thread::spawn(move || {
        let mut signal = 0;
        // SAFETY: the set is a valid one.
        if unsafe { libc::sigwait(&awaited, &mut signal) } == 0 {
            temporary::clear_all();
            // SAFETY: nothing of this process is used any more. Its other threads are still at work, so that
            // exit's destructors would pull the libraries away from under them.
            unsafe { libc::_exit(128 + signal) };
        }
    });
}
