//! `pytorch_model.bin`: what `torch.save` writes, as a zip archive (since PyTorch 1.6) or as a row of
//! pickles followed by the elements (before).

use std::collections::HashMap;
use std::io::{Cursor, Read};
use std::rc::Rc;

use hardmine_records::{Error, Result};
use tch::Tensor;
use zip::ZipArchive;

use super::is_float;
use super::pickle::{self, StoredTensor, Value};

/// Marks a file of the old form.
pub const MAGIC: i128 = 0x1950_a86a_20f9_469c_fc6c;

/// The floating-point tensors of a file.
pub fn read(bytes: &[u8], place: &str) -> Result<Vec<(String, Tensor)>> {
    if bytes.starts_with(b"PK") { read_zip(bytes, place) } else { read_row(bytes, place) }
}

fn read_zip(bytes: &[u8], place: &str) -> Result<Vec<(String, Tensor)>> {
    let mut archive = ZipArchive::new(Cursor::new(bytes))
        .map_err(|e| Error::new(place, format!("not a whole file of PyTorch: {e}")))?;
    let folder = archive
        .file_names()
        .find_map(|name| name.strip_suffix("/data.pkl").map(str::to_owned))
        .ok_or_else(|| Error::new(place, "no data.pkl inside; expected a file that torch.save wrote"))?;
    if archive.file_names().any(|name| name == format!("{folder}/byteorder")) {
        let order = member(&mut archive, &format!("{folder}/byteorder"), place)?;
        if order != b"little" {
            return Err(Error::new(place, "written on a big-endian machine, which is not supported"));
        }
    }
    let state = member(&mut archive, &format!("{folder}/data.pkl"), place)?;
    let (state, _) = pickle::read(&state).map_err(Error::at(place))?;
    let mut floats = Vec::new();
    for (name, stored) in tensors(&state, place)? {
        if is_float(stored.storage.kind) {
            let elements = member(&mut archive, &format!("{folder}/data/{}", stored.storage.key), place)?;
            let tensor = over(&stored, &elements, &name, place)?;
            floats.push((name, tensor));
        }
    }
    Ok(floats)
}

fn member(archive: &mut ZipArchive<Cursor<&[u8]>>, name: &str, place: &str) -> Result<Vec<u8>> {
    let mut file = archive.by_name(name).map_err(|e| Error::new(place, format!("{name}: {e}")))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(|e| Error::new(place, format!("{name}: {e}")))?;
    Ok(bytes)
}

/// Pickles of a magic number, a version, facts about the machine, the state, and the keys of the
/// storages; then for each key the number of elements (int64) and the elements.
fn read_row(bytes: &[u8], place: &str) -> Result<Vec<(String, Tensor)>> {
    let foreign = || Error::new(place, "not a file that torch.save wrote");
    let mut rest = bytes;
    let mut next = || -> Result<Value> {
        let (value, length) = pickle::read(rest).map_err(Error::at(place))?;
        rest = &rest[length..];
        Ok(value)
    };
    if !matches!(next(), Ok(Value::Int(MAGIC))) {
        return Err(foreign());
    }
    let (_version, _machine, state, keys) = (next()?, next()?, next()?, next()?);
    let tensors = tensors(&state, place)?;
    let widths: HashMap<&str, usize> =
        tensors.iter().map(|(_, stored)| (&*stored.storage.key, stored.storage.kind.elt_size_in_bytes())).collect();
    let Value::List(keys) = keys else { return Err(foreign()) };
    let mut elements = HashMap::new();
    for key in keys.borrow().iter() {
        let Value::Text(key) = key else { return Err(foreign()) };
        let short = || Error::new(place, format!("truncated: the elements of storage {key} are not all there"));
        let width = *widths.get(&**key).ok_or_else(foreign)?;
        let (count, after) = rest.split_first_chunk::<8>().ok_or_else(short)?;
        let count = usize::try_from(i64::from_le_bytes(*count)).map_err(|_| short())?;
        let size = count.checked_mul(width).filter(|&size| size <= after.len()).ok_or_else(short)?;
        elements.insert(key.to_string(), &after[..size]);
        rest = &after[size..];
    }
    let floats = tensors.iter().filter(|(_, stored)| is_float(stored.storage.kind));
    floats
        .map(|(name, stored)| {
            let elements = elements.get(&*stored.storage.key).ok_or_else(foreign)?;
            Ok((name.clone(), over(stored, elements, name, place)?))
        })
        .collect()
}

