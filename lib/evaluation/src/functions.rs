//! Functions of SQL that DataFusion does not have as we build it.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, StringArray};
use arrow::datatypes::DataType;
use datafusion::logical_expr::{ColumnarValue, ScalarUDF, Volatility, create_udf};
use sha2::{Digest, Sha256};

/// `sha256(text)`: 64 hexadecimal digits, as DuckDB's function of that name. It makes ids of texts, and splits that do
/// not depend on the order of rows.
pub(crate) fn sha256() -> ScalarUDF {
    let digest = |arguments: &[ColumnarValue]| {
        let texts = ColumnarValue::values_to_arrays(arguments)?;
        let digests =
            texts[0].as_string::<i32>().iter().map(|text| text.map(|text| format!("{:x}", Sha256::digest(text))));
        Ok(ColumnarValue::Array(Arc::new(digests.collect::<StringArray>()) as ArrayRef))
    };
    create_udf("sha256", vec![DataType::Utf8], DataType::Utf8, Volatility::Immutable, Arc::new(digest))
}
