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
    /// How queries get into the space of an index, which may have a `rotation` of its own. Both are given by name and
    /// provenance.
    ///
    /// # Errors
    /// Queries that the index's rotation has not turned, but another one; spaces that differ where the index has none.
    pub fn into_index(
        (name, queries): (&str, &Provenance),
        (index_name, index): (&str, &Provenance),
        rotation: Option<&Rotation>,
    ) -> Result<Turn> {
        let space = queries.get(SPACE);
        match rotation {
            Some(rotation) => match space {
                None => Ok(Turn::Rotate(rotation.clone())),
                Some(space) if space == rotation.digest() => Ok(Turn::Nothing),
                Some(_) => Err(Error::new(name, format!("its vectors are not turned by the rotation of {index_name}"))
                    .hint("embed --no-rotation makes plain vectors, which rank turns by the rotation of the index")),
            },
            // Programs that write such files keep the rotation in the model.
            None if index.get(KIND).is_none() => {
                if space.is_none() {
                    tracing::warn!(
                        "{index_name}: does not say whether its codes are of rotated vectors; {name} is not"
                    );
                }
                Ok(Turn::Nothing)
            }
            None => Turn::into_vectors((name, queries), (index_name, index), None),
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
        let spaces = (queries.get(SPACE), vectors.get(SPACE));
        match (spaces, rotation.map(|rotation| (rotation.clone(), rotation.digest()))) {
            ((one, other), _) if one == other => return Ok(Turn::Nothing),
            ((None, Some(space)), Some((rotation, digest))) if space == digest => return Ok(Turn::Rotate(rotation)),
            ((Some(space), None), Some((rotation, digest))) if space == digest => return Ok(Turn::Unrotate(rotation)),
            _ => {}
        }
        let text = match spaces {
            (None, _) => format!("its vectors are plain, but those of {vectors_name} are rotated"),
            (_, None) => format!("its vectors are rotated, but those of {vectors_name} are plain"),
            _ => format!("its vectors are rotated by another rotation than those of {vectors_name}"),
        };
        Err(Error::new(name, text).hint("embed both with one model, and both with --no-rotation or both without it"))
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
