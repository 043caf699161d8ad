//! Whether standard input and output were open when the program started. Rust's own start opens /dev/null in place of
//! those that are closed, and what is written there is lost without an error; so this is looked up before.

use std::sync::atomic::{AtomicBool, Ordering};

static STDIN_CLOSED: AtomicBool = AtomicBool::new(false);
static STDOUT_CLOSED: AtomicBool = AtomicBool::new(false);

/// Whether standard input was closed, as by `<&-`.
pub fn stdin_was_closed() -> bool {
    STDIN_CLOSED.load(Ordering::Relaxed)
}

/// Whether standard output was closed, as by `>&-`.
pub fn stdout_was_closed() -> bool {
    STDOUT_CLOSED.load(Ordering::Relaxed)
}

extern "C" fn look() {
    // SAFETY: asking for the flags of a descriptor changes nothing, whether it is open or not.
    let is_closed = |number| unsafe { libc::fcntl(number, libc::F_GETFD) } == -1;
    STDIN_CLOSED.store(is_closed(0), Ordering::Relaxed);
    STDOUT_CLOSED.store(is_closed(1), Ordering::Relaxed);
}

// SAFETY: the C library calls the functions listed in this section before `main`, where Rust's start is; this one
// needs nothing of Rust's.
#[used]
#[unsafe(link_section = ".init_array")]
static LOOK: extern "C" fn() = look;
