//! Columns of the rows that SQL gives, as plain vectors.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use hardmine_records::{Error, Result};

/// A column of text, in which null is the empty text.
pub(crate) fn texts(rows: &RecordBatch, name: &str) -> Result<Vec<String>> {
    let column = column(rows, name, &DataType::Utf8)?;
    Ok(column.as_string::<i32>().iter().map(|text| text.unwrap_or_default().to_owned()).collect())
}

/// A column of numbers, in which null is NaN.
pub(crate) fn numbers(rows: &RecordBatch, name: &str) -> Result<Vec<f64>> {
    let column = column(rows, name, &DataType::Float64)?;
    Ok(column.as_primitive::<Float64Type>().iter().map(|number| number.unwrap_or(f64::NAN)).collect())
}

/// A column of integers, in which null is 0.
pub(crate) fn integers(rows: &RecordBatch, name: &str) -> Result<Vec<i64>> {
    let column = column(rows, name, &DataType::Int64)?;
    Ok(column.as_primitive::<Int64Type>().iter().map(Option::unwrap_or_default).collect())
}

/// Whether there is a value, for each row.
pub(crate) fn present(rows: &RecordBatch, name: &str) -> Result<Vec<bool>> {
    let column = rows.column_by_name(name).ok_or_else(|| Error::new("query", format!("no column {name}")))?;
    Ok((0..column.len()).map(|row| column.is_valid(row)).collect())
}

fn column(rows: &RecordBatch, name: &str, kind: &DataType) -> Result<ArrayRef> {
    let column = rows.column_by_name(name).ok_or_else(|| Error::new("query", format!("no column {name}")))?;
    cast(column, kind).map_err(Error::at("query"))
}
