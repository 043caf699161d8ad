//! Which columns hold the ids and the texts, where they are not called as usual.

/// Names of the columns of a table, or of the fields of a JSON line. The default is the usual names.
#[derive(Clone, Debug, Default)]
pub struct Columns {
    /// The column of the ids, instead of `id` or `_id`.
    pub id: Option<String>,
    /// The columns that make up a text, in their order, instead of `title`, if there is one, and `text`. The last one
    /// must have a value in every row; of the others, those without one are left out.
    pub text: Vec<String>,
}

/// Where the columns stand in a table.
pub(crate) struct Places {
    pub(crate) id: usize,
    /// At least one.
    pub(crate) text: Vec<usize>,
    /// How many columns the table has.
    pub(crate) width: usize,
}

impl Columns {
    pub(crate) fn are_usual(&self) -> bool {
        self.id.is_none() && self.text.is_empty()
    }

    /// The columns of the ids, of which the first that is there is taken.
    pub(crate) fn ids(&self) -> Vec<&str> {
        self.id.as_deref().map_or(vec!["id", "_id"], |id| vec![id])
    }

    /// Finds the columns in a table with these `names`.
    ///
    /// # Errors
    /// What is missing.
    pub(crate) fn find(&self, names: &[&str]) -> Result<Places, String> {
        let place = |name: &str| names.iter().position(|&found| found == name);
        let title = place("title").filter(|_| self.text.is_empty());
        let text = if self.text.is_empty() { vec!["text"] } else { self.text.iter().map(String::as_str).collect() };
        let id = self.ids().into_iter().find_map(place);
        let found: Option<Vec<usize>> = text.iter().map(|name| place(name)).collect();
        match (id, found) {
            (Some(id), Some(found)) => {
                Ok(Places { id, text: title.into_iter().chain(found).collect(), width: names.len() })
            }
            _ => {
                let [others @ .., last] = &[&self.ids()[..1], &text].concat()[..] else { return Err(String::new()) };
                Err(format!("expected columns {} and {last}, found {}", others.join(", "), names.join(", ")))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(id: Option<&str>, text: &[&str], names: &str) -> Result<(usize, Vec<usize>), String> {
        let columns = Columns { id: id.map(str::to_owned), text: text.iter().map(|&name| name.to_owned()).collect() };
        columns.find(&names.split(' ').collect::<Vec<_>>()).map(|places| (places.id, places.text))
    }

    #[test]
    fn columns_are_found_by_their_names() {
        assert_eq!(find(None, &[], "text title id"), Ok((2, vec![1, 0])));
        assert_eq!(find(None, &[], "_id text"), Ok((0, vec![1])));
        assert_eq!(find(Some("n"), &[], "id text title n"), Ok((3, vec![2, 1])));
        assert_eq!(find(None, &["b", "a"], "a b id title"), Ok((2, vec![1, 0])));
        assert_eq!(find(None, &[], "id body"), Err("expected columns id and text, found id, body".into()));
        assert_eq!(find(Some("n"), &["a", "b"], "n a"), Err("expected columns n, a and b, found n, a".into()));
    }
}
