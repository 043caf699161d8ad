//! Which kind of list a text is and where its columns stand, found from its first lines.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use hardmine_records::Kind;
use hardmine_records::columns::{ListColumns, Misfit, PossibleKinds, Role};
use hardmine_records::conform::reciprocal;

use super::line::{Splitter, tabs};

/// The columns of a text.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Layout {
    pub(super) kind: Kind,
    splitter: Splitter,
    query: usize,
    doc: usize,
    /// Rank or relevance.
    integer: Option<usize>,
    pub(super) score: Option<usize>,
    /// Whether the first line names the columns.
    pub(super) has_header: bool,
    /// The columns in words, for errors.
    pub(super) columns: String,
}

/// Why a text has no layout.
#[derive(Debug, PartialEq)]
pub(super) enum Problem {
    Misfit(Misfit),
    /// The lines have none of the forms, which are told here.
    Malformed(String),
}

/// What lines without a header look like.
#[derive(Clone, Copy, PartialEq)]
enum TextForm {
    /// `query  0  document  relevance`, TREC's and MS MARCO's.
    Qrels,
    /// `query  document  rank`, MS MARCO's.
    MsMarco,
    /// The same with a score.
    MsMarcoScored,
    /// `query  Q0  document  rank  score  tag`.
    Trec,
}

impl TextForm {
    fn of(kind: Kind, width: usize) -> Option<TextForm> {
        match (kind, width) {
            (Kind::Qrels, 4) => Some(TextForm::Qrels),
            (Kind::Qrels, _) => None,
            (_, 3) => Some(TextForm::MsMarco),
            (_, 4) => Some(TextForm::MsMarcoScored),
            (_, 6) => Some(TextForm::Trec),
            _ => None,
        }
    }

    fn columns(self) -> &'static str {
        match self {
            TextForm::Qrels => "query 0 document relevance",
            TextForm::MsMarco => "query document rank",
            TextForm::MsMarcoScored => "query document rank score",
            TextForm::Trec => "query Q0 document rank score tag",
        }
    }

    fn layout(self, kind: Kind) -> Layout {
        let (width, doc, integer, score) = match self {
            TextForm::Qrels => (4, 2, 3, None),
            TextForm::MsMarco => (3, 1, 2, None),
            TextForm::MsMarcoScored => (4, 1, 2, Some(3)),
            TextForm::Trec => (6, 2, 3, Some(4)),
        };
        let splitter = Splitter { width, commas: false, quotes: false };
        let (integer, columns) = (Some(integer), self.columns().to_owned());
        Layout { kind, splitter, query: 0, doc, integer, score, has_header: false, columns }
    }
}

impl Layout {
    /// Finds the layout of a text that begins with `lines` (blank lines and comments left out), as one of the
    /// `accepted` kinds. The rule:
    ///
    /// 1. A first line that names a query, a document, and a relevance, rank or score is a header. The columns are
    ///    found by their names, in any order, and others are left aside.
    /// 2. Without a header, six columns are a run of TREC's form, and three are one of MS MARCO's.
    /// 3. Four columns are qrels if the second is 0 or Q0 everywhere, or if the third can't be ranks, which are whole
    ///    numbers that ascend from 1 or 0 in the list of each query. They are a run if the fourth can't be grades, which
    ///    are whole numbers, or if there are lists of several documents that have such ranks.
    /// 4. What can still be both is refused, unless only one of them is accepted.
    pub(super) fn find(lines: &[&str], accepted: &[Kind]) -> Result<Layout, Problem> {
        let [first, rest @ ..] = lines else { return Err(malformed(accepted)) };
        if let Some((columns, splitter)) = header(first) {
            return below_header(first, columns, splitter, rest, accepted);
        }
        let mut misfit = None;
        for width in widths(lines) {
            match possible_kinds(lines, width).map(|kinds| kinds.choose(accepted)) {
                Some(Ok(kind)) => {
                    let form = TextForm::of(kind, width).ok_or_else(|| malformed(accepted))?;
                    return Ok(form.layout(kind));
                }
                Some(Err(found)) => misfit = misfit.or(Some(found)),
                None => {}
            }
        }
        Err(misfit.map_or_else(|| malformed(accepted), Problem::Misfit))
    }

    pub(super) fn has_ranks(&self) -> bool {
        self.kind == Kind::Qrels || self.integer.is_some()
    }

    /// Splits a line into `fields`, and returns its rank or relevance (0 without ranks) and its score.
    ///
    /// # Errors
    /// What is wrong with the line.
    pub(super) fn parse<'a>(&self, line: &'a str, fields: &mut Vec<Cow<'a, str>>) -> Result<(i32, f32), String> {
        self.splitter.split(line, fields)?;
        if self.query(fields).is_empty() || self.doc(fields).is_empty() {
            return Err("an id is empty".into());
        }
        let name = if self.kind == Kind::Qrels { "relevance" } else { "rank" };
        let integer = self.integer.map_or(Ok(0), |column| number(&fields[column], name))?;
        if self.kind != Kind::Qrels && integer < 0 {
            return Err(format!("rank {integer} is less than 1"));
        }
        let score = match self.score {
            Some(column) => finite(&fields[column])?,
            None => reciprocal(integer),
        };
        Ok((integer, score))
    }

    pub(super) fn query<'f>(&self, fields: &'f [Cow<str>]) -> &'f str {
        &fields[self.query]
    }

    pub(super) fn doc<'f>(&self, fields: &'f [Cow<str>]) -> &'f str {
        &fields[self.doc]
    }
}

