//! The bytes of a file in a memory map, for formats that other programs define.

use std::fs::File;
use std::ops::Deref;
use std::sync::Arc;

use hardmine_records::{Error, Result};
use memmap2::Mmap;

/// All bytes of a file, in a memory map. Clones share the map.
#[derive(Clone)]
pub struct MappedBytes(Arc<Mmap>);

impl MappedBytes {
    /// Maps `file`, called `name` in errors.
    ///
    /// # Errors
    /// A file that can't be mapped, such as a pipe.
    pub fn new(name: &str, file: &File) -> Result<Self> {
        // SAFETY: as every reader of mapped files, we rely on nobody changing the file while it is read; our own
        // writers never change one in place.
        let map = unsafe { Mmap::map(file) }.map_err(Error::io(name))?;
        Ok(MappedBytes(Arc::new(map)))
    }
}

impl Deref for MappedBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}
