//! One run of many: the lists that each query has in several parts of a collection become one list.

use std::path::PathBuf;

use arrow::array::RecordBatch;
use ballista_core::extension::SessionStateExt;
use datafusion::datasource::file_format::options::ArrowReadOptions;
use datafusion::error::DataFusionError;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::execution::{SendableRecordBatchStream, SessionState};
use datafusion::prelude::{SessionConfig, SessionContext};
use futures::StreamExt;
use hardmine_files::{Format, Output, Writer, shard_name};
use hardmine_records::{Error, IdSpace, Kind, Provenance, Result, schema};
use hardmine_units::{Cluster, Job};

use crate::client::plain;
use crate::stores::runtime_env;

/// The files with the lists of each shard.
pub(crate) struct Lists {
    paths: Vec<String>,
    /// Whether they were fetched from an object store. DataFusion reads Arrow files from disks only, so that they are
    /// merged on this machine then.
    are_copies: bool,
}

impl Lists {
    /// What the units of `job` made.
    ///
    /// # Errors
    /// Those of an object store.
    pub(crate) fn of(job: &Job) -> Result<Lists> {
        let path = |shard: PathBuf| Ok(job.fetched(&shard)?.to_string_lossy().into_owned());
        let shards: Vec<PathBuf> = job.units.iter().map(|unit| job.part(unit).join(shard_name(0))).collect();
        let are_copies = shards.iter().any(|shard| job.location(shard).is_some());
        Ok(Lists { paths: shards.into_iter().map(path).collect::<Result<_>>()?, are_copies })
    }
}

/// Ranks the documents of all shards of `job`, which are runs of the same queries, by the one order of ranked lists: by
/// score descending, then by id ascending. [`Job::merged`] gets the best `top_k` of each query, by the ids of the
/// queries ascending.
///
/// The ranking is a plan of DataFusion alone, which a scheduler divides among its workers by queries.
///
/// # Errors
/// A shard that can't be read; a full disk; errors of the cluster.
pub(crate) async fn merge_runs(cluster: &Cluster, job: &Job, lists: Lists, top_k: usize) -> Result<()> {
    let context = context(if lists.are_copies { &Cluster::Here } else { cluster }).map_err(|error| plain(&error))?;
    let mut rows = plan(&context, lists.paths, top_k).await.map_err(|error| plain(&error))?;
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

/// A session whose plans run on `cluster`.
pub(crate) fn context(cluster: &Cluster) -> std::result::Result<SessionContext, DataFusionError> {
    let env = runtime_env(None)?;
    let state = match cluster {
        Cluster::Here => return Ok(SessionContext::new_with_config_rt(SessionConfig::new(), env)),
        Cluster::Scheduler(address) => SessionState::new_ballista_state(format!("http://{address}"))?,
    };
    Ok(SessionContext::new_with_state(SessionStateBuilder::new_from_existing(state).with_runtime_env(env).build()))
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
