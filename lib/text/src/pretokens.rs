//! GPT-2's split of a text into the pieces that byte-pair encoding works on:
//! `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`, as a scanner.

use std::sync::LazyLock;

use tokenizers::utils::SysRegex;

/// The classes of the pattern; every character is of one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Letter,
    Number,
    Space,
    Other,
}

const ASCII: [Class; 128] = {
    let mut classes = [Class::Other; 128];
    let mut byte = 0;
    while byte < 128 {
        let c = byte as u8;
        if c.is_ascii_alphabetic() {
            classes[byte] = Class::Letter;
        } else if c.is_ascii_digit() {
            classes[byte] = Class::Number;
        } else if c == b' ' || (c >= 9 && c <= 13) {
            classes[byte] = Class::Space;
        }
        byte += 1;
    }
    classes
};

/// Bit c is set for a letter (`\p{L}`): the standard library has only `Alphabetic`, which is wider.
static LETTERS: LazyLock<Vec<u64>> = LazyLock::new(|| {
    let mut letters = vec![0; 0x11_0000 / 64];
    let all: String = ('\u{80}'..=char::MAX).collect();
    let pattern = SysRegex::new(r"\p{L}+").expect("a constant pattern");
    for c in pattern.find_iter(&all).flat_map(|(start, end)| all[start..end].chars()) {
        letters[c as usize / 64] |= 1 << (c as usize % 64);
    }
    letters
});

fn class(c: char) -> Class {
    if c.is_ascii() {
        ASCII[c as usize]
    } else if LETTERS[c as usize / 64] >> (c as usize % 64) & 1 == 1 {
        Class::Letter
    } else if c.is_numeric() {
        Class::Number
    } else if c.is_whitespace() {
        Class::Space
    } else {
        Class::Other
    }
}

/// Length in bytes of the characters of `wanted` at the start of `text`.
fn run(text: &str, wanted: Class) -> usize {
    text.find(|c| class(c) != wanted).unwrap_or(text.len())
}

/// The first piece of `text`, which isn't empty.
fn first(text: &str) -> &str {
    const CONTRACTIONS: [&str; 7] = ["'s", "'t", "'re", "'ve", "'m", "'ll", "'d"];
    if let Some(found) = CONTRACTIONS.into_iter().find(|c| text.starts_with(c)) {
        return &text[..found.len()];
    }
    let space = usize::from(text.starts_with(' '));
    if let Some(next) = text[space..].chars().next().map(class).filter(|&next| next != Class::Space) {
        return &text[..space + run(&text[space..], next)];
    }
    // White space leaves its last character to the word that follows, unless it is the only one.
    let end = run(text, Class::Space);
    let last = text[..end].chars().next_back().map_or(0, char::len_utf8);
    &text[..if end == text.len() || last == end { end } else { end - last }]
}

/// The pieces of `text` in order; together they are the text.
pub(crate) fn pretokens(mut text: &str) -> impl Iterator<Item = &str> {
    std::iter::from_fn(move || {
        if text.is_empty() {
            return None;
        }
        let (piece, rest) = text.split_at(first(text).len());
        text = rest;
        Some(piece)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(text: &str) -> Vec<&str> {
        pretokens(text).collect()
    }

    #[test]
    fn splits_as_the_pattern_does() {
        assert_eq!(split(" it's 42!? we'll'x"), [" it", "'s", " 42", "!?", " we", "'ll", "'", "x"]);
        assert_eq!(split("a  b\n c\t\td "), ["a", " ", " b", "\n", " c", "\t", "\t", "d", " "]);
        assert_eq!(split(" 's ''s"), [" '", "s", " ''", "s"]);
        assert_eq!(split("é\u{301}٣Ⅷ \u{3000}x"), ["é", "\u{301}", "٣Ⅷ", " ", "\u{3000}", "x"]);
        assert_eq!(split("   "), ["   "]);
    }

    #[test]
    fn agrees_with_the_pattern_itself() {
        let pattern = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
        let pattern = SysRegex::new(pattern).unwrap();
        let alphabet: Vec<char> =
            "  \t\n\u{85}\u{a0}\u{3000}\x1c''sstredvml09٣²ⅧⒶaé\u{301}ßΣ中々.,-<>\u{200b}\u{fffd}😀".chars().collect();
        let mut state = 1u64;
        for _ in 0..20_000 {
            let mut text = String::new();
            for _ in 0..12 {
                state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                text.push(alphabet[(state >> 33) as usize % alphabet.len()]);
            }
            let expected: Vec<&str> = pattern.find_iter(&text).map(|(start, end)| &text[start..end]).collect();
            assert_eq!(split(&text), expected, "{text:?}");
        }
    }
}
