//! Reads runs, negatives and qrels from text.

use std::collections::VecDeque;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::thread;

use arrow::array::{ArrayRef, Float32Builder, Int32Builder, RecordBatch, StringBuilder};
use arrow::datatypes::SchemaRef;
use hardmine_records::{Error, IdSpace, Kind, Result, schema};

use super::layout::{Layout, Problem};
use crate::expected::misfit;
use crate::lines::{Block, Lines};

/// Text from which kind and columns are found.
const HEAD_BYTES: usize = 64 << 10;
/// Blocks of such text that are kept until a row is found.
const HEAD_BLOCKS: usize = 1024;
/// Text that becomes one batch.
const BLOCK_BYTES: usize = 1 << 20;

/// Reads a text as records of one kind (run, negatives or qrels) with official ids, on all cores.
///
/// Blank lines are skipped, and white space around a field is removed. A line that begins with `#` is a comment
/// unless it has the columns of a row. Otherwise ids are taken as they are. See [`Layout::find`] for the columns.
pub(crate) struct TextReader {
    lines: Lines,
    kind: Kind,
    /// None of a text without rows.
    layout: Option<Layout>,
    /// Number of the line that names the columns; 0 if there is none.
    header: usize,
    /// Read to find the layout, and not parsed yet.
    head: Vec<Block>,
    /// Parsed, in the order of the text.
    batches: VecDeque<Result<Parsed>>,
    /// Rows so far whose line begins with `#`.
    marked: usize,
}

/// The rows of a block.
struct Parsed {
    rows: RecordBatch,
    marked: usize,
}

impl TextReader {
    /// Takes the text for the one of `accepted` that its first lines look like.
    ///
    /// # Errors
    /// Lines in no form of these kinds, and in forms of several.
    pub(crate) fn new(mut lines: Lines, accepted: &[Kind]) -> Result<Self> {
        let (mut head, mut found) = (Vec::new(), None);
        while found.is_none() {
            let Some(block) = lines.next_block(HEAD_BYTES)? else { break };
            found = find_layout(lines.name(), &block, accepted, |line| !line.starts_with('#'))?;
            if block.lines(lines.name()).any(|(_, line)| line.is_ok_and(|line| !is_blank(line) && may_be_row(line))) {
                head.push(block);
            }
            if head.len() > HEAD_BLOCKS {
                return Err(Error::new(lines.name(), "begins with 64 MiB of lines that begin with #"));
            }
        }
        if found.is_none() {
            // Either all lines are comments, or all ids begin as a comment does.
            let find = |block| find_layout(lines.name(), block, accepted, may_be_row).ok().flatten();
            found = head.iter().find_map(find);
        }
        let (header, layout) = match found {
            Some((number, layout)) => (if layout.has_header { number } else { 0 }, Some(layout)),
            None => (0, None),
        };
        let kind = layout.as_ref().map(|layout| layout.kind);
        let kind = kind.or(accepted.iter().copied().find(|kind| kind.has_text_form())).unwrap_or(Kind::Run);
        Ok(TextReader { lines, kind, layout, header, head, batches: VecDeque::new(), marked: 0 })
    }

    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    pub(crate) fn has_ranks(&self) -> bool {
        self.layout.as_ref().is_none_or(Layout::has_ranks)
    }

    pub(crate) fn has_scores(&self) -> bool {
        self.layout.as_ref().is_none_or(|layout| layout.score.is_some())
    }

    /// Rows read so far whose line begins with `#`, as comments do.
    pub(crate) fn marked(&self) -> usize {
        self.marked
    }

