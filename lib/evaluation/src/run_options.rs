//! How a run is read: what decides the order of its documents.

use hardmine_records::IdSpace;

/// What decides a document's position in its list, and over which queries a mean goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// As msmarco_eval: the rank column is the position; the mean is over all queries of the qrels
    Rank,
    /// As trec_eval: by score, best first, ties by document id as text, last first; the mean is over
    /// the queries that are in both the run and the qrels
    Score,
}

/// How a run is read.
#[derive(Clone, Copy, Debug)]
pub struct RunOptions {
    /// What decides the position of a document in its list.
    pub order: Order,
    /// What integer ids of other programs' files are.
    pub ids: Option<IdSpace>,
    /// Whether a document with the id of its query is left out, as BEIR does.
    pub exclude_self: bool,
    /// Whether these are some lists of a run only, so that it is no error if none of their queries is judged, and the
    /// values are those of the lists alone.
    pub is_part: bool,
    /// Whether documents without a grade from 0 on are taken out of the lists, as by trec_eval -J.
    pub judged_only: bool,
}
