//! The record of codes: an index made of it, and it made of an index.

use hardmine_files::{Input, Output, Table, Writer};
use hardmine_records::{CodesBatch, Error, Kind, Provenance, Result, provenance, schema};

use crate::codebook::Codebook;
use crate::index::{Coarse, PqIndex};
use crate::lists::{CodeListsBuilder, List};
use crate::rotation::Rotation;

/// Codes written at once.
const ROWS: usize = 8192;

impl PqIndex {
    /// An index of the codes in `input` with the centroids of a tower, which `place` names in errors. It has one list,
    /// whose coarse centroid is 0, and not the tower's rotation, so that queries come rotated; that is how RepCONC
    /// keeps codes. They are collected in a temporary file. `added` is called with the number of codes of each batch.
    ///
    /// # Errors
    /// Input that is not codes, codes of another length or space than the tower's, ids that don't ascend.
    pub fn of_codes(
        input: &Input,
        rotation: &Rotation,
        codebook: Codebook,
        place: &str,
        mut added: impl FnMut(usize),
    ) -> Result<PqIndex> {
        let mut table = Table::open(input, &[Kind::Codes])?;
        let name = table.name().to_owned();
        let subvectors = CodesBatch::subvectors_in(&table.schema())?;
        if subvectors != codebook.subvectors() {
            let text = format!("has codes of {subvectors} bytes, but {place} has {} subvectors", codebook.subvectors());
            return Err(Error::new(&name, text));
        }
        let (space, centroids) = (rotation.digest(), codebook.digest());
        check_made_for(&name, table.provenance(), &space, &centroids, place)?;
        let mut lists = CodeListsBuilder::new(subvectors)?;
        let mut last = None;
        let mut read = 0;
        for batch in &mut table {
            let batch = CodesBatch::new(&batch?)?;
            for (row, &id) in batch.ids.values().iter().enumerate() {
                if last.is_some_and(|last| id <= last) {
                    let text = format!("id {id} does not come after the one before it, and ids must ascend");
                    return Err(
                        Error::at_row(&name, read + row, text).hint("each text has one code; sort the rows by id")
                    );
                }
                last = Some(id);
            }
            lists.push(batch.ids.values().iter().copied(), batch.bytes())?;
            read += batch.len();
            added(batch.len());
        }
        if last.is_none() {
            return Err(Error::new(name, "has no codes"));
        }
        lists.end_list()?;
        let mut about = table.provenance().clone();
        about.stamp_index();
        about.set(provenance::SPACE, space);
        about.set(provenance::CENTROIDS, centroids);
        // As RepCONC has it. With one list, which is 0, neither setting has an effect.
        let coarse = Coarse { by_distance: true, ..Coarse::new(vec![0.0; codebook.dim()]).residual() };
        PqIndex::new(&name, None, codebook, coarse, lists.finish()?, about)
    }

    /// Writes the codes of all documents to `output`, in the order of their ids. `written` is called with the number of
    /// codes of each batch.
    ///
    /// # Errors
    /// Those of writing.
    pub fn write_codes(&self, output: &Output, mut written: impl FnMut(usize)) -> Result<()> {
        let subvectors = self.codebook.subvectors();
        let mut about = self.provenance.clone();
        about.set(provenance::CENTROIDS, self.codebook.digest());
        about.set_some(provenance::SPACE, self.rotation.as_ref().map(|rotation| rotation.digest()));
        let mut writer = Writer::create(output, Kind::Codes, schema::codes(subvectors), about)?;
        let lists: Vec<List> = self.lists.iter().collect();
        let rows = lists.iter().enumerate().flat_map(|(number, list)| (0..list.len()).map(move |row| (number, row)));
        let mut documents: Vec<(i64, usize, usize)> =
            rows.map(|(number, row)| (lists[number].id(row), number, row)).collect();
        documents.sort_unstable();
        for part in documents.chunks(ROWS) {
            let ids = part.iter().map(|document| document.0).collect();
            let codes = part.iter().flat_map(|&(_, number, row)| lists[number].code(row));
            writer.write(&CodesBatch::build(ids, subvectors, codes.copied().collect())?)?;
            written(part.len());
        }
        writer.finish().map(drop)
    }
}

/// Refuses codes of vectors in another space than that of the tower `place`, and warns of codes that other centroids
/// made.
fn check_made_for(name: &str, about: &Provenance, space: &str, centroids: &str, place: &str) -> Result<()> {
    let of_codes = about.get(provenance::SPACE);
    // Where the encoder is known, so is the space of its vectors.
    if of_codes != Some(space) && (of_codes.is_some() || about.get(provenance::MODEL).is_some()) {
        let text = format!("its codes are of vectors that the rotation of {place} did not turn");
        return Err(Error::new(name, text).hint("the tower whose encoder made the codes, or one trained from it"));
    }
    if about.get(provenance::CENTROIDS).is_some_and(|of_codes| of_codes != centroids) {
        tracing::warn!(
            "{name} was made with other centroids than those of {place}, which is right only if {place} was trained from \
             the tower that made it"
        );
    }
    Ok(())
}
