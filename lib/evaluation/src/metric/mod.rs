//! Metrics: a name such as `nDCG@10`, and the .sql file that computes it.

mod families;
mod gains;
mod parse;

use std::fmt;

use arrow::array::{Int32Array, RecordBatch};
use arrow::error::ArrowError;
use datafusion::scalar::ScalarValue;
use hardmine_records::{Error, Result};

use families::{Family, Mean};
use gains::Gains;

/// The floor of the values whose geometric mean is taken, as in trec_eval.
const LEAST_OF_GEOMETRIC_MEAN: f64 = 0.00001;

/// The metrics and what they are, for a help text. Each is called as in ir_measures.
pub const METRICS: &str = "\
Metrics:
  MRR[@k]             1 over the position of the first relevant document
  Success@k           Whether any of the first k documents is relevant
  R@k, P@k            Recall and precision of the first k documents
  Rprec               Precision of the first R documents, where R documents are relevant
  IPrec@0.1           Best precision from recall 0.1 on
  MAP[@k], gMAP       Average precision, and its geometric mean over the queries
  nDCG[@k]            Graded gain over the best gain. nDCG(dcg='exp-log2')@10 counts 2^grade - 1,
                      nDCG(gains={1:1,2:3})@10 the gains that are given
  RBP(p=0.8)[@k]      What a reader finds who goes on to the next document with probability p
  ERR(max_rel=4)[@k]  How early a reader is satisfied; max_rel is the highest grade there can be
  Bpref, infAP        For incomplete judgements: preferences, and inferred average precision
  Judged[@k]          Share of the documents that are judged
  SetP, SetR, SetF(beta=1), SetAP, SetRelP
                      Of the list as a set: trec_eval's set_P, set_recall, set_F, set_map and
                      set_relative_P
  NumRet, NumRel, NumRelRet
                      Numbers of retrieved documents, of relevant ones, and of both; no means

  Without @k, a metric is over the whole list. Names are those of ir_measures in any case, with
  its rel=2 for a relevance level of one metric, as in MAP(rel=2) and P(rel=2)@10. trec_eval's are
  understood, too, such as ndcg_cut_10. Names with parentheses need quotes in a shell.";

/// A metric with its cut, such as `MRR@10`; names are understood in any case.
#[derive(Clone, Debug)]
pub struct Metric {
    family: &'static Family,
    cut: Option<i32>,
    recall: Option<f64>,
    level: Option<i32>,
    parameter: Option<f64>,
    gains: Gains,
}

/// Metrics between commas, as `-m` takes them.
#[derive(Clone, Debug)]
pub struct MetricList(pub Vec<Metric>);

impl Metric {
    /// The query that computes it, over tables `qrels (query_id, doc_id, relevance)`, `run (query_id, doc_id,
    /// position)` of judged documents, `lists (query_id, length)` and `gains (relevance, gain)`, with its
    /// [`parameters`](Self::parameters): rows `(query_id, value)`. A query without a row has the value 0.
    pub(crate) fn sql(&self) -> &'static str {
        self.family.sql
    }

    /// What the query calls `$k`, `$level`, and the like; `level` is the least grade that is relevant, unless the
    /// metric has one of its own.
    pub(crate) fn parameters(&self, level: i32) -> Vec<(&'static str, ScalarValue)> {
        let mut parameters = vec![
            ("k", ScalarValue::Int32(Some(self.cut.unwrap_or(i32::MAX)))),
            ("level", ScalarValue::Int32(Some(self.level(level)))),
        ];
        if let Some(recall) = self.recall {
            parameters.push(("recall", ScalarValue::Float64(Some(recall))));
        }
        if let Some(parameter) = &self.family.parameter {
            let value = self.parameter.unwrap_or(parameter.default);
            parameters.push((parameter.name, ScalarValue::Float64(Some(value))));
        }
        parameters
    }

    /// The table `gains` of the grades that occur.
    pub(crate) fn gains(&self, grades: &Int32Array) -> std::result::Result<RecordBatch, ArrowError> {
        self.gains.table(grades)
    }

    /// The least grade that is relevant, where it is `level` for metrics without one of their own.
    pub(crate) fn level(&self, level: i32) -> i32 {
        self.level.unwrap_or(level)
    }

    /// Refuses judgements whose highest grade is more than the metric has a meaning for.
    ///
    /// # Errors
    /// Such a grade; `place` is the file of the judgements.
    pub(crate) fn check_grades(&self, place: &str, highest: i32) -> Result<()> {
        let limit = match &self.family.parameter {
            Some(parameter) if parameter.name == "max_rel" => self.parameter.unwrap_or(parameter.default),
            _ if self.gains == Gains::Exponential => 500.0,
            _ => return Ok(()),
        };
        match f64::from(highest) <= limit {
            true => Ok(()),
            false => Err(Error::new(place, format!("has grade {highest}, and {self} has none above {limit}"))
                .hint("ERR(max_rel=N) sets the highest grade of ERR; gains may be given: nDCG(gains={1:1,2:3})")),
        }
    }

    /// Values of queries as they are kept: of a geometric mean, logarithms.
    pub(crate) fn kept(&self, value: f64) -> f64 {
        match self.family.mean {
            Mean::Geometric => value.max(LEAST_OF_GEOMETRIC_MEAN).ln(),
            Mean::Arithmetic | Mean::Sum => value,
        }
    }

    /// What the values of all queries come to: their mean, or the sum of counts.
    pub(crate) fn mean(&self, values: &[f64]) -> f64 {
        let sum = values.iter().sum::<f64>();
        match self.family.mean {
            Mean::Arithmetic => sum / values.len() as f64,
            Mean::Geometric => (sum / values.len() as f64).exp(),
            Mean::Sum => sum,
        }
    }

    /// Whether it counts documents, so that more is not better.
    pub fn is_count(&self) -> bool {
        self.family.mean == Mean::Sum
    }

    /// Whether what stands between the end of a list and the cut might change the value.
    pub(crate) fn wants_depth(&self) -> bool {
        self.cut.is_some() && self.family.name != "Judged"
    }

    /// How many documents of a list it looks at; none where that is all of them.
    pub fn depth(&self) -> Option<usize> {
        self.cut.map(|cut| cut as usize)
    }

    /// The k of `MRR@k`; none of another metric, and of MRR over the whole list.
    pub fn reciprocal_rank_cut(&self) -> Option<i32> {
        self.cut.filter(|_| self.family.name == "MRR")
    }
}

