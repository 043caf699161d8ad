//! The two id spaces: internal ids are row numbers of a tokens file, official ids are the collection's own.

use std::borrow::Cow;
use std::fmt::{self, Display};
use std::hash::Hash;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int64Array, StringArray, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::DataType;

use crate::{Error, Result};

/// What `query_id` and `doc_id` are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdSpace {
    /// Row numbers of the tokens files; `int64` in our files.
    Internal,
    /// Ids of the collection; `utf8` in our files.
    Official,
}

impl Display for IdSpace {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            IdSpace::Internal => "internal",
            IdSpace::Official => "official",
        })
    }
}

/// A column of ids.
#[derive(Clone, Debug)]
pub enum Ids {
    /// Row numbers.
    Internal(Int64Array),
    /// The collection's own.
    Official(StringArray),
}

impl Ids {
    /// The ids in `column`; none if it has neither of their types.
    pub fn of(column: &ArrayRef) -> Option<Ids> {
        let column = column.as_any();
        let internal = column.downcast_ref::<Int64Array>().map(|ids| Ids::Internal(ids.clone()));
        internal.or_else(|| Some(Ids::Official(column.downcast_ref::<StringArray>()?.clone())))
    }

    /// The space they belong to.
    pub fn space(&self) -> IdSpace {
        match self {
            Ids::Internal(_) => IdSpace::Internal,
            Ids::Official(_) => IdSpace::Official,
        }
    }

    /// The type of a column of ids of `space`.
    pub fn data_type(space: IdSpace) -> DataType {
        match space {
            IdSpace::Internal => DataType::Int64,
            IdSpace::Official => DataType::Utf8,
        }
    }

    /// Number of ids.
    pub fn len(&self) -> usize {
        match self {
            Ids::Internal(ids) => ids.len(),
            Ids::Official(ids) => ids.len(),
        }
    }

    /// Whether there is no id.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The id in `row` as text.
    pub fn text(&self, row: usize) -> Cow<'_, str> {
        match self {
            Ids::Internal(ids) => ids.value(row).to_string().into(),
            Ids::Official(ids) => ids.value(row).into(),
        }
    }

    /// The ids in these `rows`, in their order.
    ///
    /// # Errors
    /// A row that there isn't.
    pub fn take(&self, rows: &UInt32Array) -> Result<Ids> {
        let taken = take(&self.clone().into_column(), rows, None).map_err(Error::at("ids"))?;
        Ids::of(&taken).ok_or_else(|| Error::new("ids", "became something else"))
    }

    /// The column.
    pub fn into_column(self) -> ArrayRef {
        match self {
            Ids::Internal(ids) => Arc::new(ids),
            Ids::Official(ids) => Arc::new(ids),
        }
    }
}

/// An id of either space as it stands in a column, for code that is written once for both: `i64`, or text.
pub trait Id<'a>: Copy + Display + Eq + Hash + Send + Sync + 'a {
    /// A column of ids of this space, looked up once for all its rows.
    type Column: Copy + Send + Sync;
    /// What is kept of an id longer than its column.
    type Kept: KeptId;

    /// The column.
    ///
    /// # Panics
    /// The ids are of the other space.
    fn column(ids: &'a Ids) -> Self::Column;

    /// The id in `row` of the column.
    fn value(column: Self::Column, row: usize) -> Self;

    /// The id, to be kept longer than its column.
    fn keep(self) -> Self::Kept;

    /// Whether this is the id that was kept.
    fn is(self, kept: &Self::Kept) -> bool;

    /// Whether this id, as text, comes after the other.
    fn is_after(self, other: Self) -> bool;
}

/// An id that is kept longer than its column: `i64`, or `String`.
pub trait KeptId: Clone + Display + Eq + Hash + Send {
    /// A column of these ids, with a null for each that is missing.
    fn column(ids: Vec<Option<Self>>) -> Ids;
}

impl KeptId for i64 {
    fn column(ids: Vec<Option<i64>>) -> Ids {
        Ids::Internal(ids.into())
    }
}

impl KeptId for String {
    fn column(ids: Vec<Option<String>>) -> Ids {
        Ids::Official(ids.into())
    }
}

impl<'a> Id<'a> for i64 {
    type Column = &'a [i64];
    type Kept = i64;

    fn column(ids: &'a Ids) -> &'a [i64] {
        match ids {
            Ids::Internal(ids) => ids.values(),
            Ids::Official(_) => panic!("expected internal ids"),
        }
    }

    fn value(column: &'a [i64], row: usize) -> i64 {
        column[row]
    }

    fn keep(self) -> i64 {
        self
    }

    fn is(self, kept: &i64) -> bool {
        self == *kept
    }

    fn is_after(self, other: i64) -> bool {
        self.to_string() > other.to_string()
    }
}

impl<'a> Id<'a> for &'a str {
    type Column = &'a StringArray;
    type Kept = String;

    fn column(ids: &'a Ids) -> &'a StringArray {
        match ids {
            Ids::Official(ids) => ids,
            Ids::Internal(_) => panic!("expected official ids"),
        }
    }

    fn value(column: &'a StringArray, row: usize) -> &'a str {
        column.value(row)
    }

    fn keep(self) -> String {
        self.to_owned()
    }

    fn is(self, kept: &String) -> bool {
        self == kept
    }

    fn is_after(self, other: &'a str) -> bool {
        self > other
    }
}
