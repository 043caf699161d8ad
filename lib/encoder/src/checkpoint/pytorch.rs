//! `pytorch_model.bin`: what `torch.save` writes, as a zip archive (since PyTorch 1.6) or as a row of
//! pickles followed by the elements (before).

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::{Cursor, Read};
use std::rc::Rc;

use hardmine_records::{Error, Result};
use tch::{Kind, Tensor};
use zip::ZipArchive;

use super::is_float;
use super::pickle::{self, Heap, StoredTensor, Value};

/// How many times the size of the file its tensors may show together: two names for one matrix are usual.
const SHOWN: u64 = 8;
/// Marks a file of the old form.
pub const MAGIC: i128 = 0x1950_a86a_20f9_469c_fc6c;

/// The floating-point tensors of a file.
pub fn read(bytes: &[u8], place: &str) -> Result<Vec<(String, Tensor)>> {
    if bytes.starts_with(b"PK") { read_zip(bytes, place) } else { read_row(bytes, place) }
}

fn read_zip(bytes: &[u8], place: &str) -> Result<Vec<(String, Tensor)>> {
    let mut archive = ZipArchive::new(Cursor::new(bytes))
        .map_err(|e| Error::new(place, format!("not a whole file of PyTorch: {e}")))?;
    // torch.save stores without compression: no member is larger than the file.
    let file = bytes.len() as u64;
    let folder = archive
        .file_names()
        .find_map(|name| name.strip_suffix("/data.pkl").map(str::to_owned))
        .ok_or_else(|| Error::new(place, "no data.pkl inside; expected a file that torch.save wrote"))?;
    if archive.file_names().any(|name| name == format!("{folder}/byteorder")) {
        let order = member(&mut archive, &format!("{folder}/byteorder"), 16, place)?;
        if order != b"little" {
            return Err(Error::new(place, "written on a big-endian machine, which is not supported"));
        }
    }
    let state = member(&mut archive, &format!("{folder}/data.pkl"), file, place)?;
    let (state, heap, _) = pickle::read(&state).map_err(Error::at(place))?;
    let storages = by_storage(tensors(&state, &heap, place)?, file, place)?;
    let mut floats = Vec::new();
    for (key, storage) in storages {
        // Not a byte more than its tensors show, whatever the archive claims that it holds.
        let elements = member(&mut archive, &format!("{folder}/data/{key}"), storage.size, place)?;
        floats.extend(storage.tensors(&elements, place)?);
    }
    Ok(floats)
}

/// At most `limit` bytes of a member of the archive; all of them, where it has no more.
fn member(archive: &mut ZipArchive<Cursor<&[u8]>>, name: &str, limit: u64, place: &str) -> Result<Vec<u8>> {
    let file = archive.by_name(name).map_err(|e| Error::new(place, format!("{name}: {e}")))?;
    let mut bytes = Vec::new();
    file.take(limit).read_to_end(&mut bytes).map_err(|e| Error::new(place, format!("{name}: {e}")))?;
    Ok(bytes)
}

