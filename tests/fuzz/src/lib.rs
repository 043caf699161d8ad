//! What the fuzz targets share: the bytes as a file, and panics that our readers turn into errors.

use std::path::Path;
use std::sync::Once;

use hardmine_text::{FolderSettings, Tokenizer};

/// Calls `read` with a folder that holds `data` as the file `name`.
pub fn with_file(name: &str, data: &[u8], read: impl FnOnce(&Path)) {
    static QUIET: Once = Once::new();
    // libFuzzer ends the program in its hook, before a reader can catch the panic of a library. A panic that nobody
    // catches is still found.
    QUIET.call_once(|| std::panic::set_hook(Box::new(|_| ())));
    let folder = tempfile::tempdir_in("/dev/shm").expect("a folder in memory");
    std::fs::write(folder.path().join(name), data).expect("a file in memory");
    read(folder.path());
}

/// Loads the tokenizer in `folder`, and has it encode a text if there is one.
pub fn encode(folder: &Path) {
    let Ok(settings) = FolderSettings::read(folder) else { return };
    if let Ok(tokenizer) = Tokenizer::open(folder, &settings) {
        drop(tokenizer.digest());
        drop(tokenizer.encode("A text, with \u{e9}t\u{e9} <s> and [SEP] in it.", 16, &mut Vec::new()));
    }
}
