//! Writes the folders of libtorch and of faiss's LAPACK into the binaries (rpath), so that they start without
//! LD_LIBRARY_PATH, and exports what libtorch's MKL asks of them (lib/encoder/src/mkl.rs).

fn main() {
    println!("cargo:rerun-if-changed=lib/link.rs");
    println!("cargo:rerun-if-env-changed=CMAKE_PREFIX_PATH");
    let folder = std::env::var("DEP_HARDMINE_ENCODER_LIBTORCH").expect("lib/encoder/build.rs says where libtorch is");
    println!("cargo:rustc-link-arg=-Wl,-rpath,{folder}");
    for name in ["embed", "train", "index", "rank"] {
        println!("cargo:rustc-link-arg-bin={name}=-Wl,-u,mkl_serv_intel_cpu_true");
        println!("cargo:rustc-link-arg-bin={name}=-Wl,--export-dynamic-symbol=mkl_serv_intel_cpu_true");
    }
    for folder in std::env::split_paths(&std::env::var_os("CMAKE_PREFIX_PATH").unwrap_or_default()) {
        for name in ["index", "rank"] {
            println!("cargo:rustc-link-arg-bin={name}=-Wl,-rpath,{}/lib", folder.display());
        }
    }
}
