//! Reads a collection or a set of queries, one text at a time: MS MARCO's TSV, BEIR's JSONL, Parquet.

use std::borrow::Cow;
use std::io::BufRead;

use hardmine_files::{BYTE_ORDER_MARK, Content, Input, LineEnd, Lines, names_texts};
use hardmine_records::{Error, Place, Result};

use crate::columns::Places;
use crate::keys::KeySet;
use crate::parquet::ParquetTexts;
use crate::problem::Problem;
use crate::{Columns, Fields, Text, TextKind, beir};

/// The texts of a file, in order.
pub struct Corpus {
    name: String,
    reader: Reader,
    seen: KeySet,
    empty: bool,
    /// Whether it was said that there are two ids.
    two_ids: bool,
    /// Texts that were passed over.
    passed: u64,
}

enum Reader {
    Tsv(Lines, TextKind),
    /// Below a header that names the columns, of which these are read.
    TsvColumns(Lines, Places),
    Json(Lines),
    JsonFields(Lines, beir::NamedFields),
    Parquet(Box<ParquetTexts>),
}

impl Corpus {
    /// Opens `input` and finds out its format: `id<TAB>text`, or `id<TAB>url<TAB>title<TAB>body` for
    /// documents; JSON lines with `_id`, `text` and perhaps `title`; Parquet with `id`, `text` and
    /// perhaps `title`. `.gz` and `.zst` are unpacked.
    ///
    /// # Errors
    /// A missing or empty file, one that holds records instead of texts, Parquet without these columns.
    pub fn open(input: &Input, kind: TextKind) -> Result<Self> {
        Corpus::open_columns(input, kind, &Columns::default())
    }

    /// Opens a collection of passages or of documents, which its first line tells. It is opened twice for that.
    ///
    /// # Errors
    /// As [`Corpus::open`].
    pub fn open_collection(input: &Input) -> Result<Self> {
        let has_two_fields = !matches!(Corpus::open(input, TextKind::Passage)?.next(), Some(Err(_)));
        Corpus::open(input, if has_two_fields { TextKind::Passage } else { TextKind::Document })
    }

    /// [`Corpus::open`] of a file whose ids and texts are in `columns`. If any are named, the first line of a TSV file
    /// names its columns.
    ///
    /// # Errors
    /// As [`Corpus::open`]; a TSV file or Parquet without these columns.
    pub fn open_columns(input: &Input, kind: TextKind, columns: &Columns) -> Result<Self> {
        let mut source = input.open()?;
        let name = source.name.clone();
        let reader = match source.content {
            Content::Text => {
                let head = source.reader.fill_buf().map_err(Error::io(&name))?;
                let head = head.strip_prefix(BYTE_ORDER_MARK).unwrap_or(head);
                match (head.trim_ascii_start().starts_with(b"{"), columns.are_usual()) {
                    (true, true) => Reader::Json(source.into_lines()),
                    (true, false) => Reader::JsonFields(source.into_lines(), beir::NamedFields::new(columns)),
                    (false, true) => Reader::Tsv(source.into_lines(), kind),
                    (false, false) => {
                        let mut lines = source.into_lines();
                        let header = lines.next_line()?.unwrap_or_default();
                        let names: Vec<&str> = header.split('\t').map(str::trim).collect();
                        let places = columns.find(&names);
                        let places = places.map_err(|text| Error::in_place(lines.place(), text).hint(HEADER))?;
                        Reader::TsvColumns(lines, places)
                    }
                }
            }
            Content::Parquet => Reader::Parquet(Box::new(ParquetTexts::open(source, columns)?)),
            Content::ArrowFile | Content::ArrowStream => {
                return Err(Error::new(name, "expected texts (TSV, JSONL or Parquet), found Arrow records")
                    .hint("name the file with the texts themselves, not one that tokenize or embed made of them"));
            }
        };
        Ok(Corpus { name, reader, seen: KeySet::default(), empty: true, two_ids: false, passed: 0 })
    }

