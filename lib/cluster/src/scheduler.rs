//! The scheduler: Ballista's, with our units of work known to it.

use std::net::SocketAddr;
use std::sync::Arc;

use ballista_core::config::TaskSchedulingPolicy;
use ballista_core::utils::default_session_builder;
use ballista_scheduler::cluster::BallistaCluster;
use ballista_scheduler::config::SchedulerConfig;
use ballista_scheduler::scheduler_process::start_server;
use datafusion::execution::session_state::SessionStateBuilder;
use hardmine_records::{Error, Result};

use crate::client::runtime;
use crate::codec::Codec;
use crate::stores::runtime_env;

/// Seconds of silence after which the units of a worker go to others. Workers speak up every five seconds.
const SILENCE: u64 = 20;
/// Seconds between two searches for silent workers.
const LOOK: u64 = 2;
/// Seconds for which jobs wait for a worker when the last one is gone.
const PATIENCE: u64 = 120;
/// How often a unit is tried where workers fail, as by a full disk.
const TRIES: usize = 4;

/// Schedules the work of clients among workers, until the process is ended.
///
/// # Errors
/// The address is not free.
pub fn serve(listen: SocketAddr) -> Result<()> {
    let config = SchedulerConfig {
        bind_host: listen.ip().to_string(),
        bind_port: listen.port(),
        external_host: listen.ip().to_string(),
        // Workers ask for work.
        scheduling_policy: TaskSchedulingPolicy::PullStaged,
        // Clients get the rows of workers through the scheduler, too.
        enable_embedded_flight_proxy: true,
        executor_timeout_seconds: SILENCE,
        expire_dead_executor_interval_seconds: LOOK,
        no_executors_grace_period_seconds: PATIENCE,
        task_max_failures: TRIES,
        override_physical_codec: Some(Arc::new(Codec::default())),
        override_session_builder: Some(Arc::new(|config| {
            let state = default_session_builder(config)?;
            Ok(SessionStateBuilder::new_from_existing(state).with_runtime_env(runtime_env(None)?).build())
        })),
        ..SchedulerConfig::default()
    };
    runtime()?.block_on(async {
        let cluster = BallistaCluster::new_from_config(&config).await.map_err(Error::at("scheduler"))?;
        start_server(cluster, listen, Arc::new(config)).await.map_err(Error::at(listen))
    })
}
