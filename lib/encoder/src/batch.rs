//! Texts of different lengths as one rectangle of token ids.

use hardmine_records::{Error, Result};
use tch::{Device, Tensor};

/// B texts, padded to the longest of them, L tokens.
pub struct Batch {
    /// Token ids (B, L), int64.
    pub token_ids: Tensor,
    /// 1 where a token is, 0 where padding is: (B, L), float32. None when nothing is padded.
    pub mask: Option<Tensor>,
}

impl Batch {
    /// Cuts each row to `max_length` (at least 2), pads with `pad_id` and moves all to `device`.
    /// No row may be empty.
    pub fn new(rows: &[&[i32]], max_length: usize, pad_id: i64, device: Device) -> Batch {
        let longest = rows.iter().map(|row| row.len().min(max_length)).max().unwrap_or(0);
        let mut ids = Vec::with_capacity(rows.len() * longest);
        let mut mask = Vec::with_capacity(rows.len() * longest);
        for row in rows {
            ids.extend(truncated(row, max_length).map(i64::from));
            let length = row.len().min(max_length);
            mask.resize(mask.len() + length, 1f32);
            ids.resize(ids.len() + longest - length, pad_id);
            mask.resize(ids.len(), 0f32);
        }
        let shape = [rows.len() as i64, longest as i64];
        let padded = mask.contains(&0.0);
        Batch {
            token_ids: Tensor::from_slice(&ids).view(shape).to_device(device),
            mask: padded.then(|| Tensor::from_slice(&mask).view(shape).to_device(device)),
        }
    }
}

/// The first id, the next `max_length - 2`, and the last id of the stored list: how a stage shortens
/// a text that already ends in a special token.
fn truncated(row: &[i32], max_length: usize) -> impl Iterator<Item = i32> {
    let (kept, last) = if row.len() > max_length { (max_length - 1, row.last()) } else { (row.len(), None) };
    row[..kept].iter().chain(last).copied()
}

/// Refuses token ids that can't be encoded with a vocabulary of this size; `row` counts from 0 in the
/// file `place`.
///
/// # Errors
/// An empty list, or an id outside the vocabulary.
pub fn check_token_ids(token_ids: &[i32], vocabulary: usize, place: &str, row: usize) -> Result<()> {
    let wrong = |text: String| Error::new(format!("{place}: row {row}"), text);
    if token_ids.is_empty() {
        return Err(wrong("no token ids".into()).hint("an empty text still has its special tokens"));
    }
    match token_ids.iter().find(|&&id| usize::try_from(id).map_or(true, |id| id >= vocabulary)) {
        Some(id) => Err(wrong(format!("token id {id} is outside the model's vocabulary of {vocabulary}"))
            .hint("were the tokens made with this model's tokenizer?")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn truncation_keeps_the_last_id() {
        let cut = |max_length| truncated(&[0, 5, 6, 7, 2], max_length).collect::<Vec<_>>();
        assert_eq!(cut(5), [0, 5, 6, 7, 2]);
        assert_eq!(cut(4), [0, 5, 6, 2]);
        assert_eq!(cut(2), [0, 2]);
    }

    #[test]
    fn rows_are_padded_and_masked() {
        let batch = Batch::new(&[&[0, 9, 2], &[0, 2]], 8, 1, Device::Cpu);
        assert_eq!(Vec::<Vec<i64>>::try_from(&batch.token_ids).unwrap(), [[0, 9, 2], [0, 2, 1]]);
        assert_eq!(Vec::<Vec<f32>>::try_from(&batch.mask.unwrap()).unwrap(), [[1.0, 1.0, 1.0], [1.0, 1.0, 0.0]]);
        assert!(Batch::new(&[&[0, 2], &[0, 2]], 8, 1, Device::Cpu).mask.is_none());
    }
}
