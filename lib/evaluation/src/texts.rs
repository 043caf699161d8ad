//! Texts as a table: `id`, `title` and `text`, whatever form they are in.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::ScalarValue;
use datafusion::prelude::{Expr, SessionContext, ident, lit};
use hardmine_files::{Input, Lines, names_texts};
use hardmine_records::{Error, Result};

use crate::engine::failed;

/// Lines from which the form of a text is found.
const HEAD: usize = 100;

/// The form of a text that is not one of our records.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum TextForm {
    /// An object on each line.
    JsonLines,
    /// Columns between tabs, with these names.
    Columns(&'static [&'static str]),
}

impl TextForm {
    /// Finds the form of `input` from its first lines. None if they may be a run or judgements, which have no line with
    /// two columns, and numbers in the last of four.
    ///
    /// # Errors
    /// The file can't be read.
    pub(crate) fn find(input: &Input) -> Result<Option<TextForm>> {
        let mut lines = input.open()?.into_lines();
        let (mut widths, mut numbers) = (Vec::new(), true);
        while let Some(line) = lines.next_line()?.filter(|_| widths.len() < HEAD) {
            let line = line.trim_start_matches(' ');
            if line.trim().is_empty() {
                continue;
            }
            if widths.is_empty() && line.starts_with('{') {
                return Ok(Some(TextForm::JsonLines));
            }
            widths.push(line.split('\t').count());
            numbers &= line.rsplit('\t').next().is_some_and(|last| last.trim().parse::<f64>().is_ok());
        }
        Ok(match widths[..] {
            [2, ..] if widths.iter().all(|&width| width == 2) => Some(TextForm::Columns(&["id", "text"])),
            [4, ..] if !numbers && widths.iter().all(|&width| width == 4) => {
                Some(TextForm::Columns(&["id", "url", "title", "text"]))
            }
            _ => None,
        })
    }
}

/// The schema of a TSV file with columns of these names.
pub(crate) fn schema(names: &[&str]) -> SchemaRef {
    let fields: Vec<Field> = names.iter().map(|name| Field::new(*name, DataType::Utf8, false)).collect();
    Arc::new(Schema::new(fields))
}

/// Batches of a TSV file with texts.
pub(crate) struct TsvTexts {
    lines: Lines,
    schema: SchemaRef,
    begun: bool,
}

impl TsvTexts {
    /// # Errors
    /// The file can't be read.
    pub(crate) fn open(input: &Input, schema: SchemaRef) -> Result<Self> {
        Ok(TsvTexts { lines: input.open()?.into_lines(), schema, begun: false })
    }

    fn batch(&mut self) -> Result<Option<RecordBatch>> {
        let mut columns: Vec<Vec<String>> = vec![Vec::new(); self.schema.fields().len()];
        while columns[0].len() < 1024
            && let Some(line) = self.lines.next_line()?
        {
            let is_header = !self.begun && names_texts(line);
            if line.trim().is_empty() {
                continue;
            }
            self.begun = true;
            if is_header {
                continue;
            }
            let fields: Vec<&str> = line.split('\t').collect();
            if fields.len() != columns.len() {
                let (expected, found) = (columns.len(), fields.len());
                let text = format!("expected {expected} columns of texts, separated by tabs, found {found}");
                return Err(Error::in_place(self.lines.place(), text));
            }
            columns.iter_mut().zip(fields).for_each(|(column, field)| column.push(field.to_owned()));
        }
        if columns[0].is_empty() {
            return Ok(None);
        }
        let columns = columns.into_iter().map(|column| Arc::new(StringArray::from(column)) as ArrayRef).collect();
        RecordBatch::try_new(self.schema.clone(), columns).map(Some).map_err(Error::at(self.lines.name()))
    }
}

impl Iterator for TsvTexts {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Result<RecordBatch>> {
        self.batch().transpose()
    }
}

/// Gives a table of texts (one with `text` and `_id` or `id`) the columns `id`, `title` and `text`, and then what else
/// it has. BEIR's `_id` becomes `id`, and a title that is missing is null. Other tables stay what they are.
///
/// # Errors
/// There is no such table.
pub(crate) async fn present(context: &SessionContext, name: &str) -> Result<()> {
    let table = context.table(name).await.map_err(failed(name))?;
    let has = |column: &str| table.schema().has_column_with_unqualified_name(column);
    let id = ["_id", "id"].into_iter().find(|id| has(id));
    let Some(id) = id.filter(|_| has("text")) else { return Ok(()) };
    let title = if has("title") { ident("title") } else { lit(ScalarValue::Utf8(None)).alias("title") };
    let known = ["_id", "id", "title", "text"];
    let others = table.schema().fields().iter().map(|field| field.name().as_str()).filter(|name| !known.contains(name));
    let columns: Vec<Expr> =
        [ident(id).alias("id"), title, ident("text")].into_iter().chain(others.map(ident)).collect();
    let view = table.select(columns).map_err(failed(name))?.into_view();
    context.deregister_table(name).and_then(|_| context.register_table(name, view)).map_err(failed(name))?;
    Ok(())
}
