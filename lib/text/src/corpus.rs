//! Reads a collection or a set of queries, one text at a time: MS MARCO's TSV, BEIR's JSONL, Parquet.

use std::io::BufRead;

use hardmine_records::source::{Content, Lines};
use hardmine_records::{Error, Input, Result};
use serde::Deserialize;

use crate::keys::KeySet;
use crate::parquet::ParquetTexts;
use crate::{Fields, TextKind};

const BYTE_ORDER_MARK: char = '\u{feff}';

/// A text with its official id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    /// The official id.
    pub key: String,
    /// What it says.
    pub fields: Fields,
}

/// The texts of a file, in order.
pub struct Corpus {
    name: String,
    reader: Reader,
    seen: KeySet,
    empty: bool,
}

enum Reader {
    Tsv(Lines, TextKind),
    Json(Lines),
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
        let mut source = input.open()?;
        let name = source.name.clone();
        let reader = match source.content {
            Content::Text => {
                let head = source.reader.fill_buf().map_err(Error::io(&name))?;
                let head = head.strip_prefix("\u{feff}".as_bytes()).unwrap_or(head);
                match head.trim_ascii_start().starts_with(b"{") {
                    true => Reader::Json(source.into_lines()),
                    false => Reader::Tsv(source.into_lines(), kind),
                }
            }
            Content::Parquet => Reader::Parquet(Box::new(ParquetTexts::open(source)?)),
            Content::ArrowFile | Content::ArrowStream => {
                return Err(Error::new(name, "expected texts (TSV, JSONL or Parquet), found Arrow records"));
            }
        };
        Ok(Corpus { name, reader, seen: KeySet::default(), empty: true })
    }

    /// The name used in errors.
    pub fn name(&self) -> &str {
        &self.name
    }

    fn read(&mut self) -> Result<Option<Text>> {
        let text = match &mut self.reader {
            Reader::Tsv(lines, kind) => {
                let kind = *kind;
                let parsed = match lines.next_line()? {
                    Some(line) => parse_tsv(line.trim_start_matches(BYTE_ORDER_MARK), kind).map(Some),
                    None => Ok(None),
                };
                parsed.map_err(|problem| problem.at(lines))?
            }
            Reader::Json(lines) => {
                let parsed = match lines.next_line()? {
                    Some(line) => parse_json(line.trim_start_matches(BYTE_ORDER_MARK)).map(Some),
                    None => Ok(None),
                };
                parsed.map_err(|problem| problem.at(lines))?
            }
            Reader::Parquet(texts) => texts.next_text()?,
        };
        let Some(text) = text else {
            return if self.empty { Err(Error::new(&self.name, "is empty")) } else { Ok(None) };
        };
        self.empty = false;
        if text.key.is_empty() {
            return Err(Error::new(self.place(), "the id is empty"));
        }
        if !self.seen.insert(&text.key) {
            let message = format!("duplicate key '{}': an earlier text has the same id", text.key);
            return Err(Error::new(self.place(), message));
        }
        Ok(Some(text))
    }

    fn place(&self) -> String {
        match &self.reader {
            Reader::Tsv(lines, _) | Reader::Json(lines) => lines.place(),
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

/// What is wrong with a line.
struct Problem {
    message: String,
    hint: Option<&'static str>,
}

impl Problem {
    fn at(self, lines: &Lines) -> Error {
        let error = Error::new(lines.place(), self.message);
        match self.hint {
            Some(hint) => error.hint(hint),
            None => error,
        }
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

/// A line of BEIR's `corpus.jsonl` or `queries.jsonl`; other fields are left aside.
#[derive(Deserialize)]
struct Beir {
    #[serde(rename = "_id", alias = "id")]
    id: BeirId,
    title: Option<String>,
    text: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum BeirId {
    Text(String),
    Number(i64),
}

fn parse_json(line: &str) -> std::result::Result<Text, Problem> {
    let Beir { id, title, text } = serde_json::from_str(line).map_err(|e| {
        let message = e.to_string();
        // The line that serde_json counts is always the first of our one line.
        let message = message.split(" at line ").next().unwrap_or_default();
        match e.classify() {
            serde_json::error::Category::Data => Problem {
                message: message.to_owned(),
                hint: Some("each line is an object with _id, text and perhaps title"),
            },
            _ => Problem { message: format!("bad JSON at column {}: {message}", e.column()), hint: None },
        }
    })?;
    let key = match id {
        BeirId::Text(key) => key,
        BeirId::Number(number) => number.to_string(),
    };
    Ok(Text { key, fields: Fields::titled(title.as_deref(), text) })
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
        assert_eq!(read(lines, TextKind::Passage), Ok(vec![text("a", "T x\ty"), text("3", "z"), text("c", "z")]));
    }

    #[test]
    fn bad_lines_are_named() {
        let cases: [(&[u8], TextKind, &str); 12] = [
            (b"1\ta\n2\n", TextKind::Passage, "FILE: line 2: expected 2 fields (id, text) separated by tabs, found 1"),
            (b"1\ta\n\n", TextKind::Passage, "FILE: line 2: expected 2 fields (id, text) separated by tabs, found 0"),
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
            (b"{\"_id\": \"1\"}\n", TextKind::Passage, "FILE: line 1: missing field `text`; hint: "),
            (b"{\"_id\": \"1\", \"text\": \"a\"}\n[]\n", TextKind::Passage, "FILE: line 2: "),
            (b"", TextKind::Passage, "FILE: is empty"),
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
