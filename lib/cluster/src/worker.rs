//! A worker: an executor of Ballista that knows our units of work.

use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;

use ballista_core::config::TaskSchedulingPolicy;
use ballista_executor::executor_process::{ExecutorProcessConfig, start_executor_process};
use hardmine_files::Temporary;
use hardmine_records::{Error, Result};
use hardmine_units::Hands;

use crate::client::runtime;
use crate::codec::Codec;
use crate::stores::runtime_env;

/// What a worker is.
pub struct Worker {
    /// Host and port of the scheduler.
    pub scheduler: String,
    /// The address under which other workers fetch what this one made of tables; and on which it listens.
    pub listen: (IpAddr, u16),
    /// How many units it runs at once.
    pub units: usize,
    /// The device for embed and rank.
    pub device: Option<String>,
    /// How many threads each unit has.
    pub threads: Option<usize>,
    /// The folder of its tables, which are cleared away by and by.
    pub folder: Option<PathBuf>,
}

/// Works for the scheduler until the process is ended.
///
/// # Errors
/// There is no scheduler, or one of another version; the port is not free.
pub fn work(worker: Worker) -> Result<()> {
    let (host, port) = worker.scheduler.rsplit_once(':').unwrap_or((&worker.scheduler, "50050"));
    let (ip, flight) = worker.listen;
    let name = format!("{}:{flight}", hostname());
    let hands = Hands::new(worker.device, worker.threads, name)?;
    // Ballista says only that it could not start, and ends as if all were well.
    TcpListener::bind((ip, flight)).map(drop).map_err(|error| {
        Error::io(SocketAddr::new(ip, flight))(error).hint("--listen ADDRESS:PORT names another port")
    })?;
    // Ballista would make one and remove it before it is used.
    let temporary =
        Temporary::folder(&std::env::temp_dir().join("hardmine-worker")).map_err(Error::io("temporary folder"))?;
    let folder = worker.folder.unwrap_or_else(|| temporary.path().to_owned());
    let folder = folder.to_string_lossy().into_owned();
    let spill = folder.clone();
    let config = ExecutorProcessConfig {
        bind_host: ip.to_string(),
        external_host: (!ip.is_unspecified()).then(|| ip.to_string()),
        port: flight,
        grpc_port: flight,
        scheduler_host: host.to_owned(),
        scheduler_port: port.parse().map_err(Error::at(&worker.scheduler))?,
        // It may be started before its scheduler.
        scheduler_connect_timeout_seconds: 30,
        vcores: worker.units,
        task_scheduling_policy: TaskSchedulingPolicy::PullStaged,
        work_dir: Some(folder),
        job_data_ttl_seconds: 3_600,
        job_data_clean_up_interval_seconds: 600,
        override_physical_codec: Some(Arc::new(Codec::of_worker(hands))),
        override_runtime_producer: Some(Arc::new(move |_| runtime_env(Some(&spill)))),
        ..ExecutorProcessConfig::default()
    };
    runtime()?
        .block_on(start_executor_process(Arc::new(config)))
        .map_err(Error::at(format!("df://{}", worker.scheduler)))
}

fn hostname() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().to_owned()
}
