//! From a name such as `nDCG@10`, `RBP(p=0.5)@20` or trec_eval's `ndcg_cut_10` to a metric.

use std::str::FromStr;

use super::families::{At, FAMILIES, Family};
use super::gains::Gains;
use super::{Metric, MetricList};

impl FromStr for Metric {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let (name, at) = match text.rsplit_once('@') {
            Some((name, at)) => (name, Some(at)),
            None => (text, None),
        };
        // A name that is known with its parentheses: SetP(relative=True).
        let (name, arguments) = match family(name).is_none().then(|| name.split_once('(')).flatten() {
            Some((name, rest)) => match rest.strip_suffix(')') {
                Some(arguments) => (name, arguments),
                None => return Err(format!("'{text}' has no ) where one should be")),
            },
            None => (name, ""),
        };
        let (family, at) = match (family(name), at) {
            (Some(family), at) => (family, at),
            (None, None) if arguments.is_empty() => {
                let (family, at) = trec_eval_name(name).ok_or_else(|| unknown(name))?;
                (family, Some(at))
            }
            (None, _) => return Err(unknown(name)),
        };
        let mut metric =
            Metric { family, cut: None, recall: None, level: None, parameter: None, gains: Gains::default() };
        metric.read_at(at)?;
        for argument in split(arguments).filter(|argument| !argument.is_empty()) {
            metric.read_argument(argument)?;
        }
        Ok(metric)
    }
}

impl FromStr for MetricList {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(MetricList(split(text).map(str::parse).collect::<Result<_, _>>()?))
    }
}

impl Metric {
    /// Takes what stands behind `@`.
    fn read_at(&mut self, text: Option<&str>) -> Result<(), String> {
        let name = self.family.name;
        match (self.family.at, text) {
            (At::Nothing | At::Cut, None) => {}
            (At::NeededCut, None) => return Err(format!("{name} needs a cut, such as {name}@10")),
            (At::Recall, None) => return Err(format!("{name} needs a share of recall, such as {name}@0.1")),
            (At::Nothing, Some(_)) => return Err(format!("{name} has no cut: it is over the whole list")),
            (At::Recall, Some(text)) => match text.parse() {
                Ok(recall) if (0.0..=1.0).contains(&recall) => self.recall = Some(recall),
                _ => return Err(format!("the recall '{text}' should be a number from 0 to 1")),
            },
            (At::Cut | At::NeededCut, Some(text)) => match text.parse() {
                Ok(cut) if cut >= 1 => self.cut = Some(cut),
                _ => return Err(format!("the cut '{text}' should be a number from 1 to {}", i32::MAX)),
            },
        }
        Ok(())
    }

    /// Takes one of the arguments in parentheses.
    fn read_argument(&mut self, text: &str) -> Result<(), String> {
        let name = self.family.name;
        let (key, value) = text.split_once('=').ok_or_else(|| format!("'{text}' in {name}(…) should be like rel=2"))?;
        let (key, value) = (key.trim(), value.trim());
        match (key, &self.family.parameter) {
            ("rel", _) if self.family.has_level => match value.parse() {
                Ok(level) if level >= 0 => self.level = Some(level),
                _ => return Err(format!("rel={value} should be a grade from 0 on")),
            },
            ("dcg", _) if self.family.has_gains => {
                self.gains = match value.trim_matches(['\'', '"']) {
                    "log2" => Gains::Grade,
                    "exp-log2" => Gains::Exponential,
                    _ => return Err(format!("dcg={value} should be 'log2' or 'exp-log2'")),
                }
            }
            ("gains", _) if self.family.has_gains => self.gains = Gains::parse(value)?,
            ("judged_only", _) => return Err("judged_only is an option: --judged-only".to_owned()),
            (_, Some(parameter)) if parameter.name == key => match value.parse() {
                Ok(number) if (parameter.fits)(number) => self.parameter = Some(number),
                _ => return Err(format!("{key}={value} should be {}", parameter.range)),
            },
            _ => return Err(format!("{name} has no {key}")),
        }
        Ok(())
    }
}

fn family(name: &str) -> Option<&'static Family> {
    FAMILIES.iter().find(|family| names(family).any(|known| known.eq_ignore_ascii_case(name)))
}

fn names(family: &'static Family) -> impl Iterator<Item = &'static str> {
    [family.name].into_iter().chain(family.also.iter().copied())
}

/// trec_eval writes `ndcg_cut_10`, and takes `ndcg_cut.10`: a name, and what we put behind `@`.
fn trec_eval_name(text: &str) -> Option<(&'static Family, &str)> {
    FAMILIES.iter().flat_map(|family| names(family).map(move |name| (family, name))).find_map(|(family, name)| {
        let (start, rest) = text.split_at_checked(name.len())?;
        let at = rest.strip_prefix(['_', '.'])?;
        (start.eq_ignore_ascii_case(name) && at.parse::<f64>().is_ok()).then_some((family, at))
    })
}

fn unknown(name: &str) -> String {
    let forms = FAMILIES.iter().map(|family| match family.at {
        At::Nothing => family.name.to_owned(),
        At::Cut => format!("{}[@k]", family.name),
        At::NeededCut => format!("{}@k", family.name),
        At::Recall => format!("{}@recall", family.name),
    });
    format!("unknown metric '{name}'; there are {}", forms.collect::<Vec<_>>().join(", "))
}

/// The parts between commas that are in no parentheses or braces.
fn split(text: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0;
    text.split(move |c| {
        match c {
            '(' | '{' => depth += 1,
            ')' | '}' => depth -= 1,
            _ => {}
        }
        c == ',' && depth == 0
    })
}
