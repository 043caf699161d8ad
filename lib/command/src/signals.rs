//! Signals that end a command.

use std::thread;

/// Signals that end a program, and give it the time to clear away what is half done.
const ENDING: [libc::c_int; 3] = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP];

/// Has a thread of its own wait for the signals that end the program. It then clears the temporaries and exits with
/// 128 and the signal's number, as shells say it: 130 for SIGINT, 143 for SIGTERM.
pub(crate) fn clear_temporaries_on_signals() {
    // SAFETY: both structs are filled in before they are read. Threads that are started later inherit the mask, so
    // that none but the one that waits gets these signals.
    let awaited = unsafe {
        let mut awaited: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut awaited);
        for signal in ENDING {
            let mut action: libc::sigaction = std::mem::zeroed();
            libc::sigaction(signal, std::ptr::null(), &mut action);
            // nohup has it ignored, and that is meant. Shells have SIGINT ignored by what they start in the
            // background, where whoever sends it means the program.
            if signal != libc::SIGHUP || action.sa_sigaction != libc::SIG_IGN {
                libc::sigaddset(&mut awaited, signal);
            }
        }
        libc::pthread_sigmask(libc::SIG_BLOCK, &awaited, std::ptr::null_mut());
        awaited
    };
    thread::spawn(move || {
        let mut signal = 0;
        // SAFETY: the set is a valid one.
        if unsafe { libc::sigwait(&awaited, &mut signal) } == 0 {
            hardmine_files::clear_all();
            // SAFETY: nothing of this process is used any more. Its other threads are still at work, so that
            // exit's destructors would pull the libraries away from under them.
            unsafe { libc::_exit(128 + signal) };
        }
    });
}
