//! Reads records: one reader for every kind, format and origin.

use std::fs::File;
use std::ops::Range;

use arrow::array::{Array, RecordBatch};
use arrow::compute::min;
use arrow::datatypes::{Schema, SchemaRef};
use arrow::ipc::writer::FileWriter;
use hardmine_records::columns::ListColumns;
use hardmine_records::conform::{Conform, IntegerIds, are_finite, with_fixed_size};
use hardmine_records::{CodesBatch, EmbeddingsBatch, Error, IdSpace, Kind, Provenance, Result, RunBatch, TokensBatch};
use parquet::arrow::arrow_reader::ParquetRecordBatchReader;

use crate::dataset::Dataset;
use crate::expected::{misfit, unexpected};
use crate::foreign::foreign;
use crate::input::{Content, OpenedFile, Source};
use crate::ipc::{MappedFile, StreamReader};
use crate::lists::{Positions, TextReader};
use crate::parquet::{next_batch, open_parquet, provenance_in};
use crate::{Input, ipc};

/// Batches of records of one kind, in the schema of that kind whoever wrote them.
pub struct Table {
    name: String,
    kind: Kind,
    conform: Conform,
    provenance: Provenance,
    first: Option<RecordBatch>,
    batches: Batches,
    ranks: Ranks,
    /// Whether integer ids were taken for official ones without being told so.
    assumed: bool,
    /// Rows that are passed over before the first one that is given, and how many are given from there on.
    cut: Option<(u64, u64)>,
}

/// What integer ids mean in a file of another program.
#[derive(Clone, Copy, PartialEq)]
enum ForeignIds {
    /// Row numbers: only our own commands ask so.
    AsTyped,
    /// Ids of this space, as the user says.
    Told(IdSpace),
    /// Official ids, since nobody says anything.
    Assumed,
}

/// What is done with the ranks of runs and negatives.
enum Ranks {
    /// There are none in this kind, or nobody looks at them.
    Unread,
    /// Nothing was read yet.
    Unknown,
    /// They count from 1.
    FromOne,
    /// They count from 0 or are missing: the positions in the lists take their place.
    Positions(Box<Positions>),
}

pub(crate) enum Batches {
    Stream(Box<StreamReader>),
    Mapped(MappedFile, usize),
    Parquet(ParquetRecordBatchReader),
    Text(Box<TextReader>),
    Dataset(Box<Dataset>),
}

impl Table {
    /// Opens `input`, which must hold one of the `accepted` kinds (a text is taken for the one it looks like). Integer
    /// ids are internal, whoever wrote them.
    ///
    /// # Errors
    /// A missing, empty, truncated or unreadable file, and one that holds something else.
    pub fn open(input: &Input, accepted: &[Kind]) -> Result<Table> {
        Table::open_any(input, accepted, ForeignIds::AsTyped)
    }

    /// [`Table::open`], but only the `rows` of it, counted from 0. Of a dataset, only the shards that have some of them
    /// are opened.
    ///
    /// # Errors
    /// As [`Table::open`]. Reading fails at the end where there are not so many rows.
    pub fn open_rows(input: &Input, accepted: &[Kind], rows: Range<u64>) -> Result<Table> {
        Table::cut(input, accepted, ForeignIds::AsTyped, rows)
    }

    /// [`Table::open_with_ids`], but only the `rows` of it, if they are given; see [`Table::open_rows`].
    ///
    /// # Errors
    /// Those of both.
    pub fn open_rows_with_ids(
        input: &Input,
        accepted: &[Kind],
        ids: Option<IdSpace>,
        rows: Option<Range<u64>>,
    ) -> Result<Table> {
        let foreign_ids = ids.map_or(ForeignIds::Assumed, ForeignIds::Told);
        match rows {
            Some(rows) => Table::cut(input, accepted, foreign_ids, rows),
            None => Table::open_any(input, accepted, foreign_ids),
        }
    }

    fn cut(input: &Input, accepted: &[Kind], foreign_ids: ForeignIds, rows: Range<u64>) -> Result<Table> {
        let mut before = 0;
        let mut table = match input.folder() {
            None => Table::open_any(input, accepted, foreign_ids)?,
            Some(folder) => {
                let dataset = Dataset::open_rows(folder, &rows)?;
                before = dataset.first_row();
                Table::of_dataset(input, dataset, accepted, foreign_ids)?
            }
        };
        table.cut = Some((rows.start - before, rows.end - rows.start));
        Ok(table)
    }

    /// As [`Table::open`], of an input that is open already.
    ///
    /// # Errors
    /// As [`Table::open`].
    pub fn read(source: Source, accepted: &[Kind]) -> Result<Table> {
        Table::read_with_ids(source, accepted, ForeignIds::AsTyped)
    }

