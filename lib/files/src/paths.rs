//! What a path leads to, however it is spelled.

use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

/// Links that a path may lead through, as Linux counts them.
const LINKS: usize = 40;

/// `path` without links, `.`, `..` and slashes at its end, so that every spelling of a place gives the same path. Its
/// last parts need not exist. A descriptor of this process (`/dev/stdout`, `/dev/fd/3`) stays one: see `descriptor`.
///
/// # Errors
/// Links that go round in circles.
pub fn resolve(path: &Path) -> io::Result<PathBuf> {
    let mut links = 0;
    resolve_after(path, &mut links)
}

fn resolve_after(path: &Path, links: &mut usize) -> io::Result<PathBuf> {
    let mut resolved = PathBuf::new();
    for part in std::path::absolute(path)?.components() {
        if part == Component::ParentDir {
            resolved.pop();
            continue;
        }
        resolved.push(part);
        if descriptor(&resolved).is_none()
            && let Ok(target) = fs::read_link(&resolved)
        {
            *links += 1;
            if *links > LINKS {
                return Err(io::Error::from_raw_os_error(libc::ELOOP));
            }
            resolved.pop();
            resolved = resolve_after(&resolved.join(target), links)?;
        }
    }
    Ok(resolved)
}

/// The number of the descriptor of this process that a resolved path names, such as 1 for `/dev/stdout`.
pub(crate) fn descriptor(resolved: &Path) -> Option<i32> {
    let ours = PathBuf::from(format!("/proc/{}/fd", std::process::id()));
    resolved.strip_prefix(ours).ok()?.to_str()?.parse().ok()
}

/// Whether `path` names the descriptor `number` of this process.
pub(crate) fn is_descriptor(path: &Path, number: i32) -> bool {
    resolve(path).is_ok_and(|path| descriptor(&path) == Some(number))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn every_spelling_of_a_place_is_the_same_path() {
        let home = tempfile::tempdir().unwrap();
        let home = home.path().canonicalize().unwrap();
        fs::create_dir(home.join("real")).unwrap();
        symlink("real", home.join("link")).unwrap();
        symlink("missing", home.join("dangling")).unwrap();
        symlink("round", home.join("round")).unwrap();
        for spelling in ["real/a", "link/a", "./real//a/", "real/a/.", "real/b/../a", "nowhere/../link/a"] {
            assert_eq!(resolve(&home.join(spelling)).unwrap(), home.join("real/a"), "{spelling}");
        }
        assert_eq!(resolve(&home.join("dangling")).unwrap(), home.join("missing"));
        assert!(resolve(&home.join("round")).is_err());
    }

    #[test]
    fn descriptors_stay_descriptors() {
        for (spelling, number) in [("/dev/stdout", 1), ("/dev/fd/0", 0), ("/proc/self/fd/2", 2), ("/dev/fd/77", 77)] {
            assert_eq!(descriptor(&resolve(Path::new(spelling)).unwrap()), Some(number), "{spelling}");
        }
        assert_eq!(descriptor(Path::new("/dev/null")), None);
    }
}
