//! Arrow IPC beyond what arrow-rs does: a stream's end marker is required, a stream's last batch
//! carries provenance, and a file's footer gets the provenance known at its end.

use std::fs::File;
use std::io::{BufRead, Read, Seek, SeekFrom, Write};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::buffer::Buffer;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::ipc::convert::{IpcSchemaEncoder, fb_to_schema, metadata_to_fb};
use arrow::ipc::reader::{FileDecoder, StreamDecoder, read_footer_length};
use arrow::ipc::writer::{
    DictionaryTracker, EncodedData, IpcDataGenerator, IpcWriteOptions, StreamWriter, write_message,
};
use arrow::ipc::{
    Block, FooterBuilder, MessageBuilder, MessageHeader, MetadataVersion, RecordBatchBuilder, root_as_footer,
    root_as_message,
};
use flatbuffers::FlatBufferBuilder;
use hardmine_records::{Error, Place, Provenance, Result};
use memmap2::{Advice, Mmap};

use crate::foreign::foreign;
use crate::ipc_check::check;

/// What every message of a stream begins with.
const MARKER: [u8; 4] = [0xff; 4];

/// The largest message of a packed stream, whose few bytes may become many.
const PACKED_MESSAGE: u64 = 512 << 20;

/// Reads a stream message by message.
pub(crate) struct StreamReader {
    name: String,
    reader: Box<dyn BufRead + Send>,
    /// The most bytes that a message may have.
    limit: u64,
    decoder: StreamDecoder,
    batches: usize,
    trailer: Provenance,
    finished: bool,
}

impl StreamReader {
    /// Reads up to the schema. `packed` is whether `reader` unpacks what it reads.
    pub(crate) fn new(name: String, reader: Box<dyn BufRead + Send>, packed: bool) -> Result<Self> {
        let (decoder, trailer) = (StreamDecoder::new(), Provenance::default());
        let limit = if packed { PACKED_MESSAGE } else { u64::MAX };
        let mut stream = StreamReader { name, reader, limit, decoder, batches: 0, trailer, finished: false };
        stream.decoder.decode(&mut Buffer::from(&MARKER)).map_err(Error::at(&stream.name))?;
        while stream.decoder.schema().is_none() {
            match stream.message()? {
                Some(message) => drop(stream.decode(message)?),
                None => return Err(Error::new(&stream.name, "is an Arrow stream without a schema")),
            }
        }
        Ok(stream)
    }

    pub(crate) fn schema(&self) -> SchemaRef {
        self.decoder.schema().expect("the constructor reads up to the schema")
    }

    /// What the last batch said about the stream.
    pub(crate) fn trailer(&self) -> &Provenance {
        &self.trailer
    }

    pub(crate) fn next(&mut self) -> Result<Option<RecordBatch>> {
        while let Some(message) = self.message()? {
            if let Some(batch) = self.decode(message)? {
                self.batches += 1;
                return Ok(Some(batch));
            }
        }
        Ok(None)
    }

    /// The decoder takes a message without a body (a schema, a batch without rows) for finished only
    /// when more bytes follow. So each message is given from behind its marker to behind the next one's.
    fn decode(&mut self, mut message: Vec<u8>) -> Result<Option<RecordBatch>> {
        message.extend(MARKER);
        let mut message = Buffer::from_vec(message);
        message.advance(MARKER.len());
        let place = match self.decoder.schema() {
            Some(_) => Place::Batch(self.name.clone(), self.batches),
            None => Place::Whole(format!("{}: schema", self.name)),
        };
        let decoded = foreign(&place, || {
            let mut batch = None;
            while !message.is_empty() {
                batch = self.decoder.decode(&mut message)?.or(batch);
            }
            Ok::<_, ArrowError>(batch)
        });
        decoded?.map_err(|error| Error::in_place(place, error))
    }

