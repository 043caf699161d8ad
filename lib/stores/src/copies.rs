//! Copies of what stores hold, in a temporary folder of this machine.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use futures::{StreamExt, TryStreamExt, stream};
use hardmine_files::{MANIFEST, Temporary, contents};
use hardmine_records::{Error, Result};
use object_store::path::Path as Key;
use object_store::{GetResultPayload, ObjectStore, ObjectStoreExt, PutPayload, WriteMultipart};
use tokio::runtime::{Builder, Runtime};

use crate::connection::{connect, failed};
use crate::location::Location;

/// Requests that are under way at once.
const REQUESTS: usize = 8;
/// Bytes that are sent by one request; larger files are sent in several.
const PIECE: usize = 16 << 20;
/// Bytes of the largest file that S3 itself copies.
const LARGEST_COPY: u64 = 5 << 30;

/// What of a file, or of a dataset, is fetched. Any other folder is fetched as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fetch {
    /// All of it.
    Whole,
    /// Files, and of a dataset its manifest, for those who hand out its shards to others.
    Manifest,
    /// The manifest of a dataset, and of a file only its name: an empty file. For those who tell others what to read.
    Name,
}

/// Copies in a folder, each under the name of the store, the bucket and its own in it.
pub struct Copies {
    root: PathBuf,
    /// Goes away with the copies.
    _folder: Temporary,
    /// What requests run in. It is taken away when the copies go.
    runtime: Option<Runtime>,
    /// The stores that were connected to, by their URLs.
    stores: Mutex<HashMap<String, Arc<dyn ObjectStore>>>,
    /// The folders that were fetched to their end. One thread fetches at a time, lest another one takes for whole what
    /// is still coming.
    folders: Mutex<HashSet<(Location, Fetch)>>,
}

/// The copies that this process works on, in a folder that is made when they are first asked for.
///
/// # Errors
/// The temporary folder can't be written.
pub fn copies() -> Result<&'static Copies> {
    static MAKING: Mutex<()> = Mutex::new(());
    let _making = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
    match COPIES.get() {
        Some(copies) => Ok(copies),
        None => {
            let copies = Copies::new()?;
            Ok(COPIES.get_or_init(|| copies))
        }
    }
}

/// The copies that this process works on, if there are some.
pub fn copies_of_this_process() -> Option<&'static Copies> {
    COPIES.get()
}

/// Where in a store the file or folder lies whose copy is at `path`, if this process has copied it, or will send it.
pub fn origin(path: &Path) -> Option<Location> {
    Location::of_copy(copies_of_this_process()?.root(), path)
}

static COPIES: OnceLock<Copies> = OnceLock::new();

impl Copies {
    /// In a temporary folder, which goes away with them.
    ///
    /// # Errors
    /// The temporary folder can't be written.
    pub fn new() -> Result<Copies> {
        let folder = std::env::temp_dir();
        let folder = Temporary::folder(&folder.join("stores")).map_err(Error::io(folder.display()))?;
        // Paths of copies are told by it, and programs resolve links in paths.
        let root = fs::canonicalize(folder.path()).map_err(Error::io(folder.path().display()))?;
        let runtime = Some(Builder::new_current_thread().enable_all().build().map_err(Error::at("runtime"))?);
        Ok(Copies { root, _folder: folder, runtime, stores: Mutex::default(), folders: Mutex::default() })
    }

    /// The folder with all copies.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where the copy of `location` lies, whether there is one or not.
    pub fn path(&self, location: &Location) -> PathBuf {
        location.below(&self.root)
    }

    /// `text` with URLs in the place of the paths of copies.
    pub fn with_urls(&self, text: &str) -> String {
        let root = self.root.to_string_lossy();
        let text = text.replace(&format!("{root}/s3/"), "s3://");
        text.replace(&format!("{root}/gs/"), "gs://")
    }

    /// Fetches the file or folder at `location`, unless that was done before. Returns the path of the copy.
    ///
    /// # Errors
    /// It is not there; the store can't be reached, or refuses; the disk is full.
    pub fn fetch(&self, location: &Location, fetch: Fetch) -> Result<PathBuf> {
        let path = self.path(location);
        let mut folders = self.folders.lock().unwrap_or_else(PoisonError::into_inner);
        let is_fetched = |fetch| folders.contains(&(location.clone(), fetch));
        if path.is_file() || path.is_dir() && (is_fetched(Fetch::Whole) || is_fetched(fetch)) {
            return Ok(path);
        }
        self.wait(async {
            let store = self.store(location)?;
            match store.head(location.key()).await {
                Ok(_) if fetch == Fetch::Name => name_file(&path),
                Ok(_) => fetch_file(&*store, location, &path).await,
                Err(object_store::Error::NotFound { .. }) => {
                    let all = names(&*store, location).await?;
                    let wanted = match fetch {
                        Fetch::Manifest | Fetch::Name if all.contains(MANIFEST) => {
                            all.into_iter().filter(|name| name == MANIFEST || name.starts_with('.')).collect()
                        }
                        _ => all,
                    };
                    if wanted.is_empty() {
                        return Err(Error::new(
                            location,
                            "is not there: no file has this name, and none lies below it",
                        ));
                    }
                    // The manifest last: a folder that has one is whole.
                    let (last, first): (Vec<_>, Vec<_>) = wanted.into_iter().partition(|name| name == MANIFEST);
                    for names in [first, last] {
                        let files = stream::iter(names.into_iter().map(|name| {
                            let (location, path, store) = (location.join(&name), path.join(&name), &store);
                            async move { fetch_file(&**store, &location, &path).await }
                        }));
                        files.buffer_unordered(REQUESTS).try_collect::<Vec<()>>().await?;
                    }
                    Ok(())
                }
                Err(error) => Err(failed(location, &error)),
            }
        })?;
        if path.is_dir() {
            folders.insert((location.clone(), fetch));
        }
        Ok(path)
    }

