//! A faiss index in a process of its own. faiss trusts the ids, the graph and the list sizes of a file, so that a
//! damaged one may crash it while it reads or at any later query. Then only that process dies, and the command ends
//! with an error. The process starts as a copy of ours (fork), so it must be made before threads compute.

use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::net::UnixStream;

use hardmine_files::foreign;
use hardmine_records::{Error, Provenance, Result};

use crate::faiss_index::FaissIndex;
use crate::hit::Hit;
use crate::index_file::Header;
use crate::settings::RankSettings;

/// Bytes that the process may use beside four times the size of the index file and the memory of the settings.
const MEMORY: u64 = 1 << 30;

/// The index, as seen from our process. The other one ends with it.
pub(crate) struct IndexProcess {
    name: String,
    provenance: Provenance,
    process: libc::pid_t,
    questions: BufWriter<UnixStream>,
    answers: BufReader<UnixStream>,
    rows: usize,
    dim: usize,
}

impl IndexProcess {
    /// Loads the index of a file to search it with `settings`.
    ///
    /// # Errors
    /// A broken file, and search parameters that this kind of index does not have.
    ///
    /// # Safety
    /// No other thread of our process may be at work. Only the calling thread goes on in the copy, where what another
    /// one was changing stays half changed, and a lock that it held stays locked. Threads that wait for work or for a
    /// signal do no harm.
    pub(crate) unsafe fn open(header: Header, settings: &RankSettings) -> Result<Self> {
        let (name, provenance) = (header.file.to_string(), header.provenance.clone());
        let io = |e| Error::io(&name)(e);
        let (ours, theirs) = UnixStream::pair().map_err(io)?;
        let file = header.file.path().metadata().map_err(io)?.len();
        // SAFETY: the caller promises that no other thread is at work, so that all memory of the copy is in order.
        let process = match unsafe { libc::fork() } {
            -1 => return Err(io(io::Error::last_os_error())),
            0 => {
                drop(ours);
                end_with_parent();
                close_standard_streams();
                limit_memory(4 * file + MEMORY + 2 * settings.memory as u64);
                // A panic and a failed write end the process as a crash does: there is nobody to tell.
                drop(foreign("", || serve(&theirs, header, settings)));
                // SAFETY: this ends the copy at once; what runs at a regular end is for our process to run.
                unsafe { libc::_exit(0) }
            }
            process => process,
        };
        // Our copy of its end would keep the answers open when the process is gone.
        drop(theirs);
        let answers = BufReader::new(ours.try_clone().map_err(io)?);
        let questions = BufWriter::new(ours);
        let mut index = IndexProcess { name, provenance, process, questions, answers, rows: 0, dim: 0 };
        (index.rows, index.dim) = index.answer(|from| Ok((read_number(from)?, read_number(from)?)))?;
        Ok(index)
    }

    /// The best `top_k` documents of every query, (Q, E); see [`FaissIndex::search`].
    pub(crate) fn search(&mut self, queries: &[f32], top_k: usize) -> Result<Vec<Vec<Hit>>> {
        // Where the process has ended, its answer is missing, too.
        drop(self.ask(queries, top_k));
        self.answer(|from| {
            let read_hit = |from: &mut _| Ok(Hit { id: read_number(from)? as i64, score: read_float(from)? });
            let read_list = |from: &mut _| (0..read_number(from)?).map(|_| read_hit(from)).collect();
            (0..read_number(from)?).map(|_| read_list(from)).collect()
        })
    }

    fn ask(&mut self, queries: &[f32], top_k: usize) -> io::Result<()> {
        let to = &mut self.questions;
        write_number(to, top_k)?;
        write_number(to, queries.len())?;
        queries.iter().try_for_each(|&value| write_float(to, value))?;
        to.flush()
    }

    /// Reads an answer: 0 and what `read` reads, or 1 and the two texts of [`refuse`].
    fn answer<T>(&mut self, read: impl FnOnce(&mut BufReader<UnixStream>) -> io::Result<T>) -> Result<T> {
        let from = &mut self.answers;
        let answer = read_number(from).and_then(|refused| match refused {
            0 => read(from).map(Ok),
            _ => Ok(Err(Error::new(read_text(from)?, read_text(from)?))),
        });
        answer.unwrap_or_else(|_| {
            let text = "the process that searches it ended early: the index is damaged, or memory is short";
            Err(Error::new(&self.name, text).hint("if there is enough memory, build the index again"))
        })
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
        // SAFETY: both calls take any numbers. The process is a child that nobody else waits for, so that its number
        // has not been given to another.
        unsafe {
            libc::kill(self.process, libc::SIGKILL);
            libc::waitpid(self.process, std::ptr::null_mut(), 0);
        }
    }
}

