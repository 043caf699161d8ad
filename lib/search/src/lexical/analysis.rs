//! From a text to the words that are looked up.

use std::collections::HashMap;

use tantivy::tokenizer::{
    Language, LowerCaser, RawTokenizer, RemoveLongFilter, SimpleTokenizer, Stemmer, StopWordFilter, TextAnalyzer,
    TokenStream,
};

/// The language whose stop words and stemmer are used, as an index names it.
pub(crate) const LANGUAGE: &str = "english";

/// Bytes of the longest word. Anything longer is no word of a language, and is left out.
const LONGEST: usize = 255;
/// Words whose stems are remembered, which take some 10 MB.
const REMEMBERED: usize = 1 << 17;

/// Takes texts apart into words: runs of letters and digits in lower case, without Lucene's 33 English stop words, and
/// stemmed by Snowball's English stemmer (Porter 2).
pub(crate) struct Analyzer {
    /// From a text to its words as they stand there.
    words: TextAnalyzer,
    /// From a word to its stem, or to nothing.
    stem: TextAnalyzer,
    /// Stems of the words that were seen, because stemming takes most of the time; none for stop words.
    stems: HashMap<String, Option<String>>,
}

impl Analyzer {
    pub fn new() -> Analyzer {
        let words = TextAnalyzer::builder(SimpleTokenizer::default())
            .filter(RemoveLongFilter::limit(LONGEST + 1))
            .filter(LowerCaser);
        let stem = TextAnalyzer::builder(RawTokenizer::default())
            .filter(StopWordFilter::new(Language::English).expect("tantivy has English stop words"))
            .filter(Stemmer::new(Language::English));
        Analyzer { words: words.build(), stem: stem.build(), stems: HashMap::new() }
    }

    /// Calls `each` with every word of `text`, in order.
    pub fn words(&mut self, text: &str, mut each: impl FnMut(&str)) {
        let mut stream = self.words.token_stream(text);
        while stream.advance() {
            let word = &stream.token().text;
            if !self.stems.contains_key(word) {
                if self.stems.len() == REMEMBERED {
                    self.stems.clear();
                }
                let mut stem = self.stem.token_stream(word);
                let stem = stem.advance().then(|| stem.token().text.clone());
                self.stems.insert(word.clone(), stem);
            }
            if let Some(stem) = &self.stems[word] {
                each(stem);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        let mut found = Vec::new();
        Analyzer::new().words(text, |word| found.push(word.to_owned()));
        found
    }

    #[test]
    fn words_are_lower_case_stemmed_and_no_stop_words() {
        assert_eq!(words("The Dogs are running, and the dog's ran!"), ["dog", "run", "dog", "s", "ran"]);
        assert_eq!(words("a list of the"), ["list"]);
        assert_eq!(words("--resource-group=my_vm2"), ["resourc", "group", "my", "vm2"]);
    }

    #[test]
    fn any_script_has_words() {
        assert_eq!(words("Größe ÉTÉ Ωμέγα 東京 ½"), ["größe", "été", "ωμέγα", "東京", "½"]);
        assert!(words(" \t\u{a0}…—!").is_empty());
        assert!(words("").is_empty());
    }

    #[test]
    fn what_is_too_long_for_a_word_is_left_out() {
        let longest = "x".repeat(LONGEST);
        assert_eq!(words(&format!("{longest} {longest}x y")), [longest, "y".to_owned()]);
    }
}
