//! Where a text may be cut so that the token ids of its pieces, one after the other, are those of the whole. Pieces are
//! mostly words, and words come back, so that most of them need not be tokenized again.
//!
//! A piece begins with a space, and the character before it is visible. Such a place divides the text for every step of
//! a tokenizer that [`holds_by_piece`] knows:
//! - Added tokens are found on one side of it, because none of them holds such a place.
//! - The normalizer treats each side by itself. Nothing composes with a space that follows it, and no grapheme reaches
//!   from a visible character into a space. What [`begins`] says keeps the space a grapheme of its own as well.
//! - The pre-tokenizer divides there. A pattern that is known here takes a space only as the first character of a match
//!   or together with other white space, and looks ahead but not back. Metaspace turns the space into `▁` and divides
//!   before it.
//! - Where there is no pre-tokenizer and the model is a BPE over the whole text (Gemma), the space has become `▁`, and
//!   no token has `▁` after another character: merges on both sides don't meet.
//!
//! Other tokenizers get the whole text: those that put something in front of every text (Llama's Prepend), strip it on
//! the left, merge across spaces, or split at patterns that are not known here. One could cut texts for some of them as
//! well, but each would need an argument of its own, and no encoder that is in use needs them.

use serde_json::json;
use tokenizers::normalizers::Precompiled;
use tokenizers::pre_tokenizers::metaspace::Metaspace;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{
    ModelWrapper, NormalizedString, Normalizer, NormalizerWrapper, PreTokenizerWrapper, SplitDelimiterBehavior,
    Tokenizer,
};
use unicode_general_category::{GeneralCategory, get_general_category};

/// What SentencePiece writes for a space.
const MARK: char = '▁';

/// The patterns of Qwen2 and Qwen3, and of GPT-4 and Llama 3.
const PATTERNS: [&str; 2] = [
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
];

/// The pieces of `text`; together they are the text.
pub(crate) fn pieces(text: &str) -> impl Iterator<Item = &str> {
    let mut start = 0;
    std::iter::from_fn(move || {
        let rest = text.get(start..).filter(|rest| !rest.is_empty())?;
        let bytes = rest.as_bytes();
        let end = (1..bytes.len()).find(|&at| bytes[at] == b' ' && divides(rest, at)).unwrap_or(rest.len());
        start += end;
        Some(&rest[..end])
    })
}

/// Whether a piece begins at byte `at` of `text`, which is a space and not the first character.
fn divides(text: &str, at: usize) -> bool {
    let bytes = text.as_bytes();
    bytes[at - 1].is_ascii_graphic() && bytes.get(at + 1).is_none_or(u8::is_ascii)
        || text[..at].chars().next_back().is_some_and(ends) && text[at + 1..].chars().next().is_none_or(begins)
}

/// Whether a piece may end with `c`: a letter, a mark, a number or punctuation, as nearly all words end. No normalizer
/// makes white space of them. Symbols are left out because SentencePiece's makes a space of two (`▁`, U+FFFD), and
/// so are the letters that form a grapheme with what follows (Grapheme_Cluster_Break=Prepend): U+0D4E and some from
/// U+11000 on.
fn ends(c: char) -> bool {
    use GeneralCategory::*;
    c.is_ascii_graphic()
        || !c.is_ascii()
            && c < '\u{11000}'
            && c != '\u{d4e}'
            && !matches!(
                get_general_category(c),
                Control
                    | Format
                    | Unassigned
                    | PrivateUse
                    | Surrogate
                    | SpaceSeparator
                    | LineSeparator
                    | ParagraphSeparator
                    | MathSymbol
                    | CurrencySymbol
                    | ModifierSymbol
                    | OtherSymbol
            )
}

/// Whether `c` never joins the space before it in one grapheme: it is none of the characters that extend one (marks,
/// some modifiers, joiners, and two letters: Thai and Lao AM).
fn begins(c: char) -> bool {
    use GeneralCategory::*;
    c.is_ascii()
        || !matches!(c, '\u{e33}' | '\u{eb3}')
            && !matches!(
                get_general_category(c),
                NonspacingMark
                    | SpacingMark
                    | EnclosingMark
                    | ModifierLetter
                    | ModifierSymbol
                    | Format
                    | Control
                    | Unassigned
                    | PrivateUse
            )
}

/// What a normalizer makes of the spaces between words.
#[derive(PartialEq)]
enum Spaces {
    /// They stay as they are.
    Kept,
    /// Several become one space or one `▁`, and those at the end of a text are removed.
    Squeezed,
    /// Each becomes a `▁`.
    Marked,
}

/// Whether the ids of a text are those of its [`pieces`], for reasons that the head of this file gives.
pub(crate) fn holds_by_piece(tokenizer: &Tokenizer) -> bool {
    let normalizer = tokenizer.get_normalizer();
    let Some(spaces) = spaces(normalizer) else { return false };
    let normalized = |content: &str| {
        let mut text = NormalizedString::from(content);
        let done = normalizer.map_or(Ok(()), |normalizer| normalizer.normalize(&mut text));
        done.map(|()| text.get().replace(MARK, " "))
    };
    let whole = |content: &str| pieces(content).count() <= 1;
    let added = tokenizer.get_added_tokens_decoder().into_values().all(|token| {
        // White space after the token belongs to it, or what stands before a space decides whether it is one.
        let looks_around = token.rstrip || token.single_word && token.content.starts_with([' ', MARK]);
        !looks_around && whole(&token.content) && normalized(&token.content).is_ok_and(|content| whole(&content))
    });
    added && divides_at_spaces(tokenizer, &spaces)
}

