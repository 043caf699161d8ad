//! JSON lines as a table: a column for each field, lists and objects included.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef};
use arrow::json::ReaderBuilder;
use arrow::json::reader::Decoder;
use hardmine_files::{Input, Lines};
use hardmine_records::{Error, Result};
use serde_json::{Map, Value};

/// Lines that are decoded at once.
const BATCH: usize = 1024;

/// Finds the columns of `input`, for which all of its lines are read. A field that has values of kinds that have
/// nothing in common, such as lists here and objects there, is left aside with a warning.
///
/// # Errors
/// A line that is no JSON object.
pub(crate) fn schema(input: &Input) -> Result<SchemaRef> {
    let mut lines = input.open()?.into_lines();
    let mut all = Vec::new();
    while let Some(line) = lines.next_line()? {
        if line.trim().is_empty() {
            continue;
        }
        let object: Map<String, Value> = serde_json::from_str(line).map_err(|error| {
            let text = error.to_string();
            let text = text.split(" at line ").next().unwrap_or_default();
            Error::in_place(lines.place(), format!("bad JSON at column {}: {text}", error.column()))
                .hint("each line is one object; NaN and Infinity are not JSON")
        })?;
        merge(&mut all, &object);
    }
    let place = lines.name();
    for name in all.iter().filter(|(_, shape)| *shape == Shape::Mixed).map(|(name, _)| name) {
        tracing::warn!("{place}: the field `{name}` has values of different kinds, and is left aside");
    }
    let fields = fields(&all);
    match fields.is_empty() {
        true => Err(Error::new(place, "has no field that could be a column")),
        false => Ok(Arc::new(Schema::new(fields))),
    }
}

/// The rows of `input`, in columns that [`schema`] found.
///
/// # Errors
/// The file can't be read any more.
pub(crate) fn read(input: &Input, schema: SchemaRef) -> Result<JsonLines> {
    let lines = input.open()?.into_lines();
    let decoder = ReaderBuilder::new(schema).with_batch_size(BATCH).with_coerce_primitive(true);
    let decoder = decoder.build_decoder().map_err(Error::at(lines.name()))?;
    Ok(JsonLines { lines, decoder })
}

/// Batches of JSON lines.
pub(crate) struct JsonLines {
    lines: Lines,
    decoder: Decoder,
}

impl JsonLines {
    fn batch(&mut self) -> Result<Option<RecordBatch>> {
        while self.decoder.len() < BATCH
            && let Some(line) = self.lines.next_line()?
        {
            let decoded = self.decoder.decode(line.as_bytes()).and_then(|_| self.decoder.decode(b"\n"));
            decoded.map_err(|error| Error::in_place(self.lines.place(), error))?;
        }
        self.decoder.flush().map_err(Error::at(self.lines.name()))
    }
}

impl Iterator for JsonLines {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Result<RecordBatch>> {
        self.batch().transpose()
    }
}

/// What the values of a field have in common.
#[derive(Debug, PartialEq)]
enum Shape {
    /// There are none but null.
    Unknown,
    Boolean,
    Integer,
    Float,
    /// Strings, or scalars of several kinds, which are read as they are written.
    Text,
    List(Box<Shape>),
    Object(Vec<(String, Shape)>),
    /// Nothing.
    Mixed,
}

impl Shape {
    fn of(value: &Value) -> Shape {
        match value {
            Value::Null => Shape::Unknown,
            Value::Bool(_) => Shape::Boolean,
            Value::Number(number) if number.is_i64() => Shape::Integer,
            Value::Number(number) if number.is_f64() => Shape::Float,
            Value::Number(_) | Value::String(_) => Shape::Text,
            Value::Array(values) => {
                Shape::List(Box::new(values.iter().map(Shape::of).fold(Shape::Unknown, Shape::with)))
            }
            Value::Object(values) => {
                let mut fields = Vec::new();
                merge(&mut fields, values);
                Shape::Object(fields)
            }
        }
    }

    fn with(self, other: Shape) -> Shape {
        match (self, other) {
            (one, other) if one == other => one,
            (Shape::Unknown, other) | (other, Shape::Unknown) => other,
            (Shape::List(one), Shape::List(other)) => Shape::List(Box::new(one.with(*other))),
            (Shape::Object(mut one), Shape::Object(other)) => {
                other.into_iter().for_each(|(name, shape)| add(&mut one, &name, shape));
                Shape::Object(one)
            }
            (Shape::List(_) | Shape::Object(_) | Shape::Mixed, _)
            | (_, Shape::List(_) | Shape::Object(_) | Shape::Mixed) => Shape::Mixed,
            (Shape::Integer, Shape::Float) | (Shape::Float, Shape::Integer) => Shape::Float,
            _ => Shape::Text,
        }
    }

    /// The type of a column with such values; none if there can be no column.
    fn data_type(&self) -> Option<DataType> {
        match self {
            Shape::Boolean => Some(DataType::Boolean),
            Shape::Integer => Some(DataType::Int64),
            Shape::Float => Some(DataType::Float64),
            Shape::Text => Some(DataType::Utf8),
            // Which takes part in any expression, so that lists that are empty in all lines are no error.
            Shape::Unknown => Some(DataType::Null),
            Shape::List(values) => Some(DataType::new_list(values.data_type()?, true)),
            Shape::Object(values) => Some(fields(values)).filter(|fields| !fields.is_empty()).map(DataType::Struct),
            Shape::Mixed => None,
        }
    }
}

fn merge(all: &mut Vec<(String, Shape)>, object: &Map<String, Value>) {
    object.iter().for_each(|(name, value)| add(all, name, Shape::of(value)));
}

fn add(all: &mut Vec<(String, Shape)>, name: &str, shape: Shape) {
    match all.iter_mut().find(|(known, _)| known == name) {
        Some((_, known)) => *known = std::mem::replace(known, Shape::Unknown).with(shape),
        None => all.push((name.to_owned(), shape)),
    }
}

fn fields(shapes: &[(String, Shape)]) -> Fields {
    shapes.iter().filter_map(|(name, shape)| Some(Field::new(name, shape.data_type()?, true))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(values: &str) -> Option<String> {
        let values: Vec<Value> = serde_json::from_str(values).unwrap();
        let shape = values.iter().map(Shape::of).fold(Shape::Unknown, Shape::with);
        shape.data_type().map(|found| found.to_string())
    }

    #[test]
    fn values_have_a_type_in_common() {
        for (values, expected) in [
            ("[1, null, 2]", "Int64"),
            ("[1, 2.5]", "Float64"),
            ("[1, \"a\"]", "Utf8"),
            ("[true, 1]", "Utf8"),
            ("[18446744073709551615, 1]", "Utf8"),
            ("[null]", "Null"),
            ("[[], [1], []]", "List(Int64)"),
            ("[[], []]", "List(Null)"),
        ] {
            assert_eq!(found(values).as_deref(), Some(expected), "{values}");
        }
        let objects = found(r#"[{}, {"a": 1}, {"b": [{"c": "x"}]}]"#).unwrap();
        assert!(objects.contains("\"a\": Int64") && objects.contains("\"c\": Utf8"), "{objects}");
        for values in ["[{}]", "[1, [1]]", "[[1], {\"a\": 1}, null]", "[[[1], 2]]"] {
            assert_eq!(found(values), None, "{values}");
        }
    }
}
