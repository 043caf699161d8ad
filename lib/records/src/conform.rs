//! Casts the columns of a file, whoever wrote it, to the schema of its kind: a reader is lenient, a writer strict.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, FixedSizeListArray, Float32Array, Int32Array, Int64Array, RecordBatch,
    RecordBatchOptions, new_empty_array, new_null_array,
};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, Float64Type, Int32Type, Schema, SchemaRef};

use crate::columns::{ListColumns, Role};
use crate::ids::IdSpace;
use crate::schema::{self, Column, ColumnType};
use crate::views::{EmbeddingsBatch, Numbers};
use crate::{Error, Kind, Result};

/// How to turn batches of a source into batches of the kind's schema.
pub struct Conform {
    name: String,
    schema: SchemaRef,
    ids: IdSpace,
    /// For each column of `schema`, where it comes from.
    sources: Vec<Source>,
    /// Whether ids that are no text became some.
    made_official: bool,
    rows: usize,
}

/// What ids that are whole numbers become.
#[derive(Clone, Copy, PartialEq)]
pub enum IntegerIds {
    /// They stay what they are, unless they stand beside ids that are text.
    AsTyped,
    /// Text.
    Official,
}

/// Where a column comes from.
#[derive(Clone, Copy, PartialEq)]
enum Source {
    /// The column of this number.
    Column(usize),
    /// A run of another program has no ranks: they are 0.
    NoRanks,
    /// A run of another program has no scores: they order the documents as the ranks do.
    NoScores,
    /// A column that may be null came into being after the file: it is null.
    Nulls,
}

impl Conform {
    /// A file that `is_foreign` may have other names for its columns, whole numbers as floats, and no ranks or no
    /// scores.
    ///
    /// # Errors
    /// A missing column, or one whose type doesn't fit.
    pub fn new(name: &str, kind: Kind, source: &Schema, ids: IntegerIds, is_foreign: bool) -> Result<Self> {
        let is_there = |column: &&Column| source.index_of(&column.name).is_ok();
        let (optional, mut columns): (Vec<&Column>, Vec<&Column>) =
            kind.definition().columns.iter().partition(|column| column.optional);
        // Optional columns come together, or not at all.
        if optional.iter().any(is_there) {
            columns.extend(optional);
        }
        let sources = sources(kind, &columns, source, is_foreign).ok_or_else(|| {
            let found: Vec<_> = source.fields().iter().map(|field| field.name().as_str()).collect();
            let expected: Vec<_> = columns.iter().map(|column| column.name.as_str()).collect();
            let text = format!("expected {kind} with columns {}, found {}", expected.join(", "), found.join(", "));
            Error::new(name, text)
        })?;
        let mut targets = Vec::new();
        for (column, &from) in columns.iter().zip(&sources) {
            let Source::Column(index) = from else {
                targets.push(column.type_.arrow(IdSpace::Official));
                continue;
            };
            let type_ = source.field(index).data_type();
            targets.push(target_type(column.type_, type_, is_foreign).ok_or_else(|| {
                let text = format!("column {} is {type_}, which does not fit {kind}", source.field(index).name());
                Error::new(name, text)
            })?);
        }
        let id_types = targets.iter_mut().zip(&columns).filter(|(_, column)| column.type_ == ColumnType::Id);
        let mut id_types: Vec<&mut DataType> = id_types.map(|(target, _)| target).collect();
        let has_text = id_types.iter().any(|type_| **type_ == DataType::Utf8);
        let has_numbers = id_types.iter().any(|type_| **type_ != DataType::Utf8);
        if has_text && has_numbers && !is_foreign {
            return Err(Error::new(name, "query_id and doc_id are of different types: one int64, one utf8"));
        }
        let official = has_text || ids == IntegerIds::Official && has_numbers;
        if official {
            id_types.iter_mut().for_each(|type_| **type_ = DataType::Utf8);
        }
        let fields =
            columns.iter().zip(targets).map(|(column, target)| Field::new(&column.name, target, column.nullable));
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let ids = if official { IdSpace::Official } else { IdSpace::Internal };
        let made_official = official && has_numbers;
        Ok(Conform { name: name.to_owned(), schema, ids, sources, made_official, rows: 0 })
    }

