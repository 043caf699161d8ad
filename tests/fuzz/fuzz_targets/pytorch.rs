//! pytorch_model.bin of a model whose other files are whole.
#![no_main]

use hardmine_encoder::{Encoder, Precision};
use hardmine_fuzz::with_file;
use tch::Device;

const CONFIG: &str = include_str!("../../fixtures/training/init/config.json");

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    with_file("pytorch_model.bin", data, |folder| {
        std::fs::write(folder.join("config.json"), CONFIG).expect("a file in memory");
        drop(Encoder::load(folder, Device::Cpu, Precision::F32));
    });
});
