//! How long an expression of a query may be. A sum of n terms is a tree n deep, over which the parser's and the
//! engine's passes recurse, some of them in time that grows with n².

use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};
use hardmine_records::{Error, Result};

/// Words and signs between two commas of a query, those in parentheses included.
const MAX_LENGTH: usize = 4000;

/// An expression, or a list of them, that is not closed yet.
#[derive(Default)]
struct Open {
    /// Length of the longest element so far, and of the present one.
    longest: usize,
    length: usize,
}

impl Open {
    fn end_element(&mut self) {
        self.longest = self.longest.max(self.length);
        self.length = 0;
    }
}

/// Checks that no expression of `sql` is too long. RankedLists may be: only their longest element counts.
///
/// # Errors
/// One that is, and text that can't be taken apart into words.
pub(crate) fn check_length(sql: &str) -> Result<()> {
    let tokens = Tokenizer::new(&GenericDialect {}, sql).tokenize();
    let tokens = tokens.map_err(|e| Error::new("query", e.to_string()))?;
    let (mut around, mut now) = (Vec::new(), Open::default());
    for token in tokens {
        match token {
            Token::Whitespace(_) => continue,
            Token::LParen => around.push(std::mem::take(&mut now)),
            Token::RParen => {
                now.end_element();
                let inside = now.longest;
                now = around.pop().unwrap_or_default();
                now.length += inside + 1;
            }
            Token::Comma => now.end_element(),
            _ => now.length += 1,
        }
        if now.length > MAX_LENGTH || around.len() > MAX_LENGTH {
            let text = format!("an expression has more than {MAX_LENGTH} words and signs");
            return Err(Error::new("query", text).hint("x IN (…) instead of x = … OR x = …, or a table to join with"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_may_be_long_and_expressions_not() {
        let many = |text: &str, by: &str| format!("SELECT {}", vec![text; 3000].join(by));
        assert!(check_length(&many("-1", ", ")).is_ok());
        assert!(check_length(&many("(1, -2)", ", ")).is_ok());
        assert!(check_length(&many("1", " + ")).is_err());
        assert!(check_length(&many("f(1, 2)", "+")).is_err());
        assert!(check_length(&format!("SELECT {}1", "(".repeat(5000))).is_err());
        assert!(check_length("SELECT 'unended").is_err());
    }
}
