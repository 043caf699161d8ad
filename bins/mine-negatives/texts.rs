//! The texts that `--report` looks at.

use hardmine_files::Input;
use hardmine_records::{Error, KeyHasher, Provenance, Result};
use hardmine_text::{Corpus, TextKind};

/// Calls `each` with the row, the official id and the text of everything in a collection. Where ids are row numbers, the
/// entry `space` of the run's `provenance` says of which texts.
///
/// # Errors
/// Those of reading a collection, and texts that are not the ones that the row numbers mean.
pub(crate) fn for_each_text(
    input: &Input,
    (run, space, provenance): (&str, &str, &Provenance),
    mut each: impl FnMut(usize, &str, &str),
) -> Result<()> {
    let mut keys = KeyHasher::default();
    for (row, text) in open(input)?.enumerate() {
        let text = text?;
        keys.update(&text.key);
        each(row, &text.key, &text.fields.joined());
    }
    if provenance.fingerprint(space, run)?.is_some_and(|expected| expected != keys.finish()) {
        let text = format!("its ids in their order are not those that the row numbers in {run} stand for");
        let hint = "give the file that was tokenized, or remap-ids --to official the run and the qrels first";
        return Err(Error::new(input, text).hint(hint));
    }
    Ok(())
}

/// Opens a collection of passages or of documents, which its first line tells.
fn open(input: &Input) -> Result<Corpus> {
    let has_two_fields = !matches!(Corpus::open(input, TextKind::Passage)?.next(), Some(Err(_)));
    Corpus::open(input, if has_two_fields { TextKind::Passage } else { TextKind::Document })
}