/// Whether the pre-tokenizer, or the model without one, divides a text before each space.
fn divides_at_spaces(tokenizer: &Tokenizer, spaces: &Spaces) -> bool {
    use PreTokenizerWrapper as P;
    let steps = match tokenizer.get_pre_tokenizer() {
        None => &[],
        Some(P::Sequence(steps)) => steps.as_ref(),
        Some(step) => std::slice::from_ref(step),
    };
    match (spaces, steps) {
        (_, [P::Metaspace(metaspace)] | [P::WhitespaceSplit(_), P::Metaspace(metaspace)]) => splits(metaspace),
        (Spaces::Kept, [P::BertPreTokenizer(_) | P::WhitespaceSplit(_)]) => true,
        (Spaces::Kept, [P::ByteLevel(byte_level)]) => byte_level.use_regex,
        (Spaces::Kept, [P::Split(split), P::ByteLevel(byte_level)]) => is_known(split) && !byte_level.use_regex,
        (Spaces::Marked, []) => merges_stop_at_marks(tokenizer.get_model()),
        // Gemma has a split at spaces, of which there are none any more.
        (Spaces::Marked, [P::Split(split)]) => {
            split.pattern == SplitPattern::String(" ".into()) && merges_stop_at_marks(tokenizer.get_model())
        }
        _ => false,
    }
}

fn splits(metaspace: &Metaspace) -> bool {
    metaspace.get_split() && metaspace.get_replacement() == MARK
}

fn is_known(split: &Split) -> bool {
    let SplitPattern::Regex(pattern) = &split.pattern else { return false };
    PATTERNS.contains(&pattern.as_str()) && split.behavior == SplitDelimiterBehavior::Isolated && !split.invert
}

/// Whether the model is a BPE that joins no other character with a `▁` after it.
fn merges_stop_at_marks(model: &ModelWrapper) -> bool {
    let ModelWrapper::BPE(bpe) = model else { return false };
    // These depend on where a text begins and ends.
    let by_place = bpe.ignore_merges || bpe.continuing_subword_prefix.is_some() || bpe.end_of_word_suffix.is_some();
    let joins = |token: &String| token.trim_start_matches(MARK).contains(MARK);
    let vocabulary = bpe.get_vocab();
    !by_place && vocabulary.contains_key(&MARK.to_string()) && !vocabulary.keys().any(joins)
}

/// What `normalizer` makes of spaces; none if it is not known to treat the pieces of a text by themselves.
fn spaces(normalizer: Option<&NormalizerWrapper>) -> Option<Spaces> {
    use NormalizerWrapper as N;
    let steps = match normalizer {
        None => &[],
        Some(N::Sequence(steps)) => steps.as_ref(),
        Some(step) => std::slice::from_ref(step),
    };
    // These remove characters, or put spaces around some, and what is visible may end in white space.
    let changes_ends = steps.iter().any(|step| matches!(step, N::BertNormalizer(_) | N::StripAccents(_)));
    let mut spaces = Spaces::Kept;
    for step in steps {
        spaces = match (step, spaces) {
            (N::NFC(_) | N::NFD(_) | N::NFKC(_) | N::NFKD(_) | N::Lowercase(_), spaces) => spaces,
            (N::BertNormalizer(_) | N::StripAccents(_), Spaces::Kept) => Spaces::Kept,
            (N::Precompiled(map), Spaces::Kept) if keeps_ends(map) => Spaces::Kept,
            (N::StripNormalizer(strip), Spaces::Kept | Spaces::Squeezed) if !strip.strip_left && !changes_ends => {
                Spaces::Squeezed
            }
            (N::Replace(replace), spaces) => {
                let replace = serde_json::to_value(replace).ok()?;
                match (&replace["pattern"], replace["content"].as_str()?, spaces) {
                    (several, " " | "▁", Spaces::Kept | Spaces::Squeezed)
                        if *several == json!({"Regex": " {2,}"}) && !changes_ends =>
                    {
                        Spaces::Squeezed
                    }
                    (each, "▁", Spaces::Kept) if *each == json!({"String": " "}) => Spaces::Marked,
                    _ => return None,
                }
            }
            _ => return None,
        };
    }
    Some(spaces)
}

/// Whether SentencePiece's `map` of characters keeps a space, and whether what a piece ends with is still visible after
/// it. Its longer entries are compositions of characters, which are visible if these are.
fn keeps_ends(map: &Precompiled) -> bool {
    let is_visible = |text: &str| !text.is_empty() && !text.ends_with(char::is_whitespace);
    let stays = |c: char| map.transform(c.encode_utf8(&mut [0; 4])).is_none_or(is_visible);
    map.transform(" ").is_none_or(|space| space == " ") && ('!'..'\u{11000}').filter(|&c| ends(c)).all(stays)
}

#[cfg(test)]
pub(crate) mod tests;
