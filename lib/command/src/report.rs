//! What a command has done: its progress bar, and the line it closes with.

use std::fs::OpenOptions;
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::arguments::LogFormat;
use crate::say;

/// The variable of the environment that names the journal: a file to which every command that is done adds a line.
const JOURNAL: &str = "HARDMINE_JOURNAL";
/// The variable that says what the command is run for, such as the file that make makes of it.
const STAGE: &str = "HARDMINE_STAGE";

/// The progress bar that is on the terminal, which log lines must not be written into.
static SHOWN: OnceLock<ProgressBar> = OnceLock::new();

/// Standard error, with the progress bar below what is written.
pub(crate) struct AboveBar;

impl Write for AboveBar {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let write = || io::stderr().write(line);
        SHOWN.get().map_or_else(write, |bar| bar.suspend(write))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
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
    /// Starts the clock. With `quiet` there is neither a bar nor a closing line.
    pub(crate) fn start(quiet: bool) -> Self {
        Report { started: Instant::now(), rows: 0, notes: Vec::new(), bar: ProgressBar::hidden(), quiet }
    }

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
        drop(SHOWN.set(bar.clone()));
        self.bar = bar;
    }

    /// Counts rows done.
    pub fn add(&mut self, rows: u64) {
        self.rows += rows;
        self.bar.inc(rows);
    }

    /// Moves the progress bar where it counts something else than rows, such as shards.
    pub fn advance(&self, units: u64) {
        self.bar.inc(units);
    }

    /// Adds something the user should know to the closing line.
    pub fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }
}

impl Report {
    /// Ends the progress bar.
    pub(crate) fn end(&self) {
        self.bar.finish_and_clear();
    }

    /// Says what the command `name` has done, and writes it to the journal if there is one.
    pub(crate) fn close(&self, name: &str, format: LogFormat) {
        let seconds = self.started.elapsed().as_secs_f64();
        let speed = self.rows as f64 / seconds.max(1e-9);
        let memory = peak_memory() >> 20;
        if let Some(journal) = std::env::var_os(JOURNAL).filter(|path| !path.is_empty()) {
            let line = serde_json::json!({
                "stage": std::env::var(STAGE).unwrap_or_default(), "command": name, "rows": self.rows,
                "seconds": seconds, "peak_memory_mib": memory, "notes": self.notes,
            });
            if let Err(error) = append(Path::new(&journal), &line.to_string()) {
                say(&format!("{name}: {}: the journal could not be written: {error}", journal.display()));
            }
        }
        if self.quiet {
            return;
        }
        match format {
            LogFormat::Text => {
                let notes: String = self.notes.iter().map(|note| format!(", {note}")).collect();
                say(&format!(
                    "{name}: {} rows, {seconds:.1} s, {speed:.0} rows/s, peak memory {memory} MiB{notes}",
                    self.rows
                ));
            }
            LogFormat::Json => {
                let rows = self.rows;
                let line = serde_json::json!({
                    "level": "INFO", "command": name, "rows": rows, "seconds": seconds,
                    "rows_per_second": speed, "peak_memory_mib": memory, "notes": self.notes,
                });
                say(&line.to_string());
            }
        }
    }
}

/// Adds a line to a file. It is written at once, so that commands that run side by side don't mix their lines.
fn append(path: &Path, line: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().create(true).append(true).open(path)?;
    file.write_all(format!("{line}\n").as_bytes())
}

/// The most memory that this process, or one that worked for it, has had, in bytes.
fn peak_memory() -> u64 {
    // SAFETY: getrusage fills the struct it is given, and all zeros is a valid one.
    let peak = |who| unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(who, &mut usage);
        usage.ru_maxrss as u64 * 1024
    };
    peak(libc::RUSAGE_SELF).max(peak(libc::RUSAGE_CHILDREN))
}
