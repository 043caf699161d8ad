//! The rows of the report, and the texts that are put into them in the end.

use foldhash::{HashMap, HashMapExt};
use hardmine_records::{IdSpace, MiningReportBatch, Result};

use super::texts::TextId;
use crate::{ById, by_id};

/// The report as rows of columns.
pub(crate) struct Facts<K> {
    sections: Vec<&'static str>,
    names: Vec<String>,
    queries: Vec<Option<K>>,
    docs: Vec<Option<K>>,
    values: Vec<f64>,
    /// Texts of queries and of documents that are named in rows with texts; none as long as they are not known.
    query_texts: HashMap<K, Option<String>>,
    doc_texts: HashMap<K, Option<String>>,
}

impl<K> Default for Facts<K> {
    fn default() -> Self {
        Facts {
            sections: Vec::new(),
            names: Vec::new(),
            queries: Vec::new(),
            docs: Vec::new(),
            values: Vec::new(),
            query_texts: HashMap::new(),
            doc_texts: HashMap::new(),
        }
    }
}

impl<K: TextId> Facts<K> {
    fn push(&mut self, section: &'static str, name: &str, query: Option<K>, doc: Option<K>, value: f64) {
        self.sections.push(section);
        self.names.push(name.to_owned());
        self.queries.push(query);
        self.docs.push(doc);
        self.values.push(value);
    }

    /// Adds a fact about all queries.
    pub fn total(&mut self, section: &'static str, name: &str, value: f64) {
        self.push(section, name, None, None, value);
    }

    /// Adds a fact about a query.
    pub fn of_query(&mut self, section: &'static str, name: &str, query: K, value: f64) {
        if section == "suspicious" {
            self.query_texts.insert(query.clone(), None);
        }
        self.push(section, name, Some(query), None, value);
    }

    /// Adds a fact about a document of a query's list. Its text is wanted.
    pub fn of_pair(&mut self, section: &'static str, name: &str, query: K, doc: K, score: f32) {
        self.doc_texts.insert(doc.clone(), None);
        self.push(section, name, Some(query), Some(doc), f64::from(score));
    }

    fn into_batch(self) -> MiningReportBatch {
        let text = |(query, doc): (&Option<K>, &Option<K>)| match (query, doc) {
            (_, Some(doc)) => self.doc_texts.get(doc).cloned().flatten(),
            (Some(query), None) => self.query_texts.get(query).cloned().flatten(),
            (None, None) => None,
        };
        let has_text = |section: &str| ["suspicious", "twins"].contains(&section);
        let rows = self.sections.iter().zip(self.queries.iter().zip(&self.docs));
        let texts: Vec<Option<String>> =
            rows.map(|(section, ids)| if has_text(section) { text(ids) } else { None }).collect();
        MiningReportBatch {
            sections: self.sections.into(),
            names: self.names.into(),
            queries: K::column(self.queries),
            docs: K::column(self.docs),
            values: self.values.into(),
            texts: texts.into(),
        }
    }
}

/// What mining did.
pub struct MiningReport(ById<Facts<i64>, Facts<String>>);

impl From<Facts<i64>> for MiningReport {
    fn from(facts: Facts<i64>) -> Self {
        MiningReport(ById::Internal(facts))
    }
}

impl From<Facts<String>> for MiningReport {
    fn from(facts: Facts<String>) -> Self {
        MiningReport(ById::Official(facts))
    }
}

impl MiningReport {
    /// The space of the ids.
    pub fn ids(&self) -> IdSpace {
        match self.0 {
            ById::Internal(_) => IdSpace::Internal,
            ById::Official(_) => IdSpace::Official,
        }
    }

    /// The value of a fact about all queries, if there is one.
    pub fn total(&self, section: &str, name: &str) -> Option<f64> {
        by_id!(&self.0, |facts: _Id| {
            let row = (0..facts.values.len()).find(|&row| facts.sections[row] == section && facts.names[row] == name);
            row.map(|row| facts.values[row])
        })
    }

    /// Gives the text of the document in `row` of the collection, whose official id is `key`; it is put where the report
    /// shows this document.
    pub fn add_doc_text(&mut self, row: usize, key: &str, text: &str) {
        by_id!(&mut self.0, |facts: _Id| fill(&mut facts.doc_texts, row, key, text));
    }

    /// The same of a query.
    pub fn add_query_text(&mut self, row: usize, key: &str, text: &str) {
        by_id!(&mut self.0, |facts: _Id| fill(&mut facts.query_texts, row, key, text));
    }

    /// The report as records.
    ///
    /// # Errors
    /// None that happens.
    pub fn into_records(self) -> Result<arrow::array::RecordBatch> {
        by_id!(self.0, |facts: _Id| facts.into_batch()).into_records()
    }
}

fn fill<K: TextId>(wanted: &mut HashMap<K, Option<String>>, row: usize, key: &str, text: &str) {
    if let Some(place) = wanted.get_mut(&K::of(row, key)) {
        *place = Some(text.to_owned());
    }
}