/// The tensors of a state dictionary, in its order.
fn tensors(state: &Value, place: &str) -> Result<Vec<(String, Rc<StoredTensor>)>> {
    let Value::Dict(entries) = state else {
        return Err(Error::new(place, "expected a dictionary of tensors, found something else"));
    };
    let tensors: Vec<_> = entries
        .borrow()
        .iter()
        .filter_map(|entry| match entry {
            (Value::Text(name), Value::Tensor(stored)) => Some((name.to_string(), stored.clone())),
            _ => None,
        })
        .collect();
    match tensors.is_empty() {
        true => {
            Err(Error::new(place, "no tensors inside")
                .hint("expected a state dictionary, as save_pretrained writes it"))
        }
        false => Ok(tensors),
    }
}

/// The part of a storage's elements that a tensor shows.
fn over(stored: &StoredTensor, elements: &[u8], name: &str, place: &str) -> Result<Tensor> {
    let StoredTensor { storage, offset, shape, strides } = stored;
    let count = elements.len() / storage.kind.elt_size_in_bytes();
    let outside = || Error::new(place, format!("truncated: {name} of shape {shape:?} is not all there"));
    if shape.len() != strides.len() || shape.iter().chain(strides).chain([offset]).any(|&number| number < 0) {
        return Err(outside());
    }
    let mut end = *offset;
    for (&size, &stride) in shape.iter().zip(strides) {
        end = (size - 1).max(0).checked_mul(stride).and_then(|span| end.checked_add(span)).ok_or_else(outside)?;
    }
    if end >= count as i64 && !shape.contains(&0) {
        return Err(outside());
    }
    let all = super::tensor(elements, &[count as i64], storage.kind, place)?;
    all.f_as_strided(shape, strides, *offset).map(|tensor| tensor.contiguous()).map_err(Error::at(place))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ZIP: &[u8] = include_bytes!("../../../../tests/fixtures/checkpoints/zip.bin");
    const ROW: &[u8] = include_bytes!("../../../../tests/fixtures/checkpoints/row.bin");

    #[test]
    fn both_forms_hold_the_same_tensors() {
        for bytes in [ZIP, ROW] {
            let tensors: HashMap<String, Tensor> = read(bytes, "test").unwrap().into_iter().collect();
            let check = |name: &str, shape: &[i64], expected: &[f32]| {
                let tensor = &tensors[name];
                assert_eq!(tensor.size(), shape, "{name}");
                assert_eq!(Vec::<f32>::try_from(tensor.flatten(0, -1)).unwrap(), expected, "{name}");
            };
            check("plain", &[3, 4], &[0., 1., 2., 3., 4., 5., 6., 7., 8., 9., 10., 11.]);
            check("transposed", &[4, 3], &[0., 4., 8., 1., 5., 9., 2., 6., 10., 3., 7., 11.]);
            check("row", &[4], &[4., 5., 6., 7.]);
            check("half", &[2], &[0.5, -2.0]);
            check("bfloat", &[2, 1], &[1.5, 3.0]);
            check("parameter", &[1], &[7.0]);
            check("scalar", &[], &[4.25]);
            assert!(!tensors.contains_key("position_ids"));
        }
    }

    #[test]
    fn a_file_cut_anywhere_is_an_error() {
        for bytes in [ZIP, ROW] {
            for length in (0..bytes.len()).step_by(7) {
                assert!(read(&bytes[..length], "test").is_err(), "{length}");
            }
        }
    }
}
