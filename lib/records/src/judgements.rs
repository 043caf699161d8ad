//! Runs, negatives and qrels as text: MS MARCO's TSV and TREC's columns, read and written.

use std::collections::VecDeque;
use std::io::Write;
use std::panic::resume_unwind;
use std::str::SplitAsciiWhitespace;
use std::sync::Arc;
use std::thread;

use arrow::array::{ArrayRef, AsArray, Float32Builder, Int32Builder, RecordBatch, StringBuilder};
use arrow::datatypes::{Float32Type, Int32Type, Int64Type, SchemaRef};

use crate::source::{Block, Lines, place};
use crate::{Error, Format, IdSpace, Kind, Result, schema};

/// Text that becomes one batch.
const BLOCK_BYTES: usize = 1 << 20;

/// Reads a text as records of one kind (run, negatives or qrels) with official ids, on all cores.
pub(crate) struct TextReader {
    lines: Lines,
    kind: Kind,
    /// Found from the first line, which is kept until it is read.
    form: Option<Form>,
    first: Option<Block>,
    /// Parsed, in the order of the text.
    batches: VecDeque<Result<RecordBatch>>,
}

/// What the columns of a line are.
#[derive(Clone, Copy, PartialEq)]
enum Form {
    /// `query  0  document  relevance`, TREC's and MS MARCO's.
    Qrels,
    /// `query-id  corpus-id  score` below a header, BEIR's.
    BeirQrels,
    /// `query  document  rank [score]`, MS MARCO's.
    MsMarcoRun,
    /// `query  Q0  document  rank  score  tag`.
    TrecRun,
}

impl Form {
    fn of(kind: Kind, line: &str) -> Option<Form> {
        let count = fields(line).count();
        match (kind, count) {
            (Kind::Qrels, 3) if line.contains("corpus-id") => Some(Form::BeirQrels),
            (Kind::Qrels, 4) => Some(Form::Qrels),
            (Kind::Run | Kind::Negatives, 3 | 4) => Some(Form::MsMarcoRun),
            (Kind::Run | Kind::Negatives, 6) => Some(Form::TrecRun),
            _ => None,
        }
    }

    /// Of four columns, qrels have the unused 0 in the second and a whole number in the last.
    fn looks_like_qrels(line: &str) -> bool {
        let fields: Vec<_> = fields(line).collect();
        match fields[..] {
            [_, second, _, last] => matches!(second, "0" | "Q0") && last.trim().parse::<i32>().is_ok(),
            [..] => fields.len() == 3 && line.contains("corpus-id"),
        }
    }

    fn columns(self) -> &'static str {
        match self {
            Form::Qrels => "query 0 document relevance",
            Form::BeirQrels => "query-id corpus-id score",
            Form::MsMarcoRun => "query document rank [score]",
            Form::TrecRun => "query Q0 document rank score tag",
        }
    }
}

/// The fields of a line.
enum Fields<'a> {
    /// A tab separates where there is one, so that ids may hold spaces in TSV.
    Tabs(Option<&'a str>),
    Spaces(SplitAsciiWhitespace<'a>),
}

fn fields(line: &str) -> Fields<'_> {
    match line.as_bytes().contains(&b'\t') {
        true => Fields::Tabs(Some(line)),
        false => Fields::Spaces(line.split_ascii_whitespace()),
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        match self {
            Fields::Spaces(fields) => fields.next(),
            Fields::Tabs(rest) => {
                let line = (*rest)?;
                // Fields are so short that looking at one byte after the other is fastest.
                let end = line.bytes().position(|byte| byte == b'\t');
                *rest = end.map(|end| &line[end + 1..]);
                Some(&line[..end.unwrap_or(line.len())])
            }
        }
    }
}