    /// The bytes of a file that is known to be small.
    ///
    /// # Errors
    /// It is not there, or has more than `limit` bytes; the store can't be reached, or refuses.
    pub fn read_small(&self, location: &Location, limit: u64) -> Result<Vec<u8>> {
        self.wait(async {
            let found = self.store(location)?.get(location.key()).await.map_err(|error| failed(location, &error))?;
            if found.meta.size > limit {
                return Err(Error::new(location, format!("has more than {} MiB, which can't be right", limit >> 20)));
            }
            found.bytes().await.map(Vec::from).map_err(|error| failed(location, &error))
        })
    }

    /// Sends the copy of `location`, a file or a folder, to its store. What a folder held before and no longer holds is
    /// removed. The manifest of a dataset comes after its shards. Until it does, those who read the dataset that was
    /// there before find shards whose SHA-256 is not that of its manifest.
    ///
    /// # Errors
    /// The store can't be reached, or refuses.
    pub fn send(&self, location: &Location) -> Result<()> {
        let path = self.path(location);
        self.wait(async {
            let store = self.store(location)?;
            if !path.is_dir() {
                return send_file(&*store, &path, location).await;
            }
            let before = names(&*store, location).await?;
            let files = contents(&path).map_err(Error::io(path.display()))?;
            let names: BTreeSet<String> = files.iter().map(|file| file.to_string_lossy().into_owned()).collect();
            let (last, first): (Vec<_>, Vec<_>) = names.iter().partition(|name| *name == MANIFEST);
            for names in [first, last] {
                let files = stream::iter(names.into_iter().map(|name| {
                    let (location, path, store) = (location.join(name), path.join(name), &store);
                    async move { send_file(&**store, &path, &location).await }
                }));
                files.buffer_unordered(REQUESTS).try_collect::<Vec<()>>().await?;
            }
            remove(&*store, location, before.difference(&names)).await
        })
    }

    /// Sends `bytes` as the file at `location`.
    ///
    /// # Errors
    /// The store can't be reached, or refuses.
    pub fn put(&self, location: &Location, bytes: Vec<u8>) -> Result<()> {
        self.wait(async {
            let put = self.store(location)?.put(location.key(), PutPayload::from(bytes)).await;
            put.map(drop).map_err(|error| failed(location, &error))
        })
    }

    /// Has the store copy a file; one that is too large for that comes through this machine.
    ///
    /// # Errors
    /// There is no such file; the store can't be reached, or refuses.
    pub fn duplicate(&self, from: &Location, to: &Location) -> Result<()> {
        self.wait(async {
            let store = self.store(from)?;
            let found = store.head(from.key()).await.map_err(|error| failed(from, &error))?;
            if found.size <= LARGEST_COPY {
                return store.copy(from.key(), to.key()).await.map_err(|error| failed(from, &error));
            }
            let found = store.get(from.key()).await.map_err(|error| failed(from, &error))?;
            let target = self.store(to)?;
            let upload = target.put_multipart(to.key()).await.map_err(|error| failed(to, &error))?;
            let mut pieces = WriteMultipart::new_with_chunk_size(upload, PIECE);
            let mut bytes = found.into_stream();
            while let Some(next) = bytes.next().await {
                let next = match next {
                    Ok(next) => next,
                    Err(error) => {
                        drop(pieces.abort().await);
                        return Err(failed(from, &error));
                    }
                };
                pieces.wait_for_capacity(REQUESTS).await.map_err(|error| failed(to, &error))?;
                pieces.put(next);
            }
            pieces.finish().await.map(drop).map_err(|error| failed(to, &error))
        })
    }

    /// Whether there is a file at `location`.
    ///
    /// # Errors
    /// The store can't be reached, or refuses.
    pub fn has_file(&self, location: &Location) -> Result<bool> {
        self.wait(async {
            match self.store(location)?.head(location.key()).await {
                Ok(_) => Ok(true),
                Err(object_store::Error::NotFound { .. }) => Ok(false),
                Err(error) => Err(failed(location, &error)),
            }
        })
    }

    /// The names of all files in the folder `location` and in those below it.
    ///
    /// # Errors
    /// The store can't be reached, or refuses.
    pub fn names(&self, location: &Location) -> Result<BTreeSet<String>> {
        self.wait(async { names(&*self.store(location)?, location).await })
    }