fn malformed(accepted: &[Kind]) -> Problem {
    let [qrels, short, long] = [TextForm::Qrels, TextForm::MsMarcoScored, TextForm::Trec].map(TextForm::columns);
    let short = short.replace("score", "[score]");
    Problem::Malformed(match accepted.iter().find(|kind| kind.has_text_form()) {
        Some(Kind::Qrels) => format!("expected qrels: '{qrels}'"),
        Some(kind) => format!("expected {kind}: '{short}' or '{long}'"),
        None => "expected records".into(),
    })
}

/// The columns that `line` names, and how the lines below it are split; none if it is no header.
fn header(line: &str) -> Option<(ListColumns, Splitter)> {
    let commas = !line.contains('\t') && line.contains(',');
    let names: Vec<&str> = match (commas, line.contains('\t')) {
        (true, _) => line.split(',').collect(),
        (_, true) => tabs(line).collect(),
        _ => line.split_ascii_whitespace().collect(),
    };
    let names: Vec<&str> = names.iter().map(|name| name.trim_ascii().trim_matches('"')).collect();
    if names.iter().any(|name| name.parse::<f64>().is_ok()) {
        return None;
    }
    let columns = ListColumns::find(names.iter().copied())?;
    Some((columns, Splitter { width: names.len(), commas, quotes: true }))
}

fn below_header(
    header: &str,
    columns: ListColumns,
    splitter: Splitter,
    rows: &[&str],
    accepted: &[Kind],
) -> Result<Layout, Problem> {
    // Of grades that are no whole numbers the line is to be named, where only qrels are read.
    let whole = |column| rows.iter().all(|row| is_whole(splitter, row, column));
    let whole = || accepted == [Kind::Qrels] || columns.score.is_some_and(whole);
    let kind = columns.can_be(whole).choose(accepted).map_err(Problem::Misfit)?;
    let integer = columns.get(if kind == Kind::Qrels { Role::Relevance } else { Role::Rank }, kind);
    let score = columns.get(Role::Score, kind);
    let words = header.split(['\t', ',']).map(str::trim_ascii).collect::<Vec<_>>().join(" ");
    let ListColumns { query, doc, .. } = columns;
    Ok(Layout { kind, splitter, query, doc, integer, score, has_header: true, columns: words })
}

fn is_whole(splitter: Splitter, line: &str, column: usize) -> bool {
    let mut fields = Vec::new();
    splitter.split(line, &mut fields).is_err() || number(&fields[column], "score").is_ok()
}

/// The numbers of columns that lines may have, the likeliest first: what all of them have, split at tabs or at any
/// white space, then what the first one has.
fn widths(lines: &[&str]) -> impl Iterator<Item = usize> {
    let at_tabs = |line: &&str| tabs(line.trim_ascii()).count();
    let at_blanks = |line: &&str| line.split_ascii_whitespace().count();
    let first = lines.first().map_or((0, 0), |line| (at_tabs(line), at_blanks(line)));
    let tabs = lines.iter().all(|line| at_tabs(line) == first.0).then_some(first.0);
    let blanks = lines.iter().all(|line| at_blanks(line) == first.1).then_some(first.1);
    [tabs, blanks, Some(first.0), Some(first.1)].into_iter().flatten()
}

/// What lines of so many columns can be; none if there is no such form.
fn possible_kinds(lines: &[&str], width: usize) -> Option<PossibleKinds> {
    match width {
        3 | 6 => Some(PossibleKinds::Run),
        4 => Some(kinds_of_four_columns(lines)),
        _ => None,
    }
}

/// See [`Layout::find`].
fn kinds_of_four_columns(lines: &[&str]) -> PossibleKinds {
    let splitter = Splitter { width: 4, commas: false, quotes: false };
    let rows: Vec<[Cow<str>; 4]> = lines
        .iter()
        .filter_map(|line| {
            let mut fields = Vec::new();
            splitter.split(line, &mut fields).ok()?;
            fields.try_into().ok()
        })
        .collect();
    if rows.iter().all(|[_, second, ..]| matches!(&**second, "0" | "Q0" | "q0")) {
        return PossibleKinds::Qrels;
    }
    let grades = rows.iter().all(|[.., last]| number(last, "").is_ok());
    let scores = rows.iter().all(|[.., last]| finite(last).is_ok());
    let whole = rows.iter().all(|[_, _, third, _]| number(third, "").is_ok());
    let mut lists: HashMap<&str, (i32, HashSet<&str>)> = HashMap::new();
    let ascend = rows.iter().all(|[query, second, third, _]| {
        let Ok(rank) = number(third, "") else { return false };
        let begins = !lists.contains_key(&**query);
        let (last, docs) = lists.entry(query).or_default();
        let follows = if begins { rank == 0 || rank == 1 } else { rank > *last };
        *last = rank;
        follows && docs.insert(second)
    });
    let are_lists = lists.values().any(|(_, docs)| docs.len() > 1);
    match (ascend && scores, grades) {
        (true, true) if !are_lists => PossibleKinds::Either,
        (true, _) => PossibleKinds::Run,
        // Lists of which some documents were left out.
        (false, false) if whole && scores => PossibleKinds::Run,
        (false, false) => PossibleKinds::Either,
        (false, true) if whole => PossibleKinds::RatherQrels,
        (false, true) => PossibleKinds::Qrels,
    }
}