impl TextReader {
    /// Takes the text for the one of `accepted` that its first line looks like.
    pub(crate) fn new(mut lines: Lines, accepted: &[Kind]) -> Result<Self> {
        let first = loop {
            match lines.next_line()? {
                Some("") => continue,
                line => break line.map(str::to_owned),
            }
        };
        let forms = || accepted.iter().copied().filter(|kind| kind.has_text_form());
        let looks_like_qrels = first.as_deref().is_some_and(Form::looks_like_qrels);
        let kind = forms().find(|&kind| (kind == Kind::Qrels) == looks_like_qrels).or(forms().next());
        let kind = kind.unwrap_or(Kind::Run);
        let form = first.as_deref().and_then(|line| Form::of(kind, line));
        let first = first.filter(|_| form != Some(Form::BeirQrels));
        if first.is_some() && form.is_none() {
            return Err(malformed(lines.place(), form, kind, String::new()));
        }
        let first = first.map(|line| Block::of_line(line, lines.number()));
        Ok(TextReader { lines, kind, form, first, batches: VecDeque::new() })
    }

    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    /// The next batch; none at the end.
    ///
    /// # Errors
    /// A malformed line, with its number.
    pub(crate) fn next(&mut self) -> Result<Option<RecordBatch>> {
        let Some(form) = self.form else { return Ok(None) };
        while self.batches.is_empty() {
            let mut blocks = Vec::from_iter(self.first.take());
            let cores = thread::available_parallelism().map_or(1, usize::from);
            while blocks.len() < cores
                && let Some(block) = self.lines.next_block(BLOCK_BYTES)?
            {
                blocks.push(block);
            }
            if blocks.is_empty() {
                return Ok(None);
            }
            let (name, kind) = (self.lines.name(), self.kind);
            let parse = |block| parse_block(name, kind, form, block);
            thread::scope(|scope| {
                let (last, others) = blocks.split_last().expect("not empty");
                let others: Vec<_> = others.iter().map(|block| scope.spawn(|| parse(block))).collect();
                let last = parse(last);
                let join =
                    |thread: thread::ScopedJoinHandle<_>| thread.join().unwrap_or_else(|panic| resume_unwind(panic));
                self.batches.extend(others.into_iter().map(join).chain([last]));
            });
            self.batches.retain(|batch| batch.as_ref().map_or(true, |batch| batch.num_rows() > 0));
        }
        self.batches.pop_front().transpose()
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

/// The rows of a block.
fn parse_block(name: &str, kind: Kind, form: Form, block: &Block) -> Result<RecordBatch> {
    let (mut queries, mut docs) = (StringBuilder::new(), StringBuilder::new());
    let (mut integers, mut scores) = (Int32Builder::new(), Float32Builder::new());
    for (number, line) in block.lines(name) {
        match parse(form, line?) {
            Ok(None) => {}
            Ok(Some(row)) => {
                queries.append_value(row.query);
                docs.append_value(row.doc);
                integers.append_value(row.integer);
                scores.append_value(row.score);
            }
            Err(why) => return Err(malformed(place(name, number), Some(form), kind, why)),
        }
    }
    let mut columns: Vec<ArrayRef> =
        vec![Arc::new(queries.finish()), Arc::new(docs.finish()), Arc::new(integers.finish())];
    if kind != Kind::Qrels {
        columns.push(Arc::new(scores.finish()));
    }
    RecordBatch::try_new(schema_of(kind), columns).map_err(Error::at(name))
}

fn malformed(place: String, form: Option<Form>, kind: Kind, why: String) -> Error {
    let expected = match (form, kind) {
        (Some(form), _) => form.columns().to_owned(),
        (None, Kind::Qrels) => format!("'{}'", Form::Qrels.columns()),
        (None, _) => format!("'{}' or '{}'", Form::MsMarcoRun.columns(), Form::TrecRun.columns()),
    };
    let why = if why.is_empty() { String::new() } else { format!("{why}; ") };
    Error::new(place, format!("{why}expected {kind}: {expected}"))
}

struct Row<'a> {
    query: &'a str,
    doc: &'a str,
    /// Rank or relevance.
    integer: i32,
    score: f32,
}

/// A row; none for an empty line.
fn parse(form: Form, line: &str) -> std::result::Result<Option<Row<'_>>, String> {
    if line.is_empty() {
        return Ok(None);
    }
    let mut fields = fields(line);
    let mut next = |name: &str| fields.next().ok_or_else(|| format!("too few fields, {name} is missing"));
    let row = match form {
        Form::Qrels => {
            let (query, _, doc) = (next("query")?, next("iteration")?, next("document")?);
            Row { query, doc, integer: number(next("relevance")?, "relevance")?, score: 0.0 }
        }
        Form::BeirQrels => {
            let (query, doc) = (next("query-id")?, next("corpus-id")?);
            Row { query, doc, integer: number(next("score")?, "score")?, score: 0.0 }
        }
        Form::MsMarcoRun => {
            let (query, doc) = (next("query")?, next("document")?);
            let rank: i32 = rank(next("rank")?)?;
            // Without a score, one that orders the documents as the ranks do.
            let score = match fields.next() {
                Some(text) => finite(text)?,
                None => 1.0 / rank as f32,
            };
            Row { query, doc, integer: rank, score }
        }
        Form::TrecRun => {
            let (query, _, doc) = (next("query")?, next("Q0")?, next("document")?);
            let rank: i32 = number(next("rank")?, "rank")?;
            let row = Row { query, doc, integer: rank, score: finite(next("score")?)? };
            next("tag")?;
            row
        }
    };
    if row.query.is_empty() || row.doc.is_empty() {
        return Err("an id is empty".into());
    }
    match fields.next() {
        Some(_) => Err("too many fields".into()),
        None => Ok(Some(row)),
    }
}

