//! The values of metrics for a run: each metric's .sql file over the tables `qrels` and `run`, query
//! by query, then the mean.

use std::collections::HashMap;

use arrow::array::{Array, AsArray, Int32Array, RecordBatch, UInt32Array};
use arrow::datatypes::{Float64Type, Int32Type};
use datafusion::error::DataFusionError;
use datafusion::prelude::SessionConfig;
use hardmine_records::{Error, Ids, Provenance, Result};

use crate::engine::{Engine, failed};
use crate::{Judgements, Metric, Order, Ranking};

/// Computes metrics with an SQL engine that is started once for any number of runs.
///
/// ```
/// use std::sync::Arc;
///
/// use hardmine_evaluation::{Evaluation, Judgements, Metric, Order, Ranking, RunOptions};
/// use hardmine_files::Input;
///
/// let folder = tempfile::tempdir()?;
/// let file = |name: &str, text: &str| {
///     let path = folder.path().join(name);
///     std::fs::write(&path, text).map(|()| Input::Path(path))
/// };
/// let qrels = file("qrels.txt", "q 0 b 1\n")?; // Document b is relevant to query q,
/// let run = file("run.tsv", "q\ta\t1\nq\tb\t2\n")?; // and the run has it in second place.
///
/// let judgements = Arc::new(Judgements::open(&qrels, None)?);
/// let options = RunOptions { order: Order::Rank, ids: None, exclude_self: false, judged_only: false, is_part: false };
/// let ranking = Ranking::open(&run, &judgements, options)?;
/// let mrr: Metric = "MRR@10".parse()?;
/// let scores = Evaluation::new(Order::Rank, 1, false)?.score("run", &ranking, &[mrr])?;
/// assert_eq!(scores.means().next().map(|(_, mean)| mean), Some(0.5));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Evaluation {
    engine: Engine,
    order: Order,
    level: i32,
    complete: bool,
}

/// The metrics of one run.
pub struct RunScores {
    /// The name of the run in tables.
    pub run: String,
    /// Number of queries of the run, judged or not.
    pub lists: usize,
    /// Ids of the queries that the means are over.
    pub queries: Ids,
    /// Each metric with its values, one for each of `queries`. Those of gMAP are logarithms, as in trec_eval.
    pub values: Vec<(Metric, Vec<f64>)>,
    /// Numbers of `queries` in the judgements.
    pub(crate) numbers: Vec<i32>,
    /// Numbers of the queries that the run has a list for, among them.
    pub(crate) ranked: Vec<i32>,
    pub(crate) provenance: Provenance,
}

impl RunScores {
    /// Number of the run's queries that are judged.
    pub fn judged_lists(&self) -> usize {
        self.ranked.len()
    }
}

impl Evaluation {
    /// `level` is the least grade that is relevant (nDCG counts every grade above 0). `complete` has
    /// means go over all queries of the qrels, as in rank order they always do.
    pub fn new(order: Order, level: i32, complete: bool) -> Result<Self> {
        // One partition and joins as they are written: sums are added up in the same order every time.
        let mut config = SessionConfig::new().with_target_partitions(1);
        config.options_mut().optimizer.join_reordering = false;
        Ok(Evaluation { engine: Engine::new(config)?, order, level, complete })
    }

    /// The values of `metrics` for a run called `run`.
    pub fn score(&self, run: &str, ranking: &Ranking, metrics: &[Metric]) -> Result<RunScores> {
        let judgements = &ranking.judgements;
        let numbers = match ranking.is_part {
            true => ranking.queries.clone(),
            false => self.queries(judgements, &ranking.queries),
        };
        let mut places = vec![None; judgements.queries()];
        for (place, &number) in numbers.iter().enumerate() {
            places[number as usize] = Some(place);
        }

        let grades = &judgements.rows.relevance;
        for metric in metrics {
            metric.check_grades(&judgements.name, grades.values().iter().copied().max().unwrap_or(0))?;
        }
        let tables =
            [("qrels", judgements.table()?), ("run", ranking.judged.clone()), ("lists", ranking.lists_table()?)];
        let computed = self.engine.run(async {
            for (name, batch) in tables {
                self.engine.context.deregister_table(name)?;
                self.engine.context.register_batch(name, batch)?;
            }
            let mut computed = Vec::with_capacity(metrics.len());
            for metric in metrics {
                self.engine.context.deregister_table("gains")?;
                self.engine.context.register_batch("gains", metric.gains(grades)?)?;
                let mut values = vec![metric.kept(0.0); numbers.len()];
                for (query, value) in self.compute(metric).await? {
                    if let Some(place) = places[query as usize] {
                        values[place] = metric.kept(value);
                    }
                }
                computed.push((metric.clone(), values));
            }
            Ok(computed)
        });
        let values = computed.map_err(failed(run))?;
        RunScores::new(run, ranking.lists, judgements, numbers, values, ranking.queries.clone())
    }

