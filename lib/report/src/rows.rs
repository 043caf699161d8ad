//! The rows of the table: what they are called there, and their order.

use std::collections::BTreeSet;

use hardmine_evaluation::Session;
use hardmine_records::Result;

use crate::columns::texts;

/// The query that makes the table. Its first part names the rows in their order.
const TABLE: &str = include_str!("../../evaluation/sql/table.sql");

/// A row of the table.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Row {
    /// What its files are called.
    pub(crate) name: String,
    /// What it is called in the table.
    pub(crate) label: String,
}

/// The rows with these names in the order of the table, and those that the table does not know behind them.
pub(crate) fn sort(names: BTreeSet<String>) -> Result<Vec<Row>> {
    let mut names = names;
    let mut rows = known()?;
    rows.retain(|row| names.remove(&row.name));
    rows.extend(names.into_iter().map(|name| Row { label: name.clone(), name }));
    Ok(rows)
}

/// All rows that the table knows.
pub(crate) fn known() -> Result<Vec<Row>> {
    let named = TABLE.split("\nSELECT ").next().unwrap_or_default();
    let rows = Session::open(&[])?.rows(&format!("{named}\nSELECT name, label FROM rows ORDER BY place"))?;
    let (names, labels) = (texts(&rows, "name")?, texts(&rows, "label")?);
    Ok(names.into_iter().zip(labels).map(|(name, label)| Row { name, label }).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_stand_in_the_order_of_the_table() {
        let names = ["zebra", "adore-star", "start", "a<b"].map(str::to_owned);
        let labels: Vec<String> = sort(names.into()).unwrap().into_iter().map(|row| row.label).collect();
        assert_eq!(labels, ["start", "ADORE (STAR)", "a<b", "zebra"]);
    }
}
