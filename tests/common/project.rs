//! The Makefile's rows on the fixture collection, with commands that keep a list of what was run.

use std::path::{Path, PathBuf};

use super::{BINARIES, Command, Folder};

/// A few steps of everything.
const SETTINGS: &str = "STEPS=4 ADORE_STEPS=3 BATCH_SIZE=16 ADORE_BATCH_SIZE=16 OPTIMIZER=adamw LEARNING_RATE=1e-3 \
    ADORE_LEARNING_RATE=1e-3 WARMUP_STEPS=1 ADORE_WARMUP_STEPS=1 TOP_K=100 NEGATIVES=20 MARGIN=10 ADORE_TOP_K=30 \
    PASSAGE_LENGTH=48 DOCUMENT_LENGTH=48 QUERY_LENGTH=24 ADORE_QUERY_LENGTH=24 TRAIN_PASSAGE_LENGTH=32 \
    TRAIN_DOCUMENT_LENGTH=32 TRAIN_QUERY_LENGTH=16";

/// A folder with a copy of the collection, and commands that keep a list of what was run.
pub struct Project {
    pub folder: Folder,
}

impl Project {
    /// With a copy of `model` to start from.
    pub fn new(model: &str) -> Project {
        let folder = Folder::new();
        for name in ["bin", "data"] {
            std::fs::create_dir(folder.path(name)).unwrap();
        }
        for name in BINARIES {
            let real = Path::new(env!("CARGO_BIN_EXE_tokenize")).with_file_name(name);
            let list = folder.path("ran");
            let script = format!(
                "#!/bin/sh\nset -f\necho {name} $* >> '{}'\nexec '{}' \"$@\"\n",
                list.display(),
                real.display()
            );
            folder.write(&format!("bin/{name}"), script);
        }
        for name in folder.names().into_iter().filter(|name| name.ends_with(".tsv") || name.ends_with(".txt")) {
            folder.write(&format!("data/{name}"), folder.read(&name));
        }
        folder.sh("chmod +x bin/*").ok();
        folder.copy_model(model, "init");
        Project { folder }
    }

    /// Makes `goals` from the collection with the model `init`, without building anything.
    pub fn make(&self, goals: &str) -> Command {
        let line = self.line(goals);
        // Our own make, not a job of the one that runs the tests.
        self.folder.sh(&line).without_env("MAKEFLAGS").without_env("MFLAGS").without_env("MAKELEVEL")
    }

    /// The command line of [`Project::make`].
    pub fn line(&self, goals: &str) -> String {
        let at = |name: &str| self.folder.path(name).display().to_string();
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        self.folder.write("ran", "");
        format!(
            "make -C '{}' --old-file=build BIN='{}' DATA='{}' INIT='{}' OUT='{}' DEVICE=cpu {SETTINGS} {goals}",
            root.display(),
            at("bin"),
            at("data"),
            at("init"),
            at("out")
        )
    }

    /// First words of the commands that the last make ran.
    pub fn ran(&self) -> Vec<String> {
        self.folder.text("ran").lines().map(|line| line.split(' ').next().unwrap().to_owned()).collect()
    }

    pub fn count(&self, command: &str) -> usize {
        self.ran().iter().filter(|name| *name == command).count()
    }

    pub fn touch(&self, name: &str) {
        // Make compares whole files' times; the next tick of the clock must be another one.
        std::thread::sleep(std::time::Duration::from_millis(20));
        self.folder.sh(&format!("touch {name}")).ok();
    }
}
