//! URLs on the command line. What an argument names in an object store is fetched before the command begins, and the
//! argument becomes the path of the copy; what a command wrote for a URL is sent when it is done.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use hardmine_files::{MANIFEST, check_of_dataset, clear_all};
use hardmine_records::{Error, Result};
use hardmine_stores::{Fetch, Location, copies, copies_of_this_process, is_url};

use crate::program_name;

/// Options that name what a command writes, beside -o.
const OUTPUTS: [&str; 3] = ["--output", "--per-query", "--report"];
/// The programs that leave the shards of a dataset to others with --cluster. Others divide a table by what is in it.
const HAND_OUT_SHARDS: [&str; 4] = ["tokenize", "embed", "rank", "sql"];
/// The scheme of what is no store: files of this machine.
const FILE: &str = "file://";

static ARGUMENTS: OnceLock<Vec<OsString>> = OnceLock::new();

/// What of an argument is a URL, and what stands before it: an option, or the name of a table.
struct Named<'a> {
    before: &'a str,
    url: &'a str,
}

/// The arguments of this process with paths in the place of URLs. Nothing is fetched, so that a command line that is
/// wrong is refused at once.
pub(crate) fn arguments() -> Vec<OsString> {
    ARGUMENTS.get().cloned().unwrap_or_else(|| std::env::args_os().collect())
}

/// Fetches what the arguments name, and returns what is to be sent in the end.
///
/// # Errors
/// What is named is not there, or can't be fetched; an output that can't be in a store.
pub(crate) fn fetch() -> Result<Vec<Location>> {
    let given: Vec<OsString> = std::env::args_os().collect();
    let is_handed_out = HAND_OUT_SHARDS.contains(&program_name())
        && given.iter().filter_map(|text| text.to_str()).any(|text| text.starts_with("--cluster"));
    let mut outputs = Vec::new();
    let mut arguments = Vec::with_capacity(given.len());
    for (index, argument) in given.iter().enumerate() {
        let option = index.checked_sub(1).and_then(|before| given[before].to_str());
        arguments.push(match named(argument) {
            None => argument.clone(),
            Some(named) if named.url.starts_with(FILE) => named.with(Path::new(&named.url[FILE.len()..])),
            Some(named) if named.is_output(option) => {
                let location = Location::parse(named.url)?;
                let path = output(&location, named.url.ends_with('/'))?;
                outputs.push(location);
                named.with(&path)
            }
            Some(named) => {
                let fetch = match is_handed_out {
                    // A cluster reads the tables of sql itself.
                    true if named.is_table() => Fetch::Name,
                    true => Fetch::Manifest,
                    false => Fetch::Whole,
                };
                named.with(&copies()?.fetch(&Location::parse(named.url)?, fetch)?)
            }
        });
    }
    drop(ARGUMENTS.set(arguments));
    Ok(outputs)
}

impl Named<'_> {
    /// Whether it is what the command writes; `option` is the argument before.
    fn is_output(&self, option: Option<&str>) -> bool {
        match self.before.strip_suffix('=') {
            _ if self.before.is_empty() => option.is_some_and(names_output),
            Some(option) => names_output(option),
            None => names_output(self.before),
        }
    }

    /// Whether it is a table with a name, as sql has them.
    fn is_table(&self) -> bool {
        self.before.ends_with('=') && !self.before.starts_with('-')
    }

    /// The argument with `path` in the place of the URL.
    fn with(&self, path: &Path) -> OsString {
        let mut argument = OsString::from(self.before);
        argument.push(path);
        argument
    }
}

/// Whether what follows an option is what a command writes. -o may stand behind options of one letter, as in -qo.
fn names_output(option: &str) -> bool {
    let letters = option.strip_prefix('-').filter(|letters| letters.chars().all(|letter| letter.is_ascii_alphabetic()));
    OUTPUTS.contains(&option) || letters.is_some_and(|letters| letters.ends_with('o'))
}

/// Where the output for `location` is written to. Of a folder, what is there already is fetched as far as it tells
/// whether it may be replaced. It may be a folder without the slash, too, as for an index of BM25.
fn output(location: &Location, is_folder: bool) -> Result<PathBuf> {
    if program_name() == "train" {
        let text = "is in an object store, and training goes on from a folder of this machine where it was cut off";
        return Err(Error::new(location, text).hint("train into a folder, and copy that when it is done"));
    }
    let path = copies()?.path(location);
    let before = copies()?.names(location)?;
    if !before.is_empty() {
        copies()?.fetch(location, Fetch::Manifest)?;
    }
    if before.contains(MANIFEST) {
        // The shards that it names are not here, and what it does not name is not, either.
        let files: Vec<PathBuf> = before.iter().map(PathBuf::from).collect();
        check_of_dataset(&location.to_string(), &path, &files)?;
    }
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(Error::io(folder.display()))?;
    }
    // With its slash, by which a folder is known.
    Ok(if is_folder { path.join("") } else { path })
}

/// Sends what a command wrote for `outputs`. What it sent itself has no copy here.
///
/// # Errors
/// The store can't be reached, or refuses.
pub(crate) fn send(outputs: &[Location]) -> Result<()> {
    let Some(copies) = copies_of_this_process() else { return Ok(()) };
    let written = outputs.iter().filter(|output| copies.path(output).exists());
    written.into_iter().try_for_each(|output| copies.send(output))
}

/// Removes the copies.
pub(crate) fn clear() {
    if copies_of_this_process().is_some() {
        clear_all();
    }
}

/// `text` with URLs in the place of the paths of copies.
pub(crate) fn with_urls(text: &str) -> String {
    match copies_of_this_process() {
        Some(copies) => copies.with_urls(text),
        None => text.to_owned(),
    }
}

fn named(argument: &OsStr) -> Option<Named<'_>> {
    let text = argument.to_str()?;
    let starts = [0, 2].into_iter().chain(text.find('=').map(|equals| equals + 1));
    let mut named = starts.filter_map(|start| Some(Named { before: text.get(..start)?, url: text.get(start..)? }));
    named.find(|Named { before, url }| {
        let is_option = before.is_empty() || before.ends_with('=') || before.starts_with('-');
        is_option && (is_url(url) || url.starts_with("file:///"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_found_where_arguments_have_them() {
        for (argument, before) in [
            ("s3://b/x", Some("")),
            ("--model=s3://b/x", Some("--model=")),
            ("-os3://b/x", Some("-o")),
            ("run=gs://b/x", Some("run=")),
            ("file:///tmp/x", Some("")),
            ("SELECT 's3://b/x'", None),
            ("--prompt=query: ", None),
            ("é", None),
        ] {
            assert_eq!(named(OsStr::new(argument)).map(|named| named.before), before, "{argument}");
        }
    }
}
