//! The queries that somebody judged documents for.

use std::collections::HashSet;

use hardmine_files::{Input, Table};
use hardmine_records::{Error, IdSpace, Kind, QrelsBatch, Result};

/// Ids of the queries that have at least one row in a file of judgements, whatever the grade.
pub struct Judged {
    ids: HashSet<String>,
    name: String,
    notes: Vec<String>,
}

impl Judged {
    /// Reads the judgements in `qrels`, whose ids are the collection's own, also where they are integers.
    ///
    /// # Errors
    /// Not qrels, or qrels with row numbers for ids.
    pub fn open(qrels: &Input, ids: Option<IdSpace>) -> Result<Self> {
        // Nothing but ids of the collection makes sense here, so that nothing is to be told of it.
        let ids = ids.or(Some(IdSpace::Official));
        let mut table = Table::open_with_ids(qrels, &[Kind::Qrels], ids)?;
        let name = table.name().to_owned();
        if table.ids() == IdSpace::Internal {
            return Err(Error::new(name, "its ids are row numbers, expected the ids of the collection")
                .hint("name the qrels as they were before remap-ids"));
        }
        let mut ids = HashSet::new();
        for batch in table.by_ref() {
            let queries = QrelsBatch::new(&batch?)?.queries;
            for id in (0..queries.len()).map(|row| queries.text(row)) {
                if !ids.contains(id.as_ref()) {
                    ids.insert(id.into_owned());
                }
            }
        }
        Ok(Judged { ids, name, notes: table.notes() })
    }

    /// Whether the query `id` is judged.
    pub fn contains(&self, id: &str) -> bool {
        self.ids.contains(id)
    }

    /// The ids, in no order.
    pub(crate) fn ids(&self) -> impl Iterator<Item = &str> {
        self.ids.iter().map(String::as_str)
    }

    /// Number of judged queries.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether no query is judged.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// What the user should know of how the file was read.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The name of the file, as used in errors.
    pub fn name(&self) -> &str {
        &self.name
    }
}
