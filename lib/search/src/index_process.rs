//! A faiss index in a process of its own. faiss takes the ids, the graph and the list sizes of a file at their word, so
//! that a damaged one may crash it while it reads or at any later query; then only that process dies, and the command
//! ends with an error. The process begins as a copy of ours (fork), so it must be made before threads compute.

use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::net::UnixStream;

use hardmine_records::{Error, Input, Provenance, Result, foreign};

use crate::faiss_index::FaissIndex;
use crate::index_file::Header;
use crate::rank::Settings;
use crate::hit::Hit;

/// What the process may use beside four times the size of the index file and the memory of the settings.
const MEMORY: u64 = 1 << 30;

/// The index, as seen from outside.
pub(crate) struct IndexProcess {
    name: String,
    provenance: Provenance,
    process: libc::pid_t,
    to: BufWriter<UnixStream>,
    from: BufReader<UnixStream>,
    rows: usize,
    dim: usize,
}

impl IndexProcess {
    /// Reads the index `input`, to be searched with `settings`.
    ///
    /// # Errors
    /// A broken file, a metric other than inner product, search parameters that this kind of index doesn't have.
    pub(crate) fn open(input: &Input, settings: &Settings) -> Result<Self> {
        let (name, provenance) = (input.to_string(), Header::read(input)?.provenance);
        let io = |e| Error::io(&name)(e);
        let (ours, theirs) = UnixStream::pair().map_err(io)?;
        let file = input.path().metadata().map_err(io)?.len();
        // SAFETY: no other thread of ours computes yet, so that no lock that the copy needs is held.
        let process = match unsafe { libc::fork() } {
            -1 => return Err(io(io::Error::last_os_error())),
            0 => {
                drop(ours);
                be_quiet();
                limit_memory(4 * file + MEMORY + 2 * settings.memory as u64);
                // A panic and a failed write end it as a crash does: there is nobody to tell.
                drop(foreign("", || serve(&theirs, input, settings)));
                // SAFETY: nothing of the copy is used any more; what it has open is ours to close.
                unsafe { libc::_exit(0) }
            }
            process => process,
        };
        let from = BufReader::new(ours.try_clone().map_err(io)?);
        let to = BufWriter::new(ours);
        let mut index = IndexProcess { name, provenance, process, to, from, rows: 0, dim: 0 };
        (index.rows, index.dim) = index.answer(|from| Ok((number(from)?, number(from)?)))?;
        Ok(index)
    }

    /// The best `top_k` documents of every query, (Q, E); see [`FaissIndex::search`].
    pub(crate) fn search(&mut self, queries: &[f32], top_k: usize) -> Result<Vec<Vec<Hit>>> {
        // Where the process is gone, its answer is missing, too.
        drop(self.ask(queries, top_k));
        self.answer(|from| {
            let lists = number(from)?;
            let list = |from: &mut BufReader<UnixStream>| {
                let hits = number(from)?;
                (0..hits)
                    .map(|_| Ok(Hit { id: number(from)? as i64, score: f32::from_le_bytes(array(from)?) }))
                    .collect()
            };
            (0..lists).map(|_| list(from)).collect()
        })
    }

    fn ask(&mut self, queries: &[f32], top_k: usize) -> io::Result<()> {
        put(&mut self.to, top_k)?;
        put(&mut self.to, queries.len())?;
        queries.iter().try_for_each(|value| self.to.write_all(&value.to_le_bytes()))?;
        self.to.flush()
    }

