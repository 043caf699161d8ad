//! Texts as codes.

use std::sync::Arc;

use arrow::array::{FixedSizeBinaryArray, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Schema};

use super::{batch, column};
use crate::schema::{Kind, codes};
use crate::{Error, Result};

/// Texts as codes of a product quantizer.
#[derive(Clone, Debug)]
pub struct CodesBatch {
    /// Internal id of each text.
    pub ids: Int64Array,
    codes: FixedSizeBinaryArray,
}

impl CodesBatch {
    /// The codes of `batch`.
    ///
    /// # Errors
    /// A column that is missing or has another type, which never happens with a batch that a table was read from.
    pub fn new(batch: &RecordBatch) -> Result<Self> {
        Ok(CodesBatch { ids: column(batch, Kind::Codes, "id")?, codes: column(batch, Kind::Codes, "code")? })
    }

    /// Codes of `subvectors` bytes with their `ids`, the bytes row by row.
    ///
    /// # Errors
    /// Numbers of ids and bytes that don't agree.
    pub fn build(ids: Vec<i64>, subvectors: usize, bytes: Vec<u8>) -> Result<RecordBatch> {
        let codes = FixedSizeBinaryArray::try_new(subvectors as i32, bytes.into(), None);
        let codes = codes.map_err(Error::at(Kind::Codes))?;
        batch(Kind::Codes, self::codes(subvectors), vec![Arc::new(Int64Array::from(ids)), Arc::new(codes)])
    }

    /// How many bytes a code has in batches of this schema.
    ///
    /// # Errors
    /// There is no column of codes, which never happens with the schema of a table.
    pub fn subvectors_in(schema: &Schema) -> Result<usize> {
        match schema.field_with_name("code").map(|field| field.data_type()) {
            Ok(DataType::FixedSizeBinary(size)) => Ok(*size as usize),
            _ => Err(Error::new(Kind::Codes, "column code is not of a fixed number of bytes")),
        }
    }

    /// Number of codes.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there is no code.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many bytes a code has.
    pub fn subvectors(&self) -> usize {
        self.codes.value_size()
    }

    /// All bytes, (rows × subvectors).
    pub fn bytes(&self) -> &[u8] {
        &self.codes.value_data()[..self.len() * self.subvectors()]
    }
}
