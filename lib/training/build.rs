//! Lets the room's tests find libtorch without LD_LIBRARY_PATH.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let folder = std::env::var("DEP_HARDMINE_ENCODER_LIBTORCH").expect("lib/encoder/build.rs says where libtorch is");
    println!("cargo:rustc-link-arg=-Wl,-rpath,{folder}");
}