    /// Reads an answer: 0 and what `read` reads, or 1 and an error's text.
    fn answer<T>(&mut self, read: impl FnOnce(&mut BufReader<UnixStream>) -> io::Result<T>) -> Result<T> {
        let from = &mut self.from;
        let answer = number(from).and_then(|failed| match failed {
            0 => read(from).map(Ok),
            _ => {
                let mut text = vec![0; number(from)?];
                from.read_exact(&mut text).map(|()| Err(String::from_utf8_lossy(&text).into_owned()))
            }
        });
        match answer {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(text)) => {
                let (place, message) = text.split_once(": ").unwrap_or((&self.name, &text));
                Err(Error::new(place, message))
            }
            Err(_) => Err(Error::new(
                &self.name,
                "faiss ended while it read or searched it: the index is damaged, or memory is short",
            )
            .hint("if there is memory enough, make the index anew")),
        }
    }

    /// Number of documents.
    pub(crate) fn len(&self) -> usize {
        self.rows
    }

    /// Dimension of the vectors.
    pub(crate) fn dim(&self) -> usize {
        self.dim
    }

    /// Where the vectors came from.
    pub(crate) fn provenance(&self) -> &Provenance {
        &self.provenance
    }
}

impl Drop for IndexProcess {
    fn drop(&mut self) {
        // SAFETY: the process is a child of ours that nobody else waits for.
        unsafe {
            libc::kill(self.process, libc::SIGKILL);
            libc::waitpid(self.process, std::ptr::null_mut(), 0);
        }
    }
}

/// The other process: loads the index, then answers until nobody asks any more.
fn serve(socket: &UnixStream, input: &Input, settings: &Settings) -> io::Result<()> {
    let (mut from, mut to) = (BufReader::new(socket), BufWriter::new(socket));
    let mut index = match FaissIndex::open(input, settings) {
        Ok(index) => index,
        Err(error) => return refuse(&mut to, &error),
    };
    for about in [0, index.len(), index.dim()] {
        put(&mut to, about)?;
    }
    to.flush()?;
    loop {
        let top_k = number(&mut from)?;
        let queries: Vec<f32> =
            (0..number(&mut from)?).map(|_| array(&mut from).map(f32::from_le_bytes)).collect::<io::Result<_>>()?;
        let lists = match index.search(&queries, top_k) {
            Ok(lists) => lists,
            Err(error) => return refuse(&mut to, &error),
        };
        put(&mut to, 0)?;
        put(&mut to, lists.len())?;
        for hits in lists {
            put(&mut to, hits.len())?;
            for hit in hits {
                put(&mut to, hit.id as usize)?;
                to.write_all(&hit.score.to_le_bytes())?;
            }
        }
        to.flush()?;
    }
}

fn refuse(to: &mut impl Write, error: &Error) -> io::Result<()> {
    let text = error.to_string();
    put(to, 1)?;
    put(to, text.len())?;
    to.write_all(text.as_bytes())?;
    to.flush()
}

fn put(to: &mut impl Write, number: usize) -> io::Result<()> {
    to.write_all(&(number as u64).to_le_bytes())
}

fn number(from: &mut impl Read) -> io::Result<usize> {
    array(from).map(|bytes| u64::from_le_bytes(bytes) as usize)
}

fn array<const N: usize>(from: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    from.read_exact(&mut bytes).map(|()| bytes)
}

/// What the C library says about a crash is not for the user, and a pipe that our output goes to must end with us.
/// The process dies with ours.
fn be_quiet() {
    // SAFETY: calls of the C library with valid arguments.
    unsafe {
        let null = libc::open(c"/dev/null".as_ptr(), libc::O_RDWR);
        for stream in 0..=2 {
            libc::dup2(null, stream);
        }
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
    }
}

/// A damaged size must fail to be allocated instead of taking the machine's memory.
fn limit_memory(more: u64) {
    let used = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    // The sixth number is that of the pages of data and stacks.
    let pages: u64 = used.split(' ').nth(5).and_then(|pages| pages.parse().ok()).unwrap_or(0);
    let threads = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    // SAFETY: calls of the C library with valid arguments.
    unsafe {
        let now = pages * libc::sysconf(libc::_SC_PAGESIZE) as u64;
        // Each thread has a stack of 8 MiB, and an arena of the allocator.
        let limit = now + more + threads * (80 << 20);
        libc::setrlimit(libc::RLIMIT_DATA, &libc::rlimit { rlim_cur: limit, rlim_max: limit });
    }
}