    /// The next batch; none at the end.
    ///
    /// # Errors
    /// A malformed line, with its number.
    pub(crate) fn next(&mut self) -> Result<Option<RecordBatch>> {
        let Some(layout) = &self.layout else { return Ok(None) };
        while self.batches.is_empty() {
            let cores = thread::available_parallelism().map_or(1, usize::from);
            let mut blocks: Vec<Block> = self.head.drain(..self.head.len().min(cores)).collect();
            while blocks.len() < cores
                && let Some(block) = self.lines.next_block(BLOCK_BYTES)?
            {
                blocks.push(block);
            }
            if blocks.is_empty() {
                return Ok(None);
            }
            let (name, header) = (self.lines.name(), self.header);
            let parse = |block| parse_block(name, layout, header, block);
            thread::scope(|scope| {
                let (last, others) = blocks.split_last().expect("not empty");
                let others: Vec<_> = others.iter().map(|block| scope.spawn(|| parse(block))).collect();
                let last = parse(last);
                let join =
                    |thread: thread::ScopedJoinHandle<_>| thread.join().unwrap_or_else(|panic| resume_unwind(panic));
                self.batches.extend(others.into_iter().map(join).chain([last]));
            });
            self.batches.retain(|parsed| parsed.as_ref().map_or(true, |parsed| parsed.rows.num_rows() > 0));
        }
        let Some(Parsed { rows, marked }) = self.batches.pop_front().transpose()? else { return Ok(None) };
        self.marked += marked;
        Ok(Some(rows))
    }

    pub(crate) fn schema(&self) -> SchemaRef {
        schema_of(self.kind)
    }
}

fn schema_of(kind: Kind) -> SchemaRef {
    match kind {
        Kind::Qrels => schema::qrels(IdSpace::Official),
        Kind::Negatives => schema::negatives(IdSpace::Official),
        _ => schema::run(IdSpace::Official),
    }
}

/// The layout of the lines of a block that are rows, with the number of the first; none if there are no such lines.
fn find_layout(
    name: &str,
    block: &Block,
    accepted: &[Kind],
    is_row: fn(&str) -> bool,
) -> Result<Option<(usize, Layout)>> {
    let lines: Vec<(usize, &str)> =
        block.lines(name).map(|(number, line)| Ok((number, line?))).collect::<Result<_>>()?;
    let mut rows = lines.into_iter().filter(|(_, line)| !is_blank(line) && is_row(line)).peekable();
    let Some(&(first, _)) = rows.peek() else { return Ok(None) };
    let rows: Vec<&str> = rows.map(|(_, line)| line).collect();
    match Layout::find(&rows, accepted) {
        Ok(layout) => Ok(Some((first, layout))),
        Err(Problem::Misfit(problem)) => Err(misfit(name, accepted, problem)),
        Err(Problem::Malformed(text)) => {
            let columns = if accepted.first() == Some(&Kind::Qrels) { "relevance" } else { "rank score" };
            Err(Error::at_line(name, first, text)
                .hint(format!("a first line may name the columns, in any order, such as: query_id doc_id {columns}")))
        }
    }
}

fn is_blank(line: &str) -> bool {
    line.trim_ascii().is_empty()
}

/// Whether a line can be more than a comment: some ids begin with `#`.
fn may_be_row(line: &str) -> bool {
    !line.strip_prefix('#').is_some_and(|rest| rest.is_empty() || rest.starts_with(|c: char| c.is_ascii_whitespace()))
}

fn parse_block(name: &str, layout: &Layout, header: usize, block: &Block) -> Result<Parsed> {
    let (mut queries, mut docs) = (StringBuilder::new(), StringBuilder::new());
    let (mut integers, mut scores) = (Int32Builder::new(), Float32Builder::new());
    let (mut fields, mut marked) = (Vec::new(), 0);
    for (number, line) in block.lines(name) {
        let line = line?;
        if number == header || is_blank(line) {
            continue;
        }
        let is_marked = line.starts_with('#');
        match layout.parse(line, &mut fields) {
            _ if is_marked && !may_be_row(line) => {}
            Ok((integer, score)) => {
                queries.append_value(layout.query(&fields));
                docs.append_value(layout.doc(&fields));
                integers.append_value(integer);
                scores.append_value(score);
                marked += usize::from(is_marked);
            }
            Err(_) if is_marked => {}
            Err(why) => {
                let text = format!("{why}; expected {}: {}", layout.kind, layout.columns);
                return Err(Error::at_line(name, number, text));
            }
        }
    }
    let mut columns: Vec<ArrayRef> =
        vec![Arc::new(queries.finish()), Arc::new(docs.finish()), Arc::new(integers.finish())];
    if layout.kind != Kind::Qrels {
        columns.push(Arc::new(scores.finish()));
    }
    let rows = RecordBatch::try_new(schema_of(layout.kind), columns).map_err(Error::at(name))?;
    Ok(Parsed { rows, marked })
}
