//! Means in full precision for programs: JSON, TSV, and msmarco_eval's text. With a baseline there is also how each run
//! differs from it.

use hardmine_records::{Error, Result};
use serde_json::{Map, Value, json};

use crate::RunScores;
use crate::significance::{Baseline, Compared};

/// The columns that a baseline adds to TSV, and the keys that it adds to JSON.
const COLUMNS: [&str; 13] = [
    "baseline",
    "difference",
    "low",
    "high",
    "t",
    "p_t_test",
    "p_t_test_holm",
    "p_fisher",
    "p_fisher_holm",
    "wins",
    "ties",
    "losses",
    "significant",
];

/// What a comparison has for these columns.
fn fields(name: &str, compared: &Compared) -> [Value; 13] {
    let Compared { alone, p_t_test_holm, p_fisher_holm, is_significant } = compared;
    let (low, high) = alone.interval;
    [
        json!(name),
        json!(alone.difference),
        json!(low),
        json!(high),
        json!(alone.t),
        json!(alone.p_t_test),
        json!(p_t_test_holm),
        json!(alone.p_fisher),
        json!(p_fisher_holm),
        json!(alone.wins),
        json!(alone.ties),
        json!(alone.losses),
        json!(is_significant),
    ]
}

/// A list of objects, one a line; an infinite t is null.
pub(super) fn json_list(runs: &[RunScores], baseline: Option<&Baseline>) -> String {
    let mut lines = Vec::new();
    for (row, run) in runs.iter().enumerate() {
        for (column, (metric, value)) in run.means().enumerate() {
            let mut entry = Map::new();
            entry.insert("run".to_owned(), json!(run.run));
            entry.insert("metric".to_owned(), json!(metric.to_string()));
            entry.insert("value".to_owned(), json!(value));
            entry.insert("queries".to_owned(), json!(run.queries.len()));
            if let Some((baseline, compared)) = baseline.and_then(|it| Some((it, it.compared[row][column].as_ref()?))) {
                let fields = fields(&runs[baseline.place].run, compared);
                entry.extend(COLUMNS.map(str::to_owned).into_iter().zip(fields));
            }
            lines.push(format!("  {}", Value::Object(entry)));
        }
    }
    format!("[\n{}\n]\n", lines.join(",\n"))
}

/// A header, and a line for each run and metric; what is not compared has empty fields.
pub(super) fn tsv(runs: &[RunScores], baseline: Option<&Baseline>) -> String {
    let mut text = String::from("run\tmetric\tvalue");
    if baseline.is_some() {
        text += "\t";
        text += &COLUMNS.join("\t");
    }
    text.push('\n');
    for (row, run) in runs.iter().enumerate() {
        for (column, (metric, value)) in run.means().enumerate() {
            text += &format!("{}\t{metric}\t{}", one_field(&run.run), full(value));
            if let Some(baseline) = baseline {
                let compared = baseline.compared[row][column].as_ref();
                let name = &runs[baseline.place].run;
                let fields = compared.map(|compared| fields(name, compared).map(|value| tsv_field(&value)));
                text += "\t";
                text += &fields.unwrap_or_default().join("\t");
            }
            text.push('\n');
        }
    }
    text
}

fn tsv_field(value: &Value) -> String {
    match value {
        Value::String(text) => one_field(text),
        Value::Null => "inf".to_owned(),
        number => number.as_f64().filter(|_| number.is_f64()).map_or(number.to_string(), full),
    }
}

fn one_field(text: &str) -> String {
    text.replace(['\t', '\n', '\r'], " ")
}

pub(super) fn msmarco(runs: &[RunScores]) -> Result<String> {
    const BAR: &str = "#####################";
    let mut text = String::new();
    for run in runs {
        for (metric, value) in run.means() {
            let cut = metric.reciprocal_rank_cut().ok_or_else(|| {
                Error::new("--format msmarco", format!("expected MRR@k, found {metric}"))
                    .hint("msmarco_eval knows no other metric; choose another format")
            })?;
            let (value, lists) = (full(value), run.lists);
            text += &format!("Eval Started\n{BAR}\nMRR @{cut}: {value}\nQueriesRanked: {lists}\n{BAR}\n");
        }
    }
    Ok(text)
}

/// The shortest digits that give the same number again, in Python's form.
pub(super) fn full(value: f64) -> String {
    let text = format!("{value:?}");
    match value.abs() {
        // Python changes to exponents one decimal earlier, and gives them two digits.
        small if small > 0.0 && small < 1e-4 => {
            let text = format!("{value:e}");
            let (digits, exponent) = text.split_once("e-").unwrap_or((&text, "0"));
            format!("{digits}e-{exponent:0>2}")
        }
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_python_writes_them() {
        for (value, text) in [
            (0.3404237731386721, "0.3404237731386721"),
            (1.0, "1.0"),
            (0.0, "0.0"),
            (0.0001, "0.0001"),
            (0.1 / 6980.0, "1.4326647564469915e-05"),
            (1e-12, "1e-12"),
        ] {
            assert_eq!(full(value), text);
        }
    }
}
