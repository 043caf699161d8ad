//! The rules that say which documents of a list become negatives.

use crate::sampling::Sample;

/// Which documents become negatives. The default takes the best 200 documents of each query that are not judged.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Most negatives for each query.
    pub top_k: usize,
    /// Whether a document with the id of its query is left out, for collections whose documents are the queries.
    pub exclude_self: bool,
    /// Whether documents that were judged and found irrelevant may become negatives.
    pub keep_judged: bool,
    /// Drops what scores above the lowest positive less this share of its size.
    pub relative_margin: Option<f32>,
    /// Drops what scores less than this below the lowest positive.
    pub absolute_margin: Option<f32>,
    /// Drops what scores above it.
    pub max_score: Option<f32>,
    /// Drops what scores below it.
    pub min_score: Option<f32>,
    /// How many of the best that the other rules leave are passed over.
    pub skip_first: usize,
    /// How far down negatives are looked for. The list is cut to so many documents and as many more as a query may have
    /// relevant ones; and of what the other rules leave, none but the first so many are taken.
    pub depth: Option<usize>,
    /// How negatives are chosen among those that the rules leave.
    pub sample: Sample,
    /// Whose scores the margins and the bounds are about.
    pub filter_by: FilterBy,
}

/// Whose scores rules are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FilterBy {
    /// The scores of the run that negatives are mined from.
    Run,
    /// The scores of the teacher.
    Teacher,
}

/// Why a document of the run is no negative. The reasons are looked at in this order, and the first one counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It is relevant.
    Relevant,
    /// It was judged, and found irrelevant.
    Judged,
    /// It is the query itself.
    Itself,
    /// It ranks below [`Rules::depth`].
    Depth,
    /// [`Rules::absolute_margin`].
    AbsoluteMargin,
    /// [`Rules::relative_margin`].
    RelativeMargin,
    /// [`Rules::max_score`].
    MaxScore,
    /// [`Rules::min_score`].
    MinScore,
    /// [`Rules::skip_first`].
    SkipFirst,
    /// There were enough without it.
    NotTaken,
}

impl Reason {
    /// All reasons, in their order.
    pub const ALL: [Reason; 10] = [
        Reason::Relevant,
        Reason::Judged,
        Reason::Itself,
        Reason::Depth,
        Reason::AbsoluteMargin,
        Reason::RelativeMargin,
        Reason::MaxScore,
        Reason::MinScore,
        Reason::SkipFirst,
        Reason::NotTaken,
    ];

    /// The name in the report.
    pub fn name(self) -> &'static str {
        match self {
            Reason::Relevant => "relevant",
            Reason::Judged => "judged",
            Reason::Itself => "self",
            Reason::Depth => "depth",
            Reason::AbsoluteMargin => "absolute-margin",
            Reason::RelativeMargin => "relative-margin",
            Reason::MaxScore => "max-score",
            Reason::MinScore => "min-score",
            Reason::SkipFirst => "skip-first",
            Reason::NotTaken => "not-taken",
        }
    }
}

/// How many documents were no negatives for each reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped([usize; Reason::ALL.len()]);

impl Dropped {
    /// How many were none for this reason.
    pub fn by(&self, reason: Reason) -> usize {
        self.0[reason as usize]
    }

    pub(crate) fn add(&mut self, reason: Reason, count: usize) {
        self.0[reason as usize] += count;
    }

    pub(crate) fn merge(&mut self, other: Dropped) {
        self.0.iter_mut().zip(other.0).for_each(|(sum, count)| *sum += count);
    }
}

impl Default for Rules {
    fn default() -> Self {
        Rules {
            top_k: 200,
            exclude_self: false,
            keep_judged: false,
            relative_margin: None,
            absolute_margin: None,
            max_score: None,
            min_score: None,
            skip_first: 0,
            depth: None,
            sample: Sample::Top,
            filter_by: FilterBy::Run,
        }
    }
}

impl Rules {
    /// Whether a rule asks for the scores of relevant documents.
    pub fn has_margin(&self) -> bool {
        self.relative_margin.is_some() || self.absolute_margin.is_some()
    }

    /// Whether a rule asks for scores at all.
    pub fn ask_for_scores(&self) -> bool {
        self.has_margin() || self.max_score.is_some() || self.min_score.is_some()
    }

    /// The rule about scores, if any, that drops a document with this `score`; `positive` is the lowest score of a
    /// relevant document. A query without relevant documents has no margin.
    ///
    /// The formulas are those of `mine_hard_negatives` of sentence-transformers, in single precision as there. A margin
    /// is relative to the size of the positive's score, so that it is below a positive that scores less than 0, too.
    pub(crate) fn drop(&self, score: f32, positive: Option<f32>) -> Option<Reason> {
        let above = |limit: Option<f32>| limit.is_some_and(|limit| score > limit);
        let relative = self.relative_margin.zip(positive).map(|(margin, positive)| positive - positive.abs() * margin);
        if self.absolute_margin.zip(positive).is_some_and(|(margin, positive)| score + margin > positive) {
            Some(Reason::AbsoluteMargin)
        } else if above(relative) {
            Some(Reason::RelativeMargin)
        } else if above(self.max_score) {
            Some(Reason::MaxScore)
        } else if self.min_score.is_some_and(|limit| score < limit) {
            Some(Reason::MinScore)
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn margins_are_measured_from_the_lowest_positive() {
        let relative = Rules { relative_margin: Some(0.25), ..Rules::default() };
        assert_eq!(relative.drop(0.376, Some(0.5)), Some(Reason::RelativeMargin));
        assert_eq!(relative.drop(0.375, Some(0.5)), None);
        // Of a negative score, the margin goes down as well.
        assert_eq!(relative.drop(-0.6, Some(-0.5)), Some(Reason::RelativeMargin));
        assert_eq!(relative.drop(-0.625, Some(-0.5)), None);
        let absolute = Rules { absolute_margin: Some(0.25), ..Rules::default() };
        assert_eq!(absolute.drop(0.2501, Some(0.5)), Some(Reason::AbsoluteMargin));
        assert_eq!(absolute.drop(0.25, Some(0.5)), None);
        assert_eq!(absolute.drop(9.0, None), None);
    }

    #[test]
    fn bounds_leave_what_is_on_them() {
        let bounds = Rules { max_score: Some(0.5), min_score: Some(-0.5), ..Rules::default() };
        let drops = [0.51, 0.5, -0.5, -0.51].map(|score| bounds.drop(score, None));
        assert_eq!(drops, [Some(Reason::MaxScore), None, None, Some(Reason::MinScore)]);
    }
}
