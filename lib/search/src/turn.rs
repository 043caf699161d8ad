//! How queries get into the space of what they are compared with. Vectors are plain, or a rotation has turned them; their
//! provenance says which.

use std::borrow::Cow;

use hardmine_quantization::Rotation;
use hardmine_records::provenance::{KIND, SPACE};
use hardmine_records::{Error, Provenance, Result};
use rayon::prelude::*;

/// Queries that are rotated at once.
const QUERIES: usize = 16;

/// What is done to queries before they are compared.
pub(crate) enum Turn {
    /// They are in the right space.
    Nothing,
    /// They are plain, and what they are compared with is rotated.
    Rotate(Rotation),
    /// They are rotated, and what they are compared with is plain.
    Unrotate(Rotation),
}

impl Turn {
    /// How queries get into the space of an index with this rotation of its own. Both are given by name and provenance.
    ///
    /// # Errors
    /// Queries that another rotation has turned.
    pub fn into_index(
        (name, queries): (&str, &Provenance),
        (index_name, index): (&str, &Provenance),
        rotation: Option<&Rotation>,
    ) -> Result<Turn> {
        let (space, digest) = (queries.get(SPACE), rotation.map(Rotation::digest));
        match (rotation, space) {
            (Some(rotation), None) => Ok(Turn::Rotate(rotation.clone())),
            (Some(_), Some(space)) if digest.as_deref() == Some(space) => Ok(Turn::Nothing),
            (Some(_), Some(_)) => Err(other_space(name, index_name)),
            (None, _) if index.get(KIND).is_none() => {
                if space.is_none() {
                    tracing::warn!("{index_name}: does not say whether its codes are of rotated vectors; {name} is plain");
                }
                Ok(Turn::Nothing)
            }
            (None, _) => Turn::into_vectors((name, queries), (index_name, index), None),
        }
    }

    /// How queries get into the space of `vectors`; both are given by name and provenance. A `rotation` leads from plain
    /// vectors to rotated ones and back.
    ///
    /// # Errors
    /// Spaces that differ, unless it is by this rotation.
    pub fn into_vectors(
        (name, queries): (&str, &Provenance),
        (vectors_name, vectors): (&str, &Provenance),
        rotation: Option<&Rotation>,
    ) -> Result<Turn> {
        let digest = rotation.map(Rotation::digest);
        match (queries.get(SPACE), vectors.get(SPACE), rotation) {
            (one, other, _) if one == other => Ok(Turn::Nothing),
            (None, Some(_), Some(rotation)) if vectors.get(SPACE) == digest.as_deref() => {
                Ok(Turn::Rotate(rotation.clone()))
            }
            (Some(_), None, Some(rotation)) if queries.get(SPACE) == digest.as_deref() => {
                Ok(Turn::Unrotate(rotation.clone()))
            }
            _ => Err(other_space(name, vectors_name)),
        }
    }

    /// Dimension of queries that have `dim` dimensions after this.
    pub fn dim(&self, dim: usize) -> usize {
        match self {
            Turn::Nothing => dim,
            Turn::Rotate(rotation) => rotation.dim_in(),
            Turn::Unrotate(rotation) => rotation.dim_out(),
        }
    }

    /// The `queries`, (Q, E) row by row, in the other space.
    pub fn apply<'a>(&self, queries: &'a [f32]) -> Cow<'a, [f32]> {
        match self {
            Turn::Nothing => queries.into(),
            Turn::Rotate(rotation) => {
                let parts = queries.par_chunks(QUERIES * rotation.dim_in());
                parts.flat_map_iter(|queries| rotation.rotate(queries)).collect()
            }
            Turn::Unrotate(rotation) => {
                let parts = queries.par_chunks(QUERIES * rotation.dim_out());
                parts.flat_map_iter(|queries| rotation.unrotate(queries)).collect()
            }
        }
    }
}

fn other_space(name: &str, documents: &str) -> Error {
    let text = format!("its vectors are not in the space of {documents}: one of the two is rotated, or by another rotation");
    Error::new(name, text).hint("embed --model with the model that the index was made with, with or without --no-rotation")
}
