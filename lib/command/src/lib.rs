//! How every command behaves: its arguments, messages on one line, progress, exit codes and signals. Only the binaries
//! stand above this room.

mod arguments;
mod report;
mod signals;
mod stores;

use std::io::{IsTerminal, Write};
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
use hardmine_files::{panic_text, stdout_was_closed};
use hardmine_records::{Error, ErrorKind, one_line};
use tracing_subscriber::EnvFilter;

pub use arguments::{
    Common, ForeignIds, TextColumns, check_inputs, id_space, one_of, options_given, os_text, output, row_range,
    wrong_usage,
};
pub use report::Report;

use arguments::LogFormat;
use report::AboveBar;

/// Runs a command: parses its arguments, and turns what comes of it into an exit code (0 done, also
/// when the reader of our output went away; 1 failed, with one line on standard error; 2 wrong usage).
pub fn main<A: Parser>(common: fn(&A) -> &Common, run: fn(A, &mut Report) -> anyhow::Result<()>) -> ExitCode {
    let name = program_name();
    let parse = || {
        let matches = A::command().name(name).try_get_matches_from(stores::arguments());
        matches.and_then(|matches| A::from_arg_matches(&matches))
    };
    let common = match parse() {
        Ok(arguments) => common(&arguments).clone(),
        Err(told) => return tell(name, &told),
    };
    start_logging(&common);
    signals::clear_temporaries_on_signals();
    // Our own line below says what happened; a backtrace would say it a second time.
    panic::set_hook(Box::new(|_| ()));

    let mut report = Report::start(common.quiet);
    let result = panic::catch_unwind(AssertUnwindSafe(|| {
        let outputs = stores::fetch()?;
        run(parse()?, &mut report)?;
        Ok(stores::send(&outputs)?)
    }));
    report.end();
    stores::clear();
    let message = match result {
        Ok(Ok(())) => {
            report.close(name, common.log_format);
            return ExitCode::SUCCESS;
        }
        Ok(Err(error)) if is_closed_pipe(&error) => return ExitCode::SUCCESS,
        Ok(Err(error)) => format!("{error:#}"),
        Err(panic) => format!("internal error, please report it: {}", panic_text(&*panic)),
    };
    let line = stores::with_urls(&one_line(&message));
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
        _ if !told.use_stderr() && stdout_was_closed() => Some(Error::new(place, "is closed")),
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
        // What tantivy says of a damaged index, our own error says as well.
        (true, _) => "error,tantivy=off",
        // A worker that waits for its scheduler would say so many times a second.
        // Lines of this target were asked for, as the measurements of train --dev-queries are.
        (_, 0) => "warn,progress=info,tantivy=off,ballista_executor=error",
        (_, 1) => "info",
        _ => "debug",
    };
    let filter = match std::env::var("RUST_LOG") {
        Ok(filter) => EnvFilter::new(filter),
        Err(_) => EnvFilter::new(level),
    };
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(|| AboveBar);
    match common.log_format {
        LogFormat::Text => lines.with_target(false).with_ansi(std::io::stderr().is_terminal()).init(),
        LogFormat::Json => lines.json().init(),
    }
}

/// Whether the reader of our output went away, which ends a pipe as `| head` does and is no failure.
fn is_closed_pipe(error: &anyhow::Error) -> bool {
    let is_broken_pipe = |cause: &(dyn std::error::Error + 'static)| {
        let ours = cause.downcast_ref::<Error>().map(Error::kind);
        let systems = cause.downcast_ref::<std::io::Error>().map(|error| ErrorKind::Io(error.kind()));
        ours.or(systems) == Some(ErrorKind::Io(std::io::ErrorKind::BrokenPipe))
    };
    error.chain().any(is_broken_pipe)
}
