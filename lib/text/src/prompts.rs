//! The prompts of a model folder: what its encoder was trained to find in front of queries and of documents.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use hardmine_records::{Error, Provenance, Result};
use serde::Deserialize;

use crate::TextKind;
use crate::files::read_json;

/// The file of sentence-transformers that prompts are in.
pub(crate) const FILE_NAME: &str = "config_sentence_transformers.json";

/// The prompts of one model folder.
#[derive(Debug, Default)]
pub struct Prompts {
    folder: PathBuf,
    by_name: BTreeMap<String, String>,
    default_name: Option<String>,
}

/// What [`FILE_NAME`] says of prompts.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Settings {
    prompts: Option<BTreeMap<String, Option<String>>>,
    default_prompt_name: Option<String>,
}

/// The names of the prompts for texts of this `kind`, the first of which counts.
fn names(kind: TextKind) -> &'static [&'static str] {
    match kind {
        TextKind::Query => &["query"],
        TextKind::Passage | TextKind::Document => &["document", "passage", "corpus"],
    }
}

fn plural(kind: TextKind) -> &'static str {
    match kind {
        TextKind::Query => "queries",
        TextKind::Passage => "passages",
        TextKind::Document => "documents",
    }
}

impl Prompts {
    /// Reads the prompts of the model folder `folder`. A folder without [`FILE_NAME`] has none.
    pub(crate) fn read(folder: &Path) -> Result<Self> {
        let file = folder.join(FILE_NAME);
        let settings: Settings = if file.is_file() { read_json(&file)? } else { Settings::default() };
        let prompts = settings.prompts.unwrap_or_default().into_iter();
        Ok(Prompts {
            folder: folder.into(),
            by_name: prompts.filter_map(|(name, text)| Some((name, text?))).collect(),
            default_name: settings.default_prompt_name,
        })
    }

    /// The prompt that the model asks for before texts of this `kind`; empty if it asks for none. Of the names for the
    /// kind (`query`; `document`, `passage`, `corpus`) the first one that is there counts, also if its prompt is empty,
    /// and otherwise the default prompt. This is what sentence-transformers documents of `encode_query` and
    /// `encode_document`.
    pub fn of(&self, kind: TextKind) -> &str {
        let of_kind = names(kind).iter().find_map(|&name| self.by_name.get(name));
        let default = || self.by_name.get(self.default_name.as_ref()?);
        of_kind.or_else(default).map_or("", String::as_str)
    }

    /// The prompt that is called `name`.
    ///
    /// # Errors
    /// There is no such prompt.
    pub fn named(&self, name: &str) -> Result<&str> {
        self.by_name.get(name).map(String::as_str).ok_or_else(|| {
            let text = match self.by_name.is_empty() {
                true => format!("{} has no prompts", self.folder.display()),
                false => format!("{} has no prompt of this name", self.folder.display()),
            };
            let known = self.by_name.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
            let hint = match self.by_name.is_empty() {
                true => "--prompt TEXT gives the text itself".to_owned(),
                false => format!("its prompts are named {known}"),
            };
            Error::new(format!("--prompt-name {name}"), text).hint(hint)
        })
    }

    /// Names of the prompts that are not empty and that texts of this `kind` could have, where the model asks for none.
    /// Prompts for the other kind of text are left out.
    fn offered(&self, kind: TextKind) -> Vec<&str> {
        if !self.of(kind).is_empty() {
            return Vec::new();
        }
        let other = match kind {
            TextKind::Query => TextKind::Document,
            TextKind::Passage | TextKind::Document => TextKind::Query,
        };
        let of_other = |name: &str| names(other).contains(&name);
        let offered = self.by_name.iter().filter(|(name, text)| !text.is_empty() && !of_other(name));
        offered.map(|(name, _)| name.as_str()).collect()
    }

    /// Warns if the default prompt isn't there, and if texts of this `kind` get no prompt although the model has some
    /// that may be meant for them.
    pub fn warn(&self, kind: TextKind) {
        if let Some(name) = self.default_name.as_ref().filter(|&name| !self.by_name.contains_key(name)) {
            let file = self.folder.join(FILE_NAME);
            tracing::warn!("{}: default_prompt_name is {name:?}, which is none of its prompts", file.display());
        }
        let offered = self.offered(kind);
        if !offered.is_empty() {
            tracing::warn!(
                "{}: asks for no prompt before {}, but has prompts named {}; hint: tokenize --prompt-name NAME puts one \
                 in front",
                self.folder.display(),
                plural(kind),
                offered.join(", ")
            );
        }
    }