    async fn compute(&self, metric: &Metric) -> std::result::Result<Vec<(i32, f64)>, DataFusionError> {
        let parameters = metric.parameters(self.level);
        let plan = hardmine_planning::plan(&self.engine.context, metric.sql()).await?;
        let query = hardmine_planning::prepare(&self.engine.context, plan).await?.with_param_values(parameters)?;
        let mut rows = Vec::new();
        for batch in query.collect().await? {
            let queries: &Int32Array = batch["query_id"].as_primitive::<Int32Type>();
            let values = batch["value"].as_primitive::<Float64Type>();
            rows.extend(queries.values().iter().zip(values).map(|(&query, value)| (query, value.unwrap_or(0.0))));
        }
        Ok(rows)
    }

    /// The values of `metrics` for a run called `run` whose `lists` were scored in `parts`: metrics records of each, in
    /// the order of the run.
    ///
    /// # Errors
    /// Values of queries that are not judged, or of other metrics.
    pub fn join(
        &self,
        run: &str,
        lists: usize,
        judgements: &Judgements,
        metrics: &[Metric],
        parts: &[RecordBatch],
    ) -> Result<RunScores> {
        let wrong = |text: &str| Error::new(run, format!("a part of it was scored with {text}"));
        let numbers_of: HashMap<_, _> =
            (0..judgements.queries()).map(|number| (judgements.queries.text(number), number as i32)).collect();
        let mut ranked = Vec::new();
        let mut found = vec![HashMap::new(); metrics.len()];
        for part in parts {
            let names = part["metric"].as_string::<i32>();
            let values = part["value"].as_primitive::<Float64Type>();
            let queries = Ids::of(&part["query_id"]).ok_or_else(|| wrong("other ids"))?;
            // Rows without a query are means over the part.
            for row in (0..part.num_rows()).filter(|&row| part["query_id"].is_valid(row)) {
                let number = *numbers_of.get(&queries.text(row)).ok_or_else(|| wrong("other judgements"))?;
                let metric = metrics.iter().position(|metric| metric.to_string() == names.value(row));
                let metric = metric.ok_or_else(|| wrong("other metrics"))?;
                found[metric].insert(number, values.value(row));
                if metric == 0 {
                    ranked.push(number);
                }
            }
        }
        let numbers = self.queries(judgements, &ranked);
        let values = metrics.iter().zip(&found).map(|(metric, found)| {
            let value = |number| found.get(number).copied().unwrap_or_else(|| metric.kept(0.0));
            (metric.clone(), numbers.iter().map(value).collect())
        });
        let values = values.collect();
        RunScores::new(run, lists, judgements, numbers, values, ranked)
    }

    /// Numbers of the queries that the means are over, in the order in which they are added up:
    /// msmarco_eval's is that of the run (what it adds nothing for comes last here), trec_eval's by id.
    fn queries(&self, judgements: &Judgements, ranked: &[i32]) -> Vec<i32> {
        let mut numbers = ranked.to_vec();
        if self.complete || self.order == Order::Rank {
            let mut ranked = vec![false; judgements.queries()];
            numbers.iter().for_each(|&number| ranked[number as usize] = true);
            numbers.extend((0..judgements.queries() as i32).filter(|&number| !ranked[number as usize]));
        }
        if self.order == Order::Score {
            numbers.sort_by_cached_key(|&number| judgements.queries.text(number as usize).into_owned());
        }
        numbers
    }
}

impl RunScores {
    fn new(
        run: &str,
        lists: usize,
        judgements: &Judgements,
        numbers: Vec<i32>,
        values: Vec<(Metric, Vec<f64>)>,
        ranked: Vec<i32>,
    ) -> Result<RunScores> {
        let rows = UInt32Array::from_iter_values(numbers.iter().map(|&number| number as u32));
        let queries = judgements.queries.take(&rows)?;
        let provenance = judgements.provenance.clone();
        Ok(RunScores { run: run.to_owned(), lists, queries, values, numbers, ranked, provenance })
    }

    /// Each metric with its mean over [`RunScores::queries`]; of counts, their sum.
    pub fn means(&self) -> impl Iterator<Item = (&Metric, f64)> {
        self.values.iter().map(|(metric, values)| (metric, metric.mean(values)))
    }
}