/// The other process: loads the index, then answers until nobody asks any more.
fn serve(socket: &UnixStream, header: Header, settings: &RankSettings) -> io::Result<()> {
    let (mut from, mut to) = (BufReader::new(socket), BufWriter::new(socket));
    let mut index = match FaissIndex::open(header, settings) {
        Ok(index) => index,
        Err(error) => return refuse(&mut to, &error),
    };
    for number in [0, index.len(), index.dim()] {
        write_number(&mut to, number)?;
    }
    to.flush()?;
    loop {
        let top_k = read_number(&mut from)?;
        let count = read_number(&mut from)?;
        let queries = (0..count).map(|_| read_float(&mut from)).collect::<io::Result<Vec<f32>>>()?;
        let lists = match index.search(&queries, top_k) {
            Ok(lists) => lists,
            Err(error) => return refuse(&mut to, &error),
        };
        write_number(&mut to, 0)?;
        write_number(&mut to, lists.len())?;
        for hits in lists {
            write_number(&mut to, hits.len())?;
            for hit in hits {
                write_number(&mut to, hit.id as usize)?;
                write_float(&mut to, hit.score)?;
            }
        }
        to.flush()?;
    }
}

/// Answers with an error: its place, and the rest of its text.
fn refuse(to: &mut impl Write, error: &Error) -> io::Result<()> {
    let (place, text) = (error.place().to_string(), error.to_string());
    write_number(to, 1)?;
    for part in [&text[..place.len()], &text[place.len() + ": ".len()..]] {
        write_number(to, part.len())?;
        to.write_all(part.as_bytes())?;
    }
    to.flush()
}

fn write_number(to: &mut impl Write, number: usize) -> io::Result<()> {
    to.write_all(&(number as u64).to_le_bytes())
}

fn write_float(to: &mut impl Write, float: f32) -> io::Result<()> {
    to.write_all(&float.to_le_bytes())
}

fn read_number(from: &mut impl Read) -> io::Result<usize> {
    let mut bytes = [0; 8];
    from.read_exact(&mut bytes).map(|()| u64::from_le_bytes(bytes) as usize)
}

fn read_float(from: &mut impl Read) -> io::Result<f32> {
    let mut bytes = [0; 4];
    from.read_exact(&mut bytes).map(|()| f32::from_le_bytes(bytes))
}

fn read_text(from: &mut impl Read) -> io::Result<String> {
    let mut text = vec![0; read_number(from)?];
    from.read_exact(&mut text).map(|()| String::from_utf8_lossy(&text).into_owned())
}

/// Has the system end this process when its parent ends.
fn end_with_parent() {
    // SAFETY: this call sets an attribute of the process, and touches none of its memory.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
}

/// Points the standard streams at nothing: what the C library says about a crash is not for the user, and whoever reads
/// our output must see it end with us, not with this process.
fn close_standard_streams() {
    // SAFETY: the path is a C string, and the calls change only which files the numbers 0 to 2 stand for, whose owners
    // in the standard library take any file there.
    unsafe {
        let null = libc::open(c"/dev/null".as_ptr(), libc::O_RDWR);
        for stream in 0..=2 {
            libc::dup2(null, stream);
        }
    }
}

/// Limits the memory of this process to `more` bytes beside what it has. A damaged size must fail to be allocated
/// instead of taking the machine's memory.
fn limit_memory(more: u64) {
    let used = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    // The sixth number is that of the pages of data and stacks.
    let pages: u64 = used.split(' ').nth(5).and_then(|pages| pages.parse().ok()).unwrap_or(0);
    let threads = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    // SAFETY: neither call touches memory of this process but for the limit, which is borrowed while it is read.
    unsafe {
        let now = pages * libc::sysconf(libc::_SC_PAGESIZE) as u64;
        // Each thread has a stack of 8 MiB, and an arena of the allocator.
        let limit = now + more + threads * (80 << 20);
        libc::setrlimit(libc::RLIMIT_DATA, &libc::rlimit { rlim_cur: limit, rlim_max: limit });
    }
}
