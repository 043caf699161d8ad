//! The fields of a line.

use std::borrow::Cow;
use std::cmp::Ordering;

/// How lines are split, and into how many fields.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Splitter {
    pub(super) width: usize,
    /// Commas separate. Otherwise tabs do where that gives `width` fields, so that ids may hold blanks, and any white
    /// space where it doesn't.
    pub(super) commas: bool,
    /// Whether a field may stand in double quotes, with a quote inside it written twice.
    pub(super) quotes: bool,
}

impl Splitter {
    /// Fills `fields` with those of `line`, without the blanks around them.
    ///
    /// # Errors
    /// More or fewer than `width` fields, and quotes that are not closed.
    pub(super) fn split<'a>(&self, line: &'a str, fields: &mut Vec<Cow<'a, str>>) -> Result<(), String> {
        fields.clear();
        if self.quotes && line.contains('"') {
            let has_tabs = line.contains('\t');
            unquote(line, fields, |byte| match (self.commas, has_tabs) {
                (true, _) => byte == b',',
                (_, true) => byte == b'\t',
                _ => byte.is_ascii_whitespace(),
            })?;
        } else if self.commas {
            fields.extend(line.split(',').map(|field| Cow::from(field.trim_ascii())));
        } else {
            fields.extend(tabs(line.trim_ascii()).map(Cow::from));
            if fields.len() != self.width {
                fields.clear();
                fields.extend(line.split_ascii_whitespace().map(Cow::from));
            }
            // The first or the last field may be empty.
            if fields.len() != self.width && tabs(line).count() == self.width {
                fields.clear();
                fields.extend(tabs(line).map(Cow::from));
            }
        }
        match fields.len().cmp(&self.width) {
            Ordering::Less => Err("too few fields".into()),
            Ordering::Equal => Ok(()),
            Ordering::Greater => Err("too many fields".into()),
        }
    }
}

/// The fields between tabs, without the blanks around them.
pub(super) fn tabs(line: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(line);
    std::iter::from_fn(move || {
        let line = rest?;
        // Fields are so short that looking at one byte after the other is fastest.
        let end = line.bytes().position(|byte| byte == b'\t');
        rest = end.map(|end| &line[end + 1..]);
        Some(line[..end.unwrap_or(line.len())].trim_ascii())
    })
}

/// Fills `fields` as a CSV reader would.
fn unquote<'a>(
    line: &'a str,
    fields: &mut Vec<Cow<'a, str>>,
    separates: impl Fn(u8) -> bool + Copy,
) -> Result<(), String> {
    let mut rest = line.trim_end_matches(' ');
    loop {
        rest = rest.trim_start_matches(' ');
        match rest.strip_prefix('"') {
            Some(quoted) => {
                let end =
                    closing_quote(quoted).ok_or("a quoted field does not end on its line; ids hold no line ends")?;
                fields.push(match &quoted[..end] {
                    plain if !plain.contains('"') => plain.into(),
                    doubled => doubled.replace("\"\"", "\"").into(),
                });
                rest = &quoted[end + 1..];
            }
            None => {
                let end = rest.bytes().position(separates).unwrap_or(rest.len());
                fields.push(rest[..end].trim_ascii().into());
                rest = &rest[end..];
            }
        }
        let end = rest.bytes().position(separates).unwrap_or(rest.len());
        if !rest[..end].trim_ascii().is_empty() {
            return Err("something follows a quoted field".into());
        }
        match rest.get(end + 1..) {
            Some(next) => rest = next,
            None => return Ok(()),
        }
    }
}

/// Where the quote is that ends a field; two of them are one that belongs to it.
fn closing_quote(text: &str) -> Option<usize> {
    let mut from = 0;
    loop {
        let quote = from + text[from..].find('"')?;
        match text[quote + 1..].starts_with('"') {
            true => from = quote + 2,
            false => return Some(quote),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(splitter: Splitter, line: &str, expected: Result<&[&str], &str>) {
        let mut fields = Vec::new();
        let split = splitter.split(line, &mut fields).map(|()| fields.iter().map(|f| &**f).collect::<Vec<_>>());
        assert_eq!(split.as_deref().map_err(String::as_str), expected, "{line:?}");
    }

    #[test]
    fn tabs_separate_where_they_can_and_white_space_elsewhere() {
        let three = Splitter { width: 3, commas: false, quotes: false };
        for line in ["a b\tc\t1", " a b \t c\t1 ", "a b\tc\t1\t", "\ta b\tc\t1"] {
            check(three, line, Ok(&["a b", "c", "1"]));
        }
        for line in ["a c 1", " a\tc 1\t", "a \t c\t \t1"] {
            check(three, line, Ok(&["a", "c", "1"]));
        }
        check(three, "\tc\t1", Ok(&["", "c", "1"]));
        check(three, "\"a\tc\"\t1", Ok(&["\"a", "c\"", "1"]));
        check(three, "a\u{a0}b c 1", Ok(&["a\u{a0}b", "c", "1"]));
        check(three, "a c", Err("too few fields"));
        check(three, "a\tc\t1\t2", Err("too many fields"));
    }

    #[test]
    fn quotes_are_those_of_csv() {
        let commas = Splitter { width: 3, commas: true, quotes: true };
        check(commas, "\"a, b\",\"say \"\"c\"\"\", 1", Ok(&["a, b", "say \"c\"", "1"]));
        check(commas, "a\"b,\"\",1", Ok(&["a\"b", "", "1"]));
        check(commas, "a,\"b,1", Err("a quoted field does not end on its line; ids hold no line ends"));
        check(commas, "a,\"b\"c,1", Err("something follows a quoted field"));
        let tabs = Splitter { width: 3, commas: false, quotes: true };
        check(tabs, "\"a\tb\"\tc\t1", Ok(&["a\tb", "c", "1"]));
        check(tabs, "\t\"c\"\t1", Ok(&["", "c", "1"]));
        check(tabs, "\"a b\" c  1", Ok(&["a b", "c", "1"]));
    }
}
