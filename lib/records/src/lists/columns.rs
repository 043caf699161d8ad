//! What the columns of runs and judgements are called, here and by other programs.

use crate::Kind;

/// What a column of a list holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Query,
    Doc,
    Relevance,
    Rank,
    Score,
}

impl Role {
    /// The names in use, our own first. Where a table has several of them, the first of this list is taken.
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
    pub(crate) fn of(name: &str) -> Option<Role> {
        [Role::Query, Role::Doc, Role::Relevance, Role::Rank, Role::Score].into_iter().find(|r| r.names()[0] == name)
    }
}

/// Where the columns of a list stand in a table or below a header.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Columns {
    pub(crate) query: usize,
    pub(crate) doc: usize,
    pub(crate) relevance: Option<usize>,
    pub(crate) rank: Option<usize>,
    pub(crate) score: Option<usize>,
    /// Whether the documents' column has the name that BEIR gives it in its judgements.
    pub(crate) is_beir: bool,
}

impl Columns {
    /// Finds the columns among `names`, whatever their case and order; others are left aside. None if there is no
    /// query, no document, or nothing that is said of them.
    pub(crate) fn find<'a>(names: impl Iterator<Item = &'a str>) -> Option<Columns> {
        let names: Vec<String> = names.map(|name| name.trim().to_lowercase().replace(['-', ' '], "_")).collect();
        let find = |role: Role| role.names().iter().find_map(|known| names.iter().position(|name| name == known));
        let (query, doc) = (find(Role::Query)?, find(Role::Doc)?);
        let (relevance, rank, score) = (find(Role::Relevance), find(Role::Rank), find(Role::Score));
        relevance.or(rank).or(score)?;
        let is_beir = ["corpus_id", "cid"].contains(&names[doc].as_str());
        Some(Columns { query, doc, relevance, rank, score, is_beir })
    }

    /// The column that a list of `kind` has in this role. BEIR calls grades scores.
    pub(crate) fn get(&self, role: Role, kind: Kind) -> Option<usize> {
        match role {
            Role::Query => Some(self.query),
            Role::Doc => Some(self.doc),
            Role::Relevance => self.relevance.or(self.score),
            Role::Rank => self.rank,
            Role::Score => self.score.filter(|_| kind != Kind::Qrels),
        }
    }

    /// Which of qrels and a run the columns can be; `whole` says whether the scores are whole numbers.
    pub(crate) fn can_be(&self, whole: impl FnOnce() -> bool) -> Reading {
        match (self.relevance, self.rank, self.score) {
            (Some(_), None, None) => Reading::Qrels,
            (Some(_), ..) => Reading::Either,
            (None, Some(_), _) => Reading::Run,
            (None, None, _) if !whole() => Reading::Run,
            (None, None, _) if self.is_beir => Reading::Qrels,
            (None, None, _) => Reading::Either,
        }
    }
}

/// What a file can be taken for. Negatives are read as a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    Qrels,
    Run,
    Either,
    /// Either, but a run only where no qrels are wanted.
    RatherQrels,
}

impl Reading {
    fn allows(self, kind: Kind) -> bool {
        match self {
            Reading::Qrels => kind == Kind::Qrels,
            Reading::Run => kind != Kind::Qrels,
            Reading::Either | Reading::RatherQrels => true,
        }
    }

    /// The one of the `accepted` kinds to take a file for.
    ///
    /// # Errors
    /// What is wrong, if none or both fit.
    pub(crate) fn choose(self, accepted: &[Kind]) -> Result<Kind, Misfit> {
        let fitting: Vec<Kind> =
            accepted.iter().copied().filter(|kind| kind.has_text_form() && self.allows(*kind)).collect();
        match fitting[..] {
            _ if self == Reading::RatherQrels && fitting.contains(&Kind::Qrels) => Ok(Kind::Qrels),
            [] if self == Reading::Qrels => Err(Misfit::Found(Kind::Qrels)),
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
pub(crate) enum Misfit {
    /// It is plainly of this kind.
    Found(Kind),
    /// It can be both qrels and a run.
    Ambiguous,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(names: &str) -> Option<Columns> {
        Columns::find(names.split(' '))
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
        let reading = |names: &str, whole: bool| find(names).unwrap().can_be(|| whole);
        assert_eq!(reading("qid pid label", true), Reading::Qrels);
        assert_eq!(reading("qid pid rank", true), Reading::Run);
        assert_eq!(reading("query-id corpus-id score", true), Reading::Qrels);
        assert_eq!(reading("query-id corpus-id score", false), Reading::Run);
        assert_eq!(reading("qid docno score", true), Reading::Either);
        let [run, negatives, qrels] = [Kind::Run, Kind::Negatives, Kind::Qrels];
        assert_eq!(Reading::Either.choose(&[run, qrels]), Err(Misfit::Ambiguous));
        assert_eq!(Reading::Either.choose(&[qrels]), Ok(qrels));
        assert_eq!(Reading::Run.choose(&[run, qrels, negatives]), Ok(run));
        assert_eq!(Reading::Run.choose(&[qrels]), Err(Misfit::Found(run)));
    }
}
