//! The threads that a search computes on.

use hardmine_records::{Error, Result};
use rayon::{ThreadPool, ThreadPoolBuilder};

/// As many threads as libtorch is set to at this moment.
///
/// # Errors
/// Threads that the system does not grant.
pub(crate) fn threads() -> Result<ThreadPool> {
    let threads = usize::try_from(tch::get_num_threads()).unwrap_or(1);
    ThreadPoolBuilder::new().num_threads(threads).build().map_err(Error::at("search"))
}
