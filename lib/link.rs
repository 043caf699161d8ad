//! Writes the folder of libtorch into the binaries (rpath), so that they start without LD_LIBRARY_PATH.

fn main() {
    println!("cargo:rerun-if-changed=lib/link.rs");
    let folder = std::env::var("DEP_HARDMINE_ENCODER_LIBTORCH").expect("lib/encoder/build.rs says where libtorch is");
    println!("cargo:rustc-link-arg=-Wl,-rpath,{folder}");
}
