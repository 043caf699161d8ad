//! A line of BEIR's `corpus.jsonl` or `queries.jsonl`, also as Python's `json` writes it.

use std::collections::HashMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_json::error::Category;

use crate::problem::Problem;
use crate::{Columns, Fields, Text};

/// The fields that are read; others are left aside. `id` is taken where there is no `_id`.
#[derive(Deserialize)]
struct Line {
    _id: Option<Value>,
    id: Option<Value>,
    title: Option<Value>,
    text: Option<Value>,
}

/// What was found on a line.
pub(crate) struct Found {
    pub text: Text,
    /// Both `_id` and `id` are there, with different values.
    pub two_ids: bool,
}

pub(crate) fn parse(line: &str) -> Result<Found, Problem> {
    let Line { _id, id, title, text } = read(line)?;
    let (key, two_ids) = match (_id, id) {
        (Some(_id), id) => {
            let own = key("_id", _id)?;
            let two = id.and_then(|id| key("id", id).ok()).is_some_and(|other| other != own);
            (own, two)
        }
        (None, Some(id)) => (key("id", id)?, false),
        (None, None) => return Err(missing("_id")),
    };
    let title = title.map(|title| string("title", title)).transpose()?;
    let text = string("text", text.ok_or_else(|| missing("text"))?)?;
    Ok(Found { text: Text { key, fields: Fields::titled(title.as_deref(), text) }, two_ids })
}

/// Fields of other names than BEIR's.
pub(crate) struct NamedFields {
    ids: Vec<String>,
    /// The fields before the last, and whether a line had them.
    others: Vec<(String, bool)>,
    last: String,
}

impl NamedFields {
    pub(crate) fn new(columns: &Columns) -> Self {
        let mut text = columns.text.clone();
        if text.is_empty() {
            text = ["title", "text"].map(str::to_owned).into();
        }
        let last = text.pop().unwrap_or_default();
        // Nobody asked for a title.
        let others = text.into_iter().map(|name| (name, columns.text.is_empty())).collect();
        let ids = columns.ids().into_iter().rev().map(str::to_owned).collect();
        NamedFields { ids, others, last }
    }

    pub(crate) fn parse(&mut self, line: &str) -> Result<Text, Problem> {
        let fields: HashMap<String, Value> = read(line)?;
        // A field may be named more than once.
        let take = |name: &str| fields.get(name).filter(|value| !value.is_null()).cloned();
        let id = self.ids.iter().find_map(|name| take(name).map(|id| key(name, id)));
        let id = id.ok_or_else(|| missing(&self.ids[0]))??;
        let mut others = Vec::new();
        for (name, seen) in &mut self.others {
            if let Some(value) = take(name) {
                *seen = true;
                others.push(string(name, value)?);
            }
        }
        let last = string(&self.last, take(&self.last).ok_or_else(|| missing(&self.last))?)?;
        Ok(Text { key: id, fields: Fields::of_columns(others.iter().map(String::as_str), last) })
    }

    /// Takes all fields for seen, where not all lines are read.
    pub(crate) fn take_all_for_seen(&mut self) {
        self.others.iter_mut().for_each(|(_, seen)| *seen = true);
    }

    /// Makes sure that no field was asked for in vain.
    ///
    /// # Errors
    /// No line had it.
    pub(crate) fn check_all_seen(&self) -> Result<(), String> {
        match self.others.iter().find(|(_, seen)| !seen) {
            Some((name, _)) => Err(format!("no line has the field `{name}`")),
            None => Ok(()),
        }
    }
}

/// Reads the fields of a line, where need be without the numbers that only Python writes.
fn read<T: DeserializeOwned>(line: &str) -> Result<T, Problem> {
    serde_json::from_str(line)
        .or_else(|error| serde_json::from_str(&without_python_numbers(line)).map_err(|_| problem(&error)))
}

fn key(name: &str, id: Value) -> Result<String, Problem> {
    match id {
        Value::String(key) => Ok(key),
        Value::Number(number) if number.is_u64() || number.is_i64() => Ok(number.to_string()),
        Value::Number(number) => Err(Problem {
            message: format!("{name} is the number {number}, expected a string or a whole number below 2^64"),
            hint: Some("write the id in quotes, as the judgements have it"),
        }),
        other => Err(unexpected(name, &other, "a string or a whole number")),
    }
}

fn string(name: &str, value: Value) -> Result<String, Problem> {
    match value {
        Value::String(text) => Ok(text),
        other => Err(unexpected(name, &other, "a string")),
    }
}

fn missing(name: &str) -> Problem {
    Problem {
        message: format!("missing field `{name}`, or it is null"),
        hint: Some(
            "each line is an object with _id, text and perhaps title; --id-column and --text-column name others",
        ),
    }
}

