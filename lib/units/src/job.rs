//! What is to be done: commands that make one shard each.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use hardmine_files::{Format, Input, Output, Part, Table, Temporary, Writer, parts, read_small, sha256_of};
use hardmine_records::{Error, Result, provenance};
use hardmine_stores::{Location, copies, copies_of_this_process, is_url};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Version of everything that a client and a worker must agree on, beside the program's own.
const PROTOCOL: u32 = 3;
/// Bytes that the file of a job may have: enough for some hundred thousand units.
const LONGEST: u64 = 256 << 20;
/// The programs that a worker runs, and no others.
const PROGRAMS: [&str; 5] = ["tokenize", "embed", "rank", "mine-negatives", "score"];

/// Commands of one program that differ in what they read.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Job {
    /// Version of the program and of the protocol that made the job.
    pub(crate) version: String,
    /// The folder in which the commands run, so that paths may be relative.
    pub(crate) folder: PathBuf,
    /// The folder of the files that they make.
    pub(crate) parts: PathBuf,
    /// The folder of the client that has copies of what is in object stores. A path below it stands for the file in the
    /// store.
    pub(crate) copies: Option<PathBuf>,
    /// The command line that the files say they come from.
    pub(crate) command: String,
    /// One of the programs that have --cluster.
    pub program: String,
    /// The option that names what a command makes.
    pub output: String,
    /// Options that all commands have.
    pub options: Vec<String>,
    /// Entries of the provenance that every file must have, such as the digest of the model.
    pub expected: Vec<(String, String)>,
    /// What decides the bytes of all files, besides what a unit reads: options, digests of models and the like.
    pub settings: Vec<String>,
    /// The commands.
    pub units: Vec<Unit>,
    /// How many documents of each query are kept where the shards are runs, of which one is to be made.
    pub merge: Option<usize>,
    /// How many inputs were copied for the commands.
    #[serde(skip)]
    inputs: usize,
    /// The folder of the files, if it goes away with the job.
    #[serde(skip)]
    _temporary: Option<Temporary>,
}

/// A command that makes one shard.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unit {
    /// What it is about, for logs and errors, such as rows 0..2048.
    pub name: String,
    /// Options and files that only this command has.
    pub arguments: Vec<String>,
    /// Files that it reads, with the SHA-256 that they must have.
    pub reads: Vec<(PathBuf, String)>,
    /// What decides the bytes of its file, besides what it reads.
    pub settings: Vec<String>,
}

impl Unit {
    /// A command that works on these `rows` of the file or dataset `input`.
    pub fn of_rows(rows: &Range<u64>, input: &Path) -> Unit {
        let (range, input) = (format!("{}..{}", rows.start, rows.end), input.to_string_lossy().into_owned());
        Unit {
            name: format!("rows {range} of {input}"),
            arguments: vec![format!("--rows={range}"), input],
            reads: Vec::new(),
            settings: vec![range],
        }
    }

    /// Makes sure that the command reads these files, and that they are still what they are now.
    pub fn reading<'a>(mut self, parts: impl IntoIterator<Item = &'a Part>) -> Self {
        self.reads.extend(parts.into_iter().map(|part| (part.path.clone(), part.sha256.clone())));
        self
    }
}

/// The files that `inputs` consist of: the shards of datasets, and other files as they are.
///
/// # Errors
/// An input that can't be read, or not more than once.
pub fn files_of<'a>(inputs: impl IntoIterator<Item = &'a Input>) -> Result<Vec<Part>> {
    let mut files = Vec::new();
    for input in inputs {
        if input.is_dataset() {
            files.extend(parts(input)?.0);
        } else {
            input.check_reopenable("can be read only once, and every part of the work reads it")?;
            let (path, sha256) = (input.path().to_owned(), sha256_of(input.path())?);
            files.push(Part { path, rows: 0, sha256 });
        }
    }
    Ok(files)
}

impl Job {
    /// A job of `program` for `output`. What the commands make is kept beside it until it is whole, and in the folder
    /// that the program runs in, as long as it runs, if it goes to standard output.
    ///
    /// # Errors
    /// The folder that the program runs in is gone; something that is no dataset is in the place of the output.
    pub fn new(program: &str, output: &Output) -> Result<Job> {
        output.check_replaceable()?;
        let folder = std::env::current_dir().map_err(Error::io("."))?;
        let mut temporary = None;
        let parts = match output {
            Output::Stdout => {
                let made = Temporary::folder(&folder.join(program)).map_err(Error::io(folder.display()))?;
                let path = made.path().to_owned();
                temporary = Some(made);
                path
            }
            output => {
                let target = hardmine_files::resolve(output.path()).map_err(Error::io(output))?;
                let name = target.file_name().unwrap_or_default().to_string_lossy().into_owned();
                folder.join(target.with_file_name(format!(".{name}.parts")))
            }
        };
        Ok(Job {
            version: version(),
            folder,
            parts,
            copies: copies_of_this_process().map(|copies| copies.root().to_owned()),
            command: provenance::command(),
            program: program.to_owned(),
            output: "--output".to_owned(),
            options: Vec::new(),
            expected: Vec::new(),
            settings: Vec::new(),
            units: Vec::new(),
            merge: None,
            inputs: 0,
            _temporary: temporary,
        })
    }