/// A whole number; 1.0 is one.
fn number(text: &str, name: &str) -> Result<i32, String> {
    if let Ok(number) = text.parse() {
        return Ok(number);
    }
    match text.parse::<f64>() {
        Ok(number) if number.fract() == 0.0 && number.abs() <= f64::from(i32::MAX) => Ok(number as i32),
        Ok(number) if number.fract() == 0.0 => Err(format!("{name} '{text}' is out of range")),
        _ => Err(format!("{name} '{text}' is not an integer")),
    }
}

fn finite(text: &str) -> Result<f32, String> {
    match text.parse::<f32>() {
        Ok(score) if score.is_finite() => Ok(score),
        Ok(score) if score.is_infinite() => Err(format!("score '{text}' is infinite in single precision")),
        _ => Err(format!("score '{text}' is not a number")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Kind; 3] = [Kind::Run, Kind::Qrels, Kind::Negatives];

    fn find(text: &str, accepted: &[Kind]) -> Result<Layout, Problem> {
        Layout::find(&text.split(';').collect::<Vec<_>>(), accepted)
    }

    #[test]
    fn the_kind_is_found_from_the_columns() {
        for (text, kind) in [
            ("a 0 x 1", Kind::Qrels),
            ("a Q0 x 1", Kind::Qrels),
            ("1 0 1 1;1 0 2 1", Kind::Qrels),
            ("1 4.5 7 2;1 4.5 1 0", Kind::Qrels),
            ("1 1 7 2", Kind::Qrels),
            ("1 1 1 2;1 1 2 0", Kind::Qrels),
            ("1 2 x 1;1 3 y 0", Kind::Qrels),
            ("a x 1", Kind::Run),
            ("a\tx y\t1", Kind::Run),
            ("a x 1 12;a y 2 11", Kind::Run),
            ("a x 0 12;a y 1 11", Kind::Run),
            ("a x 1 12.5", Kind::Run),
            ("a x 3 12.5;a y 7 11.5", Kind::Run),
            ("a Q0 x 1 2.5 t", Kind::Run),
            ("a Q0 x\t1 2.5 t;b\tQ0\tx 1 2.5 t", Kind::Run),
            ("query-id\tcorpus-id\tscore;a\tx\t1", Kind::Qrels),
            ("qid docno score;a x 0.5", Kind::Run),
            ("qid,iteration,docno,label;a,0,x,1", Kind::Qrels),
            ("\tqid\tdocno\trank\tscore;0\ta\tx\t1\t3", Kind::Run),
        ] {
            assert_eq!(find(text, &ALL).map(|layout| layout.kind), Ok(kind), "{text}");
        }
    }

    #[test]
    fn what_can_be_both_is_refused_unless_one_is_meant() {
        for text in ["a x 1 2", "a x 1 2;b y 1 1", "qid docno score;a x 1"] {
            assert_eq!(find(text, &ALL), Err(Problem::Misfit(Misfit::Ambiguous)), "{text}");
            for kind in ALL {
                assert_eq!(find(text, &[kind]).map(|layout| layout.kind), Ok(kind), "{text}");
            }
        }
        for (text, found) in [
            ("a 0 x 1", Kind::Qrels),
            ("a 1 x 1", Kind::Qrels),
            ("query-id corpus-id score;a x 1", Kind::Qrels),
            ("a x 1 2.5", Kind::Run),
            ("a x 1", Kind::Run),
            ("a Q0 x 1 2 t", Kind::Run),
        ] {
            let other = if found == Kind::Run { Kind::Qrels } else { Kind::Run };
            assert_eq!(find(text, &[other]), Err(Problem::Misfit(Misfit::Found(found))), "{text}");
        }
        // What is wrong with a line is said of the line.
        for (text, kind) in [("a 0 x 0.5", Kind::Qrels), ("a x first 2.5", Kind::Run), ("a 0 x 1;a 0 x", Kind::Qrels)] {
            assert!(find(text, &[kind]).is_ok(), "{text}");
        }
    }

    #[test]
    fn numbers_may_have_a_point_but_no_fraction() {
        assert_eq!(number("1.0", ""), Ok(1));
        assert_eq!(number("-2", ""), Ok(-2));
        for text in ["0.5", "1e10", "99999999999", "nan", "inf", "", "x"] {
            assert!(number(text, "").is_err(), "{text}");
        }
        for text in ["nan", "-inf", "1e39", "", "x"] {
            assert!(finite(text).is_err(), "{text}");
        }
    }
}
