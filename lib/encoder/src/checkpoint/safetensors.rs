//! The safetensors format.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::Path;

use hardmine_records::{Error, Result};
use safetensors::{Dtype, SafeTensors, View};
use tch::{Kind, Tensor};

/// The floating-point tensors of a file.
pub fn read(bytes: &[u8], place: &str) -> Result<Vec<(String, Tensor)>> {
    let file = SafeTensors::deserialize(bytes)
        .map_err(|error| Error::new(place, format!("not a whole safetensors file: {error}")))?;
    let mut tensors = Vec::new();
    for (name, view) in file.tensors() {
        let kind = match view.dtype() {
            Dtype::F32 => Kind::Float,
            Dtype::F16 => Kind::Half,
            Dtype::BF16 => Kind::BFloat16,
            Dtype::F64 => Kind::Double,
            _ => continue,
        };
        let shape: Vec<i64> = view.shape().iter().map(|&size| size as i64).collect();
        tensors.push((name, super::tensor(view.data(), &shape, kind, place)?));
    }
    Ok(tensors)
}

/// A tensor's bytes in host memory, as float32.
struct Stored {
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl View for &Stored {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.bytes)
    }

    fn data_len(&self) -> usize {
        self.bytes.len()
    }
}

/// Writes tensors as float32, marked as PyTorch's for transformers.
pub(crate) fn write<'a>(path: &Path, tensors: impl Iterator<Item = (&'a str, &'a Tensor)>) -> Result<()> {
    let stored: Vec<(&str, Stored)> = tensors
        .map(|(name, tensor)| {
            let values = tensor.detach().to_device(tch::Device::Cpu).to_kind(Kind::Float).contiguous();
            let mut bytes = vec![0; values.numel() * 4];
            values.f_copy_data_u8(&mut bytes, values.numel()).map_err(Error::at(path.display()))?;
            Ok((name, Stored { shape: values.size().iter().map(|&size| size as usize).collect(), bytes }))
        })
        .collect::<Result<_>>()?;
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    let views = stored.iter().map(|(name, stored)| (*name, stored));
    safetensors::serialize_to_file(views, Some(metadata), path).map_err(Error::at(path.display()))
}
