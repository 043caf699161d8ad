//! The metrics that there are: names, what stands behind the name, and the .sql file that computes it.

/// What a metric's file computes, for every cut and parameter.
#[derive(Debug)]
pub(crate) struct Family {
    pub(crate) name: &'static str,
    /// Other names that are understood: those of ir_measures and trec_eval.
    pub(crate) also: &'static [&'static str],
    pub(crate) at: At,
    /// A number in parentheses, and what it is without: `$p` of `RBP(p=0.8)`.
    pub(crate) parameter: Option<Parameter>,
    /// Whether documents are relevant from a grade on, which `(rel=2)` sets for one metric.
    pub(crate) has_level: bool,
    /// Whether grades are turned into gains, which `(dcg='exp-log2')` and `(gains={1:1,2:3})` set.
    pub(crate) has_gains: bool,
    pub(crate) mean: Mean,
    pub(crate) sql: &'static str,
}

/// What may stand behind `@`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum At {
    /// Nothing: the metric goes over the whole list.
    Nothing,
    /// A cut, or nothing for the whole list.
    Cut,
    /// A cut, without which there is no value.
    NeededCut,
    /// A share of the relevant documents.
    Recall,
}

/// A number that a metric has besides its cut.
#[derive(Debug)]
pub(crate) struct Parameter {
    pub(crate) name: &'static str,
    pub(crate) default: f64,
    /// What the number has to be, and a test of that.
    pub(crate) range: &'static str,
    pub(crate) fits: fn(f64) -> bool,
}

/// What the values of the queries come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mean {
    Arithmetic,
    /// Values are logarithms, and this is e to their mean.
    Geometric,
    /// Counts are added up.
    Sum,
}

const PLAIN: Family = Family {
    name: "",
    also: &[],
    at: At::Nothing,
    parameter: None,
    has_level: true,
    has_gains: false,
    mean: Mean::Arithmetic,
    sql: "",
};

pub(crate) static FAMILIES: [Family; 22] = [
    Family {
        name: "MRR",
        also: &["RR", "recip_rank"],
        at: At::Cut,
        sql: include_str!("../../sql/metrics/mrr.sql"),
        ..PLAIN
    },
    Family {
        name: "R",
        also: &["Recall"],
        at: At::NeededCut,
        sql: include_str!("../../sql/metrics/recall.sql"),
        ..PLAIN
    },
    Family {
        name: "nDCG",
        also: &["ndcg_cut"],
        at: At::Cut,
        has_level: false,
        has_gains: true,
        sql: include_str!("../../sql/metrics/ndcg.sql"),
        ..PLAIN
    },
    Family {
        name: "MAP",
        also: &["AP", "map_cut"],
        at: At::Cut,
        sql: include_str!("../../sql/metrics/map.sql"),
        ..PLAIN
    },
    Family {
        name: "P",
        also: &["Precision"],
        at: At::NeededCut,
        sql: include_str!("../../sql/metrics/precision.sql"),
        ..PLAIN
    },
    Family { name: "Success", at: At::NeededCut, sql: include_str!("../../sql/metrics/success.sql"), ..PLAIN },
    Family { name: "Rprec", sql: include_str!("../../sql/metrics/rprec.sql"), ..PLAIN },
    Family { name: "Bpref", sql: include_str!("../../sql/metrics/bpref.sql"), ..PLAIN },
    Family { name: "infAP", sql: include_str!("../../sql/metrics/infap.sql"), ..PLAIN },
    Family {
        name: "gMAP",
        also: &["gm_map"],
        mean: Mean::Geometric,
        sql: include_str!("../../sql/metrics/map.sql"),
        ..PLAIN
    },
    Family {
        name: "IPrec",
        also: &["iprec_at_recall"],
        at: At::Recall,
        sql: include_str!("../../sql/metrics/iprec.sql"),
        ..PLAIN
    },
    Family {
        name: "RBP",
        at: At::Cut,
        parameter: Some(Parameter {
            name: "p",
            default: 0.8,
            range: "a number between 0 and 1",
            fits: |p| 0.0 < p && p < 1.0,
        }),
        sql: include_str!("../../sql/metrics/rbp.sql"),
        ..PLAIN
    },
    Family {
        name: "ERR",
        at: At::Cut,
        parameter: Some(Parameter {
            name: "max_rel",
            default: 4.0,
            range: "a whole number from 1 to 50",
            fits: |grade| grade.fract() == 0.0 && (1.0..=50.0).contains(&grade),
        }),
        has_level: false,
        sql: include_str!("../../sql/metrics/err.sql"),
        ..PLAIN
    },
    Family {
        name: "Judged",
        at: At::Cut,
        has_level: false,
        sql: include_str!("../../sql/metrics/judged.sql"),
        ..PLAIN
    },
    Family { name: "SetP", also: &["set_P"], sql: include_str!("../../sql/metrics/set_p.sql"), ..PLAIN },
    Family {
        name: "SetRelP",
        also: &["set_relative_P", "SetP(relative=True)"],
        sql: include_str!("../../sql/metrics/set_rel_p.sql"),
        ..PLAIN
    },
    // The recall of a list that is not cut.
    Family { name: "SetR", also: &["set_recall"], sql: include_str!("../../sql/metrics/recall.sql"), ..PLAIN },
    Family {
        name: "SetF",
        also: &["set_F"],
        parameter: Some(Parameter {
            name: "beta",
            default: 1.0,
            range: "a number from 0 to 1000",
            fits: |beta| (0.0..=1000.0).contains(&beta),
        }),
        sql: include_str!("../../sql/metrics/set_f.sql"),
        ..PLAIN
    },
    Family { name: "SetAP", also: &["set_map"], sql: include_str!("../../sql/metrics/set_ap.sql"), ..PLAIN },
    Family {
        name: "NumRet",
        also: &["num_ret"],
        has_level: false,
        mean: Mean::Sum,
        sql: include_str!("../../sql/metrics/num_ret.sql"),
        ..PLAIN
    },
    Family {
        name: "NumRelRet",
        also: &["num_rel_ret"],
        mean: Mean::Sum,
        sql: include_str!("../../sql/metrics/num_rel_ret.sql"),
        ..PLAIN
    },
    Family {
        name: "NumRel",
        also: &["num_rel"],
        mean: Mean::Sum,
        sql: include_str!("../../sql/metrics/num_rel.sql"),
        ..PLAIN
    },
];
