//! A scanner that splits a text into the pieces that byte-pair encoding works on, as GPT-2's pattern does:
//! `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`.
//!
//! Which characters are letters (`\p{L}`) and numbers (`\p{N}`) is what Unicode 16.0 says, whose tables the crate
//! `unicode-general-category` has. Python's `regex`, which ran the pattern for the reference, has the tables of its own
//! release. A letter or number that one of the two doesn't know yet is to it a character of neither class, so that a
//! text with such a character may be split otherwise there, and have other token ids. These are characters of scripts
//! that are new in Unicode, and a few that changed class.

use unicode_general_category::{GeneralCategory, get_general_category};

/// The classes that the pattern knows. Every character is of one of them.
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

fn class(c: char) -> Class {
    use GeneralCategory::*;
    if c.is_ascii() {
        return ASCII[c as usize];
    }
    match get_general_category(c) {
        UppercaseLetter | LowercaseLetter | TitlecaseLetter | ModifierLetter | OtherLetter => Class::Letter,
        DecimalNumber | LetterNumber | OtherNumber => Class::Number,
        _ if c.is_whitespace() => Class::Space,
        _ => Class::Other,
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
    // The last character of white space goes with the word that follows, unless it is the only one.
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
    use proptest::prelude::*;
    use proptest::test_runner::{Config, TestRunner};
    use tokenizers::utils::SysRegex;

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
        let alphabet: Vec<String> = alphabet.into_iter().map(String::from).collect();
        let texts = prop::collection::vec(prop::sample::select(alphabet), 0..12).prop_map(|parts| parts.concat());
        let mut runner = TestRunner::new(Config { cases: 20_000, failure_persistence: None, ..Config::default() });
        let outcome = runner.run(&texts, |text| {
            let expected: Vec<&str> = pattern.find_iter(&text).map(|(start, end)| &text[start..end]).collect();
            prop_assert_eq!(split(&text), expected);
            Ok(())
        });
        outcome.unwrap();
    }

    /// The pattern's engine knows an older Unicode than the crate: of the characters that both know, the classes are
    /// the same.
    #[test]
    fn all_characters_are_of_the_class_of_the_pattern() {
        let engine = |pattern: &str| {
            let all: String = ('\u{80}'..=char::MAX).collect();
            let pattern = SysRegex::new(pattern).unwrap();
            let found = pattern.find_iter(&all).flat_map(|(start, end)| all[start..end].chars());
            found.collect::<std::collections::HashSet<char>>()
        };
        let assigned = engine(r"\P{Cn}+");
        for (pattern, wanted) in [(r"\p{L}+", Class::Letter), (r"\p{N}+", Class::Number), (r"\s+", Class::Space)] {
            let members = engine(pattern);
            let differ = |c: &char| assigned.contains(c) && members.contains(c) != (class(*c) == wanted);
            let differ: Vec<char> = ('\u{80}'..=char::MAX).filter(differ).collect();
            assert!(differ.is_empty(), "{pattern}: {differ:?}");
        }
    }
}