    /// Allows lines of at most `bytes` bytes; without it, of 64 MiB.
    pub fn with_max_line(mut self, bytes: usize) -> Self {
        match &mut self.reader {
            Reader::Tsv(lines, _)
            | Reader::TsvColumns(lines, _)
            | Reader::Json(lines)
            | Reader::JsonFields(lines, _) => lines.set_max_line(bytes),
            Reader::Parquet(_) => {}
        }
        self
    }

    /// The name used in errors.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where the last text ended, in a file of lines that can be read [from there](Corpus::jump).
    pub fn end(&self) -> Option<LineEnd> {
        self.lines().and_then(Lines::end)
    }

    /// Passes over the first `texts` texts, the last of which ended at `end`.
    ///
    /// # Errors
    /// A file of another form, or one that is packed.
    pub fn jump(&mut self, texts: u64, end: LineEnd) -> Result<()> {
        (self.passed, self.empty) = (texts, false);
        if let Reader::JsonFields(_, fields) = &mut self.reader {
            fields.take_all_for_seen();
        }
        match &mut self.reader {
            Reader::Tsv(lines, _)
            | Reader::TsvColumns(lines, _)
            | Reader::Json(lines)
            | Reader::JsonFields(lines, _) => lines.jump(end),
            Reader::Parquet(_) => Err(Error::new(&self.name, "is Parquet, which has no lines")),
        }
    }

    /// How many texts were passed over.
    pub fn passed(&self) -> u64 {
        self.passed
    }

    fn lines(&self) -> Option<&Lines> {
        match &self.reader {
            Reader::Tsv(lines, _)
            | Reader::TsvColumns(lines, _)
            | Reader::Json(lines)
            | Reader::JsonFields(lines, _) => Some(lines),
            Reader::Parquet(_) => None,
        }
    }

    fn read(&mut self) -> Result<Option<Text>> {
        let text = match &mut self.reader {
            Reader::Tsv(lines, kind) => {
                let header = |line: &str| self.empty && names_texts(line);
                let parse = |line: &str| if header(line) { Ok(None) } else { parse_tsv(line, *kind).map(Some) };
                let mut found = next_text(lines, parse)?;
                if let Some(None) = found {
                    tracing::warn!("{}: has the names of columns, and is not taken for a text", lines.place());
                    found = next_text(lines, |line| parse_tsv(line, *kind).map(Some))?;
                }
                found.flatten()
            }
            Reader::Json(lines) => {
                let found = next_text(lines, beir::parse)?;
                if found.as_ref().is_some_and(|found| found.two_ids) && !self.two_ids {
                    self.two_ids = true;
                    tracing::warn!("{}: has both _id and id, of which _id is taken", lines.place());
                }
                found.map(|found| found.text)
            }
            Reader::TsvColumns(lines, places) => next_text(lines, |line| parse_columns(line, places))?,
            Reader::JsonFields(lines, fields) => match next_text(lines, |line| fields.parse(line))? {
                None => {
                    fields.check_all_seen().map_err(|text| Error::new(&self.name, text))?;
                    None
                }
                found => found,
            },
            Reader::Parquet(texts) => texts.next_text()?,
        };
        let Some(text) = text else {
            return if self.empty { Err(Error::new(&self.name, "is empty")) } else { Ok(None) };
        };
        self.empty = false;
        if text.key.is_empty() {
            return Err(Error::in_place(self.place(), "the id is empty"));
        }
        if !self.seen.insert(&text.key) {
            let message = format!("duplicate key '{}': an earlier text has the same id", text.key);
            return Err(Error::in_place(self.place(), message));
        }
        Ok(Some(text))
    }

    fn place(&self) -> Place {
        match &self.reader {
            Reader::Tsv(lines, _)
            | Reader::TsvColumns(lines, _)
            | Reader::Json(lines)
            | Reader::JsonFields(lines, _) => lines.place(),
            Reader::Parquet(texts) => texts.place(),
        }
    }
}

impl Iterator for Corpus {
    type Item = Result<Text>;

    fn next(&mut self) -> Option<Result<Text>> {
        self.read().transpose()
    }
}

/// What `parse` makes of the next line that is not blank; none at the end.
fn next_text<T>(
    lines: &mut Lines,
    mut parse: impl FnMut(&str) -> std::result::Result<T, Problem>,
) -> Result<Option<T>> {
    while let Some(line) = lines.next_line()? {
        if !line.trim().is_empty() {
            return parse(line).map(Some).map_err(|problem| problem.at(lines));
        }
    }
    Ok(None)
}