fn unexpected(name: &str, value: &Value, expected: &str) -> Problem {
    let found = match value {
        Value::Object(fields) if fields.is_empty() => "NaN, infinite or an empty object".to_owned(),
        Value::Object(_) => "an object".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        other => other.to_string(),
    };
    Problem { message: format!("{name} is {found}, expected {expected}"), hint: None }
}

fn problem(error: &serde_json::Error) -> Problem {
    let message = error.to_string();
    // The line that serde_json counts is always the first of our one line.
    let message = message.split(" at line ").next().unwrap_or_default();
    let hint = match error.classify() {
        Category::Data => return Problem { message: message.to_owned(), hint: Some("each line is one object") },
        Category::Eof => Some("each line is one whole object"),
        _ if message.contains("surrogate") || message.contains("hex escape") => {
            Some("half a character was written, as when a text is cut in the middle of an emoji")
        }
        _ => None,
    };
    Problem { message: format!("bad JSON at column {}: {message}", error.column()), hint }
}

/// Python writes NaN, Infinity and -Infinity, which JSON doesn't have. In their place comes an empty object, which no
/// field that is read may be, and blanks up to the same length.
fn without_python_numbers(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(character) = rest.chars().next() {
        let number = ["NaN", "Infinity", "-Infinity"].into_iter().find(|number| rest.starts_with(number));
        let length = match (character, number) {
            ('"', _) => string_length(rest),
            (_, Some(number)) => {
                out += &format!("{:length$}", "{}", length = number.len());
                rest = &rest[number.len()..];
                continue;
            }
            _ => character.len_utf8(),
        };
        out += &rest[..length];
        rest = &rest[length..];
    }
    out
}

/// Length in bytes of the string, quotes included, that `text` begins with.
fn string_length(text: &str) -> usize {
    let mut escaped = false;
    let end = text.bytes().skip(1).position(|byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    });
    end.map_or(text.len(), |end| end + 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<(String, Fields), String> {
        parse(line).map(|found| (found.text.key, found.text.fields)).map_err(|problem| problem.message)
    }

    #[test]
    fn numbers_of_python_are_left_aside_where_nobody_reads_them() {
        let text = |text: &str| Ok(("1".into(), Fields::Text(text.into())));
        assert_eq!(read(r#"{"_id": "1", "score": NaN, "text": "NaN \" Infinity"}"#), text("NaN \" Infinity"));
        assert_eq!(read(r#"{"_id": 1, "a": [-Infinity, {"b": Infinity}], "text": "é\\"}"#), text("é\\"));
        assert_eq!(read(r#"{"_id": 1, "text": "a", "other": "\ud83d"}"#), text("a"));
        assert_eq!(
            read(r#"{"_id": NaN, "text": "a"}"#).unwrap_err(),
            "_id is NaN, infinite or an empty object, expected a string or a whole number"
        );
        assert_eq!(
            read(r#"{"_id": 1, "text": NaN}"#).unwrap_err(),
            "text is NaN, infinite or an empty object, expected a string"
        );
        assert!(read(r#"{"_id": 1, "text": "a\ud83d"}"#).unwrap_err().contains("bad JSON at column "));
        assert_eq!(read(r#"{"_id": 1, "x": NaNa, "text": "a"}"#).unwrap_err(), "bad JSON at column 17: expected value");
    }

    #[test]
    fn ids_are_strings_or_whole_numbers() {
        let key = |id: &str| read(&format!(r#"{{"_id": {id}, "text": ""}}"#)).map(|(key, _)| key);
        assert_eq!(key("18446744073709551615"), Ok("18446744073709551615".into()));
        assert_eq!(key("-7"), Ok("-7".into()));
        assert_eq!(key("\"007\""), Ok("007".into()));
        for (id, found) in [
            ("1.0", "_id is the number 1.0"),
            ("18446744073709551616", "_id is the number 1.8446744073709552e"),
            ("true", "_id is true, expected"),
            ("[1]", "_id is a list, expected"),
            ("null", "missing field `_id`, or it is null"),
        ] {
            assert!(key(id).unwrap_err().starts_with(found), "{id}");
        }
    }

    #[test]
    fn of_two_ids_beirs_is_taken() {
        let found = parse(r#"{"id": 0, "_id": "d7", "text": "a"}"#).map_err(|problem| problem.message).unwrap();
        assert_eq!((found.text.key.as_str(), found.two_ids), ("d7", true));
        let found = parse(r#"{"id": 7, "_id": "7", "text": "a"}"#).map_err(|problem| problem.message).unwrap();
        assert_eq!((found.text.key.as_str(), found.two_ids), ("7", false));
        assert_eq!(read(r#"{"_id": 1, "_id": 2, "text": "a"}"#).unwrap_err(), "duplicate field `_id`");
    }
}
