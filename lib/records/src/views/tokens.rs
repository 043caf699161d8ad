//! Texts as token ids.

use std::sync::Arc;

use arrow::array::{Array, AsArray, Int32Array, Int64Array, ListArray, RecordBatch, StringArray};
use arrow::buffer::{OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Int32Type};

use super::{batch, column};
use crate::schema::{Kind, tokens};
use crate::{Error, Result};

/// Texts as token ids.
#[derive(Clone, Debug)]
pub struct TokensBatch {
    /// Internal id of each text: its row number.
    pub ids: Int64Array,
    /// Official id of each text.
    pub keys: StringArray,
    lists: ListArray,
}

impl TokensBatch {
    /// The texts of `batch`.
    ///
    /// # Errors
    /// A column that is missing or has another type, which never happens with a batch that a table was read from.
    pub fn new(batch: &RecordBatch) -> Result<Self> {
        let kind = Kind::Tokens;
        let lists: ListArray = column(batch, kind, "token_ids")?;
        if lists.values().as_primitive_opt::<Int32Type>().is_none() {
            return Err(Error::new(kind, format!("column token_ids is {}", lists.data_type())));
        }
        Ok(TokensBatch { ids: column(batch, kind, "id")?, keys: column(batch, kind, "key")?, lists })
    }

    /// Texts whose row numbers begin with `first`, with the `token_ids` of all of them one after the other, of which
    /// each text has as many as `lengths` says.
    ///
    /// # Errors
    /// Numbers of keys, lengths and token ids that don't agree.
    pub fn build(
        first: i64,
        keys: impl IntoIterator<Item = String>,
        lengths: Vec<usize>,
        token_ids: Vec<i32>,
    ) -> Result<RecordBatch> {
        let schema = tokens();
        let DataType::List(item) = schema.field_with_name("token_ids").map_err(Error::at(Kind::Tokens))?.data_type()
        else {
            return Err(Error::new(Kind::Tokens, "column token_ids is not a list"));
        };
        let ids = Int64Array::from_iter_values(first..first + lengths.len() as i64);
        let (offsets, values) =
            (OffsetBuffer::from_lengths(lengths), Int32Array::new(ScalarBuffer::from(token_ids), None));
        let lists =
            ListArray::try_new(item.clone(), offsets, Arc::new(values), None).map_err(Error::at(Kind::Tokens))?;
        let keys = StringArray::from_iter_values(keys);
        batch(Kind::Tokens, schema.clone(), vec![Arc::new(ids), Arc::new(keys), Arc::new(lists)])
    }

    /// Number of texts.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there is no text.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Token ids of the text in `row`, special tokens included.
    pub fn token_ids(&self, row: usize) -> &[i32] {
        let offsets = self.lists.value_offsets();
        &self.lists.values().as_primitive::<Int32Type>().values()[offsets[row] as usize..offsets[row + 1] as usize]
    }
}