/// Pickles of a magic number, a version, facts about the machine, the state, and the keys of the
/// storages; then for each key the number of elements (int64) and the elements.
fn read_row(bytes: &[u8], place: &str) -> Result<Vec<(String, Tensor)>> {
    let foreign = || Error::new(place, "not a file that torch.save wrote");
    let mut rest = bytes;
    let mut next = || -> Result<(Value, Heap)> {
        let (value, heap, length) = pickle::read(rest).map_err(Error::at(place))?;
        rest = &rest[length..];
        Ok((value, heap))
    };
    if !matches!(next(), Ok((Value::Int(MAGIC), _))) {
        return Err(foreign());
    }
    let (_version, _machine, (state, heap), (keys, held)) = (next()?, next()?, next()?, next()?);
    let tensors = tensors(&state, &heap, place)?;
    let widths: HashMap<Rc<str>, usize> = tensors
        .iter()
        .map(|(_, stored)| (stored.storage.key.clone(), stored.storage.kind.elt_size_in_bytes()))
        .collect();
    let Value::List(keys) = keys else { return Err(foreign()) };
    let mut storages = by_storage(tensors, bytes.len() as u64, place)?;
    let mut floats = Vec::new();
    for key in held.get(keys) {
        let Value::Text(key) = key else { return Err(foreign()) };
        let short = || Error::new(place, format!("truncated: the elements of storage {key} are not all there"));
        let width = *widths.get(key).ok_or_else(foreign)?;
        let (count, after) = rest.split_first_chunk::<8>().ok_or_else(short)?;
        let count = usize::try_from(i64::from_le_bytes(*count)).map_err(|_| short())?;
        let size = count.checked_mul(width).filter(|&size| size <= after.len()).ok_or_else(short)?;
        if let Some(storage) = storages.remove(key) {
            floats.extend(storage.tensors(&after[..size], place)?);
        }
        rest = &after[size..];
    }
    if storages.is_empty() { Ok(floats) } else { Err(foreign()) }
}

/// The tensors of a state dictionary, in its order.
fn tensors(state: &Value, heap: &Heap, place: &str) -> Result<Vec<(Rc<str>, Rc<StoredTensor>)>> {
    let Value::Dict(entries) = state else {
        return Err(Error::new(place, "expected a dictionary of tensors, found something else"));
    };
    let mut names = HashSet::new();
    let mut tensors = Vec::new();
    for entry in heap.get(*entries).chunks_exact(2) {
        if let [Value::Text(name), Value::Tensor(stored)] = entry {
            if !names.insert(name.clone()) {
                return Err(Error::new(place, format!("{name} occurs twice")));
            }
            tensors.push((name.clone(), stored.clone()));
        }
    }
    match tensors.is_empty() {
        true => {
            Err(Error::new(place, "no tensors inside")
                .hint("expected a state dictionary, as save_pretrained writes it"))
        }
        false => Ok(tensors),
    }
}

/// A storage of floating-point numbers, and the tensors that show parts of it.
struct Storage {
    kind: Kind,
    /// Bytes that its tensors need.
    size: u64,
    shown: Vec<(Rc<str>, Rc<StoredTensor>)>,
}

/// The floating-point tensors by the key of their storage, so that each storage is read once. `file` is the size of
/// the file: what tensors show of it can't be much more than it holds.
fn by_storage(tensors: Vec<(Rc<str>, Rc<StoredTensor>)>, file: u64, place: &str) -> Result<BTreeMap<Rc<str>, Storage>> {
    let mut storages: BTreeMap<Rc<str>, Storage> = BTreeMap::new();
    let mut shown = 0u64;
    for (name, stored) in tensors.into_iter().filter(|(_, stored)| is_float(stored.storage.kind)) {
        let kind = stored.storage.kind;
        let extent = extent(&stored)
            .ok_or_else(|| Error::new(place, format!("{name} has a shape of {:?}, which can't be", stored.shape)))?;
        let width = kind.elt_size_in_bytes() as u64;
        shown = shown.saturating_add(extent.count.saturating_mul(width));
        let needed = extent.end.saturating_mul(width);
        if extent.count > extent.end || needed > file || shown > SHOWN * file {
            let text = format!("{name} of shape {:?} shows more numbers than the file can hold", stored.shape);
            return Err(Error::new(place, text));
        }
        let storage =
            storages.entry(stored.storage.key.clone()).or_insert_with(|| Storage { kind, size: 0, shown: Vec::new() });
        if storage.kind != kind {
            return Err(Error::new(place, format!("{name}: a storage of two types")));
        }
        storage.size = storage.size.max(needed);
        storage.shown.push((name, stored));
    }
    Ok(storages)
}

/// How much of its storage a tensor shows.
struct Extent {
    /// Elements of the tensor.
    count: u64,
    /// Elements of the storage up to the last one shown.
    end: u64,
}