    /// The next message with its prefix and body; none after the end marker.
    fn message(&mut self) -> Result<Option<Vec<u8>>> {
        if self.finished {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        if self.take(8, &mut bytes)? == 0 {
            return Err(self.cut_off("between two batches"));
        }
        let length = i32::from_le_bytes(bytes[4..8].try_into().expect("four bytes"));
        if bytes[..4] != MARKER || length < 0 {
            return Err(Error::new(&self.name, format!("is not an Arrow stream after {} batches", self.batches)));
        }
        if length == 0 {
            self.finished = true;
            return match self.reader.read(&mut [0]).map_err(Error::io(&self.name))? {
                0 => Ok(None),
                _ => Err(Error::new(&self.name, "goes on after the stream's end marker; one stream, one file")),
            };
        }
        self.check_size(length as u64)?;
        self.take(length as u64, &mut bytes)?;
        let head = bytes.len();
        let body = {
            let message = root_as_message(&bytes[8..]).map_err(Error::at(&self.name))?;
            if let Some(metadata) = message.custom_metadata() {
                for entry in metadata {
                    if let (Some(name), Some(value)) = (entry.key(), entry.value()) {
                        self.trailer.set(name, value);
                    }
                }
            }
            u64::try_from(message.bodyLength()).map_err(|_| self.damaged("its length is negative"))?
        };
        self.check_size(body)?;
        self.take(body, &mut bytes)?;
        if let Some(schema) = self.decoder.schema() {
            let message = root_as_message(&bytes[8..head]).map_err(Error::at(&self.name))?;
            check(&schema, &message, &bytes[head..]).map_err(|what| self.damaged(&what))?;
        }
        Ok(Some(bytes))
    }

    fn check_size(&self, size: u64) -> Result<()> {
        if size <= self.limit {
            return Ok(());
        }
        let text = format!("batch {} has {size} bytes; in a packed stream it may have {}", self.batches, self.limit);
        Err(Error::new(&self.name, text).hint("unpack the file, or write it in smaller batches"))
    }

    fn damaged(&self, what: &str) -> Error {
        Error::new(&self.name, format!("batch {} is damaged: {what}", self.batches))
    }

    /// Appends `count` bytes of the input; nothing at all at its end is reported as 0.
    fn take(&mut self, count: u64, bytes: &mut Vec<u8>) -> Result<u64> {
        let read = self.reader.by_ref().take(count).read_to_end(bytes).map_err(Error::io(&self.name))? as u64;
        match read {
            _ if read == count => Ok(read),
            0 if bytes.is_empty() => Ok(0),
            _ => Err(self.cut_off("in the middle of a batch")),
        }
    }

    fn cut_off(&self, place: &str) -> Error {
        let text =
            format!("the stream is cut off {place}, after {} whole batches: its end marker is missing", self.batches);
        Error::new(&self.name, text).hint("the command that wrote it failed; look at its error")
    }
}

/// Writes an empty last batch that carries `provenance`.
pub(crate) fn write_trailer(
    writer: impl Write,
    schema: &SchemaRef,
    provenance: &Provenance,
) -> std::result::Result<(), ArrowError> {
    let options = IpcWriteOptions::default();
    let (_, encoded) = IpcDataGenerator::default().encode(
        &RecordBatch::new_empty(schema.clone()),
        &mut DictionaryTracker::new(false),
        &options,
        &mut Default::default(),
    )?;
    let mut fbb = FlatBufferBuilder::new();
    let header = {
        let message = root_as_message(&encoded.ipc_message).map_err(|e| ArrowError::IpcError(e.to_string()))?;
        let batch = message.header_as_record_batch().ok_or_else(|| ArrowError::IpcError("no batch".into()))?;
        let nodes = batch.nodes().map(|nodes| fbb.create_vector(&nodes.iter().copied().collect::<Vec<_>>()));
        let buffers = batch.buffers().map(|buffers| fbb.create_vector(&buffers.iter().copied().collect::<Vec<_>>()));
        let mut header = RecordBatchBuilder::new(&mut fbb);
        header.add_length(0);
        nodes.into_iter().for_each(|nodes| header.add_nodes(nodes));
        buffers.into_iter().for_each(|buffers| header.add_buffers(buffers));
        header.finish().as_union_value()
    };
    let metadata = metadata_to_fb(&mut fbb, &provenance.to_metadata());
    let mut message = MessageBuilder::new(&mut fbb);
    message.add_version(MetadataVersion::V5);
    message.add_header_type(MessageHeader::RecordBatch);
    message.add_bodyLength(encoded.arrow_data.len() as i64);
    message.add_header(header);
    message.add_custom_metadata(metadata);
    let message = message.finish();
    fbb.finish(message, None);
    let encoded = EncodedData { ipc_message: fbb.finished_data().to_vec(), arrow_data: encoded.arrow_data };
    write_message(writer, encoded, &options).map(drop)
}

/// Ends a stream: the trailer, then the end marker.
pub(crate) fn finish_stream<W: Write>(
    writer: &mut StreamWriter<W>,
    schema: &SchemaRef,
    provenance: &Provenance,
) -> std::result::Result<(), ArrowError> {
    write_trailer(writer.get_mut(), schema, provenance)?;
    writer.finish()
}

/// Writes the footer of a finished IPC file anew, with `schema` in place of the one it was begun with.
pub(crate) fn replace_footer(file: &mut File, schema: &Schema) -> std::result::Result<(), ArrowError> {
    let end = file.seek(SeekFrom::End(-10))?;
    let mut tail = [0; 10];
    file.read_exact(&mut tail)?;
    let length = read_footer_length(tail)?;
    let start = file.seek(SeekFrom::Start(end - length as u64))?;
    let mut bytes = vec![0; length];
    file.read_exact(&mut bytes)?;
    let footer = root_as_footer(&bytes).map_err(|e| ArrowError::IpcError(e.to_string()))?;
    let blocks = |blocks: Option<flatbuffers::Vector<Block>>| -> Vec<Block> {
        blocks.map(|blocks| blocks.iter().copied().collect()).unwrap_or_default()
    };

    let mut fbb = FlatBufferBuilder::new();
    let dictionaries = fbb.create_vector(&blocks(footer.dictionaries()));
    let batches = fbb.create_vector(&blocks(footer.recordBatches()));
    let mut tracker = DictionaryTracker::new(true);
    let schema = IpcSchemaEncoder::new().with_dictionary_tracker(&mut tracker).schema_to_fb_offset(&mut fbb, schema);
    let mut builder = FooterBuilder::new(&mut fbb);
    builder.add_version(footer.version());
    builder.add_schema(schema);
    builder.add_dictionaries(dictionaries);
    builder.add_recordBatches(batches);
    let root = builder.finish();
    fbb.finish(root, None);

    let footer = fbb.finished_data();
    file.seek(SeekFrom::Start(start))?;
    file.write_all(footer)?;
    file.write_all(&(footer.len() as i32).to_le_bytes())?;
    file.write_all(b"ARROW1")?;
    let end = file.stream_position()?;
    file.set_len(end)?;
    Ok(())
}

/// The schema at the beginning of an IPC file, behind `ARROW1` and as many zeros as its writer likes.
fn schema_at_head(file: &[u8], name: &str) -> Result<Schema> {
    let broken = || Error::new(name, "is damaged: it doesn't begin with a schema");
    let padded = file.get(6..).ok_or_else(broken)?;
    let start = padded.iter().position(|&byte| byte != 0).ok_or_else(broken)?;
    let message = padded[start..].strip_prefix(&MARKER).ok_or_else(broken)?;
    let (length, message) = message.split_first_chunk::<4>().ok_or_else(broken)?;
    let length = usize::try_from(i32::from_le_bytes(*length)).map_err(|_| broken())?;
    let message = root_as_message(message.get(..length).ok_or_else(broken)?).map_err(|_| broken())?;
    let schema = message.header_as_schema().ok_or_else(broken)?;
    foreign(&format!("{name}: schema"), || fb_to_schema(schema))
}

/// What must be alike wherever a column is told of.
fn described(field: &Arc<Field>) -> (&str, &DataType) {
    (field.name(), field.data_type())
}

/// An IPC file in a memory map; its batches point into the map.
pub(crate) struct MappedFile {
    name: String,
    /// All bytes, twice: for the system, and for batches.
    file: Arc<Mmap>,
    map: Buffer,
    decoder: FileDecoder,
    blocks: Vec<Block>,
    schema: SchemaRef,
}

impl MappedFile {
    pub(crate) fn new(name: String, file: &File) -> Result<Self> {
        // SAFETY: as every reader of mapped files, we rely on nobody changing the file while it is read;
        // our own writers never change one in place.
        let file = Arc::new(unsafe { Mmap::map(file) }.map_err(Error::io(&name))?);
        let pointer = std::ptr::NonNull::new(file.as_ptr().cast_mut()).ok_or_else(|| Error::new(&name, "is empty"))?;
        let length = file.len();
        // SAFETY: the pointer and the length are those of the map, which the buffer keeps alive.
        let map = unsafe { Buffer::from_custom_allocation(pointer, length, file.clone()) };

        let broken = || Error::new(&name, "is a truncated Arrow file: its footer is missing");
        let tail = length.checked_sub(10).ok_or_else(broken)?;
        let footer_length = read_footer_length(map[tail..].try_into().expect("ten bytes")).map_err(|_| broken())?;
        let start = tail.checked_sub(footer_length).ok_or_else(broken)?;
        let footer = root_as_footer(&map[start..tail]).map_err(Error::at(&name))?;
        let schema = footer.schema().ok_or_else(broken)?;
        let schema = Arc::new(foreign(&format!("{name}: schema"), || fb_to_schema(schema))?);
        // The columns are told twice, so that damage to their types shows.
        let head = schema_at_head(&map, &name)?;
        if !head.fields().iter().map(described).eq(schema.fields().iter().map(described)) {
            return Err(Error::new(&name, "is damaged: its beginning and its end tell of different columns"));
        }
        let decoder = FileDecoder::new(schema.clone(), footer.version());
        let blocks: Vec<Block> = footer.recordBatches().iter().flatten().copied().collect();
        let dictionaries: Vec<Block> = footer.dictionaries().iter().flatten().copied().collect();
        let mut file = MappedFile { name, file, map, decoder, blocks, schema };
        for (index, block) in dictionaries.iter().enumerate() {
            let place = format!("dictionary {index}");
            let message = file.message(block, &place)?;
            let place = format!("{}: {place}", file.name);
            foreign(&place, || file.decoder.read_dictionary(block, &message))?.map_err(Error::at(place))?;
        }
        Ok(file)
    }

