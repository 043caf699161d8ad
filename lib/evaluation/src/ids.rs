//! Ids of either space as keys of maps, without copying them out of their columns.

use std::fmt::Display;
use std::hash::Hash;

use arrow::array::{Array, ArrayRef, AsArray, StringArray};
use arrow::datatypes::Int64Type;

/// An id as it stands in a column: `i64` in the internal space, text in the official one.
pub(crate) trait Key<'a>: Copy + Display + Eq + Hash + Send + Sync {
    type Column: Copy + Send + Sync;

    fn column(array: &'a ArrayRef) -> Self::Column;

    fn value(column: Self::Column, row: usize) -> Self;

    /// Whether this id, as text, comes after the other.
    fn is_after(self, other: Self) -> bool;
}

impl<'a> Key<'a> for i64 {
    type Column = &'a [i64];

    fn column(array: &'a ArrayRef) -> &'a [i64] {
        array.as_primitive::<Int64Type>().values()
    }

    fn value(column: &'a [i64], row: usize) -> i64 {
        column[row]
    }

    fn is_after(self, other: i64) -> bool {
        self.to_string() > other.to_string()
    }
}

impl<'a> Key<'a> for &'a str {
    type Column = &'a StringArray;

    fn column(array: &'a ArrayRef) -> &'a StringArray {
        array.as_string()
    }

    fn value(column: &'a StringArray, row: usize) -> &'a str {
        column.value(row)
    }

    fn is_after(self, other: &'a str) -> bool {
        self > other
    }
}

/// The id in `row` of a column of either space, as text.
pub(crate) fn id_text(ids: &dyn Array, row: usize) -> String {
    match ids.as_string_opt::<i32>() {
        Some(ids) => ids.value(row).to_owned(),
        None => ids.as_primitive::<Int64Type>().value(row).to_string(),
    }
}
