//! From a text to the words that are looked up.

use tantivy::tokenizer::{
    Language, LowerCaser, RemoveLongFilter, SimpleTokenizer, Stemmer, StopWordFilter, TextAnalyzer, TokenStream,
};

/// The language whose stop words and stemmer are used, as an index names it.
pub(crate) const LANGUAGE: &str = "english";

/// Bytes of the longest word. Anything longer is no word of a language, and is left out.
const LONGEST: usize = 255;

/// Takes texts apart into words: runs of letters and digits in lower case, without Lucene's 33 English stop words, and
/// stemmed by Snowball's English stemmer (Porter 2).
#[derive(Clone)]
pub(crate) struct Analyzer(TextAnalyzer);

impl Analyzer {
    pub fn new() -> Analyzer {
        let words = TextAnalyzer::builder(SimpleTokenizer::default())
            .filter(RemoveLongFilter::limit(LONGEST + 1))
            .filter(LowerCaser)
            .filter(StopWordFilter::new(Language::English).expect("tantivy has English stop words"))
            .filter(Stemmer::new(Language::English));
        Analyzer(words.build())
    }

    /// Calls `each` with every word of `text`, in order.
    pub fn words(&mut self, text: &str, mut each: impl FnMut(&str)) {
        let mut stream = self.0.token_stream(text);
        while stream.advance() {
            each(&stream.token().text);
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