    /// The schema of the batches that [`Conform::apply`] gives.
    pub fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    /// The id space that the ids are in then.
    pub fn ids(&self) -> IdSpace {
        self.ids
    }

    /// Whether ids that are integers in the file become text.
    pub fn made_official(&self) -> bool {
        self.made_official
    }

    /// Whether the file has ranks; those that are missing become 0.
    pub fn has_ranks(&self) -> bool {
        !self.sources.contains(&Source::NoRanks)
    }

    /// Whether the file has scores; those that are missing are made of the ranks.
    pub fn has_scores(&self) -> bool {
        !self.sources.contains(&Source::NoScores)
    }

    /// Number of rows that went through [`Conform::apply`].
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The next batch of the file in the schema of its kind.
    ///
    /// # Errors
    /// A null or a value out of range where there must be none, with its row.
    pub fn apply(&mut self, batch: &RecordBatch) -> Result<RecordBatch> {
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(self.sources.len());
        for (field, &source) in self.schema.fields().iter().zip(&self.sources) {
            let column = match source {
                Source::Column(index) => batch.column(index),
                Source::NoRanks => {
                    columns.push(Arc::new(Int32Array::from(vec![0; batch.num_rows()])));
                    continue;
                }
                Source::NoScores => {
                    let ranks = columns[2].as_primitive::<Int32Type>().values();
                    columns.push(Arc::new(Float32Array::from_iter_values(ranks.iter().map(|&rank| reciprocal(rank)))));
                    continue;
                }
                Source::Nulls => {
                    columns.push(new_null_array(field.data_type(), batch.num_rows()));
                    continue;
                }
            };
            if !field.is_nullable() && column.null_count() > 0 {
                let row = (0..column.len()).find(|&row| column.is_null(row)).unwrap_or_default();
                return Err(Error::at_row(&self.name, self.rows + row, format!("column {} is null", field.name())));
            }
            columns.push(self.cast(column, field)?);
        }
        self.rows += batch.num_rows();
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        RecordBatch::try_new_with_options(self.schema.clone(), columns, &options).map_err(Error::at(&self.name))
    }