    /// Compares the prompt of `tokens`, texts of this `kind` with the provenance `about`, with the one that the model
    /// asks for. `accept_other` is what the user says by `--other-prompt`. Warns of tokens that don't say which prompt
    /// they have, and of tokens without a prompt if the model has some that may be meant for them. A prompt where the
    /// model asks for none is left to the caller.
    ///
    /// # Errors
    /// The model asks for a prompt, and the tokens have none or another one.
    pub fn check(&self, tokens: &str, about: &Provenance, kind: TextKind, accept_other: bool) -> Result<()> {
        let (asked, folder) = (self.of(kind), self.folder.display());
        match about.prompt() {
            _ if accept_other => {}
            None => self.warn_of_unknown(tokens),
            Some("") if asked.is_empty() => self.warn(kind),
            Some(found) if asked.is_empty() || found == asked => {}
            Some(found) => {
                let made = match found {
                    "" => "without a prompt".to_owned(),
                    found => format!("with the prompt {found:?}"),
                };
                let text = format!("made {made}, but {folder} asks for {asked:?} before {}", plural(kind));
                return Err(Error::new(tokens, text).hint(format!(
                    "tokenize --tokenizer {folder} --kind {kind}, or --other-prompt to take them as they are"
                )));
            }
        }
        Ok(())
    }

    /// Warns of tokens that another program made, if the model asks for any prompt.
    fn warn_of_unknown(&self, tokens: &str) {
        let asks = |kind| Some((self.of(kind), plural(kind))).filter(|(prompt, _)| !prompt.is_empty());
        let asked: Vec<String> = [TextKind::Query, TextKind::Document]
            .into_iter()
            .filter_map(asks)
            .map(|(prompt, texts)| format!("{prompt:?} before {texts}"))
            .collect();
        if !asked.is_empty() {
            tracing::warn!(
                "{tokens}: does not say which prompt its texts have; {} asks for {}",
                self.folder.display(),
                asked.join(" and ")
            );
        }
    }

    /// Whether `prompt` is one that the model has, asked for or not.
    pub fn contains(&self, prompt: &str) -> bool {
        self.by_name.values().any(|known| known == prompt)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prompts(entries: &[(&str, &str)], default: Option<&str>) -> Prompts {
        Prompts {
            folder: "m".into(),
            by_name: entries.iter().map(|&(name, text)| (name.to_owned(), text.to_owned())).collect(),
            default_name: default.map(str::to_owned),
        }
    }

    #[test]
    fn the_first_name_for_the_kind_counts_and_then_the_default() {
        let [query, passage, document] = [TextKind::Query, TextKind::Passage, TextKind::Document];
        let e5 = prompts(&[("query", "q: "), ("passage", "p: ")], None);
        assert_eq!([query, passage, document].map(|kind| e5.of(kind)), ["q: ", "p: ", "p: "]);
        let saved_again = prompts(&[("query", "q: "), ("document", ""), ("passage", "p: ")], None);
        assert_eq!([query, passage].map(|kind| saved_again.of(kind)), ["q: ", ""]);
        let default = prompts(&[("all", "a: "), ("corpus", "c: ")], Some("all"));
        assert_eq!([query, passage].map(|kind| default.of(kind)), ["a: ", "c: "]);
        let missing = prompts(&[("all", "a: ")], Some("none"));
        assert_eq!([query, passage].map(|kind| missing.of(kind)), ["", ""]);
    }

    #[test]
    fn offered_are_those_that_are_not_for_the_other_kind() {
        let saved_again = prompts(&[("query", "q: "), ("document", ""), ("passage", "p: ")], None);
        assert_eq!(saved_again.offered(TextKind::Document), ["passage"]);
        assert!(saved_again.offered(TextKind::Query).is_empty());
        let tasks = prompts(&[("search_query", "q: "), ("search_document", "d: "), ("none", "")], None);
        assert_eq!(tasks.offered(TextKind::Query), ["search_document", "search_query"]);
    }

    #[test]
    fn names_that_are_not_there_are_refused_with_those_that_are() {
        let text = |prompts: &Prompts| prompts.named("x").unwrap_err().to_string();
        let some = prompts(&[("query", "q: "), ("document", "")], None);
        assert_eq!(some.named("query").unwrap(), "q: ");
        assert_eq!(
            text(&some),
            "--prompt-name x: m has no prompt of this name; hint: its prompts are named document, query"
        );
        assert!(text(&prompts(&[], None)).starts_with("--prompt-name x: m has no prompts; hint: --prompt TEXT"));
    }
}
