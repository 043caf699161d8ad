//! Tells the linker where faiss's BLAS and LAPACK are (see lib/fetch.py).

fn main() {
    println!("cargo:rerun-if-env-changed=CMAKE_PREFIX_PATH");
    if let Ok(folders) = std::env::var("CMAKE_PREFIX_PATH") {
        for folder in std::env::split_paths(&folders) {
            println!("cargo:rustc-link-search=native={}/lib", folder.display());
        }
    }
}
