//! Checks what an Arrow message says about its body before arrow-rs decodes it. arrow-rs validates the values
//! (offsets, UTF-8, keys of dictionaries, counts of nulls), but takes the places and the lengths of the buffers at
//! their word: it panics where they are wrong, and allocates whatever a compressed buffer claims to become.

use arrow::datatypes::{DataType, Field, Fields, Schema, UnionMode};
use arrow::ipc::{Buffer, FieldNode, Message, MetadataVersion, RecordBatch};

/// What the buffers of one batch may become when they are unpacked, where that is not within [`RATIO`].
const UNPACKED: u64 = 512 << 20;
/// How many times larger than its bytes a batch may become in any case.
const RATIO: u64 = 16;
/// Rows that a column without any bytes of its own (nulls, empty structs) may have in any case.
const WITHOUT_BYTES: u64 = 1 << 24;

type Checked<T> = std::result::Result<T, String>;

/// Checks a record batch or a batch of dictionary values against its `body`. Nothing else comes behind a schema.
pub(crate) fn check(schema: &Schema, message: &Message, body: &[u8]) -> Checked<()> {
    if let Some(batch) = message.header_as_record_batch() {
        return check_batch(schema.fields(), batch, message.version(), body);
    }
    if let Some(dictionary) = message.header_as_dictionary_batch() {
        #[allow(deprecated)] // arrow-rs itself finds the values' type in this way, and has no other.
        let fields = schema.fields_with_dict_id(dictionary.id());
        let Some(DataType::Dictionary(_, values)) = fields.first().map(|field| field.data_type()) else {
            return Err(format!("values of a dictionary {} that no column has", dictionary.id()));
        };
        let values = Fields::from(vec![Field::new("values of a dictionary", values.as_ref().clone(), true)]);
        let batch = dictionary.data().ok_or("a dictionary without values")?;
        return check_batch(&values, batch, message.version(), body);
    }
    // arrow-rs would pass over it without a word.
    Err(format!("its header is of the kind {:?}", message.header_type()))
}

fn check_batch(fields: &Fields, batch: RecordBatch, version: MetadataVersion, body: &[u8]) -> Checked<()> {
    let mut columns = Columns {
        nodes: batch.nodes().into_iter().flatten(),
        buffers: batch.buffers().into_iter().flatten(),
        variadic: batch.variadicBufferCounts().into_iter().flatten(),
        body,
        packed: batch.compression().is_some(),
        version,
        stored: 0,
        unpacked: 0,
    };
    for field in fields {
        let rows = columns.check(field)?;
        if i64::try_from(rows) != Ok(batch.length()) {
            return Err(format!("column {} has {rows} rows in a batch of {}", field.name(), batch.length()));
        }
    }
    if columns.nodes.next().is_some() || columns.buffers.next().is_some() || columns.variadic.next().is_some() {
        return Err("it has more buffers than its columns need".into());
    }
    Ok(())
}

/// The nodes (a length and a count of nulls) and the buffers of a batch, in the order of its columns.
struct Columns<'a, N, B, V> {
    nodes: N,
    buffers: B,
    variadic: V,
    body: &'a [u8],
    packed: bool,
    version: MetadataVersion,
    /// Bytes of the buffers seen so far, as they are stored and as they will be in memory.
    stored: u64,
    unpacked: u64,
}