/// Two metrics are one where they are shown as one.
impl PartialEq for Metric {
    fn eq(&self, other: &Self) -> bool {
        self.to_string() == other.to_string()
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let mut arguments = Vec::new();
        if let (Some(parameter), Some(value)) = (&self.family.parameter, self.parameter) {
            arguments.push(format!("{}={value}", parameter.name));
        }
        if self.gains != Gains::Grade {
            arguments.push(self.gains.to_string());
        }
        arguments.extend(self.level.map(|level| format!("rel={level}")));
        f.write_str(self.family.name)?;
        if !arguments.is_empty() {
            write!(f, "({})", arguments.join(","))?;
        }
        match (self.cut, self.recall) {
            (Some(cut), _) => write!(f, "@{cut}"),
            (None, Some(recall)) => write!(f, "@{recall}"),
            (None, None) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::families::FAMILIES;
    use super::*;

    #[test]
    fn names_are_understood_in_any_case_and_shown_in_one() {
        for (text, name) in [
            ("mrr@10", "MRR@10"),
            ("Recall@100", "R@100"),
            ("NDCG", "nDCG"),
            ("ap", "MAP"),
            ("RPrec", "Rprec"),
            ("RBP(p=0.8)", "RBP(p=0.8)"),
            ("rbp( p=0.50 , rel=2)@20", "RBP(p=0.5,rel=2)@20"),
            ("ERR@20", "ERR@20"),
            ("IPrec@0.10", "IPrec@0.1"),
            ("AP(rel=2)", "MAP(rel=2)"),
            ("nDCG(dcg=exp-log2)@10", "nDCG(dcg='exp-log2')@10"),
            ("nDCG(dcg='log2')@10", "nDCG@10"),
            ("nDCG(gains={1: 1, 2:2.5})@10", "nDCG(gains={1:1,2:2.5})@10"),
            ("SetP(relative=True)", "SetRelP"),
            ("set_F", "SetF"),
        ] {
            assert_eq!(text.parse::<Metric>().unwrap().to_string(), name);
            assert_eq!(name.parse::<Metric>().unwrap().to_string(), name);
        }
    }

    #[test]
    fn names_of_trec_eval() {
        for (text, name) in [
            ("P_10", "P@10"),
            ("recall_100", "R@100"),
            ("ndcg", "nDCG"),
            ("ndcg_cut_10", "nDCG@10"),
            ("ndcg_cut.10", "nDCG@10"),
            ("map_cut_1000", "MAP@1000"),
            ("recip_rank", "MRR"),
            ("iprec_at_recall_0.10", "IPrec@0.1"),
            ("set_relative_P", "SetRelP"),
            ("set_map", "SetAP"),
            ("gm_map", "gMAP"),
            ("num_rel_ret", "NumRelRet"),
        ] {
            assert_eq!(text.parse::<Metric>().unwrap().to_string(), name);
        }
    }

    #[test]
    fn wrong_names_and_cuts_are_refused() {
        for text in [
            "",
            "MRR@",
            "MRR@0",
            "MRR@-1",
            "MRR@ten",
            "R",
            "P",
            "Success",
            "F1@10",
            "MRR@10@10",
            "P@99999999999",
            "Rprec@10",
            "IPrec",
            "IPrec@1.5",
            "IPrec@nan",
            "RBP(p=1)",
            "RBP(p=x)",
            "RBP(q=0.5)",
            "RBP(p=0.5",
            "RBP(0.5)",
            "ERR(max_rel=0)",
            "ERR(rel=2)",
            "MAP(rel=-1)",
            "nDCG(rel=2)@10",
            "nDCG(dcg=exp)",
            "nDCG(gains={1})",
            "nDCG(gains={1:1,1:2})",
            "nDCG(gains={1:-1})",
            "nDCG(gains={1:inf})",
            "P(judged_only=True)@10",
            "P_",
            "P_x",
            "set_P_10",
            "ndcg_cut_0",
            "é@10",
            "MAP()x",
        ] {
            assert!(text.parse::<Metric>().is_err(), "{text}");
        }
        assert!("foo@1".parse::<Metric>().unwrap_err().contains("nDCG[@k]"));
        assert!("P(judged_only=True)@10".parse::<Metric>().unwrap_err().contains("--judged-only"));
    }

    #[test]
    fn lists_are_split_outside_of_parentheses() {
        let list: MetricList = "MRR@10,nDCG(gains={1:1,2:3})@10,RBP(p=0.5,rel=2)".parse().unwrap();
        let names: Vec<String> = list.0.iter().map(Metric::to_string).collect();
        assert_eq!(names, ["MRR@10", "nDCG(gains={1:1,2:3})@10", "RBP(p=0.5,rel=2)"]);
        assert!("MRR@10,,P@1".parse::<MetricList>().is_err());
    }

    #[test]
    fn the_help_has_them_all() {
        for family in &FAMILIES {
            let words = METRICS.split([' ', '\n', '[', '@', '(', ')', ',']);
            assert!(words.into_iter().any(|word| word == family.name), "{}", family.name);
        }
    }
}