/// What to do about a TSV file without the columns that are asked for.
const HEADER: &str = "where columns are named, the first line of a TSV file is a header with their names";

fn parse_columns(line: &str, places: &Places) -> std::result::Result<Text, Problem> {
    let fields: Vec<Cow<str>> = line.split('\t').map(unquoted).collect();
    if fields.len() != places.width {
        let (expected, found) = (places.width, fields.len());
        return Err(Problem {
            message: format!("expected {expected} fields, as in the header, found {found}"),
            hint: None,
        });
    }
    let [others @ .., last] = &places.text[..] else { unreachable!("there is a column of texts") };
    let others = others.iter().map(|&place| &*fields[place]);
    Ok(Text { key: fields[places.id].to_string(), fields: Fields::of_columns(others, fields[*last].to_string()) })
}

/// A field without the quotes that pandas and `sql` put around one that has quotes in it, which are then written twice.
fn unquoted(field: &str) -> Cow<'_, str> {
    match field.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(inner) if !inner.replace("\"\"", "").contains('"') => inner.replace("\"\"", "\"").into(),
        _ => field.into(),
    }
}

fn parse_tsv(line: &str, kind: TextKind) -> std::result::Result<Text, Problem> {
    let mut fields = line.split('\t');
    let mut next = || fields.next().map(str::to_owned);
    let parsed = match kind {
        TextKind::Document => (next(), next(), next(), next()),
        TextKind::Passage | TextKind::Query => (next(), next(), None, None),
    };
    if next().is_none() {
        match (kind, parsed) {
            (TextKind::Document, (Some(key), Some(url), Some(title), Some(body))) => {
                return Ok(Text { key, fields: Fields::Document { url, title, body } });
            }
            (TextKind::Passage | TextKind::Query, (Some(key), Some(text), ..)) => {
                return Ok(Text { key, fields: Fields::Text(text) });
            }
            _ => {}
        }
    }
    let expected = match kind {
        TextKind::Document => "4 fields (id, url, title, body)",
        TextKind::Passage | TextKind::Query => "2 fields (id, text)",
    };
    let found = if line.is_empty() { 0 } else { line.split('\t').count() };
    let hint = match (kind, found) {
        (TextKind::Document, 2) => Some("--kind passage reads id and text"),
        (TextKind::Passage | TextKind::Query, 4) => Some("--kind document reads id, url, title and body"),
        (_, 0 | 1) => Some("texts are TSV, JSONL with _id and text, or Parquet with id and text"),
        _ => None,
    };
    Err(Problem { message: format!("expected {expected} separated by tabs, found {found}"), hint })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn read(content: &[u8], kind: TextKind) -> std::result::Result<Vec<Text>, String> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(content).unwrap();
        let texts = Corpus::open(&Input::Path(file.path().into()), kind).and_then(|corpus| corpus.collect());
        texts.map_err(|e| e.to_string().replace(&file.path().display().to_string(), "FILE"))
    }

    fn text(key: &str, text: &str) -> Text {
        Text { key: key.into(), fields: Fields::Text(text.into()) }
    }

    #[test]
    fn passages_and_queries() {
        let expected = vec![text("7", " a b"), text("x", "")];
        assert_eq!(read(b"7\t a b\r\nx\t\n", TextKind::Passage), Ok(expected.clone()));
        assert_eq!(read("\u{feff}7\t a b\nx\t".as_bytes(), TextKind::Query), Ok(expected));
    }

    #[test]
    fn documents() {
        let fields = Fields::Document { url: "u".into(), title: "".into(), body: "b".into() };
        assert_eq!(read(b"D1\tu\t\tb\n", TextKind::Document), Ok(vec![Text { key: "D1".into(), fields }]));
    }

    #[test]
    fn beir() {
        let lines = br#"{"_id": "a", "title": "T", "text": "x\ty", "metadata": {}}
{"_id": 3, "title": "", "text": "z"}
{"id": "c", "title": null, "text": "z"}"#;
        let titled = Text { key: "a".into(), fields: Fields::titled(Some("T"), "x\ty".into()) };
        assert_eq!(read(lines, TextKind::Passage), Ok(vec![titled, text("3", "z"), text("c", "z")]));
    }

    #[test]
    fn blank_lines_are_no_texts() {
        let expected = vec![text("1", "a"), text("2", "")];
        assert_eq!(read(b"\n \t\r\n1\ta\n   \n2\t\n\n", TextKind::Query), Ok(expected.clone()));
        let lines = b" \n{\"_id\": 1, \"text\": \"a\"}\r\n\r\n{\"_id\": 2, \"text\": \"\"}\n\t\n";
        assert_eq!(read(lines, TextKind::Query), Ok(expected));
    }

    #[test]
    fn names_of_columns_are_no_text() {
        let expected = vec![text("1", "a")];
        assert_eq!(read(b"pid\tpassage\n1\ta\n", TextKind::Passage), Ok(expected));
        let rows = read(b"1\ta\nid\ttext\n", TextKind::Passage).unwrap();
        assert_eq!(rows[1], text("id", "text"));
        assert_eq!(read(b"DocId\tURL\ttitle\tbody\nD1\tu\tt\tb\n", TextKind::Document).unwrap().len(), 1);
        assert_eq!(read(b"id\ttext\n", TextKind::Passage), Err("FILE: is empty".into()));
    }

    #[test]
    fn quotes_around_a_field_are_those_of_csv_where_they_can_be() {
        let cases = [
            ("a", "a"),
            ("\"a\"", "a"),
            ("\"say \"\"a\"\"\"", "say \"a\""),
            ("\"a\" b", "\"a\" b"),
            ("\"a\" \"b\"", "\"a\" \"b\""),
            ("\"", "\""),
        ];
        for (field, expected) in cases {
            assert_eq!(unquoted(field), expected);
        }
    }

    #[test]
    fn bad_lines_are_named() {
        let cases: [(&[u8], TextKind, &str); 13] = [
            (b"1\ta\n2\n", TextKind::Passage, "FILE: line 2: expected 2 fields (id, text) separated by tabs, found 1"),
            (b"\n \r\n", TextKind::Passage, "FILE: is empty"),
            (b"1\ta\tb\tc\n", TextKind::Query, "found 4; hint: --kind document"),
            (b"1\ta\n", TextKind::Document, "found 2; hint: --kind passage"),
            (b"1\ta\tb\tc\td\n", TextKind::Document, "FILE: line 1: expected 4 fields (id, url, title, body)"),
            (b"1\ta\n1\tb\n", TextKind::Passage, "FILE: line 2: duplicate key '1'"),
            (b"\ta\n", TextKind::Passage, "FILE: line 1: the id is empty"),
            (b"1\ta\n2\t\xff\n", TextKind::Passage, "FILE: line 2: is not UTF-8"),
            (
                b"{\"_id\": \"1\", \"text\": \"a\"}\n{\"_id\": 1,\n",
                TextKind::Passage,
                "FILE: line 2: bad JSON at column 10",
            ),
            (b"{\"_id\": \"1\"}\n", TextKind::Passage, "FILE: line 1: missing field `text`, or it is null; hint: "),
            (b"{\"_id\": \"1\", \"text\": \"a\"}\n[]\n", TextKind::Passage, "FILE: line 2: "),
            (b"", TextKind::Passage, "FILE: is empty"),
            (b"1\ta\n\n2", TextKind::Passage, "FILE: line 3: expected 2 fields"),
        ];
        for (content, kind, expected) in cases {
            let found = read(content, kind).unwrap_err();
            assert!(found.contains(expected), "{found}\nexpected {expected}");
        }
    }

    #[test]
    fn packed_text_is_unpacked_and_may_be_empty() {
        let nothing = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(read(&nothing, TextKind::Passage), Err("FILE: is empty".into()));
    }

    #[test]
    fn a_line_of_ten_megabytes() {
        let long = "word ".repeat(2_000_000);
        assert_eq!(read(format!("1\t{long}\n").as_bytes(), TextKind::Passage), Ok(vec![text("1", &long)]));
    }
}
