//! Which kernels Intel's MKL takes for libtorch's matrix products on a CPU. On processors of other makers MKL takes
//! those for AVX2 even where there is AVX-512; it does so when this function of its own says no. A program that exports
//! the function is asked instead, and MKL then goes by what the processor can do. (`lib/link.rs` exports it; measured
//! on an AMD EPYC with AVX-512: float32 products 1.3 to 1.5 times as fast.)
//!
//! With `HARDMINE_MKL=vendor` in the environment MKL goes by the processor's maker, as it does by itself.

use std::ffi::c_int;

/// Whether MKL may choose its kernels by the processor's instructions alone.
#[unsafe(no_mangle)]
extern "C" fn mkl_serv_intel_cpu_true() -> c_int {
    let by_vendor = std::env::var_os("HARDMINE_MKL").is_some_and(|choice| choice == "vendor");
    c_int::from(!by_vendor || is_intel())
}

#[cfg(target_arch = "x86_64")]
fn is_intel() -> bool {
    let leaf = std::arch::x86_64::__cpuid(0);
    [leaf.ebx, leaf.edx, leaf.ecx].map(u32::to_le_bytes).concat() == b"GenuineIntel"
}

#[cfg(not(target_arch = "x86_64"))]
fn is_intel() -> bool {
    false
}