/// None if a size is negative or beyond all bounds.
fn extent(stored: &StoredTensor) -> Option<Extent> {
    let StoredTensor { offset, shape, strides, .. } = stored;
    if shape.len() != strides.len() {
        return None;
    }
    let (mut count, mut last) = (1u64, u64::try_from(*offset).ok()?);
    for (&size, &stride) in shape.iter().zip(strides) {
        let (size, stride) = (u64::try_from(size).ok()?, u64::try_from(stride).ok()?);
        count = count.checked_mul(size)?;
        last = last.checked_add(size.saturating_sub(1).checked_mul(stride)?)?;
    }
    i64::try_from(last).ok()?;
    Some(Extent { count, end: if count == 0 { 0 } else { last + 1 } })
}

impl Storage {
    /// Its tensors, as float32 with memory of their own.
    fn tensors(&self, elements: &[u8], place: &str) -> Result<Vec<(String, Tensor)>> {
        let width = self.kind.elt_size_in_bytes();
        let count = (elements.len() as u64).min(self.size) as usize / width;
        let all = super::tensor(&elements[..count * width], &[count as i64], self.kind, place)?;
        let tensor = |(name, stored): &(Rc<str>, Rc<StoredTensor>)| {
            let StoredTensor { offset, shape, strides, .. } = &**stored;
            if extent(stored).is_none_or(|extent| extent.end > count as u64) {
                return Err(Error::new(place, format!("truncated: {name} of shape {shape:?} is not all there")));
            }
            let part = all.f_as_strided(shape, strides, *offset).map_err(Error::at(place))?;
            Ok((name.to_string(), part.contiguous().copy()))
        };
        self.shown.iter().map(tensor).collect()
    }
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

    /// A file of the old form with one tensor over a storage of two numbers.
    fn row(shape: &[i32], strides: &[i32]) -> Vec<u8> {
        let numbers = |numbers: &[i32]| {
            let numbers: Vec<u8> = numbers.iter().flat_map(|n| [&b"J"[..], &n.to_le_bytes()].concat()).collect();
            [&b"("[..], &numbers, b"t"].concat()
        };
        let text = |text: &str| [&b"X"[..], &(text.len() as u32).to_le_bytes(), text.as_bytes()].concat();
        let storage = [&b"("[..], &text("storage"), b"ctorch\nFloatStorage\n", &text("0"), &text("cpu"), b"K\x02tQ"];
        let call =
            [&b"ctorch._utils\n_rebuild_tensor_v2\n("[..], &storage.concat(), b"K\x00", &numbers(shape)].concat();
        let tensor = [&call[..], &numbers(strides), b"\x89}tR"].concat();
        let state = [&b"}"[..], &text("w"), &tensor, b"s."].concat();
        let keys = [&b"]"[..], &text("0"), b"a."].concat();
        let head = &b"\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.M\xe9\x03.}."[..];
        [head, &state, &keys, &2u64.to_le_bytes(), &1f32.to_le_bytes(), &2f32.to_le_bytes()].concat()
    }

    #[test]
    fn tensors_show_no_more_than_is_stored() {
        let tensors = read(&row(&[2, 1], &[1, 1]), "test").unwrap();
        assert_eq!(Vec::<f32>::try_from(tensors[0].1.flatten(0, -1)).unwrap(), [1.0, 2.0]);
        for (shape, strides) in [
            (&[1 << 30, 1 << 30][..], &[0, 0][..]),
            (&[1 << 30], &[0]),
            (&[i32::MAX; 8], &[i32::MAX; 8]),
            (&[-1], &[1]),
            (&[2], &[-1]),
            (&[3], &[1]),
            (&[1; 65], &[0; 65]),
        ] {
            assert!(read(&row(shape, strides), "test").is_err(), "{shape:?} {strides:?}");
        }
    }
}
