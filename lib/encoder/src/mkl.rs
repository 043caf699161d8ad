//! The matrix products of libtorch for the CPU are those of Intel's MKL. On processors of other makers MKL takes its
//! AVX2 kernels even where there is AVX-512; it does so when this function of its own says no. A program that
//! exports the function is asked instead, and MKL then goes by what the processor can do. (`lib/link.rs` exports it;
//! measured on an AMD EPYC with AVX-512: float32 products 1.3 to 1.5 times as fast.)

/// Whether MKL may choose its kernels by the processor's instructions alone.
#[unsafe(no_mangle)]
extern "C" fn mkl_serv_intel_cpu_true() -> std::ffi::c_int {
    1
}
