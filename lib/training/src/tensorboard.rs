//! The training log as an event file, which TensorBoard shows as curves.
//!
//! A file is a sequence of records, and each record an `Event` of `tensorflow/core/util/event.proto`, of which we write
//! the few fields that a scalar needs. The time of an event is its step, so that the same run gives the same bytes:
//! TensorBoard's horizontal axes "Relative" and "Wall" count steps as seconds.

use std::fs;
use std::path::Path;

use hardmine_records::{Error, Result};

use crate::log::{Clustered, Row};

/// Name of the file in a model folder. TensorBoard looks for `tfevents`, and expects a time and a machine after it.
const FILE_NAME: &str = "events.out.tfevents.0.hardmine";

/// Writes the log into a model folder. What is said of a step stands at the number of steps made by then, from 1; the
/// metric of the dev queries, called `dev`, stands at 0 for the model at the start.
///
/// # Errors
/// The file can't be written.
pub fn write(folder: &Path, rows: &[Row], dev: Option<(&str, f64)>) -> Result<()> {
    let path = folder.join(FILE_NAME);
    let tag = dev.map_or(String::new(), |(metric, _)| format!("dev/{metric}"));
    let mut file = record(&version());
    if let Some((_, start)) = dev {
        file.extend(record(&event(0, &[(&tag, start as f32)])));
    }
    for row in rows {
        let mut scalars = vec![
            ("train/loss", row.loss),
            ("train/learning_rate", row.learning_rate),
            ("train/gradient_norm", row.gradient_norm),
        ];
        if let Some((mrr_10, recall_10)) = row.retrieved {
            scalars.extend([("train/mrr_10", mrr_10), ("train/recall_10", recall_10)]);
        }
        if let Some(Clustered { mse, imbalance, fallbacks }) = row.clustered {
            let fallbacks = ("train/fallbacks", fallbacks as f32);
            scalars.extend([("train/mse", mse), ("train/imbalance", imbalance), fallbacks]);
        }
        scalars.extend(row.dev.map(|value| (tag.as_str(), value as f32)));
        file.extend(record(&event(row.step + 1, &scalars)));
    }
    fs::write(&path, file).map_err(Error::io(path.display()))
}

/// Length, checksum of the length, data, checksum of the data.
fn record(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    [&length[..], &masked(crc32c(&length)), data, &masked(crc32c(data))].concat()
}

/// A checksum of data that holds checksums itself (`tsl/lib/hash/crc32c.h`).
fn masked(crc: u32) -> [u8; 4] {
    crc.rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes()
}

/// CRC-32C (Castagnoli), bit by bit: a log is a few megabytes at most.
fn crc32c(data: &[u8]) -> u32 {
    let shifted = |crc: u32| (crc >> 1) ^ if crc & 1 == 1 { 0x82f6_3b78 } else { 0 };
    !data.iter().fold(!0, |crc, &byte| (0..8).fold(crc ^ u32::from(byte), |crc, _| shifted(crc)))
}

/// The first event of a file: `wall_time` (field 1) and `file_version` (field 3).
fn version() -> Vec<u8> {
    [double(1, 0.0), bytes(3, b"brain.Event:2")].concat()
}

/// An event with scalars: `wall_time` (1), `step` (2), and a `summary` (5) of values (1), each a `tag` (1) and a
/// `simple_value` (2).
fn event(step: u64, scalars: &[(&str, f32)]) -> Vec<u8> {
    let value = |&(tag, value): &(&str, f32)| bytes(1, &[bytes(1, tag.as_bytes()), float(2, value)].concat());
    let summary: Vec<u8> = scalars.iter().flat_map(value).collect();
    [double(1, step as f64), integer(2, step), bytes(5, &summary)].concat()
}

// The wire format of protocol buffers: a field is its number with the kind of its value, and the value.

fn double(field: u8, value: f64) -> Vec<u8> {
    [&[field << 3 | 1][..], &value.to_le_bytes()].concat()
}

fn float(field: u8, value: f32) -> Vec<u8> {
    [&[field << 3 | 5][..], &value.to_le_bytes()].concat()
}

fn integer(field: u8, value: u64) -> Vec<u8> {
    [vec![field << 3], varint(value)].concat()
}

fn bytes(field: u8, value: &[u8]) -> Vec<u8> {
    [vec![field << 3 | 2], varint(value.len() as u64), value.to_vec()].concat()
}

/// Seven bits a byte, the lowest first; the eighth says that more follow.
fn varint(mut value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_castagnolis() {
        // RFC 3720, section B.4.
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
    }

    #[test]
    fn a_record_is_framed_by_its_length_and_checksums() {
        let data = event(300, &[("a", 0.5)]);
        assert_eq!(data[..12], [&[9][..], &300f64.to_le_bytes(), &[16, 0xac, 0x02]].concat());
        assert_eq!(data[12..], [&[42, 10, 10, 8, 10, 1, b'a', 21][..], &0.5f32.to_le_bytes()].concat());
        let framed = record(&data);
        assert_eq!(framed[..8], (data.len() as u64).to_le_bytes());
        assert_eq!(framed[8..12], masked(crc32c(&framed[..8])));
        assert_eq!(framed[12..12 + data.len()], data);
        assert_eq!(framed[12 + data.len()..], masked(crc32c(&data)));
    }
}
