//! Tokens in a memory map, by row number.

use hardmine_records::{Error, Kind, Provenance, Result, TokensBatch};

use crate::{Input, Mapped};

/// The texts of a tokens file, by row number.
pub struct MappedTokens {
    mapped: Mapped,
    batches: Vec<TokensBatch>,
}

impl MappedTokens {
    /// Maps a tokens file. Anything but an `.arrow` file is first copied into a temporary one.
    ///
    /// # Errors
    /// As [`Table::open`](crate::Table::open), and ids that are not the row numbers.
    pub fn open(input: &Input) -> Result<MappedTokens> {
        let mapped = Mapped::open(input, Kind::Tokens)?;
        let batches: Vec<TokensBatch> = mapped.batches().iter().map(TokensBatch::new).collect::<Result<_>>()?;
        for (row, &id) in batches.iter().flat_map(|batch| batch.ids.values()).enumerate() {
            if id != row as i64 {
                let text = format!("row {row} has id {id}; ids of tokens are row numbers");
                return Err(Error::new(mapped.name(), text));
            }
        }
        Ok(MappedTokens { mapped, batches })
    }

    /// Number of texts.
    pub fn len(&self) -> usize {
        self.mapped.rows()
    }

    /// Whether there is no text.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Token ids of text `row`, special tokens included. `row` must be less than [`MappedTokens::len`].
    pub fn token_ids(&self, row: usize) -> &[i32] {
        let (batch, row) = self.mapped.locate(row);
        self.batches[batch].token_ids(row)
    }

    /// Official id of text `row`, which must be less than [`MappedTokens::len`].
    pub fn key(&self, row: usize) -> &str {
        let (batch, row) = self.mapped.locate(row);
        self.batches[batch].keys.value(row)
    }

    /// Where the tokens came from.
    pub fn provenance(&self) -> &Provenance {
        self.mapped.provenance()
    }

    /// The name used in errors.
    pub fn name(&self) -> &str {
        self.mapped.name()
    }
}
