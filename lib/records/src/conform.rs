//! Lenient on input: casts the columns of a file, whoever wrote it, to the schema of its kind.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, FixedSizeListArray, Int64Array, RecordBatch, RecordBatchOptions, new_empty_array,
};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, Float16Type, Float32Type, Schema, SchemaRef};

use crate::schema::{self, ColumnType};
use crate::{Error, IdSpace, Kind, Result};

/// How to turn batches of a source into batches of the kind's schema.
pub(crate) struct Conform {
    name: String,
    schema: SchemaRef,
    ids: IdSpace,
    /// For each column of `schema`, its place in the source.
    sources: Vec<usize>,
    rows: usize,
}

impl Conform {
    /// # Errors
    /// A missing column, or one whose type doesn't fit.
    pub(crate) fn new(name: &str, kind: Kind, source: &Schema) -> Result<Self> {
        let definition = kind.definition();
        let mut sources = Vec::new();
        let mut fields = Vec::new();
        let mut ids = None;
        for column in &definition.columns {
            let (index, field) = source.column_with_name(&column.name).ok_or_else(|| {
                let found: Vec<_> = source.fields().iter().map(|field| field.name().as_str()).collect();
                let expected: Vec<_> = definition.columns.iter().map(|column| column.name.as_str()).collect();
                let text = format!("expected {kind} with columns {}, found {}", expected.join(", "), found.join(", "));
                Error::new(name, text)
            })?;
            let target = target_type(column.type_, field.data_type()).ok_or_else(|| {
                let text = format!("column {} is {}, which does not fit {kind}", column.name, field.data_type());
                Error::new(name, text)
            })?;
            if column.type_ == ColumnType::Id {
                let space = if target == DataType::Utf8 { IdSpace::Official } else { IdSpace::Internal };
                if *ids.get_or_insert(space) != space {
                    return Err(Error::new(name, "query_id and doc_id are of different types: one int64, one utf8"));
                }
            }
            sources.push(index);
            fields.push(Field::new(&column.name, target, column.nullable));
        }
        let schema = Arc::new(Schema::new(fields));
        Ok(Conform { name: name.to_owned(), schema, ids: ids.unwrap_or(IdSpace::Internal), sources, rows: 0 })
    }

    pub(crate) fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    pub(crate) fn ids(&self) -> IdSpace {
        self.ids
    }

    /// # Errors
    /// A null or a value out of range where there must be none, with its row.
    pub(crate) fn apply(&mut self, batch: &RecordBatch) -> Result<RecordBatch> {
        let mut columns = Vec::with_capacity(self.sources.len());
        for (field, &source) in self.schema.fields().iter().zip(&self.sources) {
            let column = batch.column(source);
            if !field.is_nullable() && column.null_count() > 0 {
                let row = (0..column.len()).find(|&row| column.is_null(row)).unwrap_or_default();
                return Err(Error::new(self.place(row), format!("column {} is null", field.name())));
            }
            columns.push(self.cast(column, field)?);
        }
        self.rows += batch.num_rows();
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        RecordBatch::try_new_with_options(self.schema.clone(), columns, &options).map_err(Error::at(&self.name))
    }

    fn place(&self, row: usize) -> String {
        format!("{}: row {}", self.name, self.rows + row)
    }

    fn cast(&self, column: &ArrayRef, field: &Field) -> Result<ArrayRef> {
        if column.data_type() == field.data_type() {
            return Ok(column.clone());
        }
        let failed = |e| Error::new(&self.name, format!("column {} near row {}: {e}", field.name(), self.rows));
        let strict = CastOptions { safe: false, ..Default::default() };
        match field.data_type() {
            // arrow casts between list types only when their lengths and nullability agree.
            DataType::FixedSizeList(item, dim) => self.vectors(column, item, *dim),
            DataType::List(item) => {
                let nullable = DataType::List(Arc::new(Field::new("item", DataType::Int32, true)));
                let lists = cast_with_options(column, &nullable, &strict).map_err(failed)?;
                let lists = lists.as_list::<i32>();
                if lists.values().null_count() > 0 {
                    return Err(Error::new(&self.name, format!("column {} has a null in a list", field.name())));
                }
                let parts = (item.clone(), lists.offsets().clone(), lists.values().clone());
                let lists = arrow::array::ListArray::try_new(parts.0, parts.1, parts.2, None).map_err(failed)?;
                Ok(Arc::new(lists))
            }
            target => cast_with_options(column, target, &strict).map_err(failed),
        }
    }

