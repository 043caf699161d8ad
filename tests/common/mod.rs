//! What every test stands on: a fresh folder with the fixture collection and tiny models in it,
//! commands run there, and records written and read back with arrow and parquet alone.

mod folder;
mod made;
mod models;
mod project;
mod records;
mod run;

pub use folder::Folder;
pub use made::made;
pub use models::numbers;
pub use project::Project;
pub use records::{Records, column, messages, save, save_stream, save_tokens, save_tokens_of, vectors};
pub use run::{BINARIES, Command, Terminal};

/// Path of a file of `tests/fixtures`.
pub fn fixture(name: &str) -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// What `train` needs of a made folder, but for the method, its own options and the output.
pub const TRAINING: &str =
    "--init bert --queries train.tokens.arrow --docs docs.tokens.arrow --qrels train.qrels.parquet --max-doc-length 32";
