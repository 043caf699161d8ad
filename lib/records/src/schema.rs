//! The kinds of records, read from `schemas/*.json`: the one place where columns are defined.

use std::fmt;
use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use serde::Deserialize;

use crate::ids::{IdSpace, Ids};

/// A kind of record; every file of ours is of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Tokenized texts.
    Tokens,
    /// Vectors of texts.
    Embeddings,
    /// Codes of texts, which a product quantizer makes of their vectors.
    Codes,
    /// Relevance judgements.
    Qrels,
    /// Ranked lists.
    Run,
    /// Hard negatives.
    Negatives,
    /// Metric values.
    Metrics,
    /// Training steps.
    TrainingLog,
    /// What mining did.
    MiningReport,
}

/// A kind as its file in `schemas/` defines it.
#[derive(Debug, Deserialize)]
pub struct Definition {
    /// The kind's name, as in the metadata of files.
    pub kind: String,
    /// Counts changes of the columns that older readers would not understand.
    pub version: u32,
    /// What a file of this kind holds.
    pub about: String,
    /// The columns, in order.
    pub columns: Vec<Column>,
}

/// One column of a [`Definition`].
#[derive(Debug, Deserialize)]
pub struct Column {
    /// The column's name.
    pub name: String,
    /// Its type.
    #[serde(rename = "type")]
    pub type_: ColumnType,
    /// Whether nulls are allowed.
    #[serde(default)]
    pub nullable: bool,
    /// Whether a file may do without the column.
    #[serde(default)]
    pub optional: bool,
    /// What it holds.
    pub about: String,
}

/// The types that occur in records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ColumnType {
    /// 64-bit integer.
    Int64,
    /// 32-bit integer.
    Int32,
    /// 32-bit float.
    Float32,
    /// 64-bit float.
    Float64,
    /// Text.
    Utf8,
    /// List of 32-bit integers.
    #[serde(rename = "list<int32>")]
    ListInt32,
    /// `fixed_size_list<float32 or float16, dim>`.
    Vector,
    /// `fixed_size_binary(M)`.
    Code,
    /// `int64` in the internal id space, `utf8` in the official one.
    Id,
}

impl Kind {
    /// All kinds, in the order data flows through them.
    pub const ALL: [Kind; 9] = [
        Kind::Tokens,
        Kind::Embeddings,
        Kind::Codes,
        Kind::Qrels,
        Kind::Run,
        Kind::Negatives,
        Kind::Metrics,
        Kind::TrainingLog,
        Kind::MiningReport,
    ];

    /// The kind's columns and version, as `schemas/*.json` defines them.
    pub fn definition(self) -> &'static Definition {
        static DEFINITIONS: LazyLock<Vec<Definition>> = LazyLock::new(|| {
            [
                include_str!("../../../schemas/tokens.json"),
                include_str!("../../../schemas/embeddings.json"),
                include_str!("../../../schemas/codes.json"),
                include_str!("../../../schemas/qrels.json"),
                include_str!("../../../schemas/run.json"),
                include_str!("../../../schemas/negatives.json"),
                include_str!("../../../schemas/metrics.json"),
                include_str!("../../../schemas/training-log.json"),
                include_str!("../../../schemas/mining-report.json"),
            ]
            .iter()
            .map(|text| serde_json::from_str(text).expect("schemas/*.json is part of the program and tested"))
            .collect()
        });
        &DEFINITIONS[self as usize]
    }

    /// The name of the kind, such as `run`.
    pub fn name(self) -> &'static str {
        &self.definition().kind
    }

    /// The kind that has this name; none if there is no such kind.
    pub fn from_name(name: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Whether files of this kind may be TSV or TREC text.
    pub fn has_text_form(self) -> bool {
        matches!(self, Kind::Run | Kind::Qrels | Kind::Negatives)
    }

    /// The columns that every file of this kind has. `sized` is the type of vectors or codes.
    fn schema(self, ids: IdSpace, sized: Option<&DataType>) -> SchemaRef {
        self.schema_of(self.definition().columns.iter().filter(|column| !column.optional), ids, sized)
    }

    fn schema_of<'a>(
        self,
        columns: impl Iterator<Item = &'a Column>,
        ids: IdSpace,
        sized: Option<&DataType>,
    ) -> SchemaRef {
        let field = |column: &Column| {
            let type_ = match column.type_ {
                ColumnType::Vector | ColumnType::Code => {
                    sized.expect("embeddings and codes are given their sizes").clone()
                }
                other => other.arrow(ids),
            };
            Field::new(&column.name, type_, column.nullable)
        };
        Arc::new(Schema::new(columns.map(field).collect::<Vec<_>>()))
    }
}

