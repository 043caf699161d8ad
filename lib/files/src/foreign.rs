//! Work that a foreign library does on bytes that we did not write.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use hardmine_records::{Error, Place, Result};

/// Runs `decode`, in which a library reads bytes that we did not write and may panic over damaged ones. Such a panic
/// becomes an error at `place`.
pub fn foreign<T>(place: impl Into<Place>, decode: impl FnOnce() -> T) -> Result<T> {
    catch_unwind(AssertUnwindSafe(decode))
        .map_err(|panic| Error::in_place(place, format!("is damaged ({})", panic_text(&*panic))))
}

/// What a caught panic said, for the message of an error.
pub fn panic_text(panic: &(dyn Any + Send)) -> &str {
    panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied()).unwrap_or("unknown")
}
