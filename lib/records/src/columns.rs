//! What the columns of runs and judgements are called, here and by other programs.

use crate::schema::Kind;

/// What a column of a list holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Id of the query.
    Query,
    /// Id of the document.
    Doc,
    /// Grade of the document.
    Relevance,
    /// Rank of the document in the list of its query.
    Rank,
    /// Score of the document, or in BEIR's judgements its grade.
    Score,
}

impl Role {
    /// The names in use, our own first, in lower case with underscores. Where a table has several of them, the first of
    /// this list is taken.
    fn names(self) -> &'static [&'static str] {
        match self {
            Role::Query => &["query_id", "qid", "q_id", "queryid", "topic_id", "topic", "query"],
            Role::Doc => &[
                "doc_id",
                "docid",
                "docno",
                "corpus_id",
                "passage_id",
                "document_id",
                "pid",
                "cid",
                "did",
                "document",
                "doc",
                "passage",
            ],
            Role::Relevance => &["relevance", "label", "grade", "rel", "judgment", "judgement"],
            Role::Rank => &["rank"],
            Role::Score => &["score", "sim", "similarity"],
        }
    }

    /// The role of our own column `name`, if it is one of those that other programs name differently.
    pub fn of(name: &str) -> Option<Role> {
        [Role::Query, Role::Doc, Role::Relevance, Role::Rank, Role::Score].into_iter().find(|r| r.names()[0] == name)
    }
}

/// Where the columns of a list stand in a table or below a header.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ListColumns {
    /// Number of the column, from 0, that holds the queries.
    pub query: usize,
    /// The one with the documents.
    pub doc: usize,
    /// The one with the grades, if there is one.
    pub relevance: Option<usize>,
    /// The one with the ranks, if there is one.
    pub rank: Option<usize>,
    /// The one with the scores, if there is one.
    pub score: Option<usize>,
    /// Whether the documents' column has the name that BEIR gives it in its judgements.
    pub is_beir: bool,
}

impl ListColumns {
    /// Finds the columns among `names`, whatever their case and order; others are left aside. None if there is no
    /// query, no document, or nothing that is said of them.
    pub fn find<'a>(names: impl Iterator<Item = &'a str>) -> Option<ListColumns> {
        let names: Vec<String> = names.map(|name| name.trim().to_lowercase().replace(['-', ' '], "_")).collect();
        let find = |role: Role| role.names().iter().find_map(|known| names.iter().position(|name| name == known));
        let (query, doc) = (find(Role::Query)?, find(Role::Doc)?);
        let (relevance, rank, score) = (find(Role::Relevance), find(Role::Rank), find(Role::Score));
        relevance.or(rank).or(score)?;
        let is_beir = ["corpus_id", "cid"].contains(&names[doc].as_str());
        Some(ListColumns { query, doc, relevance, rank, score, is_beir })
    }

    /// The column that a list of `kind` has in this role. BEIR calls grades scores.
    pub fn get(&self, role: Role, kind: Kind) -> Option<usize> {
        match role {
            Role::Query => Some(self.query),
            Role::Doc => Some(self.doc),
            Role::Relevance => self.relevance.or(self.score),
            Role::Rank => self.rank,
            Role::Score => self.score.filter(|_| kind != Kind::Qrels),
        }
    }

    /// Which of qrels and a run the columns can be; `whole` says whether the scores are whole numbers.
    pub fn can_be(&self, whole: impl FnOnce() -> bool) -> PossibleKinds {
        match (self.relevance, self.rank, self.score) {
            (Some(_), None, None) => PossibleKinds::Qrels,
            (Some(_), ..) => PossibleKinds::Either,
            (None, Some(_), _) => PossibleKinds::Run,
            (None, None, _) if !whole() => PossibleKinds::Run,
            (None, None, _) if self.is_beir => PossibleKinds::Qrels,
            (None, None, _) => PossibleKinds::Either,
        }
    }
}

/// What a file can be taken for. Negatives are read as a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PossibleKinds {
    /// Judgements only.
    Qrels,
    /// A run only.
    Run,
    /// Both.
    Either,
    /// Both, but it is taken for a run only where no judgements are accepted.
    RatherQrels,
}

impl PossibleKinds {
    fn allows(self, kind: Kind) -> bool {
        match self {
            PossibleKinds::Qrels => kind == Kind::Qrels,
            PossibleKinds::Run => kind != Kind::Qrels,
            PossibleKinds::Either | PossibleKinds::RatherQrels => true,
        }
    }

    /// The one of the `accepted` kinds to take a file for.
    ///
    /// # Errors
    /// What is wrong, if none or both fit.
    pub fn choose(self, accepted: &[Kind]) -> Result<Kind, Misfit> {
        let fitting: Vec<Kind> =
            accepted.iter().copied().filter(|kind| kind.has_text_form() && self.allows(*kind)).collect();
        match fitting[..] {
            _ if self == PossibleKinds::RatherQrels && fitting.contains(&Kind::Qrels) => Ok(Kind::Qrels),
            [] if self == PossibleKinds::Qrels => Err(Misfit::Found(Kind::Qrels)),
            [] => Err(Misfit::Found(Kind::Run)),
            [kind, ..] => match fitting.iter().any(|other| (*other == Kind::Qrels) != (kind == Kind::Qrels)) {
                true => Err(Misfit::Ambiguous),
                false => Ok(kind),
            },
        }
    }
}

/// Why a file is not taken for any of the accepted kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misfit {
    /// It is plainly of this kind.
    Found(Kind),
    /// It can be both qrels and a run.
    Ambiguous,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(names: &str) -> Option<ListColumns> {
        ListColumns::find(names.split(' '))
    }

    #[test]
    fn columns_are_found_by_any_of_their_names() {
        let found = find("Query-ID Corpus-ID Score").unwrap();
        assert_eq!((found.query, found.doc, found.score, found.is_beir), (0, 1, Some(2), true));
        let found = find("name rank docno qid sim").unwrap();
        assert_eq!((found.query, found.doc, found.rank, found.score), (3, 2, Some(1), Some(4)));
        // What the query says is not its id.
        assert_eq!(find("query qid docid label").unwrap().query, 1);
        assert_eq!(find("qid docid"), None);
        assert_eq!(find("1 0 7 1"), None);
    }

    #[test]
    fn columns_say_what_a_file_can_be() {
        let possible = |names: &str, whole: bool| find(names).unwrap().can_be(|| whole);
        assert_eq!(possible("qid pid label", true), PossibleKinds::Qrels);
        assert_eq!(possible("qid pid rank", true), PossibleKinds::Run);
        assert_eq!(possible("query-id corpus-id score", true), PossibleKinds::Qrels);
        assert_eq!(possible("query-id corpus-id score", false), PossibleKinds::Run);
        assert_eq!(possible("qid docno score", true), PossibleKinds::Either);
        let [run, negatives, qrels] = [Kind::Run, Kind::Negatives, Kind::Qrels];
        assert_eq!(PossibleKinds::Either.choose(&[run, qrels]), Err(Misfit::Ambiguous));
        assert_eq!(PossibleKinds::Either.choose(&[qrels]), Ok(qrels));
        assert_eq!(PossibleKinds::Run.choose(&[run, qrels, negatives]), Ok(run));
        assert_eq!(PossibleKinds::Run.choose(&[qrels]), Err(Misfit::Found(run)));
    }
}
