//! What a program that computes with libtorch sets for the whole process, all in one place.

/// Settings for the whole process, to be made once before anything is computed:
///
/// - libtorch uses as many threads as there are cores, or as many as `OMP_NUM_THREADS` says.
/// - glibc's allocator keeps memory that is freed, up to 1 GiB of it. Activations are allocated and freed by the hundred
///   a second; without this each of them is returned to the system, and zeroed anew when it comes back (7 % of the time
///   of a MiniLM).
/// - Intel's MKL, which does libtorch's matrix products on a CPU, takes its fastest kernels on processors of other makers,
///   too. This is not set here but by linking: see `mkl.rs`, which also says how to turn it off.
pub fn prepare_process() {
    use_all_cores();
    keep_freed_memory();
}

fn use_all_cores() {
    if std::env::var_os("OMP_NUM_THREADS").is_none() {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        tch::set_num_threads(i32::try_from(cores).unwrap_or(i32::MAX));
    }
}

fn keep_freed_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: mallopt only sets two numbers of the allocator; one that it refuses stays as it was.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, 1 << 30);
        libc::mallopt(libc::M_TRIM_THRESHOLD, 1 << 30);
    }
}
