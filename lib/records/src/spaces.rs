//! Whether ids of two files can be compared: internal ids are row numbers, and mean a text only together with the
//! tokens file whose rows they number.

use crate::ids::IdSpace;
use crate::provenance::{DOCS, Provenance, QUERIES};
use crate::{Error, Result};

/// Refuses two files whose internal ids number the rows of different tokens files. Each side is given by the entry of
/// its provenance that has the fingerprint, its name for errors, and its provenance. Where one of them has no
/// fingerprint, nothing can be compared, and the files are accepted.
///
/// # Errors
/// The fingerprints differ, or one of them is not a fingerprint.
pub fn check_same_space(
    (name, place, provenance): (&str, &str, &Provenance),
    (other_name, other_place, other): (&str, &str, &Provenance),
) -> Result<()> {
    match (provenance.fingerprint(name, place)?, other.fingerprint(other_name, other_place)?) {
        (Some(one), Some(two)) if one != two => {
            let what = name.trim_start_matches("hardmine.");
            let text = format!(
                "{what} {one} are not those of {other_place} ({two}): the ids are row numbers of different tokens files"
            );
            Err(Error::new(place, text).hint("use files made from the same tokens, or remap-ids --to official both"))
        }
        _ => Ok(()),
    }
}

/// Refuses the file `place`, whose ids are of the space `ids`, where a document with the id of its query need not be
/// the same text. Equal official ids mean the same text; equal row numbers do so only if queries and documents are rows
/// of the same tokens file.
///
/// # Errors
/// The ids are row numbers, and the provenance does not say that they are of the same tokens file.
pub fn check_self(place: &str, ids: IdSpace, provenance: &Provenance) -> Result<()> {
    let same = provenance.get(QUERIES).is_some() && provenance.get(QUERIES) == provenance.get(DOCS);
    if ids == IdSpace::Official || same {
        return Ok(());
    }
    let text = "it does not say that its queries and documents are rows of the same tokens file, so that equal row \
                numbers need not be the same text";
    Err(Error::new(place, text)
        .hint("remap-ids --to official first; --exclude-self of score and mine-negatives then compares those ids"))
}
