//! Metrics: a name such as `nDCG@10`, and the .sql file that computes it.

use std::fmt;
use std::str::FromStr;

/// What a metric's file computes, for every k.
#[derive(Debug)]
struct Family {
    name: &'static str,
    /// Other names that are understood.
    also: &'static [&'static str],
    /// Whether there is a value without `@k`: over the whole list.
    whole_list: bool,
    sql: &'static str,
}

static FAMILIES: [Family; 6] = [
    Family { name: "MRR", also: &["RR"], whole_list: true, sql: include_str!("../sql/metrics/mrr.sql") },
    Family { name: "R", also: &["Recall"], whole_list: false, sql: include_str!("../sql/metrics/recall.sql") },
    Family { name: "nDCG", also: &[], whole_list: true, sql: include_str!("../sql/metrics/ndcg.sql") },
    Family { name: "MAP", also: &["AP"], whole_list: true, sql: include_str!("../sql/metrics/map.sql") },
    Family { name: "P", also: &["Precision"], whole_list: false, sql: include_str!("../sql/metrics/precision.sql") },
    Family { name: "Success", also: &[], whole_list: false, sql: include_str!("../sql/metrics/success.sql") },
];

/// A metric with its cut, such as `MRR@10`; names are understood in any case.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    family: &'static Family,
    cut: Option<i32>,
}

impl Metric {
    /// The query that computes it, over tables `qrels (query_id, doc_id, relevance)` and
    /// `run (query_id, doc_id, position)`, with parameters `$k` and, except for nDCG, `$level`: rows
    /// `(query_id, value)`. A query without a row has the value 0.
    pub(crate) fn sql(&self) -> &'static str {
        self.family.sql
    }

    /// The last position that counts.
    pub(crate) fn cut(&self) -> i32 {
        self.cut.unwrap_or(i32::MAX)
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

impl PartialEq for Metric {
    fn eq(&self, other: &Self) -> bool {
        (self.family.name, self.cut) == (other.family.name, other.cut)
    }
}

impl FromStr for Metric {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, cut) = match text.split_once('@') {
            Some((name, cut)) => (name, Some(cut)),
            None => (text, None),
        };
        let family = FAMILIES
            .iter()
            .find(|family| [family.name].iter().chain(family.also).any(|known| known.eq_ignore_ascii_case(name)))
            .ok_or_else(|| format!("unknown metric; there are {}", known()))?;
        let cut = match cut {
            None if family.whole_list => None,
            None => return Err(format!("{} needs a cut, such as {}@10", family.name, family.name)),
            Some(cut) => match cut.parse() {
                Ok(cut) if cut >= 1 => Some(cut),
                _ => return Err(format!("the cut '{cut}' should be a number from 1 to {}", i32::MAX)),
            },
        };
        Ok(Metric { family, cut })
    }
}

fn known() -> String {
    let forms = FAMILIES.iter().map(|family| match family.whole_list {
        true => format!("{}[@k]", family.name),
        false => format!("{}@k", family.name),
    });
    forms.collect::<Vec<_>>().join(", ")
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self.cut {
            Some(cut) => write!(f, "{}@{cut}", self.family.name),
            None => f.write_str(self.family.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_understood_in_any_case_and_shown_in_one() {
        for (text, name) in [("mrr@10", "MRR@10"), ("Recall@100", "R@100"), ("NDCG", "nDCG"), ("ap", "MAP")] {
            assert_eq!(text.parse::<Metric>().unwrap().to_string(), name);
        }
    }

    #[test]
    fn wrong_names_and_cuts_are_refused() {
        for text in
            ["", "MRR@", "MRR@0", "MRR@-1", "MRR@ten", "R", "P", "Success", "F1@10", "MRR@10@10", "P@99999999999"]
        {
            assert!(text.parse::<Metric>().is_err(), "{text}");
        }
        assert!("foo@1".parse::<Metric>().unwrap_err().contains("nDCG[@k]"));
    }
}