    /// [`Table::open`], but integer ids in files of other programs are of the space `ids`; where it is not given, they
    /// are assumed to be official, and [`Table::notes`] says so.
    ///
    /// # Errors
    /// As [`Table::open`]; ids that can't be of the space `ids`.
    pub fn open_with_ids(input: &Input, accepted: &[Kind], ids: Option<IdSpace>) -> Result<Table> {
        Table::open_rows_with_ids(input, accepted, ids, None)
    }

    /// Opens a file, a pipe, or a folder of shards.
    fn open_any(input: &Input, accepted: &[Kind], foreign_ids: ForeignIds) -> Result<Table> {
        let Some(folder) = input.folder() else { return Table::read_with_ids(input.open()?, accepted, foreign_ids) };
        Table::of_dataset(input, Dataset::open(folder)?, accepted, foreign_ids)
    }

    fn of_dataset(input: &Input, dataset: Dataset, accepted: &[Kind], foreign_ids: ForeignIds) -> Result<Table> {
        let (schema, provenance) = (dataset.schema(), dataset.provenance().clone());
        let batches = Batches::Dataset(Box::new(dataset));
        Table::new(input.to_string(), accepted, &schema, batches, provenance, None, foreign_ids)
    }

    /// Leaves ranks as they are: 0 where there are none. For those who order lists by score, or not at all.
    pub fn without_ranks(mut self) -> Table {
        // Scores that are made of the ranks need them.
        if self.has_scores() {
            self.ranks = Ranks::Unread;
        }
        self
    }

    fn read_with_ids(source: Source, accepted: &[Kind], foreign_ids: ForeignIds) -> Result<Table> {
        let name = source.name.clone();
        match source.content {
            Content::Text if accepted.iter().any(|kind| kind.has_text_form()) => {
                let text = TextReader::new(source.into_lines(), accepted)?;
                let (kind, schema) = (text.kind(), text.schema());
                Table::new(
                    name,
                    accepted,
                    &schema,
                    Batches::Text(Box::new(text)),
                    Provenance::default(),
                    Some(kind),
                    foreign_ids,
                )
            }
            Content::Text => Err(unexpected(&name, accepted, "text, which is no form of it")),
            Content::ArrowStream => {
                let stream = StreamReader::new(name.clone(), source.reader, source.packed)?;
                let schema = stream.schema();
                let provenance = Provenance::from_metadata(schema.metadata());
                Table::new(name, accepted, &schema, Batches::Stream(Box::new(stream)), provenance, None, foreign_ids)
            }
            content => {
                let (batches, schema, provenance) = open_records(&name, content, source.into_file()?)?;
                Table::new(name, accepted, &schema, batches, provenance, None, foreign_ids)
            }
        }
    }

    fn new(
        name: String,
        accepted: &[Kind],
        schema: &Schema,
        mut batches: Batches,
        provenance: Provenance,
        known: Option<Kind>,
        foreign_ids: ForeignIds,
    ) -> Result<Table> {
        let first = batches.next(&name)?;
        let sized = with_fixed_size(schema, first.as_ref());
        let schema = sized.as_ref().unwrap_or(schema);
        let kind = match known.or(provenance.kind(&name)?) {
            Some(kind) if accepted.contains(&kind) => kind,
            Some(kind) => {
                return Err(unexpected(&name, accepted, kind));
            }
            None => kind_by_columns(&name, schema, accepted)?,
        };
        let is_foreign = known.is_none() && provenance.kind(&name)?.is_none();
        let ids = match foreign_ids {
            ForeignIds::AsTyped | ForeignIds::Told(IdSpace::Internal) => IntegerIds::AsTyped,
            _ if is_foreign => IntegerIds::Official,
            _ => IntegerIds::AsTyped,
        };
        let conform = Conform::new(&name, kind, schema, ids, is_foreign)?;
        if conform.made_official() && foreign_ids == ForeignIds::Told(IdSpace::Internal) {
            let text = "the ids of queries or of documents are text, so that the others can't be row numbers";
            return Err(Error::new(name, text).hint("leave out --ids internal, or write both columns as integers"));
        }
        let assumed = conform.made_official() && !matches!(foreign_ids, ForeignIds::Told(_));
        let ranks = match kind {
            Kind::Run | Kind::Negatives => Ranks::Unknown,
            _ => Ranks::Unread,
        };
        Ok(Table { name, kind, conform, provenance, first, batches, ranks, assumed, cut: None })
    }

    /// Whether the file has scores. Those of a run that has none are made of the ranks.
    pub fn has_scores(&self) -> bool {
        match &self.batches {
            Batches::Text(text) => text.has_scores(),
            _ => self.conform.has_scores(),
        }
    }

