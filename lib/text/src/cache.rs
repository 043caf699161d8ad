//! Remembers the token ids of short pieces of text. Natural language repeats its words, and a look-up costs a tenth of
//! tokenizing one.

use std::collections::HashMap;

use hardmine_records::Result;

/// Pieces longer than this, in bytes, seldom come back.
const LONGEST: usize = 64;
/// When so many pieces are kept, all are forgotten, so that memory stays constant (about 10 MB).
const MOST: usize = 1 << 17;

/// Token ids of pieces of text.
#[derive(Default)]
pub struct PieceCache {
    spans: HashMap<Box<str>, (u32, u32)>,
    ids: Vec<i32>,
}

impl PieceCache {
    /// Appends the ids of `piece` to `out`; `tokenize` appends them to its argument when they aren't known yet.
    pub fn append(
        &mut self,
        piece: &str,
        out: &mut Vec<i32>,
        tokenize: impl FnOnce(&mut Vec<i32>) -> Result<()>,
    ) -> Result<()> {
        if let Some(&(start, end)) = self.spans.get(piece) {
            out.extend_from_slice(&self.ids[start as usize..end as usize]);
            return Ok(());
        }
        let first = out.len();
        tokenize(out)?;
        if piece.len() <= LONGEST {
            if self.spans.len() == MOST {
                self.spans.clear();
                self.ids.clear();
            }
            let start = self.ids.len() as u32;
            self.ids.extend_from_slice(&out[first..]);
            self.spans.insert(piece.into(), (start, self.ids.len() as u32));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_keep_their_ids_when_the_cache_overflows() {
        let mut cache = PieceCache::default();
        for round in 0..2 {
            for piece in 0..MOST as i32 + 10 {
                let mut out = vec![-1];
                let ids = [piece, piece + 1];
                let tokenize = |out: &mut Vec<i32>| {
                    out.extend(ids);
                    Ok(())
                };
                cache.append(&piece.to_string(), &mut out, tokenize).unwrap();
                assert_eq!(out, [-1, piece, piece + 1], "round {round}");
            }
        }
    }
}
