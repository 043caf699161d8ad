//! What faiss writes to standard error. For each k-means with few vectors it writes a line, and a product quantizer
//! with a rotation has a thousand of them; one line of ours says it once.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// What the lines begin with that are said once.
const FEW_POINTS: &str = "WARNING clustering ";

/// Runs `train`, in which faiss trains, and logs once each what it had to say. Whatever else this process writes to
/// standard error meanwhile, such as its progress bar, is dropped if it is more than a line of text.
pub(crate) fn with_few_warnings<T>(train: impl FnOnce() -> T) -> T {
    let Ok(kept) = Kept::start() else { return train() };
    let result = train();
    for line in kept.end() {
        match few_points(&line) {
            Some(line) => tracing::warn!("{line}"),
            None => tracing::warn!("faiss: {line}"),
        }
    }
    result
}

/// What is said of `WARNING clustering 500 points to 256 centroids: please provide at least 9984 training points`.
fn few_points(line: &str) -> Option<String> {
    let mut words = line.strip_prefix(FEW_POINTS)?.split(' ');
    let mut number = || words.find_map(|word| word.parse::<u64>().ok());
    let (points, centroids, least) = (number()?, number()?, number()?);
    Some(format!("{points} vectors are few to train {centroids} centroids on; faiss advises {least} or more"))
}

/// Standard error, pointed at a temporary file until it is put back.
struct Kept {
    file: File,
    stderr: OwnedFd,
}

impl Kept {
    fn start() -> io::Result<Self> {
        let file = tempfile::tempfile()?;
        // SAFETY: only a new descriptor is made, which is ours.
        let copy = unsafe { libc::fcntl(libc::STDERR_FILENO, libc::F_DUPFD_CLOEXEC, 3) };
        if copy < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: as said, it is ours.
        let stderr = unsafe { OwnedFd::from_raw_fd(copy) };
        point_stderr_at(&file)?;
        Ok(Kept { file, stderr })
    }

    /// Puts standard error back; the different lines of text that were written meanwhile.
    fn end(mut self) -> BTreeSet<String> {
        let mut bytes = Vec::new();
        // Where it can't be put back or read, there is nobody to tell.
        drop(point_stderr_at(&self.stderr));
        drop(self.file.rewind().and_then(|()| self.file.read_to_end(&mut bytes)));
        let text = String::from_utf8_lossy(&bytes);
        text.lines().filter(|line| !line.is_empty() && !line.contains(char::is_control)).map(str::to_owned).collect()
    }
}

fn point_stderr_at(file: &impl AsRawFd) -> io::Result<()> {
    // SAFETY: the call changes only which file the number 2 stands for, whose owner in the standard library takes any
    // file there.
    match unsafe { libc::dup2(file.as_raw_fd(), libc::STDERR_FILENO) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_of_faiss_becomes_a_sentence() {
        let line = "WARNING clustering 500 points to 256 centroids: please provide at least 9984 training points";
        let sentence = "500 vectors are few to train 256 centroids on; faiss advises 9984 or more";
        assert_eq!(few_points(line).as_deref(), Some(sentence));
        assert_eq!(few_points("anything else"), None);
    }
}