    pub(crate) fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    pub(crate) fn batches(&self) -> usize {
        self.blocks.len()
    }

    /// Has the system read a batch from the disk, if there is one with this number, while others are worked on. Where
    /// pages are only read when they are looked at, a disk is used to a third.
    pub(crate) fn fetch(&self, index: usize) {
        let Some(block) = self.blocks.get(index) else { return };
        let parts = [block.offset(), block.metaDataLength().into(), block.bodyLength()];
        if let [Ok(start), Ok(head), Ok(body)] = parts.map(usize::try_from)
            && start.saturating_add(head).saturating_add(body) <= self.file.len()
        {
            // A wish, which need not be granted.
            drop(self.file.advise_range(Advice::WillNeed, start, head + body));
        }
    }

    pub(crate) fn batch(&self, index: usize) -> Result<RecordBatch> {
        let (block, place) = (&self.blocks[index], format!("batch {index}"));
        let message = self.message(block, &place)?;
        let place = format!("{}: {place}", self.name);
        foreign(&place, || self.decoder.read_record_batch(block, &message))?
            .map_err(Error::at(&place))?
            .ok_or_else(|| Error::new(&place, "is not a record batch"))
    }

    /// The bytes of a message, which have been checked.
    fn message(&self, block: &Block, place: &str) -> Result<Buffer> {
        let damaged = |what: String| Error::new(&self.name, format!("{place} is damaged: {what}"));
        let parts = [block.offset(), block.metaDataLength().into(), block.bodyLength()];
        let [start, head, body] = parts.map(|part| usize::try_from(part).unwrap_or(usize::MAX));
        let length = head.saturating_add(body);
        if head < 8 || start.saturating_add(length) > self.map.len() {
            return Err(damaged("it lies outside of the file".into()));
        }
        let bytes = self.map.slice_with_length(start, length);
        if !bytes.starts_with(&MARKER) {
            return Err(damaged("it doesn't begin as a message does".into()));
        }
        let message = root_as_message(&bytes[8..head]).map_err(|e| damaged(e.to_string()))?;
        check(&self.schema, &message, &bytes[head..]).map_err(damaged)?;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use arrow::array::{ArrayRef, Int64Array};

    use super::*;

    #[test]
    fn every_batch_of_a_stream_is_read_also_beside_those_without_rows() {
        let batch = |rows: i64| {
            let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(0..rows));
            RecordBatch::try_from_iter([("id", ids)]).unwrap()
        };
        for sizes in [vec![], vec![2], vec![0], vec![2, 3], vec![0, 2, 0, 0, 3, 0]] {
            let mut writer = StreamWriter::try_new(Vec::new(), &batch(0).schema()).unwrap();
            sizes.iter().for_each(|&rows| writer.write(&batch(rows)).unwrap());
            let stream = writer.into_inner().unwrap();
            let mut reader = StreamReader::new("stream".into(), Box::new(Cursor::new(stream)), false).unwrap();
            let mut read = Vec::new();
            while let Some(batch) = reader.next().unwrap() {
                read.push(batch.num_rows() as i64);
            }
            assert_eq!(read, sizes);
        }
    }
}
