//! What a grade is worth to nDCG.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use arrow::array::{Float64Array, Int32Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::error::ArrowError;

/// The largest gain that may be given: sums of them stay finite.
const LARGEST: f64 = 1e9;

/// What a grade is worth.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum Gains {
    /// The grade itself, as in trec_eval.
    #[default]
    Grade,
    /// 2^grade - 1, as in gdeval; ir_measures calls it `dcg='exp-log2'`.
    Exponential,
    /// What is given for a grade; a grade that is not given is worth itself, as in ir_measures.
    Given(Vec<(i32, f64)>),
}

impl Gains {
    /// Reads `{1:1,2:3}`.
    pub(crate) fn parse(text: &str) -> Result<Gains, String> {
        let pair = |pair: &str| {
            let (grade, gain) = pair.split_once(':')?;
            let gain: f64 = gain.trim().parse().ok()?;
            Some((grade.trim().parse::<i32>().ok()?, gain)).filter(|_| (0.0..=LARGEST).contains(&gain))
        };
        let inside = text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
        let given: Option<Vec<_>> = inside.and_then(|inside| inside.split(',').map(pair).collect());
        let given = given.ok_or("gains should be like {1:1,2:3}, a gain from 0 to 1000000000 for each grade")?;
        match given.iter().map(|(grade, _)| grade).collect::<BTreeSet<_>>().len() == given.len() {
            true => Ok(Gains::Given(given)),
            false => Err("gains should have each grade once".to_owned()),
        }
    }

    fn of(&self, grade: i32) -> f64 {
        match self {
            Gains::Grade => f64::from(grade),
            Gains::Exponential => f64::from(grade).exp2() - 1.0,
            Gains::Given(given) => {
                given.iter().find(|(known, _)| *known == grade).map_or(f64::from(grade), |&(_, gain)| gain)
            }
        }
    }

    /// The table `gains (relevance, gain)` of the grades that occur.
    pub(crate) fn table(&self, grades: &Int32Array) -> Result<RecordBatch, ArrowError> {
        let grades: BTreeSet<i32> = grades.values().iter().copied().collect();
        let gains = Float64Array::from_iter_values(grades.iter().map(|&grade| self.of(grade)));
        let fields =
            [Field::new("relevance", DataType::Int32, false), Field::new("gain", DataType::Float64, false)].to_vec();
        let grades = Int32Array::from_iter_values(grades);
        RecordBatch::try_new(Arc::new(Schema::new(fields)), vec![Arc::new(grades), Arc::new(gains)])
    }
}

/// As it stands in the name of a metric.
impl fmt::Display for Gains {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Gains::Grade => Ok(()),
            Gains::Exponential => f.write_str("dcg='exp-log2'"),
            Gains::Given(given) => {
                let pairs: Vec<String> = given.iter().map(|(grade, gain)| format!("{grade}:{gain}")).collect();
                write!(f, "gains={{{}}}", pairs.join(","))
            }
        }
    }
}
