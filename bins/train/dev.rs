//! `train --dev-queries`: the options, and the metric that training is measured by.

use std::sync::Arc;

use clap::value_parser;
use hardmine_command as command;
use hardmine_encoder::Encoder;
use hardmine_evaluation::{Evaluation, Judgements, Metric, Order, Ranking, RunOptions};
use hardmine_files::{Input, MappedTokens};
use hardmine_records::{Ids, QrelsBatch, Result, RunBatch};
use hardmine_training::Method;
use hardmine_training::data::{Graded, IdOptions, TextRows, read_grades};
use hardmine_training::dev::{self, DevPlan, DevSet, Keep};

const KEEP: [(&str, &str, Keep); 2] = [
    ("best", "The model that measured best; if several measured the same, the earliest of them", Keep::Best),
    ("last", "The model after the last step", Keep::Last),
];

/// Measuring the model while it is trained.
#[derive(clap::Args)]
#[command(next_help_heading = "Evaluation while it trains")]
pub(crate) struct DevOptions {
    /// Tokens of dev queries. The model is measured on those that are judged: before the first step, every so many
    /// steps, and after the last one. Texts are cut as in training, and there is no dropout. Take queries that are
    /// neither trained on nor reported on, because the model is chosen by them
    #[arg(long, value_name = "TOKENS", requires = "dev_qrels")]
    dev_queries: Option<Input>,
    /// Judgements of the dev queries
    #[arg(long, value_name = "QRELS", requires = "dev_queries")]
    dev_qrels: Option<Input>,
    /// Metric to measure by: any that score knows, computed as score computes it by default
    #[arg(long, value_name = "METRIC", default_value = "nDCG@10", requires = "dev_queries")]
    dev_metric: Metric,
    /// Search fewer documents: those that the dev qrels judge, and this many others drawn at random. Values are then
    /// higher than on the whole collection, and comparable only with each other
    #[arg(long, value_name = "NUMBER", requires = "dev_queries")]
    dev_docs: Option<usize>,
    /// Number of steps between two measurements [default: a tenth of the run]
    #[arg(long, value_name = "STEPS", requires = "dev_queries", value_parser = value_parser!(u64).range(1..))]
    evaluate_every: Option<u64>,
    /// Stop after this many measurements without a gain
    #[arg(long, value_name = "MEASUREMENTS", requires = "dev_queries", value_parser = value_parser!(u64).range(1..))]
    patience: Option<u64>,
    /// Which model to write
    #[arg(long, default_value = "best", requires = "dev_queries", value_parser = command::one_of(&KEEP))]
    keep: Keep,
}

/// Dev queries with their judgements, as they were read.
pub(crate) struct Judged {
    queries: MappedTokens,
    pub(crate) grades: Graded,
}

impl Judged {
    /// The tokens of the dev queries.
    pub(crate) fn queries(&self) -> &MappedTokens {
        &self.queries
    }
}

impl DevOptions {
    /// The files that are read.
    pub(crate) fn inputs(&self) -> impl Iterator<Item = &Input> {
        self.dev_queries.iter().chain(&self.dev_qrels)
    }

    /// Opens the dev queries, if there are any, and reads their judgements of `docs`.
    pub(crate) fn open(&self, docs: &TextRows, reading: IdOptions) -> Result<Option<Judged>> {
        let (Some(queries), Some(qrels)) = (&self.dev_queries, &self.dev_qrels) else { return Ok(None) };
        let queries = MappedTokens::open(queries)?;
        let grades = read_grades(qrels, &TextRows::of_tokens(&queries), docs, reading)?;
        Ok(Some(Judged { queries, grades }))
    }

    /// What a model is measured on; `seed` draws documents, where not all are searched.
    pub(crate) fn set(&self, Judged { queries, grades }: Judged, of: (&Encoder, &Method), seed: u64) -> Result<DevSet> {
        let plan = DevPlan { every: self.evaluate_every, patience: self.patience, keep: self.keep };
        let metric = self.metric(&grades)?;
        let others = self.dev_docs.map(|number| (number, seed));
        DevSet::new(queries, grades, metric, plan, of, others)
    }

    /// The metric, with judgements to measure by.
    fn metric(&self, grades: &Graded) -> Result<Box<dyn dev::Metric>> {
        let rows = QrelsBatch {
            queries: Ids::Internal(grades.rows.iter().map(|&(query, ..)| i64::from(query)).collect()),
            docs: Ids::Internal(grades.rows.iter().map(|&(_, doc, _)| i64::from(doc)).collect()),
            relevance: grades.rows.iter().map(|&(.., grade)| grade).collect(),
        };
        let judgements = Arc::new(Judgements::of_records(&grades.name, &rows.into_records()?)?);
        let evaluation = Evaluation::new(Order::Rank, 1, true)?;
        Ok(Box::new(Measure { metric: self.dev_metric.clone(), judgements, evaluation }))
    }
}

/// A metric as `score` computes it.
struct Measure {
    metric: Metric,
    judgements: Arc<Judgements>,
    evaluation: Evaluation,
}

impl dev::Metric for Measure {
    fn name(&self) -> String {
        self.metric.to_string()
    }

    fn depth(&self) -> Option<usize> {
        self.metric.depth()
    }

    fn mean(&self, queries: &[u32], lists: &[Vec<i64>]) -> Result<f64> {
        let query_of = |(&query, list): (&u32, &Vec<i64>)| std::iter::repeat_n(i64::from(query), list.len());
        let run = RunBatch {
            queries: Ids::Internal(queries.iter().zip(lists).flat_map(query_of).collect()),
            docs: Ids::Internal(lists.iter().flatten().copied().collect()),
            ranks: lists.iter().flat_map(|list| 1..=list.len() as i32).collect(),
            scores: lists.iter().flat_map(|list| list.iter().map(|_| 0.0)).collect(),
            teacher: None,
        };
        let reading =
            RunOptions { order: Order::Rank, ids: None, exclude_self: false, judged_only: false, is_part: false };
        let ranking = Ranking::of_records("dev", &[run], &self.judgements, reading)?;
        let scores = self.evaluation.score("dev", &ranking, std::slice::from_ref(&self.metric))?;
        Ok(scores.means().map(|(_, mean)| mean).sum())
    }
}
