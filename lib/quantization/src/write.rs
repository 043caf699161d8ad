//! Writes an index as faiss does, and our provenance behind it.

use std::io::{self, Write};

use hardmine_files::{OutputFile, trailer};
use hardmine_records::{Error, Result};

use crate::codebook::Codebook;
use crate::index::{Coarse, Form, PqIndex};
use crate::lists::CodeLists;
use crate::read::{DISTANCE, INNER_PRODUCT};
use crate::rotation::Rotation;

/// What faiss writes where its header has numbers that it ignores.
const IGNORED: i64 = 1 << 20;

impl PqIndex {
    /// Writes the index to `output`, which then appears. `faiss.read_index` opens it.
    ///
    /// # Errors
    /// Those of writing.
    pub fn write(&self, mut output: OutputFile) -> Result<()> {
        let place = output.place().to_owned();
        self.write_all(&mut output).map_err(Error::io(place))?;
        output.commit()
    }

    pub(crate) fn write_all(&self, to: &mut impl Write) -> io::Result<()> {
        let documents = self.len();
        if let Some(rotation) = &self.rotation {
            write_header(to, b"IxPT", rotation.dim_in(), documents, INNER_PRODUCT)?;
            write_rotation(to, rotation)?;
        }
        let dim = self.codebook.dim();
        match &self.form {
            Form::Inverted(coarse) => {
                write_header(to, b"IwPQ", dim, documents, INNER_PRODUCT)?;
                write_coarse(to, coarse, dim)?;
                write_count(to, self.codebook.subvectors())?;
                write_codebook(to, &self.codebook)?;
                write_lists(to, &self.lists, coarse.sparse_sizes)?;
            }
            Form::Plain(plain) => {
                write_header(to, b"IxPq", dim, documents, INNER_PRODUCT)?;
                write_codebook(to, &self.codebook)?;
                let codes = self.lists.list(0).codes();
                write_count(to, codes.len())?;
                to.write_all(codes)?;
                to.write_all(&plain.search_type.to_le_bytes())?;
                to.write_all(&[plain.encode_signs.into()])?;
                to.write_all(&plain.polysemous_threshold.to_le_bytes())?;
            }
        }
        if self.provenance.iter().next().is_some() {
            to.write_all(&trailer(&self.provenance)?)?;
        }
        Ok(())
    }
}

fn write_header(to: &mut impl Write, name: &[u8; 4], dim: usize, documents: usize, metric: i32) -> io::Result<()> {
    to.write_all(name)?;
    to.write_all(&(dim as i32).to_le_bytes())?;
    write_count(to, documents)?;
    to.write_all(&IGNORED.to_le_bytes())?;
    to.write_all(&IGNORED.to_le_bytes())?;
    let trained = 1;
    to.write_all(&[trained])?;
    to.write_all(&metric.to_le_bytes())
}

fn write_rotation(to: &mut impl Write, rotation: &Rotation) -> io::Result<()> {
    let (transforms, bias, trained) = (1i32, 0, 1);
    to.write_all(&transforms.to_le_bytes())?;
    to.write_all(b"LTra")?;
    to.write_all(&[bias])?;
    write_floats(to, rotation.matrix())?;
    write_floats(to, &[])?;
    to.write_all(&(rotation.dim_in() as i32).to_le_bytes())?;
    to.write_all(&(rotation.dim_out() as i32).to_le_bytes())?;
    to.write_all(&[trained])
}

/// Writes what an inverted index has before the size of its codes.
fn write_coarse(to: &mut impl Write, coarse: &Coarse, dim: usize) -> io::Result<()> {
    let nlist = coarse.centroids.len() / dim;
    write_count(to, nlist)?;
    write_count(to, coarse.nprobe)?;
    let (name, metric) = if coarse.by_distance { (b"IxF2", DISTANCE) } else { (b"IxFI", INNER_PRODUCT) };
    write_header(to, name, dim, nlist, metric)?;
    write_floats(to, &coarse.centroids)?;
    let (direct_map, entries) = (0, 0);
    to.write_all(&[direct_map])?;
    write_count(to, entries)?;
    to.write_all(&[coarse.by_residual.into()])
}

fn write_codebook(to: &mut impl Write, codebook: &Codebook) -> io::Result<()> {
    let bits = 8;
    for number in [codebook.dim(), codebook.subvectors(), bits] {
        write_count(to, number)?;
    }
    write_floats(to, codebook.centroids())
}

fn write_lists(to: &mut impl Write, lists: &CodeLists, sparse_sizes: bool) -> io::Result<()> {
    to.write_all(b"ilar")?;
    write_count(to, lists.len())?;
    write_count(to, lists.code_size())?;
    let sizes = lists.iter().map(|list| list.len());
    let numbers: Vec<usize> = match sparse_sizes {
        true => sizes.enumerate().filter(|(_, size)| *size > 0).flat_map(|(list, size)| [list, size]).collect(),
        false => sizes.collect(),
    };
    to.write_all(if sparse_sizes { b"sprs" } else { b"full" })?;
    write_count(to, numbers.len())?;
    numbers.into_iter().try_for_each(|number| write_count(to, number))?;
    for list in lists.iter() {
        to.write_all(list.codes())?;
        match list.id_bytes() {
            Some(ids) => to.write_all(ids)?,
            None => (0..list.len()).try_for_each(|id| write_count(to, id))?,
        }
    }
    Ok(())
}

fn write_floats(to: &mut impl Write, floats: &[f32]) -> io::Result<()> {
    write_count(to, floats.len())?;
    floats.iter().try_for_each(|number| to.write_all(&number.to_le_bytes()))
}

fn write_count(to: &mut impl Write, number: usize) -> io::Result<()> {
    to.write_all(&(number as u64).to_le_bytes())
}
