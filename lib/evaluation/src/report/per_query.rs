//! The values of every query, as records.

use hardmine_files::{Output, Writer};
use hardmine_records::{Error, Kind, MetricsBatch, Provenance, Result, provenance, schema};

use crate::RunScores;

/// Writes the values of every query, and the means with a null as query, as metrics records; returns
/// their number.
pub fn write_per_query(output: &Output, runs: &[RunScores]) -> Result<u64> {
    let Some(first) = runs.first() else { return Err(Error::new(output, "there is no run to write")) };
    let mut about = Provenance::default();
    about.set_some(provenance::QUERIES, first.provenance.get(provenance::QUERIES));
    about.set_some(provenance::DOCS, first.provenance.get(provenance::DOCS));
    let space = first.queries.space();
    let mut writer = Writer::create(output, Kind::Metrics, schema::metrics(space), about)?;
    for run in runs {
        for ((metric, values), (_, mean)) in run.values.iter().zip(run.means()) {
            let (name, metric) = (run.run.as_str(), &metric.to_string());
            let queries = MetricsBatch { run: name, metric, queries: run.queries.clone(), values: values.clone() };
            writer.write(&queries.into_records()?)?;
            writer.write(&MetricsBatch::mean(name, metric, space, mean)?)?;
        }
    }
    writer.finish()
}