impl ColumnType {
    /// The Arrow type we write. Those of vectors and codes depend on the data: see [`embeddings`] and [`codes`].
    pub(crate) fn arrow(self, ids: IdSpace) -> DataType {
        match self {
            ColumnType::Int64 => DataType::Int64,
            ColumnType::Int32 => DataType::Int32,
            ColumnType::Float32 | ColumnType::Vector => DataType::Float32,
            ColumnType::Float64 => DataType::Float64,
            ColumnType::Code => DataType::FixedSizeBinary(1),
            ColumnType::Utf8 => DataType::Utf8,
            ColumnType::ListInt32 => DataType::List(Arc::new(Field::new("item", DataType::Int32, false))),
            ColumnType::Id => Ids::data_type(ids),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// `tokens`: `id, key, token_ids`.
pub fn tokens() -> SchemaRef {
    Kind::Tokens.schema(IdSpace::Internal, None)
}

/// `embeddings` of `dim` numbers of type `float` (`Float32` or `Float16`): `id, embedding`.
pub fn embeddings(float: DataType, dim: usize) -> SchemaRef {
    Kind::Embeddings.schema(IdSpace::Internal, Some(&vector(float, dim)))
}

pub(crate) fn vector(float: DataType, dim: usize) -> DataType {
    DataType::FixedSizeList(Arc::new(Field::new("item", float, false)), dim as i32)
}

/// `codes` of `subvectors` bytes: `id, code`.
pub fn codes(subvectors: usize) -> SchemaRef {
    Kind::Codes.schema(IdSpace::Internal, Some(&DataType::FixedSizeBinary(subvectors as i32)))
}

/// `qrels`: `query_id, doc_id, relevance`.
pub fn qrels(ids: IdSpace) -> SchemaRef {
    Kind::Qrels.schema(ids, None)
}

/// `run`: `query_id, doc_id, rank, score`.
pub fn run(ids: IdSpace) -> SchemaRef {
    Kind::Run.schema(ids, None)
}

/// `negatives`: `query_id, doc_id, rank, score`.
pub fn negatives(ids: IdSpace) -> SchemaRef {
    Kind::Negatives.schema(ids, None)
}

/// `negatives` with a teacher's scores: `query_id, doc_id, rank, score, teacher, teacher_positive`.
pub fn taught_negatives(ids: IdSpace) -> SchemaRef {
    Kind::Negatives.schema_of(Kind::Negatives.definition().columns.iter(), ids, None)
}

/// `metrics`: `run, metric, query_id, value`.
pub fn metrics(ids: IdSpace) -> SchemaRef {
    Kind::Metrics.schema(ids, None)
}

/// `training-log`: one row a step.
pub fn training_log() -> SchemaRef {
    Kind::TrainingLog.schema(IdSpace::Internal, None)
}

/// `mining-report`: `section, name, query_id, doc_id, value, text`.
pub fn mining_report(ids: IdSpace) -> SchemaRef {
    Kind::MiningReport.schema(ids, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_the_one_its_file_names() {
        let names: Vec<_> = Kind::ALL.iter().map(|kind| kind.name()).collect();
        let expected =
            ["tokens", "embeddings", "codes", "qrels", "run", "negatives", "metrics", "training-log", "mining-report"];
        assert_eq!(names, expected);
    }
}
