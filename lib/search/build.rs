//! Tells the linker where faiss's BLAS and LAPACK are (see lib/scripts/fetch.py), and the room's tests where the
//! libraries are that they load.

fn main() {
    println!("cargo:rerun-if-env-changed=CMAKE_PREFIX_PATH");
    if let Ok(folders) = std::env::var("CMAKE_PREFIX_PATH") {
        for folder in std::env::split_paths(&folders) {
            println!("cargo:rustc-link-search=native={}/lib", folder.display());
            println!("cargo:rustc-link-arg=-Wl,-rpath,{}/lib", folder.display());
        }
    }
    if let Ok(folder) = std::env::var("DEP_TCH_LIBTORCH_LIB") {
        println!("cargo:rustc-link-arg=-Wl,-rpath,{folder}");
    }
}