    /// Removes the file at `location`.
    ///
    /// # Errors
    /// The store can't be reached, or refuses.
    pub fn remove_file(&self, location: &Location) -> Result<()> {
        self.wait(async {
            self.store(location)?.delete(location.key()).await.map_err(|error| failed(location, &error))
        })
    }

    /// Removes all files in the folder `location`, and in those below it.
    ///
    /// # Errors
    /// The store can't be reached, or refuses.
    pub fn remove(&self, location: &Location) -> Result<()> {
        self.wait(async {
            let store = self.store(location)?;
            let all = names(&*store, location).await?;
            remove(&*store, location, all.iter()).await
        })
    }

    fn store(&self, location: &Location) -> Result<Arc<dyn ObjectStore>> {
        let mut stores = self.stores.lock().unwrap_or_else(PoisonError::into_inner);
        let name = format!("{}://{}", location.scheme(), location.bucket());
        match stores.get(&name) {
            Some(store) => Ok(store.clone()),
            None => {
                let store = connect(location)?;
                stores.insert(name, store.clone());
                Ok(store)
            }
        }
    }

    fn wait<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        match &self.runtime {
            Some(runtime) => runtime.block_on(work),
            None => Err(Error::new("object stores", "are not reached any more")),
        }
    }
}

impl Drop for Copies {
    /// Another runtime may be at work where this one ends, which must not wait then.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Makes an empty file at `path`.
fn name_file(path: &Path) -> Result<()> {
    let folder = path.parent().unwrap_or(path);
    fs::create_dir_all(folder).and_then(|()| fs::write(path, "")).map_err(Error::io(path.display()))
}

/// Writes the file at `location` to `path`, where it appears when it is whole.
async fn fetch_file(store: &dyn ObjectStore, location: &Location, path: &Path) -> Result<()> {
    let place = path.display().to_string();
    let folder = path.parent().unwrap_or(path);
    fs::create_dir_all(folder).map_err(Error::io(&place))?;
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(Error::io(&place))?;
    let found = store.get(location.key()).await.map_err(|error| failed(location, &error))?;
    let size = found.meta.size;
    let mut written = 0;
    let GetResultPayload::Stream(mut bytes) = found.payload else {
        return Err(Error::new(location, "is not in an object store"));
    };
    while let Some(bytes) = bytes.next().await {
        let bytes = bytes.map_err(|error| failed(location, &error))?;
        written += bytes.len() as u64;
        io::Write::write_all(&mut file, &bytes).map_err(Error::io(&place))?;
    }
    if written != size {
        return Err(Error::new(location, format!("has {size} bytes, but only {written} came")));
    }
    file.persist(path).map_err(|error| Error::io(&place)(error.error))?;
    Ok(())
}

/// Sends the file at `path`, whose bytes are held in memory piece by piece.
async fn send_file(store: &dyn ObjectStore, path: &Path, location: &Location) -> Result<()> {
    let place = path.display().to_string();
    let mut file = fs::File::open(path).map_err(Error::io(&place))?;
    let size = file.metadata().map_err(Error::io(&place))?.len();
    if size <= PIECE as u64 {
        let bytes = fs::read(path).map_err(Error::io(&place))?;
        let put = store.put(location.key(), PutPayload::from(bytes)).await;
        return put.map(drop).map_err(|error| failed(location, &error));
    }
    let upload = store.put_multipart(location.key()).await.map_err(|error| failed(location, &error))?;
    let mut pieces = WriteMultipart::new_with_chunk_size(upload, PIECE);
    let mut piece = vec![0; PIECE];
    loop {
        let read = match io::Read::read(&mut file, &mut piece) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) => {
                drop(pieces.abort().await);
                return Err(Error::io(&place)(error));
            }
        };
        pieces.wait_for_capacity(REQUESTS).await.map_err(|error| failed(location, &error))?;
        pieces.write(&piece[..read]);
    }
    pieces.finish().await.map(drop).map_err(|error| failed(location, &error))
}

async fn names(store: &dyn ObjectStore, location: &Location) -> Result<BTreeSet<String>> {
    let name = |key: &Key| {
        let parts = key.prefix_match(location.key())?;
        Some(parts.map(|part| part.as_ref().to_owned()).collect::<Vec<_>>().join("/"))
    };
    let all = store.list(Some(location.key())).try_collect::<Vec<_>>().await;
    let all = all.map_err(|error| failed(location, &error))?;
    Ok(all.iter().filter_map(|found| name(&found.location)).filter(|name| !name.is_empty()).collect())
}

async fn remove(store: &dyn ObjectStore, location: &Location, names: impl Iterator<Item = &String>) -> Result<()> {
    let keys: Vec<_> = names.map(|name| Ok(location.join(name).key().clone())).collect();
    let removed = store.delete_stream(stream::iter(keys).boxed()).try_collect::<Vec<_>>().await;
    removed.map(drop).map_err(|error| failed(location, &error))
}
