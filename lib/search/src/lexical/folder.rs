//! The folder of a lexical index: tantivy's files, the ids of the documents, and a description of it all. It appears
//! whole or not at all, and takes the place of nothing but an earlier index.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use hardmine_files::{Temporary, contents, put_folder, put_folder_back, read_small, resolve, sync_all, sync_folder};
use hardmine_records::{Error, Provenance, Result, provenance};

/// The description: the provenance as a JSON object.
const DESCRIPTION: &str = "hardmine.json";
/// The ids of the documents, in their order: a tokens file whose lists are empty, which `remap-ids` reads as well.
pub(crate) const KEYS: &str = "keys.arrow";
/// Kind of record, in the description.
const KIND: &str = "lexical-index";
/// Version of this layout.
const VERSION: u32 = 1;
/// Bytes that a description may have.
const LONGEST: u64 = 1 << 20;

/// Reads the description of the index in `folder`.
///
/// # Errors
/// There is none, or it is of another kind or version.
pub(crate) fn read(folder: &Path) -> Result<Provenance> {
    let place = folder.display();
    let file = folder.join(DESCRIPTION);
    if !file.is_file() {
        return Err(Error::new(&place, format!("is a folder without a {DESCRIPTION}, so it is no lexical index"))
            .hint("index --lexical makes one from texts"));
    }
    let bytes = read_small(&file, LONGEST)?;
    let entries: BTreeMap<String, String> = serde_json::from_slice(&bytes).map_err(Error::at(file.display()))?;
    let about = Provenance::from_metadata(&entries);
    let (kind, version) = (about.get(provenance::KIND), about.get(provenance::SCHEMA_VERSION));
    if kind != Some(KIND) || version != Some(&VERSION.to_string()) {
        let found = format!("{} of version {}", kind.unwrap_or("no kind"), version.unwrap_or("none"));
        let text = format!("describes {found}; this program reads {KIND} of version {VERSION}");
        return Err(Error::new(file.display(), text));
    }
    Ok(about)
}

/// An index that is being written under a temporary name beside its own.
pub(crate) struct NewFolder {
    /// Where it will be, without links.
    path: PathBuf,
    /// The path as it was given.
    place: String,
    temporary: Temporary,
}

impl NewFolder {
    /// Begins the folder `path`.
    ///
    /// # Errors
    /// `path` is standard output; or it is there and neither empty nor an index of ours with nothing else in it; or its
    /// parent is not writable.
    pub fn create(path: &Path) -> Result<Self> {
        let place = path.display().to_string();
        if place == "-" {
            return Err(Error::new("--output -", "a lexical index is a folder, which can't go to standard output")
                .hint("-o FOLDER"));
        }
        let path = resolve(path).map_err(Error::io(&place))?;
        let parent = path.parent().ok_or_else(|| Error::new(&place, "is the root of all folders"))?;
        put_folder_back(&path).map_err(Error::io(&place))?;
        check_replaceable(&place, &path)?;
        let temporary = Temporary::folder(&path)
            .map_err(|e| Error::new(parent.display(), format!("can't write into this folder: {}", e.kind())))?;
        Ok(NewFolder { path, place, temporary })
    }

    /// Where to write its files.
    pub fn temporary(&self) -> &Path {
        self.temporary.path()
    }

    /// The name used in errors.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// Describes the folder, and gives it its name once it is safely on disk.
    ///
    /// # Errors
    /// The disk fails, or what is at its place was changed since the folder was begun.
    pub fn commit(self, mut about: Provenance) -> Result<()> {
        let io = |e| Error::io(&self.place)(e);
        let files = contents(self.temporary()).map_err(io)?;
        about.set(provenance::KIND, KIND);
        about.set(provenance::SCHEMA_VERSION, VERSION);
        about.stamp_program();
        about.set(provenance::FILES, serde_json::to_string(&files).map_err(Error::at(&self.place))?);
        let entries: BTreeMap<&str, &str> = about.iter().collect();
        let description = serde_json::to_vec_pretty(&entries).map_err(Error::at(&self.place))?;
        fs::write(self.temporary().join(DESCRIPTION), description).map_err(io)?;
        sync_all(self.temporary()).map_err(io)?;
        check_replaceable(&self.place, &self.path)?;
        self.temporary.place(|new| put_folder(new, &self.path)).map_err(io)?;
        sync_folder(self.path.parent().unwrap_or(Path::new("/"))).map_err(io)
    }
}

/// Refuses what would be lost: anything but an empty folder, or an index as we wrote it.
fn check_replaceable(place: &str, path: &Path) -> Result<()> {
    let Ok(found) = path.symlink_metadata() else { return Ok(()) };
    let refuse = |what: String| Err(Error::new(place, what).hint("choose another --output, or move it away"));
    if !found.is_dir() {
        return refuse("is a file, and a lexical index is a folder".into());
    }
    let files = contents(path).map_err(Error::io(place))?;
    if files.is_empty() {
        return Ok(());
    }
    let Ok(about) = read(path) else { return refuse("exists and is not a lexical index".into()) };
    let ours = about.get(provenance::FILES).and_then(|files| serde_json::from_str::<Vec<PathBuf>>(files).ok());
    let ours = ours.unwrap_or_default();
    match files.iter().find(|file| !ours.contains(file) && file.as_os_str() != DESCRIPTION) {
        Some(foreign) => refuse(format!("holds {}, which is not part of the index", foreign.display())),
        None => Ok(()),
    }
}
