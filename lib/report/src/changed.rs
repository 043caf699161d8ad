//! The queries that changed most between two rows, with both lists and their texts.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use hardmine_evaluation::{NamedTable, Session};
use hardmine_records::Result;
use serde::Serialize;

use crate::columns::{integers, texts};
use crate::{Lookup, Options};

/// How many documents of each list are shown.
pub(crate) const SHOWN: i64 = 5;
/// How many characters of a text are shown.
const LENGTH: usize = 280;

/// A query and its two lists.
#[derive(Serialize)]
pub(crate) struct Changed {
    pub(crate) id: String,
    pub(crate) text: Option<String>,
    pub(crate) difference: f64,
    pub(crate) shown: String,
    pub(crate) lists: [List; 2],
}

/// The list of one row.
#[derive(Default, Serialize)]
pub(crate) struct List {
    pub(crate) entries: Vec<Entry>,
    /// Ranks of all relevant documents in the list, also of those further down; none if no judgements are known.
    pub(crate) relevant: Option<Vec<i64>>,
}

/// A document of a list.
#[derive(Serialize)]
pub(crate) struct Entry {
    pub(crate) rank: i64,
    pub(crate) doc: String,
    pub(crate) text: Option<String>,
    pub(crate) is_relevant: bool,
}

/// The lists of `queries`, which come with their differences, in two runs.
///
/// # Errors
/// Files that can't be read.
pub(crate) fn changed(queries: &[(String, f64)], runs: [&Path; 2], options: &Options) -> Result<Vec<Changed>> {
    if queries.is_empty() {
        return Ok(Vec::new());
    }
    let ids: BTreeSet<String> = queries.iter().map(|(query, _)| query.clone()).collect();
    let qrels = options.qrels.as_deref();
    let mut lists = [read(runs[0], qrels, &ids)?, read(runs[1], qrels, &ids)?];
    let shown = lists.iter().flat_map(BTreeMap::values).flat_map(|list| &list.entries);
    let docs: BTreeSet<String> = shown.map(|entry| entry.doc.clone()).collect();
    let (docs, query_texts) = (look_up(&options.docs, &docs)?, look_up(&options.queries, &ids)?);
    for entry in lists.iter_mut().flat_map(BTreeMap::values_mut).flat_map(|list| &mut list.entries) {
        entry.text = docs.get(&entry.doc).map(|text| cut(text));
    }
    let of = |(query, difference): &(String, f64)| Changed {
        id: query.clone(),
        text: query_texts.get(query).map(|text| cut(text)),
        difference: *difference,
        shown: format!("{difference:+.3}"),
        lists: lists.each_mut().map(|lists| lists.remove(query).unwrap_or_default()),
    };
    Ok(queries.iter().map(of).collect())
}

fn look_up(lookup: &Option<Lookup>, ids: &BTreeSet<String>) -> Result<HashMap<String, String>> {
    lookup.as_ref().map_or_else(|| Ok(HashMap::new()), |lookup| lookup(ids))
}

/// The lists of the queries `ids` in a run.
fn read(run: &Path, qrels: Option<&Path>, ids: &BTreeSet<String>) -> Result<BTreeMap<String, List>> {
    let quoted: Vec<String> = ids.iter().map(|id| format!("'{}'", id.replace('\'', "''"))).collect();
    let wanted = format!("CAST(query_id AS VARCHAR) IN ({})", quoted.join(", "));
    let session = Session::open(&[NamedTable::new("run", run)])?;
    let rows =
        session.rows(&format!("SELECT query_id, doc_id, rank FROM run WHERE {wanted} ORDER BY query_id, rank"))?;
    let relevant = qrels.map(|qrels| relevant(qrels, &wanted)).transpose()?;
    let mut lists: BTreeMap<String, List> = BTreeMap::new();
    let (queries, docs, ranks) = (texts(&rows, "query_id")?, texts(&rows, "doc_id")?, integers(&rows, "rank")?);
    for ((query, doc), rank) in queries.into_iter().zip(docs).zip(ranks) {
        let is_relevant = relevant.as_ref().is_some_and(|all| all.get(&query).is_some_and(|docs| docs.contains(&doc)));
        let list = lists.entry(query).or_default();
        if relevant.is_some() {
            list.relevant.get_or_insert_default().extend(is_relevant.then_some(rank));
        }
        if rank <= SHOWN {
            list.entries.push(Entry { rank, doc, text: None, is_relevant });
        }
    }
    Ok(lists)
}

/// The relevant documents of each query.
fn relevant(qrels: &Path, wanted: &str) -> Result<HashMap<String, BTreeSet<String>>> {
    let session = Session::open(&[NamedTable::new("qrels", qrels)])?;
    let rows = session.rows(&format!("SELECT query_id, doc_id FROM qrels WHERE relevance > 0 AND {wanted}"))?;
    let mut relevant: HashMap<String, BTreeSet<String>> = HashMap::new();
    for (query, doc) in texts(&rows, "query_id")?.into_iter().zip(texts(&rows, "doc_id")?) {
        relevant.entry(query).or_default().insert(doc);
    }
    Ok(relevant)
}

/// The beginning of a text.
fn cut(text: &str) -> String {
    match text.char_indices().nth(LENGTH) {
        Some((end, _)) => format!("{}…", text[..end].trim_end()),
        None => text.to_owned(),
    }
}
