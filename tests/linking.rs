//! What a binary links: only the rooms it names, one BLAS, one OpenMP.

use std::path::Path;
use std::process::Command;

use crate::common::BINARIES;

/// A binary of ours.
fn path(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_BIN_EXE_tokenize")).with_file_name(name)
}

/// Libraries that a binary names itself.
fn needed(name: &str) -> Vec<String> {
    let output = Command::new("readelf").arg("-d").arg(path(name)).output().expect("readelf, of binutils, is there");
    let text = String::from_utf8(output.stdout).unwrap();
    let lines = text.lines().filter(|line| line.contains("(NEEDED)"));
    lines.map(|line| line.split(['[', ']']).nth(1).unwrap().to_owned()).collect()
}

/// Whether a binary has this text anywhere in it.
fn holds(name: &str, text: &str) -> bool {
    let bytes = std::fs::read(path(name)).unwrap();
    let text = text.as_bytes();
    bytes.windows(text.len()).any(|window| window == text)
}

#[test]
fn only_encoders_and_search_need_libtorch() {
    for name in BINARIES {
        let needs = needed(name).iter().any(|library| library.starts_with("libtorch") || library.starts_with("libc10"));
        assert_eq!(needs, ["embed", "train", "rank", "index"].contains(&name), "{name} needs {:?}", needed(name));
    }
}

#[test]
fn nothing_needs_cuda() {
    for name in BINARIES {
        let cuda: Vec<_> = needed(name).into_iter().filter(|library| library.contains("cuda")).collect();
        assert!(cuda.is_empty(), "{name} needs {cuda:?}");
    }
}

#[test]
fn each_binary_has_only_the_rooms_it_names() {
    for name in BINARIES {
        assert_eq!(holds(name, "IndexFlat"), ["rank", "index"].contains(&name), "{name} and faiss");
        // The dev queries of train are measured by score's metrics. Work on many machines is a plan of DataFusion's.
        let plans = ["score", "sql", "train", "report", "worker"].contains(&name);
        assert_eq!(holds(name, "datafusion-physical-plan"), plans, "{name} and DataFusion");
        let blas = needed(name).iter().any(|library| library.contains("openblas"));
        assert!(!blas || ["rank", "index"].contains(&name), "{name} needs {:?}", needed(name));
    }
}

#[test]
fn faiss_multiplies_with_the_blas_inside_libtorch() {
    for name in ["index", "rank"] {
        let output = Command::new("bash")
            .args(["-c", "LD_BIND_NOW=1 LD_DEBUG=bindings \"$0\" --version 2>&1 | grep -a 'symbol `sgemm_'"])
            .arg(path(name))
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let ours: Vec<&str> = text.lines().filter(|line| line.contains(&format!("/{name} [0] to"))).collect();
        assert!(!ours.is_empty(), "{name} calls sgemm_: {text}");
        assert!(ours.iter().all(|line| line.contains("libtorch_cpu.so")), "{name}: {ours:?}");
    }
}

#[test]
fn mkl_asks_the_binary_which_processor_it_may_think_this_is() {
    for name in ["embed", "train", "index", "rank"] {
        let output = Command::new("bash")
            .args([
                "-c",
                "LD_BIND_NOW=1 LD_DEBUG=bindings \"$0\" --version 2>&1 | grep -a 'symbol `mkl_serv_intel_cpu_true'",
            ])
            .arg(path(name))
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(!text.is_empty(), "{name}: libtorch asks it no more, and lib/encoder/src/mkl.rs can go");
        assert!(text.lines().all(|line| line.contains(&format!("to {} [0]", path(name).display()))), "{name}: {text}");
    }
}

#[test]
fn one_openmp_in_a_process() {
    for name in ["embed", "train", "index", "rank"] {
        let output = Command::new("ldd").arg(path(name)).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let runtimes: Vec<&str> = ["libgomp", "libiomp", "libomp"]
            .into_iter()
            .flat_map(|runtime| text.lines().filter(move |line| line.trim_start().starts_with(runtime)))
            .collect();
        assert_eq!(runtimes.len(), 1, "{name}: {runtimes:?}");
        assert!(!text.contains("not found"), "{name}: {text}");
    }
}
