//! Functions of SQL that DataFusion does not have as we build it.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int32Array, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};
use datafusion::logical_expr::{
    ColumnarValue, ScalarUDF, Signature, SimpleScalarUDF, TypeSignature, Volatility, create_udf,
};
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

/// `get_byte(bytes, n)`: the byte of this number, from 0, as PostgreSQL's function of that name, but null behind the
/// last byte. It takes codes apart.
pub(crate) fn get_byte() -> ScalarUDF {
    let byte = |arguments: &[ColumnarValue]| {
        let columns = ColumnarValue::values_to_arrays(arguments)?;
        let (bytes, numbers) = (cast(&columns[0], &DataType::Binary)?, cast(&columns[1], &DataType::Int64)?);
        let rows = bytes.as_binary::<i32>().iter().zip(numbers.as_primitive::<Int64Type>());
        let bytes = rows.map(|(bytes, n)| bytes?.get(usize::try_from(n?).ok()?).map(|&byte| i32::from(byte)));
        Ok(ColumnarValue::Array(Arc::new(bytes.collect::<Int32Array>()) as ArrayRef))
    };
    let signature = Signature::new(TypeSignature::Any(2), Volatility::Immutable);
    SimpleScalarUDF::new_with_signature("get_byte", signature, DataType::Int32, Arc::new(byte)).into()
}
