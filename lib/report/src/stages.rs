//! What each stage took: the journal that make has every command write to, and the sizes of what came out.

use std::fs;
use std::path::Path;

use hardmine_records::{Error, Result};
use serde::Deserialize;

use crate::folder::{Folder, PARTS, PARTS_OF_SOME};

/// Where make keeps what the commands said of themselves when they were done: their closing lines, one JSON object a
/// line.
pub(crate) const JOURNAL: &str = "stages.jsonl";

/// A line of the journal.
#[derive(Deserialize)]
struct Line {
    /// The file that was made.
    stage: String,
    command: String,
    rows: u64,
    seconds: f64,
    peak_memory_mib: u64,
}

/// What it took to make one file, by one command or by several in a pipe.
pub(crate) struct Stage {
    pub(crate) file: String,
    /// In the order of the pipe, as they ended.
    pub(crate) commands: Vec<String>,
    pub(crate) rows: u64,
    /// Of the command that took longest.
    pub(crate) seconds: f64,
    /// Of all commands together, in MiB.
    pub(crate) memory: u64,
    /// Bytes on disk; none if the file is gone.
    pub(crate) size: Option<u64>,
}

/// The stages in the order in which they were done last.
///
/// # Errors
/// A journal that can't be read.
pub(crate) fn stages(folder: &Folder) -> Result<Vec<Stage>> {
    let Some(path) = folder.existing("", JOURNAL) else { return Ok(Vec::new()) };
    let text = fs::read_to_string(&path).map_err(Error::io(path.display()))?;
    let mut lines: Vec<Line> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line: Line =
            serde_json::from_str(line).map_err(|error| Error::at_line(path.display(), number + 1, error))?;
        // What was made again has its last line count.
        lines.retain(|earlier| (&earlier.stage, &earlier.command) != (&line.stage, &line.command));
        lines.push(line);
    }
    let mut stages: Vec<Stage> = Vec::new();
    for line in lines {
        let stage = match stages.iter_mut().find(|stage| stage.file == line.stage) {
            Some(stage) => stage,
            None => {
                let size = made(folder, &line.stage);
                let file = line.stage;
                stages.push(Stage { file, commands: Vec::new(), rows: 0, seconds: 0.0, memory: 0, size });
                stages.last_mut().expect("was pushed")
            }
        };
        stage.commands.push(line.command);
        stage.rows = line.rows;
        stage.seconds = stage.seconds.max(line.seconds);
        stage.memory += line.peak_memory_mib;
    }
    Ok(stages)
}

/// The size of what a stage made: a file, or the folder of a model.
fn made(folder: &Folder, file: &str) -> Option<u64> {
    let path = folder.path.join(file.strip_suffix("/config.json").unwrap_or(file));
    path.exists().then(|| size(&path))
}

/// What there is in one of the folders: its name, number of files or models, and bytes.
pub(crate) fn sizes(folder: &Folder) -> Vec<(&'static str, usize, u64)> {
    let of = |part: &'static str| {
        let names = folder.list(part);
        let bytes = names.iter().map(|name| size(&folder.file(part, name))).sum();
        // Beside a model there are its settings.
        let number = names.iter().filter(|name| !name.ends_with(".settings")).count();
        (part, number, bytes)
    };
    PARTS.into_iter().chain(PARTS_OF_SOME).map(of).filter(|(_, number, _)| *number > 0).collect()
}

/// Bytes of a file, or of all files in a folder. Links are not followed: what they point at was not made here.
fn size(path: &Path) -> u64 {
    match fs::symlink_metadata(path) {
        Ok(about) if about.is_dir() => {
            let entries = fs::read_dir(path).into_iter().flatten().flatten();
            entries.map(|entry| size(&entry.path())).sum()
        }
        Ok(about) if about.is_file() => about.len(),
        _ => 0,
    }
}

/// A size as people write it.
pub(crate) fn bytes(size: u64) -> String {
    match size {
        0..1_000 => format!("{size} B"),
        1_000..1_000_000 => format!("{:.1} kB", size as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", size as f64 / 1e6),
        _ => format!("{:.2} GB", size as f64 / 1e9),
    }
}

/// A time as people write it.
pub(crate) fn duration(seconds: f64) -> String {
    match seconds {
        ..120.0 => format!("{seconds:.1} s"),
        ..7200.0 => format!("{:.1} min", seconds / 60.0),
        _ => format!("{:.1} h", seconds / 3600.0),
    }
}
