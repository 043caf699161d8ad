//! A cache of one value, by the path that it was made for.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use hardmine_records::Result;

/// What was made last, and for which path.
pub(crate) struct Last<T>(Mutex<Option<Made<T>>>);

struct Made<T> {
    path: PathBuf,
    made: Arc<T>,
}

impl<T> Default for Last<T> {
    fn default() -> Self {
        Last(Mutex::new(None))
    }
}

impl<T> Last<T> {
    /// What was made for `path` if it was the last one, or else what `make` makes.
    ///
    /// # Errors
    /// Those of `make`.
    pub fn get_or_make(&self, path: &Path, make: impl FnOnce() -> Result<T>) -> Result<Arc<T>> {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Made { path: of_last, made }) = &*last
            && of_last == path
        {
            return Ok(made.clone());
        }
        let made = Arc::new(make()?);
        *last = Some(Made { path: path.to_owned(), made: made.clone() });
        Ok(made)
    }
}
