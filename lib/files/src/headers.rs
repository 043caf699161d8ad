//! First lines of TSV files with texts.

/// What the columns of a collection or of queries are called where a first line names them.
const ID_NAMES: [&str; 12] =
    ["id", "_id", "pid", "qid", "docid", "doc_id", "did", "passage_id", "query_id", "query-id", "corpus-id", "doc-id"];
const TEXT_NAMES: [&str; 10] =
    ["text", "passage", "query", "document", "doc", "contents", "content", "url", "title", "body"];

/// Whether a line of a TSV file has names of columns with ids and texts, rather than an id and a text.
pub fn names_texts(line: &str) -> bool {
    let mut fields = line.split('\t').map(|field| field.trim().to_lowercase());
    let id = fields.next().unwrap_or_default();
    ID_NAMES.contains(&id.as_str()) && fields.all(|name| TEXT_NAMES.contains(&name.as_str()))
}
