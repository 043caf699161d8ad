//! One run of many: the lists that each query has in several parts of a collection become one list.

use arrow::array::RecordBatch;
use ballista_core::extension::SessionStateExt;
use datafusion::datasource::file_format::options::ArrowReadOptions;
use datafusion::error::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, SessionState};
use datafusion::prelude::SessionContext;
use futures::StreamExt;
use hardmine_files::{Format, Output, Writer};
use hardmine_records::{Error, IdSpace, Kind, Provenance, Result, schema};
use hardmine_units::{Cluster, Job};

use crate::client::plain;

/// Ranks the documents of all shards of `job`, which are runs of the same queries, by the one order of ranked lists: by
/// score descending, then by id ascending. [`Job::merged`] gets the best `top_k` of each query, by the ids of the
/// queries ascending.
///
/// The ranking is a plan of DataFusion alone, which a scheduler divides among its workers by queries.
///
/// # Errors
/// A shard that can't be read; a full disk; errors of the cluster.
pub(crate) async fn merge_runs(cluster: &Cluster, job: &Job, top_k: usize) -> Result<()> {
    let context = match cluster {
        Cluster::Here => SessionContext::new(),
        Cluster::Scheduler(address) => {
            let state = SessionState::new_ballista_state(format!("http://{address}"));
            SessionContext::new_with_state(state.map_err(|error| plain(&error))?)
        }
    };
    let shards = job.units.iter().map(|unit| job.part(unit).join("00000.arrow").to_string_lossy().into_owned());
    let mut rows = plan(&context, shards.collect(), top_k).await.map_err(|error| plain(&error))?;
    let output = Output::Path(job.merged(), Format::File);
    let mut writer = Writer::create(&output, Kind::Run, schema::run(IdSpace::Internal), Provenance::default())?;
    while let Some(batch) = rows.next().await {
        let batch = batch.map_err(|error| plain(&error))?;
        let batch = RecordBatch::try_new(schema::run(IdSpace::Internal), batch.columns().to_vec());
        let batch = batch.map_err(Error::at("merged run"))?;
        writer.write(&batch)?;
    }
    writer.finish().map(drop)
}

async fn plan(
    context: &SessionContext,
    shards: Vec<String>,
    top_k: usize,
) -> std::result::Result<SendableRecordBatchStream, DataFusionError> {
    let shards = context.read_arrow(shards, ArrowReadOptions::default()).await?;
    context.register_table("shards", shards.into_view())?;
    let sql = format!(
        "SELECT query_id, doc_id, CAST(place AS INT) AS rank, score FROM (
           SELECT query_id, doc_id, score, row_number() OVER (PARTITION BY query_id ORDER BY score DESC, doc_id) AS place
           FROM shards)
         WHERE place <= {top_k} ORDER BY query_id, place"
    );
    context.sql(&sql).await?.execute_stream().await
}
