//! Where the lists of a run end, for those who divide a run among others.

use std::collections::HashSet;
use std::ops::Range;

use hardmine_records::{Error, Ids, Result, RunBatch};

use crate::Table;

/// A run, divided where lists end.
pub struct Division {
    /// The rows of each part, one after the other.
    pub parts: Vec<Range<u64>>,
    /// The ids of all queries, as text.
    pub queries: HashSet<String>,
}

/// Divides the run `table` into parts of at least `rows` rows, the last of which may be shorter. No list is cut.
///
/// # Errors
/// Those of reading the run; a query that comes again after other queries; a run without rows.
pub fn divide(table: Table, rows: u64) -> Result<Division> {
    let name = table.name().to_owned();
    let (mut parts, mut queries) = (Vec::new(), HashSet::new());
    let (mut start, mut row) = (0, 0);
    let mut before: Option<(Ids, usize)> = None;
    for batch in table {
        let ids = RunBatch::new(&batch?)?.queries;
        for place in 0..ids.len() {
            let continues = match (place.checked_sub(1), &before) {
                (Some(last), _) => same(&ids, last, &ids, place),
                (None, Some((before, last))) => same(before, *last, &ids, place),
                (None, None) => false,
            };
            if !continues {
                if !queries.insert(ids.text(place).into_owned()) {
                    let text = format!("query {} comes again after other queries", ids.text(place));
                    let row = usize::try_from(row).unwrap_or(usize::MAX);
                    return Err(Error::at_row(name, row, text).hint("sort the run by query and rank"));
                }
                if row - start >= rows {
                    parts.push(start..row);
                    start = row;
                }
            }
            row += 1;
        }
        if !ids.is_empty() {
            let last = ids.len() - 1;
            before = Some((ids, last));
        }
    }
    if row == 0 {
        return Err(Error::new(name, "has no rows"));
    }
    parts.push(start..row);
    Ok(Division { parts, queries })
}

fn same(one: &Ids, row: usize, other: &Ids, other_row: usize) -> bool {
    match (one, other) {
        (Ids::Internal(one), Ids::Internal(other)) => one.value(row) == other.value(other_row),
        (Ids::Official(one), Ids::Official(other)) => one.value(row) == other.value(other_row),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use hardmine_records::Kind;

    use super::*;
    use crate::Input;

    fn divided(text: &str, rows: u64) -> Result<Vec<Range<u64>>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.tsv");
        std::fs::write(&path, text).unwrap();
        let table = Table::open_with_ids(&Input::from(path.as_path()), &[Kind::Run], None)?;
        divide(table, rows).map(|division| division.parts)
    }

    #[test]
    fn no_list_is_cut() {
        let run = "a\tx\t1\na\ty\t2\na\tz\t3\nb\tx\t1\nc\tx\t1\nc\ty\t2\n";
        for (rows, ends) in [(1, vec![3, 4, 6]), (2, vec![3, 6]), (4, vec![4, 6]), (9, vec![6])] {
            let parts = divided(run, rows).unwrap();
            assert_eq!(parts.iter().map(|part| part.end).collect::<Vec<_>>(), ends, "{rows}");
            assert!(parts[0].start == 0 && parts.windows(2).all(|pair| pair[0].end == pair[1].start), "{rows}");
        }
    }

    #[test]
    fn a_query_that_comes_again_is_refused() {
        let error = divided("a\tx\t1\nb\tx\t1\na\ty\t2\n", 1).unwrap_err().to_string();
        assert!(error.contains("row 2: query a comes again after other queries"), "{error}");
    }
}