    /// The folder that the command of `unit` makes: a dataset of one shard, named by the digest of what decides its
    /// bytes.
    pub fn part(&self, unit: &Unit) -> PathBuf {
        let digests: Vec<&String> = unit.reads.iter().map(|(_, sha256)| sha256).collect();
        let all =
            (&self.version, &self.program, &self.expected, &self.settings, &unit.settings, digests, &self.command);
        // Text can always be written as JSON.
        let text = serde_json::to_vec(&all).unwrap_or_default();
        self.parts.join(hash(&text, 20))
    }

    /// Where in an object store `path` is, if it is in one.
    pub fn location(&self, path: &Path) -> Option<Location> {
        Location::of_copy(self.copies.as_deref()?, path)
    }

    /// The file with the run that the lists of all shards were merged into.
    pub fn merged(&self) -> PathBuf {
        self.parts.join("merged.arrow")
    }

    /// `input` itself if it can be read again; or else a copy that all commands can read, of what `open` opens.
    ///
    /// # Errors
    /// Those of reading it; the disk is full.
    pub fn reopenable(&mut self, input: &Input, open: impl FnOnce(&Input) -> Result<Table>) -> Result<Input> {
        match input.is_reopenable() {
            true => Ok(input.clone()),
            false => Ok(Input::Path(self.copy(open(input)?)?)),
        }
    }

    /// Copies `table` into a file beside the parts. Returns its path.
    fn copy(&mut self, mut table: Table) -> Result<PathBuf> {
        fs::create_dir_all(&self.parts).map_err(Error::io(self.parts.display()))?;
        let path = self.parts.join(format!("input-{}.arrow", self.inputs));
        self.inputs += 1;
        let output = Output::Path(path.clone(), Format::File);
        let mut writer = Writer::create(&output, table.kind(), table.schema(), table.provenance().clone())?;
        table.by_ref().try_for_each(|batch| writer.write(&batch?))?;
        writer.provenance_mut().merge(table.provenance());
        writer.finish()?;
        if let Some(location) = self.location(&path) {
            copies()?.send(&location)?;
        }
        Ok(path)
    }

    /// Writes the job into a file of the folder of its parts, where workers find it. Returns its path, or its URL.
    ///
    /// # Errors
    /// The folder can't be made, or the disk is full.
    pub fn write(&self) -> Result<PathBuf> {
        let parts = self.parts.display();
        fs::create_dir_all(&self.parts).map_err(Error::io(&parts))?;
        let text = serde_json::to_vec_pretty(self).map_err(Error::at(&parts))?;
        let digest = hash(&text, 8);
        let path = self.parts.join(format!("job-{digest}.json"));
        if let Some(location) = self.location(&path) {
            copies()?.put(&location, text)?;
            return Ok(location.to_string().into());
        }
        if !path.exists() {
            let unfinished = self.parts.join(format!("job-{digest}.{}", std::process::id()));
            fs::write(&unfinished, text).and_then(|()| fs::rename(&unfinished, &path)).map_err(Error::io(&parts))?;
        }
        Ok(path)
    }

    /// Reads the job at a path, or a URL, that [`Job::write`] returned.
    ///
    /// # Errors
    /// There is no such file on this machine; a job of another version, or of a program that is not ours.
    pub fn read(path: &Path) -> Result<Job> {
        let place = path.display();
        let text = match path.to_str().filter(|path| is_url(path)) {
            Some(url) => copies()?.read_small(&Location::parse(url)?, LONGEST)?,
            None => read_small(path, LONGEST).map_err(|error| {
                Error::new(&place, format!("this worker can't read the job ({error})"))
                    .hint("workers must see the folders of the client under the same paths")
            })?,
        };
        let value: serde_json::Value = serde_json::from_slice(&text).map_err(Error::at(&place))?;
        check_version(value["version"].as_str().unwrap_or("unknown"))?;
        let job: Job = serde_json::from_value(value).map_err(Error::at(&place))?;
        match PROGRAMS.contains(&job.program.as_str()) {
            true => Ok(job),
            false => Err(Error::new(place, format!("'{}' is no program that a worker runs", job.program))),
        }
    }
}

/// The first `bytes` bytes of the SHA-256 of `text`, in hexadecimal.
fn hash(text: &[u8], bytes: usize) -> String {
    Sha256::digest(text).iter().take(bytes).map(|byte| format!("{byte:02x}")).collect()
}

/// The version of this program and of the protocol.
pub fn version() -> String {
    format!("{}/{PROTOCOL}", env!("CARGO_PKG_VERSION"))
}

/// Refuses what a program of another version made.
///
/// # Errors
/// The version is another one.
pub fn check_version(found: &str) -> Result<()> {
    match found == version() {
        true => Ok(()),
        false => {
            let text = format!("is hardmine {}, but the plan is of hardmine {found}", version());
            Err(Error::new("this worker", text).hint("install the same version on all machines"))
        }
    }
}
