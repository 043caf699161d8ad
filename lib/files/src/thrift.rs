//! As much of Thrift's compact protocol as it takes to walk through the headers of a Parquet file. See
//! <https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md>.

type Walked<T> = std::result::Result<T, String>;

/// How deep what is skipped may be nested.
const DEPTH: u32 = 64;

/// A walk through structures, from the beginning of `bytes`.
pub(crate) struct Thrift<'a> {
    rest: &'a [u8],
    /// Number of the last field of each structure that is open.
    last: Vec<i16>,
}

/// A field of a structure.
pub(crate) struct Field {
    pub(crate) id: i16,
    pub(crate) kind: u8,
}

impl<'a> Thrift<'a> {
    /// Begins inside of a structure.
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Thrift { rest: bytes, last: vec![0] }
    }

    /// The bytes that have not been read yet.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Begins a structure inside of the present one.
    pub(crate) fn enter(&mut self) {
        self.last.push(0);
    }

    /// The next field of the present structure; none at its end.
    pub(crate) fn field(&mut self) -> Walked<Option<Field>> {
        let head = self.byte()?;
        if head == 0 {
            self.last.pop();
            return Ok(None);
        }
        let last = self.last.last().copied().unwrap_or(0);
        let id = match head >> 4 {
            0 => self.integer()? as i16,
            step => last.wrapping_add(step.into()),
        };
        self.last.pop();
        self.last.push(id);
        Ok(Some(Field { id, kind: head & 15 }))
    }

    /// An integer of any width.
    pub(crate) fn integer(&mut self) -> Walked<i64> {
        let value = self.varint()?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    /// The number of elements of a list of structures.
    pub(crate) fn list(&mut self) -> Walked<u64> {
        match self.list_of()? {
            (12, count) => Ok(count),
            _ => Err("a list of something else than structures".into()),
        }
    }

    /// Skips a value.
    pub(crate) fn skip(&mut self, kind: u8) -> Walked<()> {
        self.skip_within(kind, DEPTH)
    }

    fn skip_within(&mut self, kind: u8, depth: u32) -> Walked<()> {
        let depth = depth.checked_sub(1).ok_or("its headers are nested too deep")?;
        match kind {
            // A truth value in a structure is part of the field's head.
            1 | 2 => Ok(()),
            3 => self.take(1),
            4..=6 => self.varint().map(drop),
            7 => self.take(8),
            8 => {
                let length = self.varint()?;
                self.take(length)
            }
            9 | 10 => {
                let (kind, count) = self.list_of()?;
                (0..count).try_for_each(|_| self.skip_element(kind, depth))
            }
            11 => {
                let count = self.varint()?;
                let kinds = if count == 0 { 0 } else { self.byte()? };
                (0..count).try_for_each(|_| {
                    self.skip_element(kinds >> 4, depth)?;
                    self.skip_element(kinds & 15, depth)
                })
            }
            12 => {
                self.enter();
                while let Some(field) = self.field()? {
                    self.skip_within(field.kind, depth)?;
                }
                Ok(())
            }
            kind => Err(format!("its headers have a field of the unknown type {kind}")),
        }
    }

    /// Skips an element of a list or a map, where a truth value has a byte of its own: none is without bytes, so that
    /// a count that is too large comes to the end of the file.
    fn skip_element(&mut self, kind: u8, depth: u32) -> Walked<()> {
        match kind {
            1 | 2 => self.take(1),
            kind => self.skip_within(kind, depth),
        }
    }

    fn list_of(&mut self) -> Walked<(u8, u64)> {
        let head = self.byte()?;
        let count = match head >> 4 {
            15 => self.varint()?,
            count => count.into(),
        };
        // An element has a byte at least.
        match count <= self.rest.len() as u64 {
            true => Ok((head & 15, count)),
            false => Err("a list is longer than the file".into()),
        }
    }

    fn varint(&mut self) -> Walked<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err("a number of more than 64 bits".into())
    }

    fn byte(&mut self) -> Walked<u8> {
        let (&byte, rest) = self.rest.split_first().ok_or("its headers are cut off")?;
        self.rest = rest;
        Ok(byte)
    }

    fn take(&mut self, count: u64) -> Walked<()> {
        let rest = usize::try_from(count).ok().and_then(|count| self.rest.get(count..));
        self.rest = rest.ok_or("its headers are cut off")?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_that_claims_more_than_the_file_has_ends_with_it() {
        // 2^63 − 1 entries of two truth values.
        let bytes = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 0x11, 1, 1];
        assert!(Thrift::new(&bytes).skip(11).is_err());
    }
}
