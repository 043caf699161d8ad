//! The bytes of an output: a file that appears whole or not at all; or a stream (standard output, a pipe, a device),
//! which is written to and never replaced.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, IsTerminal, Seek, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use hardmine_records::{Error, Result};

use crate::output::{STDOUT, name_of};
use crate::paths::{descriptor, resolve};
use crate::streams;
use crate::temporary::{Temporary, folder_of, sync_folder};

/// An output that is being written, and done with [`OutputFile::commit`]. A file lies under a temporary name until
/// then; dropped before, or when the program is interrupted, it leaves nothing behind.
pub struct OutputFile {
    /// The name used in errors.
    place: String,
    writer: BufWriter<File>,
    end: End,
}

/// What is done with the bytes in the end.
enum End {
    /// The temporary file gets its name.
    Name(Temporary, PathBuf),
    /// They went straight into a stream.
    Nothing,
    /// They are copied from a file without a name into a stream.
    Copy(File),
}

impl OutputFile {
    /// Opens the output at `path`; `-` is standard output. A link to a file stays: what it points at is replaced.
    ///
    /// # Errors
    /// The folder is missing or not writable, `path` is itself a folder, or standard output is closed.
    pub fn create(path: &Path) -> Result<Self> {
        OutputFile::open(path, false)
    }

    /// As [`OutputFile::create`], for writers that go back in what they wrote, or that write by name. A stream gets
    /// the bytes when they are all there.
    ///
    /// # Errors
    /// As [`OutputFile::create`].
    pub fn create_seekable(path: &Path) -> Result<Self> {
        OutputFile::open(path, true)
    }

    fn open(path: &Path, seekable: bool) -> Result<Self> {
        let place = name_of(path);
        let (file, end) = match stream(path)? {
            Some(stream) if seekable => (tempfile::tempfile().map_err(Error::io("temporary file"))?, End::Copy(stream)),
            Some(stream) => (stream, End::Nothing),
            None if path.is_dir() => {
                return Err(Error::new(place, "is a folder, expected the name of a file to write"));
            }
            None => {
                let resolved = resolve(path).map_err(Error::io(&place))?;
                let temporary = Temporary::file(&resolved).map_err(|e| {
                    let folder = folder_of(if path.is_symlink() { &resolved } else { path });
                    Error::new(folder.display(), format!("can't write into this folder: {e}"))
                })?;
                let file = temporary.open_file().try_clone().map_err(Error::io(&place))?;
                (file, End::Name(temporary, resolved))
            }
        };
        Ok(OutputFile { place, writer: BufWriter::with_capacity(1 << 20, file), end })
    }

    /// Refuses a terminal, since `what` (such as "records are") is binary.
    ///
    /// # Errors
    /// The output is a terminal.
    pub fn refuse_terminal(&self, what: &str) -> Result<()> {
        let stream = if let End::Copy(stream) = &self.end { stream } else { self.writer.get_ref() };
        match stream.is_terminal() {
            true => Err(Error::new(&self.place, format!("is a terminal, and {what} binary"))
                .hint("-o FILE, or a pipe into the next command")),
            false => Ok(()),
        }
    }

    /// The file with everything written so far, for those that seek in it.
    pub fn file(&mut self) -> Result<&mut File> {
        self.writer.flush().map_err(Error::io(&self.place))?;
        Ok(self.writer.get_mut())
    }

    /// A path that leads to the file, for libraries that write by name. It is UTF-8 whatever the file is called.
    pub fn path_for_libraries(&self) -> String {
        format!("/proc/self/fd/{}", self.writer.get_ref().as_raw_fd())
    }

    /// The name used in errors.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// Ends the output: a file gets its name, once it is safely on disk.
    ///
    /// # Errors
    /// The rest can't be written, as when the disk is full. Nothing of the file is left then.
    pub fn commit(self) -> Result<()> {
        let OutputFile { place, mut writer, end } = self;
        writer.flush().and_then(|()| end_with(writer.get_mut(), end)).map_err(Error::io(place))
    }
}

fn end_with(file: &mut File, end: End) -> io::Result<()> {
    match end {
        End::Nothing => Ok(()),
        End::Copy(mut stream) => {
            file.rewind()?;
            io::copy(file, &mut stream).map(drop)
        }
        End::Name(temporary, path) => {
            file.sync_all()?;
            temporary.place(|name| fs::rename(name, &path))?;
            sync_folder(folder_of(&path))
        }
    }
}

impl Write for OutputFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writer.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

/// What can be written to but not replaced at `path`: a descriptor, a device, a pipe, a socket; none for a file.
fn stream(path: &Path) -> Result<Option<File>> {
    let place = name_of(path);
    let resolved = resolve(path).map_err(Error::io(&place))?;
    let number = if path.as_os_str() == STDOUT { Some(1) } else { descriptor(&resolved) };
    if let Some(number) = number {
        if number == 1 && streams::stdout_was_closed() {
            return Err(Error::new(&place, "is closed").hint("-o FILE, or a pipe into the next command"));
        }
        // SAFETY: only a new descriptor is made, which is ours; of a number that is not open there comes an error.
        let copy = unsafe { libc::fcntl(number, libc::F_DUPFD_CLOEXEC, 3) };
        return match copy {
            -1 => Err(Error::io(&place)(io::Error::last_os_error())),
            // SAFETY: as said, it is ours.
            copy => Ok(Some(unsafe { File::from_raw_fd(copy) })),
        };
    }
    let stream = match fs::metadata(&resolved) {
        Ok(found) if found.file_type().is_socket() => UnixStream::connect(&resolved).map(|it| OwnedFd::from(it).into()),
        Ok(found) if !found.is_file() && !found.is_dir() => OpenOptions::new().write(true).open(&resolved),
        _ => return Ok(None),
    };
    stream.map(Some).map_err(Error::io(&place))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn write(path: &Path, text: &str) {
        let mut file = OutputFile::create(path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file.commit().unwrap();
    }

    #[test]
    fn a_link_stays_and_what_it_points_at_is_replaced() {
        let home = tempfile::tempdir().unwrap();
        let (link, file) = (home.path().join("link"), home.path().join("file"));
        symlink("file", &link).unwrap();
        for text in ["new", "newer"] {
            write(&link, text);
            assert_eq!(fs::read_to_string(&file).unwrap(), text);
            assert!(link.is_symlink() && file.symlink_metadata().unwrap().is_file());
        }
        drop(OutputFile::create(&link).unwrap());
        assert_eq!(fs::read_to_string(&file).unwrap(), "newer");
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 2);
    }

    #[test]
    fn libraries_write_by_name_and_pipes_get_it_in_the_end() {
        let (mut reader, pipe) = io::pipe().unwrap();
        let path = PathBuf::from(format!("/dev/fd/{}", pipe.as_raw_fd()));
        let mut file = OutputFile::create_seekable(&path).unwrap();
        fs::write(file.path_for_libraries(), "by name").unwrap();
        file.file().unwrap().seek(io::SeekFrom::End(0)).unwrap();
        file.write_all(b", and more").unwrap();
        file.commit().unwrap();
        drop(pipe);
        assert_eq!(io::read_to_string(&mut reader).unwrap(), "by name, and more");
    }
}