impl<'a, N, B, V> Columns<'a, N, B, V>
where
    N: Iterator<Item = &'a FieldNode>,
    B: Iterator<Item = &'a Buffer>,
    V: Iterator<Item = i64>,
{
    /// Checks a column and returns its number of rows.
    fn check(&mut self, field: &Field) -> Checked<u64> {
        let node = self.nodes.next().ok_or_else(|| format!("column {} is missing", field.name()))?;
        let (rows, nulls) = match (u64::try_from(node.length()), u64::try_from(node.null_count())) {
            (Ok(rows), Ok(nulls)) if nulls <= rows => (rows, nulls),
            _ => {
                let (rows, nulls) = (node.length(), node.null_count());
                return Err(format!("column {} has {rows} rows, of which {nulls} are null", field.name()));
            }
        };
        let has_validity =
            !matches!(field.data_type(), DataType::Null | DataType::RunEndEncoded(..) | DataType::Union(..));
        if has_validity {
            self.buffer(field, if nulls > 0 { rows.div_ceil(8).into() } else { 0 })?;
        }
        let times = |width: usize| u128::from(rows) * width as u128;
        let offsets = |width: usize| if rows == 0 { 0 } else { times(width) + width as u128 };
        match field.data_type() {
            DataType::Null => self.without_bytes(field, rows)?,
            DataType::Boolean => self.buffer(field, rows.div_ceil(8).into())?,
            DataType::Utf8 | DataType::Binary => {
                self.buffer(field, offsets(4))?;
                self.buffer(field, 0)?;
            }
            DataType::LargeUtf8 | DataType::LargeBinary => {
                self.buffer(field, offsets(8))?;
                self.buffer(field, 0)?;
            }
            DataType::Utf8View | DataType::BinaryView => {
                let count = self.variadic.next().filter(|&count| count >= 0);
                let count = count.ok_or_else(|| format!("column {} has no count of its buffers", field.name()))?;
                self.buffer(field, times(16))?;
                (0..count).try_for_each(|_| self.buffer(field, 0))?;
            }
            DataType::FixedSizeBinary(width) => {
                let width =
                    usize::try_from(*width).map_err(|_| format!("column {} has a width of {width}", field.name()))?;
                self.buffer(field, times(width))?;
                if width == 0 {
                    self.without_bytes(field, rows)?;
                }
            }
            DataType::List(values) | DataType::Map(values, _) => {
                self.buffer(field, offsets(4))?;
                self.check(values)?;
            }
            DataType::LargeList(values) => {
                self.buffer(field, offsets(8))?;
                self.check(values)?;
            }
            DataType::ListView(values) | DataType::LargeListView(values) => {
                let width = if matches!(field.data_type(), DataType::ListView(_)) { 4 } else { 8 };
                self.buffer(field, times(width))?;
                self.buffer(field, times(width))?;
                self.check(values)?;
            }
            DataType::FixedSizeList(values, size) => {
                let found = self.check(values)?;
                let needed = usize::try_from(*size).map(times).unwrap_or(u128::MAX);
                if u128::from(found) < needed {
                    return Err(format!("column {} has {found} values in {rows} lists of {size}", field.name()));
                }
                if *size == 0 {
                    self.without_bytes(field, rows)?;
                }
            }
            DataType::Struct(fields) => {
                for part in fields {
                    let found = self.check(part)?;
                    if found != rows {
                        return Err(format!(
                            "column {} has {rows} rows, its part {} {found}",
                            field.name(),
                            part.name()
                        ));
                    }
                }
                if fields.is_empty() {
                    self.without_bytes(field, rows)?;
                }
            }
            DataType::RunEndEncoded(ends, values) => {
                self.check(ends)?;
                self.check(values)?;
            }
            DataType::Dictionary(keys, _) => self.buffer(field, times(keys.primitive_width().unwrap_or(0)))?,
            DataType::Union(fields, mode) => {
                if self.version < MetadataVersion::V5 {
                    return Err(format!("column {} is a union of an old version of Arrow", field.name()));
                }
                self.buffer(field, times(1))?;
                if *mode == UnionMode::Dense {
                    self.buffer(field, times(4))?;
                }
                fields.iter().try_for_each(|(_, part)| self.check(part).map(drop))?;
            }
            plain => match plain.primitive_width() {
                Some(width) => self.buffer(field, times(width))?,
                None => return Err(format!("column {} is of type {plain}, which can't be read", field.name())),
            },
        }
        Ok(rows)
    }

    /// Checks the next buffer, which is to have `needed` bytes or more in memory.
    fn buffer(&mut self, field: &Field, needed: u128) -> Checked<()> {
        let damaged = |what: String| Err(format!("column {}: {what}", field.name()));
        let Some(buffer) = self.buffers.next() else { return damaged("a buffer is missing".into()) };
        let place = usize::try_from(buffer.offset()).ok().zip(usize::try_from(buffer.length()).ok());
        let bytes = place.and_then(|(start, length)| self.body.get(start..start.checked_add(length)?));
        let Some(bytes) = bytes else {
            let (start, length) = (buffer.offset(), buffer.length());
            return damaged(format!(
                "a buffer of {length} bytes at {start} lies outside of the batch's {}",
                self.body.len()
            ));
        };
        // No two buffers share their bytes, which would make much out of little.
        self.stored += bytes.len() as u64;
        if self.stored > self.body.len() as u64 {
            return damaged("its buffers overlap".into());
        }
        let length = match (self.packed && !bytes.is_empty(), bytes.split_first_chunk::<8>()) {
            (false, _) => bytes.len() as u64,
            (true, None) => return damaged("a compressed buffer without a length".into()),
            (true, Some((prefix, rest))) => match i64::from_le_bytes(*prefix) {
                -1 => rest.len() as u64,
                length => match u64::try_from(length) {
                    Ok(length) => length,
                    Err(_) => return damaged(format!("a compressed buffer of {length} bytes")),
                },
            },
        };
        if u128::from(length) < needed {
            return damaged(format!("a buffer has {length} bytes, {needed} are needed"));
        }
        self.unpacked = self.unpacked.saturating_add(length);
        if self.unpacked > UNPACKED.max(RATIO * self.body.len() as u64) {
            let bytes = self.body.len();
            return damaged(format!("{bytes} bytes would become {}; a batch may become 512 MiB", self.unpacked));
        }
        Ok(())
    }

    /// Checks the rows of a column that has no bytes which would limit them.
    fn without_bytes(&self, field: &Field, rows: u64) -> Checked<()> {
        match rows <= WITHOUT_BYTES.max(8 * self.body.len() as u64) {
            true => Ok(()),
            false => Err(format!("column {} has {rows} rows without any values", field.name())),
        }
    }
}
