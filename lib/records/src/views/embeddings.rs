//! Texts as vectors.

use std::sync::Arc;

use arrow::array::{Array, AsArray, FixedSizeListArray, Float16Array, Float32Array, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Float16Type, Float32Type, Schema};
use half::f16;

use super::{batch, column};
use crate::schema::{Kind, embeddings};
use crate::{Error, Result};

/// Texts as vectors.
#[derive(Clone, Debug)]
pub struct EmbeddingsBatch {
    /// Internal id of each text.
    pub ids: Int64Array,
    vectors: FixedSizeListArray,
}

/// The numbers of vectors, row by row.
#[derive(Clone, Copy, Debug)]
pub enum Numbers<'a> {
    /// In single precision.
    F32(&'a [f32]),
    /// In half precision.
    F16(&'a [f16]),
}

impl EmbeddingsBatch {
    /// The vectors of `batch`.
    ///
    /// # Errors
    /// A column that is missing or has another type, which never happens with a batch that a table was read from.
    pub fn new(batch: &RecordBatch) -> Result<Self> {
        let vectors: FixedSizeListArray = column(batch, Kind::Embeddings, "embedding")?;
        match vectors.value_type() {
            DataType::Float32 | DataType::Float16 => {
                Ok(EmbeddingsBatch { ids: column(batch, Kind::Embeddings, "id")?, vectors })
            }
            other => Err(Error::new(Kind::Embeddings, format!("column embedding has {other} for numbers"))),
        }
    }

    /// Vectors of `dimension` numbers with their `ids`, the `values` of type `Float32` or `Float16` row by row.
    ///
    /// # Errors
    /// Numbers of ids and values that don't agree.
    pub fn build(ids: Vec<i64>, dimension: usize, values: Values) -> Result<RecordBatch> {
        let schema = embeddings(values.data_type(), dimension);
        let values: Arc<dyn Array> = match values {
            Values::F32(values) => Arc::new(Float32Array::from(values)),
            Values::F16(values) => Arc::new(Float16Array::from(values)),
        };
        let item = match schema.field_with_name("embedding").map(|field| field.data_type()) {
            Ok(DataType::FixedSizeList(item, _)) => item.clone(),
            _ => return Err(Error::new(Kind::Embeddings, "column embedding is not a vector")),
        };
        let vectors = FixedSizeListArray::try_new(item, dimension as i32, values, None);
        let vectors = vectors.map_err(Error::at(Kind::Embeddings))?;
        batch(Kind::Embeddings, schema, vec![Arc::new(Int64Array::from(ids)), Arc::new(vectors)])
    }

    /// How many numbers a vector has in batches of this schema.
    ///
    /// # Errors
    /// There is no column of vectors, which never happens with the schema of a table.
    pub fn dimension_in(schema: &Schema) -> Result<usize> {
        match schema.field_with_name("embedding").map(|field| field.data_type()) {
            Ok(DataType::FixedSizeList(_, dimension)) => Ok(*dimension as usize),
            _ => Err(Error::new(Kind::Embeddings, "column embedding is not a vector")),
        }
    }

    /// Number of vectors.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there is no vector.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many numbers a vector has.
    pub fn dimension(&self) -> usize {
        self.vectors.value_length() as usize
    }

    /// All numbers, (rows × dimension).
    pub fn numbers(&self) -> Numbers<'_> {
        let (start, length) = (self.vectors.value_offset(0) as usize, self.len() * self.dimension());
        let values = self.vectors.values();
        match values.data_type() {
            DataType::Float16 => Numbers::F16(&values.as_primitive::<Float16Type>().values()[start..start + length]),
            _ => Numbers::F32(&values.as_primitive::<Float32Type>().values()[start..start + length]),
        }
    }
}

/// The numbers of vectors that are to be written, row by row.
#[derive(Clone, Debug)]
pub enum Values {
    /// In single precision.
    F32(Vec<f32>),
    /// In half precision.
    F16(Vec<f16>),
}

impl Values {
    fn data_type(&self) -> DataType {
        match self {
            Values::F32(_) => DataType::Float32,
            Values::F16(_) => DataType::Float16,
        }
    }
}