    fn cast(&self, column: &ArrayRef, field: &Field) -> Result<ArrayRef> {
        if column.data_type() == field.data_type() {
            return Ok(column.clone());
        }
        let whole = self.without_fractions(column, field)?;
        let column = whole.as_ref().unwrap_or(column);
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

    /// The numbers of a column of floats that is to hold whole ones; none of any other.
    fn without_fractions(&self, column: &ArrayRef, field: &Field) -> Result<Option<ArrayRef>> {
        let plain = match column.data_type() {
            DataType::Dictionary(_, values) => values,
            other => other,
        };
        let is_whole = field.data_type().is_integer() || field.data_type() == &DataType::Utf8;
        // Above these, floats of the type leave whole numbers out.
        let exact = match plain {
            DataType::Float16 => 1i64 << 11,
            DataType::Float32 => 1 << 24,
            DataType::Float64 => 1 << 53,
            _ => return Ok(None),
        };
        if !is_whole {
            return Ok(None);
        }
        let numbers = cast_with_options(column, &DataType::Float64, &CastOptions::default())
            .map_err(|e| Error::new(&self.name, format!("column {}: {e}", field.name())))?;
        let numbers = numbers.as_primitive::<Float64Type>().values();
        let wrong = |number: f64| number.fract() != 0.0 || number.abs() > exact as f64;
        if let Some(row) = numbers.iter().position(|&number| wrong(number)) {
            let (name, number) = (field.name(), numbers[row]);
            let text = format!("column {name} is {number}, which is no whole number that {plain} holds exactly");
            return Err(
                Error::at_row(&self.name, self.rows + row, text).hint("write this column as text or as integers")
            );
        }
        Ok(Some(Arc::new(Int64Array::from_iter_values(numbers.iter().map(|&number| number as i64)))))
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
                    return Err(Error::at_row(&self.name, self.rows + row, text));
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

/// A score that orders documents as their ranks do.
pub fn reciprocal(rank: i32) -> f32 {
    if rank > 0 { 1.0 / rank as f32 } else { 0.0 }
}

/// Where the `columns` of `kind` stand in a file; none if one is missing that can't be null.
fn sources(kind: Kind, columns: &[&Column], source: &Schema, is_foreign: bool) -> Option<Vec<Source>> {
    let named = |column: &Column| match source.index_of(&column.name) {
        Ok(index) => Some(Source::Column(index)),
        Err(_) => (column.nullable && !column.optional && column.type_ != ColumnType::Id).then_some(Source::Nulls),
    };
    let all: Option<Vec<Source>> = columns.iter().map(|column| named(column)).collect();
    if all.is_some() || !is_foreign || !kind.has_text_form() {
        return all;
    }
    let found = ListColumns::find(source.fields().iter().map(|field| field.name().as_str()))?;
    let of_role = |role| found.get(role, kind).map(Source::Column);
    let sources: Option<Vec<Source>> = columns
        .iter()
        .map(|column| match Role::of(&column.name) {
            Some(Role::Rank) => of_role(Role::Rank).or(Some(Source::NoRanks)),
            Some(Role::Score) => of_role(Role::Score).or(Some(Source::NoScores)),
            Some(role) => of_role(role),
            None => named(column),
        })
        .collect();
    // One of the two orders the documents.
    sources.filter(|sources| !(sources.contains(&Source::NoRanks) && sources.contains(&Source::NoScores)))
}

/// The type we read a column of type `source` as; none if it doesn't fit.
fn target_type(column: ColumnType, source: &DataType, is_foreign: bool) -> Option<DataType> {
    use DataType::{Binary, BinaryView, LargeBinary, LargeUtf8, Utf8, Utf8View};
    let text = |type_: &DataType| {
        matches!(type_, Utf8 | LargeUtf8 | Utf8View) || is_foreign && matches!(type_, Binary | LargeBinary | BinaryView)
    };
    let plain = match source {
        DataType::Dictionary(_, values) => values,
        other => other,
    };
    match column {
        ColumnType::Id if text(plain) => Some(Utf8),
        ColumnType::Id | ColumnType::Int64 | ColumnType::Int32 => {
            let can_be_whole = plain.is_floating() || matches!(plain, DataType::Decimal128(_, 0));
            let fits = plain.is_integer() || is_foreign && can_be_whole;
            fits.then(|| column.arrow(IdSpace::Internal))
        }
        ColumnType::Float32 | ColumnType::Float64 => plain.is_numeric().then(|| column.arrow(IdSpace::Internal)),
        ColumnType::Utf8 => (text(plain) || plain.is_integer()).then_some(Utf8),
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
        ColumnType::Code => match source {
            DataType::FixedSizeBinary(size) if *size > 0 => Some(source.clone()),
            _ => None,
        },
    }
}

/// The length of the first list, for vectors stored as lists of variable length.
pub fn with_fixed_size(schema: &Schema, first: Option<&RecordBatch>) -> Option<Schema> {
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

/// Without its sign, a number that is not finite has the largest bits; as integers the loop is vectorized.
pub fn are_finite(values: &[f32]) -> bool {
    let bits = |value: &f32| (value.to_bits() & 0x7fff_ffff) as i32;
    values.iter().fold(0, |largest: i32, value| largest.max(bits(value))) < bits(&f32::INFINITY)
}

/// Refuses embeddings with a NaN or an infinity, which come from the file `name`.
///
/// # Errors
/// The id of the first such vector.
pub fn check_finite(name: &str, batch: &EmbeddingsBatch) -> Result<()> {
    let dim = batch.dimension();
    let bad = match batch.numbers() {
        Numbers::F16(numbers) => numbers.chunks(dim).position(|vector| vector.iter().any(|x| !x.is_finite())),
        Numbers::F32(numbers) => numbers.chunks(dim).position(|vector| !are_finite(vector)),
    };
    match bad {
        None => Ok(()),
        Some(row) => {
            let id = batch.ids.value(row);
            Err(Error::new(format!("{name}: id {id}"), "the embedding has NaN or infinite numbers"))
        }
    }
}
