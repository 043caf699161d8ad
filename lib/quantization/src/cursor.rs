//! A place in the bytes of a file from which numbers are read, none of them trusted.

use std::ops::Range;

/// Why bytes are not an index of product quantization.
#[derive(Debug)]
pub(crate) enum Problem {
    /// They are another kind of faiss index, or have settings that we don't compute; what it has.
    OtherKind(String),
    /// They are damaged; how.
    Damaged(String),
}

/// Reads `bytes` from `place` on.
pub(crate) struct Cursor<'a> {
    bytes: &'a [u8],
    place: usize,
}

impl<'a> Cursor<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Cursor { bytes, place: 0 }
    }

    /// Where in the bytes it is.
    pub fn place(&self) -> usize {
        self.place
    }

    /// Passes over `count` items of `size` bytes; returns where they are.
    pub fn range(&mut self, count: usize, size: usize, what: &str) -> Result<Range<usize>, Problem> {
        let left = self.bytes.len() - self.place;
        match count.checked_mul(size).filter(|&length| length <= left) {
            Some(length) => {
                self.place += length;
                Ok(self.place - length..self.place)
            }
            None => Err(Problem::Damaged(format!("it ends before its {what}"))),
        }
    }

    fn array<const N: usize>(&mut self, what: &str) -> Result<[u8; N], Problem> {
        let range = self.range(N, 1, what)?;
        let mut array = [0; N];
        array.copy_from_slice(&self.bytes[range]);
        Ok(array)
    }

    /// The four letters that name a kind.
    pub fn name(&mut self, what: &str) -> Result<[u8; 4], Problem> {
        self.array(what)
    }

    pub fn i32(&mut self, what: &str) -> Result<i32, Problem> {
        self.array(what).map(i32::from_le_bytes)
    }

    /// A number that counts something.
    pub fn count(&mut self, what: &str) -> Result<usize, Problem> {
        let number = u64::from_le_bytes(self.array(what)?);
        usize::try_from(number).map_err(|_| Problem::Damaged(format!("{number} is no number of {what}")))
    }

    /// A dimension, in 4 bytes.
    pub fn dim(&mut self, what: &str) -> Result<usize, Problem> {
        let number = self.i32(what)?;
        let dim = usize::try_from(number).ok().filter(|&dim| dim > 0);
        dim.ok_or_else(|| Problem::Damaged(format!("its {what} is {number}")))
    }

    /// A byte that is 0 or 1.
    pub fn flag(&mut self, what: &str) -> Result<bool, Problem> {
        match self.array(what)? {
            [0] => Ok(false),
            [1] => Ok(true),
            [other] => Err(Problem::Damaged(format!("its {what} is {other}, which is neither 0 nor 1"))),
        }
    }

    /// A vector of `count` floats, which must all be finite, behind its length.
    pub fn floats(&mut self, count: usize, what: &str) -> Result<Vec<f32>, Problem> {
        self.length(count, what)?;
        let bytes = &self.bytes[self.range(count, size_of::<f32>(), what)?];
        let floats: Vec<f32> = bytes.as_chunks().0.iter().map(|&number| f32::from_le_bytes(number)).collect();
        match floats.iter().all(|number| number.is_finite()) {
            true => Ok(floats),
            false => Err(Problem::Damaged(format!("some {what} are NaN or infinite"))),
        }
    }

    /// A vector of any number of floats, as [`Cursor::floats`].
    pub fn all_floats(&mut self, what: &str) -> Result<Vec<f32>, Problem> {
        let start = self.place;
        let count = self.count(what)?;
        self.place = start;
        self.floats(count, what)
    }

    /// A vector of `count` numbers that count something, behind its length.
    pub fn counts(&mut self, count: usize, what: &str) -> Result<Vec<usize>, Problem> {
        self.length(count, what)?;
        self.numbers(count, what)
    }

    /// `count` numbers that count something.
    pub fn numbers(&mut self, count: usize, what: &str) -> Result<Vec<usize>, Problem> {
        let mut numbers = Cursor { bytes: self.bytes, place: self.range(count, size_of::<u64>(), what)?.start };
        (0..count).map(|_| numbers.count(what)).collect()
    }

    /// The length of a vector, which must be `expected`.
    pub fn length(&mut self, expected: usize, what: &str) -> Result<(), Problem> {
        match self.count(what)? {
            found if found == expected => Ok(()),
            found => Err(Problem::Damaged(format!("it has {found} {what}, where {expected} belong"))),
        }
    }
}
