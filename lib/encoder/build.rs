//! Hands the folder that torch-sys found libtorch in on to the crates that link binaries, and lets the room's own
//! tests start without LD_LIBRARY_PATH.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let folder = std::env::var("DEP_TCH_LIBTORCH_LIB").expect("torch-sys says where libtorch is");
    println!("cargo:libtorch={folder}");
    println!("cargo:rustc-link-arg=-Wl,-rpath,{folder}");
}
