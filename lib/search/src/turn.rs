//! How queries get into the space of what they are compared with. Vectors are plain, or a rotation has turned them;
//! their provenance says which.

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
            Some(rotation) => {
                let own = rotation.digest();
                // What was rotated before is rotated again.
                let before = index.get(SPACE).filter(|&space| space != own);
                match space {
                    space if space == before => Ok(Turn::Rotate(rotation.clone())),
                    Some(space) if space == own => Ok(Turn::Nothing),
                    _ => Err(Error::new(name, format!("its vectors are not turned by the rotation of {index_name}"))
                        .hint(
                            "embed --no-rotation makes plain vectors, which rank turns by the rotation of the index",
                        )),
                }
            }
            // Another program that keeps the rotation in the model cannot say so.
            None if index.get(KIND).is_none() => Ok(Turn::Nothing),
            None => Turn::into_vectors((name, queries), (index_name, index), None),
        }
    }

    /// How queries get into the space of `vectors`; both are given by name and provenance. A `rotation` leads from
    /// plain vectors to rotated ones and back.
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

    /// The `queries`, (Q, E) row by row, in the other space. The threads of the current pool share the work.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn about(space: Option<&str>) -> Provenance {
        let mut about = Provenance::default();
        about.set(KIND, "embeddings");
        about.set_some(SPACE, space);
        about
    }

    fn what(turn: Result<Turn>) -> Option<&'static str> {
        turn.ok().map(|turn| match turn {
            Turn::Nothing => "nothing",
            Turn::Rotate(_) => "rotate",
            Turn::Unrotate(_) => "unrotate",
        })
    }

    #[test]
    fn only_a_rotation_that_is_there_leads_from_space_to_space() {
        let rotation = Rotation::new(vec![0.0, 1.0, 1.0, 0.0], 2).unwrap();
        let ours = rotation.digest();
        let (plain, ours, other) = (None, Some(ours.as_str()), Some("other"));
        for (queries, vectors, with, without) in [
            (plain, plain, Some("nothing"), Some("nothing")),
            (plain, ours, Some("rotate"), None),
            (plain, other, None, None),
            (ours, plain, Some("unrotate"), None),
            (ours, ours, Some("nothing"), Some("nothing")),
            (ours, other, None, None),
            (other, plain, None, None),
            (other, other, Some("nothing"), Some("nothing")),
        ] {
            let turn = |rotation| Turn::into_vectors(("q", &about(queries)), ("d", &about(vectors)), rotation);
            assert_eq!((what(turn(Some(&rotation))), what(turn(None))), (with, without), "{queries:?} {vectors:?}");
        }
        // The vectors of an index with a rotation are rotated by it, whatever was rotated before.
        for (queries, expected) in [(plain, Some("rotate")), (ours, Some("nothing")), (other, None)] {
            let turn = Turn::into_index(("q", &about(queries)), ("i", &about(plain)), Some(&rotation));
            assert_eq!(what(turn), expected, "{queries:?}");
        }
        let twice = Turn::into_index(("q", &about(other)), ("i", &about(other)), Some(&rotation));
        assert_eq!(what(twice), Some("rotate"));
        let foreign = Provenance::default();
        assert_eq!(what(Turn::into_index(("q", &about(other)), ("i", &foreign), None)), Some("nothing"));
        assert_eq!(what(Turn::into_index(("q", &about(plain)), ("i", &about(ours)), None)), None);
    }

    #[test]
    fn queries_turn_there_and_back() {
        let rotation = Rotation::new(vec![0.6, 0.8, -0.8, 0.6], 2).unwrap();
        let queries: Vec<f32> = (0..100).map(|number| number as f32).collect();
        let rotated = Turn::Rotate(rotation.clone()).apply(&queries).into_owned();
        let near = |(a, b): (&f32, &f32)| (a - b).abs() < 1e-4;
        assert!((rotated[2] - (0.6 * 2.0 + 0.8 * 3.0)).abs() < 1e-5 && rotated.len() == 100);
        assert!(Turn::Unrotate(rotation).apply(&rotated).iter().zip(&queries).all(near));
    }
}
