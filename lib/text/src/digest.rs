//! What identifies a tokenizer: a hash over what it does.

use serde_json::Value;
use sha2::{Digest, Sha256};

/// SHA-256 over JSON values, cut to 16 bytes, whatever the order of the names in an object.
#[derive(Default)]
pub(crate) struct Digester(Sha256);

impl Digester {
    pub(crate) fn add(&mut self, value: &Value) {
        match value {
            Value::Object(entries) => {
                let mut entries: Vec<_> = entries.iter().collect();
                entries.sort_by_key(|&(name, _)| name);
                self.0.update(format!("{{{}", entries.len()));
                for (name, value) in entries {
                    self.add_text(name);
                    self.add(value);
                }
            }
            Value::Array(values) => {
                self.0.update(format!("[{}", values.len()));
                values.iter().for_each(|value| self.add(value));
            }
            Value::String(text) => self.add_text(text),
            Value::Null | Value::Bool(_) | Value::Number(_) => self.0.update(format!("{value},")),
        }
    }

    /// With its length, so that no two lists of values meet.
    fn add_text(&mut self, text: &str) {
        self.0.update(format!("\"{}:", text.len()));
        self.0.update(text);
    }

    pub(crate) fn finish(self) -> String {
        self.0.finalize()[..16].iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn digest(value: &Value) -> String {
        let mut digester = Digester::default();
        digester.add(value);
        digester.finish()
    }

    #[test]
    fn values_that_differ_have_other_digests() {
        let values = [
            json!(null),
            json!(false),
            json!(0),
            json!(""),
            json!([]),
            json!({}),
            json!([1, 2]),
            json!([12]),
            json!(["a", "b"]),
            json!(["ab"]),
            json!([["a"], "b"]),
            json!({"a": 1}),
            json!({"a": {"b": 1}}),
        ];
        let digests: std::collections::HashSet<String> = values.iter().map(digest).collect();
        assert_eq!(digests.len(), values.len());
        let read = |text: &str| digest(&serde_json::from_str(text).unwrap());
        assert_eq!(read(r#"{"a": 1, "b": [2]}"#), read(r#"{ "b":[2],"a":1}"#));
    }
}