    fn vectors(&self, column: &ArrayRef, item: &Arc<Field>, dim: i32) -> Result<ArrayRef> {
        let failed = |e| Error::new(&self.name, format!("column embedding near row {}: {e}", self.rows));
        let values = match column.data_type() {
            DataType::FixedSizeList(..) => {
                let lists = column.as_fixed_size_list();
                lists.values().slice(lists.value_offset(0) as usize, lists.len() * dim as usize)
            }
            _ => {
                let lists = cast_with_options(
                    column,
                    &DataType::LargeList(Arc::new(Field::new("item", item.data_type().clone(), true))),
                    &CastOptions { safe: false, ..Default::default() },
                )
                .map_err(failed)?;
                let lists = lists.as_list::<i64>();
                if let Some(row) = (0..lists.len()).find(|&row| lists.value_length(row) != i64::from(dim)) {
                    let text = format!("has {} dimensions, expected {dim}", lists.value_length(row));
                    return Err(Error::new(self.place(row), text));
                }
                let start = lists.value_offsets().first().copied().unwrap_or_default() as usize;
                lists.values().slice(start, lists.len() * dim as usize)
            }
        };
        let strict = CastOptions { safe: false, ..Default::default() };
        let values = cast_with_options(&values, item.data_type(), &strict).map_err(failed)?;
        if values.null_count() > 0 {
            return Err(Error::new(&self.name, "column embedding has a null in a vector"));
        }
        Ok(Arc::new(FixedSizeListArray::try_new(item.clone(), dim, values, None).map_err(failed)?))
    }
}

/// The type we read a column of type `source` as; none if it doesn't fit.
fn target_type(column: ColumnType, source: &DataType) -> Option<DataType> {
    let text = |type_: &DataType| matches!(type_, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
    let plain = match source {
        DataType::Dictionary(_, values) => values,
        other => other,
    };
    match column {
        ColumnType::Id if text(plain) => Some(DataType::Utf8),
        ColumnType::Id | ColumnType::Int64 | ColumnType::Int32 => {
            plain.is_integer().then(|| column.arrow(IdSpace::Internal))
        }
        ColumnType::Float32 | ColumnType::Float64 => plain.is_numeric().then(|| column.arrow(IdSpace::Internal)),
        ColumnType::Utf8 => (text(plain) || plain.is_integer()).then_some(DataType::Utf8),
        ColumnType::ListInt32 => match source {
            DataType::List(item) | DataType::LargeList(item) => {
                item.data_type().is_integer().then(|| column.arrow(IdSpace::Internal))
            }
            _ => None,
        },
        ColumnType::Vector => match source {
            DataType::FixedSizeList(item, dim) if item.data_type().is_floating() && *dim > 0 => {
                let float = if item.data_type() == &DataType::Float16 { DataType::Float16 } else { DataType::Float32 };
                Some(schema::vector(float, *dim as usize))
            }
            _ => None,
        },
    }
}

/// The length of the first list, for vectors stored as lists of variable length.
pub(crate) fn with_fixed_size(schema: &Schema, first: Option<&RecordBatch>) -> Option<Schema> {
    let (index, field) = schema.column_with_name("embedding")?;
    let item = match field.data_type() {
        DataType::List(item) | DataType::LargeList(item) => item,
        _ => return None,
    };
    let column = first.map_or_else(|| new_empty_array(field.data_type()), |batch| batch.column(index).clone());
    let length = match column.data_type() {
        _ if column.is_empty() => return None,
        DataType::List(_) => i64::from(column.as_list::<i32>().value_length(0)),
        _ => column.as_list::<i64>().value_length(0),
    };
    let mut fields: Vec<_> = schema.fields().iter().cloned().collect();
    fields[index] = Arc::new(Field::new("embedding", DataType::FixedSizeList(item.clone(), length as i32), false));
    Some(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

/// Refuses embeddings with a NaN or an infinity. `batch` has the schema of embeddings and comes from `name`.
///
/// # Errors
/// The id of the first such vector.
pub fn check_finite(name: &str, batch: &RecordBatch) -> Result<()> {
    let vectors = batch.column(1).as_fixed_size_list();
    let dim = vectors.value_length() as usize;
    let values = vectors.values();
    let bad = match values.data_type() {
        DataType::Float16 => {
            values.as_primitive::<Float16Type>().values().chunks(dim).position(|v| v.iter().any(|x| !x.is_finite()))
        }
        // Without its sign, a number that is not finite has the largest bits; as integers the loop is vectorized.
        _ => values.as_primitive::<Float32Type>().values().chunks(dim).position(|v| {
            let largest = v.iter().fold(0, |largest: i32, x| largest.max((x.to_bits() & 0x7fff_ffff) as i32));
            largest >= f32::INFINITY.to_bits() as i32
        }),
    };
    match bad {
        None => Ok(()),
        Some(row) => {
            let id = batch.column(0).as_any().downcast_ref::<Int64Array>().map_or(row as i64, |ids| ids.value(row));
            Err(Error::new(format!("{name}: id {id}"), "the embedding has NaN or infinite numbers"))
        }
    }
}