fn number(text: &str, name: &str) -> std::result::Result<i32, String> {
    text.trim().parse().map_err(|_| format!("{name} '{text}' is not an integer"))
}

fn rank(text: &str) -> std::result::Result<i32, String> {
    match number(text, "rank")? {
        rank if rank < 1 => Err(format!("rank {rank} is less than 1")),
        rank => Ok(rank),
    }
}

fn finite(text: &str) -> std::result::Result<f32, String> {
    match text.trim().parse::<f32>() {
        Ok(score) if !score.is_nan() => Ok(score),
        _ => Err(format!("score '{text}' is not a number")),
    }
}

/// Writes a batch of `kind` as text; `row` is the number of its first row, for errors.
pub(crate) fn write(
    writer: &mut impl Write,
    place: &str,
    kind: Kind,
    format: Format,
    batch: &RecordBatch,
    row: usize,
) -> Result<()> {
    let ids = |column: usize| -> Box<dyn Fn(usize) -> String> {
        let column = batch.column(column).clone();
        match column.as_string_opt::<i32>() {
            Some(_) => Box::new(move |row| column.as_string::<i32>().value(row).to_owned()),
            None => Box::new(move |row| column.as_primitive::<Int64Type>().value(row).to_string()),
        }
    };
    let (query, doc) = (ids(0), ids(1));
    let integers = batch.column(2).as_primitive::<Int32Type>();
    let scores = (kind != Kind::Qrels).then(|| batch.column(3).as_primitive::<Float32Type>());
    for i in 0..batch.num_rows() {
        let (query, doc, integer) = (query(i), doc(i), integers.value(i));
        let separator =
            |c: char| if format == Format::Tsv { matches!(c, '\t' | '\n' | '\r') } else { c.is_whitespace() };
        if let Some(id) = [&query, &doc].into_iter().find(|id| id.is_empty() || id.contains(separator)) {
            let text = format!("id '{}' can't stand in a {format} file", id.escape_default());
            return Err(Error::new(format!("{place}: row {}", row + i), text).hint("write Parquet or Arrow"));
        }
        match (format, scores) {
            (Format::Tsv, None) => writeln!(writer, "{query}\t0\t{doc}\t{integer}"),
            (_, None) => writeln!(writer, "{query} 0 {doc} {integer}"),
            (Format::Tsv, Some(_)) => writeln!(writer, "{query}\t{doc}\t{integer}"),
            (_, Some(scores)) => writeln!(writer, "{query} Q0 {doc} {integer} {} hardmine", scores.value(i)),
        }
        .map_err(Error::io(place))?;
    }
    Ok(())
}