    fn has_ranks(&self) -> bool {
        match &self.batches {
            Batches::Text(text) => text.has_ranks(),
            _ => self.conform.has_ranks(),
        }
    }

    /// What the user should know of how the file was read, for the closing line; complete after the last batch.
    pub fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if self.assumed {
            let name = &self.name;
            notes.push(format!(
                "{name}: its integer ids were taken for the collection's own (--ids internal if they are row numbers)"
            ));
        }
        if matches!(self.ranks, Ranks::Positions(_)) {
            let name = &self.name;
            notes.push(format!("{name}: its ranks are missing or count from 0, so that positions were taken for them"));
        }
        if let Batches::Text(text) = &self.batches
            && text.marked() > 0
        {
            let (name, rows) = (&self.name, text.marked());
            notes.push(format!(
                "{name}: {rows} lines begin with # and have the columns of a row, and were read as rows"
            ));
        }
        notes
    }

    /// Checks the order of the ids of a dataset, and ranks and scores of a run or of negatives; puts positions in the
    /// place of ranks that are none.
    fn checked(&mut self, batch: RecordBatch) -> Result<RecordBatch> {
        if let Batches::Dataset(dataset) = &mut self.batches {
            match self.kind {
                Kind::Tokens => dataset.check_ids(&TokensBatch::new(&batch)?.ids)?,
                Kind::Embeddings => dataset.check_ids(&EmbeddingsBatch::new(&batch)?.ids)?,
                Kind::Codes => dataset.check_ids(&CodesBatch::new(&batch)?.ids)?,
                _ => {}
            }
        }
        if !matches!(self.kind, Kind::Run | Kind::Negatives) {
            return Ok(batch);
        }
        let first = self.conform.rows() - batch.num_rows();
        let rows = RunBatch::new(&batch)?;
        let teacher = rows
            .teacher
            .iter()
            .flat_map(|teacher| [("teacher", &teacher.docs), ("teacher_positive", &teacher.positives)]);
        for (column, scores) in [("score", &rows.scores)].into_iter().chain(teacher) {
            // What stands behind a null is nothing to look at.
            let is_wrong = |row: &usize| !scores.is_null(*row) && !scores.value(*row).is_finite();
            if !are_finite(scores.values())
                && let Some(row) = (0..scores.len()).find(is_wrong)
            {
                let text = format!("{column} {} is not a finite number in single precision", scores.value(row));
                return Err(Error::at_row(&self.name, first + row, text));
            }
        }
        let ranks = &rows.ranks;
        let has_scores = self.has_scores();
        if matches!(self.ranks, Ranks::Unknown) && !rows.is_empty() {
            self.ranks = match self.has_ranks() && ranks.value(0) != 0 {
                true => Ranks::FromOne,
                false => Ranks::Positions(Box::default()),
            };
        }
        match &mut self.ranks {
            Ranks::FromOne if min(ranks).is_some_and(|least| least < 1) => {
                let row = ranks.values().iter().position(|&rank| rank < 1).unwrap_or_default();
                let text = format!("rank {} is less than 1, and the first one is not 0", ranks.value(row));
                Err(Error::at_row(&self.name, first + row, text).hint("score --order score does without ranks"))
            }
            Ranks::Positions(positions) => positions.apply(&self.name, rows, has_scores)?.into_records(self.kind),
            _ => Ok(batch),
        }
    }

    /// Whether the batches point into a memory map, so that all of them can be kept.
    pub fn is_mapped(&self) -> bool {
        match &self.batches {
            Batches::Mapped(..) => true,
            Batches::Dataset(dataset) => dataset.is_mapped(),
            _ => false,
        }
    }

    /// Rows of each shard of a dataset that was opened; none for a file.
    pub fn shards(&self) -> Option<Vec<u64>> {
        match &self.batches {
            Batches::Dataset(dataset) => Some(dataset.rows()),
            _ => None,
        }
    }

    /// Copies the rest of the table into an Arrow file without a name, for those who read it more than once.
    ///
    /// # Errors
    /// As reading it; a temporary folder without space.
    pub fn spool(mut self) -> Result<Input> {
        let place = "temporary file";
        let file = tempfile::tempfile().map_err(Error::io(place))?;
        let mut writer = FileWriter::try_new_buffered(file, &self.schema()).map_err(Error::at(place))?;
        for batch in &mut self {
            writer.write(&batch?).map_err(Error::at(place))?;
        }
        writer.finish().map_err(Error::at(place))?;
        let file = writer.into_inner().map_err(Error::at(place))?.into_inner();
        let mut file = file.map_err(|e| Error::io(place)(e.into_error()))?;
        // Streams tell where they come from at their end.
        let schema = self.schema().as_ref().clone().with_metadata(self.provenance.to_metadata());
        ipc::replace_footer(&mut file, &schema).map_err(Error::at(place))?;
        Ok(Input::Opened(OpenedFile::new(&self.name, file)))
    }

    /// The kind of the records.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The schema of the batches, without metadata.
    pub fn schema(&self) -> SchemaRef {
        self.conform.schema()
    }

    /// The space of `query_id` and `doc_id`; internal for kinds that have neither.
    pub fn ids(&self) -> IdSpace {
        self.conform.ids()
    }

    /// The name used in errors.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where the records came from. That of a stream is complete only after its last batch.
    pub fn provenance(&self) -> &Provenance {
        &self.provenance
    }
}

