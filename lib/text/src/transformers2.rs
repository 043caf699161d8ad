//! RoBERTa's byte-level BPE as version 2 of transformers ran it, which the published checkpoints of Zhan et al. (SIGIR
//! 2021) need. It lower-cases a text, puts a space in front of it, and drops the white space before special tokens.

use std::collections::HashMap;
use std::path::Path;

use hardmine_records::{Error, Result};
use serde_json::json;

use crate::cache::PieceCache;
use crate::digest::Digester;
use crate::files::{read_text, read_vocabulary};
use crate::pretokens::pretokens;
use crate::python;

/// The special tokens: beginning, end, unknown, padding and mask.
const SPECIAL: [&str; 5] = ["<s>", "</s>", "<unk>", "<pad>", "<mask>"];

/// The tokenizer, with its symbols numbered.
pub(crate) struct Transformers2 {
    /// The symbol of each byte.
    bytes: [u32; 256],
    /// For two neighbouring symbols, the rank of their merge (a lower one comes earlier) and the symbol that they
    /// become.
    merges: HashMap<(u32, u32), (u32, u32)>,
    /// The token id of each symbol.
    ids: Vec<i32>,
    /// The token ids of [`SPECIAL`].
    special: [i32; 5],
    /// Digest of the vocabulary and the merges.
    digest: String,
}

impl Transformers2 {
    /// Reads `vocab.json` and `merges.txt` of `folder`.
    pub(crate) fn open(folder: &Path) -> Result<Self> {
        let path = folder.join("vocab.json");
        let vocabulary = read_vocabulary(&path)?;
        let id = |token: &str| vocabulary.get(token).map(|&id| id as i32);
        let mut special = [0; 5];
        for (id_of, token) in special.iter_mut().zip(SPECIAL) {
            *id_of = id(token).ok_or_else(|| {
                Error::new(path.display(), format!("no token '{token}'"))
                    .hint("--compat transformers-2 is for RoBERTa's vocabulary")
            })?;
        }

        let mut symbols = Symbols::default();
        let bytes = byte_names().map(|name| symbols.of(&name.to_string()));
        let path = folder.join("merges.txt");
        let text = read_text(&path)?;
        // The first line is a header; what follows the last line end is not read, as in the original.
        let mut lines: Vec<&str> = text.split('\n').collect();
        lines.pop();
        let mut merges = HashMap::new();
        for (number, line) in lines.iter().enumerate().skip(1).filter(|(_, line)| !line.trim().is_empty()) {
            let words: Vec<&str> = line.split_whitespace().collect();
            let &[left, right] = words.as_slice() else {
                let text = format!("expected two symbols, found {}", words.len());
                return Err(Error::at_line(path.display(), number + 1, text));
            };
            let pair = (symbols.of(left), symbols.of(right));
            merges.insert(pair, (number as u32, symbols.of(&format!("{left}{right}"))));
        }
        let ids = symbols.names.iter().map(|name| id(name).unwrap_or(special[2])).collect();
        let mut digester = Digester::default();
        digester.add(&json!([vocabulary, text]));
        Ok(Transformers2 { bytes, merges, ids, special, digest: digester.finish() })
    }

    /// Adds to a digest what makes the token ids of a text.
    pub(crate) fn digest(&self, digester: &mut Digester) {
        digester.add(&json!(["transformers-2", self.digest]));
    }

    /// Appends at most `max_length` token ids of `text` to `out`. Returns whether there were more.
    pub(crate) fn encode(
        &self,
        text: &str,
        max_length: usize,
        cache: &mut PieceCache,
        out: &mut Vec<i32>,
    ) -> Result<bool> {
        let end = out.len() + max_length - 1;
        out.push(self.special[0]);
        let text = lowercase_after_space(text);
        let mut rest = text.as_str();
        while out.len() <= end {
            let found = next_special(rest);
            let piece = python::strip_end(found.map_or(rest, |(at, _)| &rest[..at]));
            for pretoken in pretokens(piece) {
                if out.len() > end {
                    break;
                }
                cache.append(pretoken, out, |out| {
                    self.merge(pretoken, out);
                    Ok(())
                })?;
            }
            let Some((at, which)) = found else { break };
            out.push(self.special[which]);
            rest = &rest[at + SPECIAL[which].len()..];
        }
        let cut = out.len() > end;
        out.truncate(end);
        out.push(self.special[1]);
        Ok(cut)
    }

    /// Byte-pair encoding: the pair with the earliest rank is merged wherever it occurs, until no pair has a merge.
    fn merge(&self, pretoken: &str, out: &mut Vec<i32>) {
        let mut word: Vec<u32> = pretoken.bytes().map(|byte| self.bytes[byte as usize]).collect();
        while let Some((_, left, right, merged)) = word
            .windows(2)
            .filter_map(|pair| {
                self.merges.get(&(pair[0], pair[1])).map(|&(rank, merged)| (rank, pair[0], pair[1], merged))
            })
            .min()
        {
            let (mut read, mut write) = (0, 0);
            while read < word.len() {
                let both = word[read] == left && word.get(read + 1) == Some(&right);
                word[write] = if both { merged } else { word[read] };
                read += 1 + usize::from(both);
                write += 1;
            }
            word.truncate(write);
        }
        out.extend(word.into_iter().map(|symbol| self.ids[symbol as usize]));
    }
}

/// Numbers the strings that occur in merges, which need not all be in the vocabulary.
#[derive(Default)]
struct Symbols {
    numbers: HashMap<String, u32>,
    names: Vec<String>,
}

impl Symbols {
    fn of(&mut self, name: &str) -> u32 {
        if let Some(&number) = self.numbers.get(name) {
            return number;
        }
        let number = self.names.len() as u32;
        self.names.push(name.to_owned());
        self.numbers.insert(name.to_owned(), number);
        number
    }
}

/// The visible character that stands for each byte in byte-level vocabularies. Where the byte is a visible character of
/// Latin-1, it is that character, and otherwise the next one from U+0100 on.
fn byte_names() -> [char; 256] {
    let mut next = 0x100;
    std::array::from_fn(|byte| match byte as u8 {
        b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff => char::from(byte as u8),
        _ => {
            next += 1;
            char::from_u32(next - 1).unwrap_or_default()
        }
    })
}

/// Lower-cases every code point of `text` on its own, and puts a space in front unless the text begins with white
/// space. Special tokens are lower case already, so they come out as they are.
fn lowercase_after_space(text: &str) -> String {
    let mut lower = String::with_capacity(text.len() + 1);
    if text.chars().next().is_some_and(|c| !python::is_space(c)) {
        lower.push(' ');
    }
    if text.is_ascii() {
        lower.push_str(text);
        lower.make_ascii_lowercase();
    } else {
        lower.extend(text.chars().flat_map(char::to_lowercase));
    }
    lower
}

/// The place in `text` where the next special token begins, and its number in [`SPECIAL`].
fn next_special(text: &str) -> Option<(usize, usize)> {
    text.match_indices('<')
        .find_map(|(at, _)| SPECIAL.iter().position(|token| text[at..].starts_with(token)).map(|which| (at, which)))
}