impl Iterator for Table {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Result<RecordBatch>> {
        loop {
            match (self.next_whole(), &mut self.cut) {
                (Some(Ok(batch)), Some((skipped, left))) => {
                    let rows = batch.num_rows() as u64;
                    let from = rows.min(*skipped);
                    let taken = (rows - from).min(*left);
                    (*skipped, *left) = (*skipped - from, *left - taken);
                    if taken > 0 {
                        return Some(Ok(batch.slice(from as usize, taken as usize)));
                    }
                    // Only at its end does a stream say where its rows came from.
                    if *left == 0 && !matches!(self.batches, Batches::Stream(_)) {
                        return None;
                    }
                }
                (None, Some((skipped, left))) if *skipped + *left > 0 => {
                    let missing = *skipped + std::mem::take(left);
                    *skipped = 0;
                    let text = format!("ends {missing} rows before the last one that is asked for");
                    return Some(Err(Error::new(&self.name, text)));
                }
                (next, _) => return next,
            }
        }
    }
}

impl Table {
    /// The next batch, whether or not its rows are among those that are asked for.
    fn next_whole(&mut self) -> Option<Result<RecordBatch>> {
        let next = match self.first.take() {
            Some(batch) => Ok(Some(batch)),
            None => self.batches.next(&self.name),
        };
        match next {
            Ok(Some(batch)) => Some(self.conform.apply(&batch).and_then(|batch| self.checked(batch))),
            Ok(None) => {
                if let Batches::Stream(stream) = &self.batches {
                    self.provenance.merge(stream.trailer());
                }
                None
            }
            Err(error) => Some(Err(error)),
        }
    }
}

impl Batches {
    pub(crate) fn next(&mut self, name: &str) -> Result<Option<RecordBatch>> {
        match self {
            Batches::Stream(stream) => stream.next(),
            Batches::Text(text) => text.next(),
            Batches::Dataset(dataset) => dataset.next(),
            Batches::Parquet(reader) => next_batch(name, reader),
            Batches::Mapped(file, next) if *next < file.batches() => {
                *next += 1;
                file.fetch(*next);
                file.batch(*next - 1).map(Some)
            }
            Batches::Mapped(..) => Ok(None),
        }
    }
}

/// The batches of an Arrow file or of Parquet (whatever is not an Arrow file), their schema, and where they came from.
///
/// # Errors
/// A truncated or damaged file.
pub(crate) fn open_records(name: &str, content: Content, file: File) -> Result<(Batches, SchemaRef, Provenance)> {
    if content == Content::ArrowFile {
        let file = MappedFile::new(name.to_owned(), &file)?;
        let schema = file.schema();
        let provenance = Provenance::from_metadata(schema.metadata());
        return Ok((Batches::Mapped(file, 0), schema, provenance));
    }
    let builder = open_parquet(name, file)?;
    let (schema, provenance) = (builder.schema().clone(), provenance_in(&builder));
    let batches = foreign(name, || builder.with_batch_size(8192).build())?.map_err(Error::at(name))?;
    Ok((Batches::Parquet(batches), schema, provenance))
}

/// The one of the `accepted` kinds whose columns a file of another program has.
fn kind_by_columns(name: &str, schema: &Schema, accepted: &[Kind]) -> Result<Kind> {
    let fitting: Vec<Kind> = accepted
        .iter()
        .copied()
        .filter(|&kind| Conform::new(name, kind, schema, IntegerIds::AsTyped, true).is_ok())
        .collect();
    match fitting[..] {
        [] => Ok(accepted[0]),
        [kind] => Ok(kind),
        [kind, ..] if !kind.has_text_form() => Ok(kind),
        [kind, ..] => match ListColumns::find(schema.fields().iter().map(|field| field.name().as_str())) {
            Some(columns) => {
                let whole = || columns.score.is_some_and(|score| schema.field(score).data_type().is_integer());
                columns.can_be(whole).choose(&fitting).map_err(|problem| misfit(name, accepted, problem))
            }
            None => Ok(kind),
        },
    }
}
