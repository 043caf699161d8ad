//! Works on the shards that commands with --cluster hand out, or schedules them.

use std::fs::File;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use hardmine_cluster::{Worker, answer, serve, submit, work};
use hardmine_command::{self as command, Common, Report};
use hardmine_files::OutputFile;
use hardmine_records::Error;
use hardmine_units::Cluster;

/// Works on what tokenize, embed, rank, mine-negatives, score and sql hand out with --cluster, or schedules it
///
/// A cluster is one scheduler and any number of workers, on machines that see the same folders under the same paths.
/// The scheduler gives shards to workers, and those of a worker that is gone to others. A worker runs the programs that
/// lie beside it, one process for each shard: what a shard needs of memory is what the program needs for it, and is
/// given back when it is done.
///
/// Nothing is encrypted, and whoever reaches the ports can have the programs run. Keep them within a network that you
/// trust.
#[derive(Parser)]
#[command(
    version,
    after_help = "\
Examples:
  worker --scheduler --listen 10.0.0.1:50050
  worker --cluster df://10.0.0.1:50050 --listen 10.0.0.2 --device cuda:0
  embed --cluster df://10.0.0.1:50050 --model model tokens/ -o vectors/"
)]
pub(crate) struct Args {
    /// Be the scheduler
    #[arg(long, required_unless_present_any = ["cluster", "copy"])]
    #[arg(conflicts_with_all = ["cluster", "units", "device", "threads", "folder"])]
    scheduler: bool,

    /// Work for the scheduler at this address
    #[arg(long, value_name = "df://HOST:PORT")]
    cluster: Option<Cluster>,

    /// Hand in a job instead, which is in this file, and wait for it. Programs with --cluster call worker so
    #[arg(long, value_name = "JOB", requires = "cluster", hide = true)]
    submit: Option<PathBuf>,

    /// Answer a query instead, which is read from standard input as JSON, with an Arrow stream on standard output. sql
    /// calls worker so
    #[arg(long, requires = "cluster", conflicts_with = "submit", hide = true)]
    ask: bool,

    /// Copy this file to --output instead. The rules of make fetch collections from object stores so
    #[arg(long, value_name = "FILE", requires = "output", hide = true)]
    copy: Option<PathBuf>,

    /// Where --copy writes to
    #[arg(short, long, value_name = "FILE", requires = "copy", hide = true)]
    output: Option<PathBuf>,

    /// Address to listen on: of a scheduler, the one that workers and clients connect to (port 50050 if none is given);
    /// of a worker, the one from which others fetch rows that they merge (port 50051 if none is given)
    #[arg(long, value_name = "ADDRESS[:PORT]", default_value = "127.0.0.1", value_parser = address)]
    listen: (IpAddr, Option<u16>),

    /// How many shards to work on at once
    #[arg(long, value_name = "N", default_value = "1")]
    units: NonZeroUsize,

    /// Device for embed and rank: cpu, cuda or cuda:N. Without this option each takes a GPU if there is one. Vectors
    /// that different kinds of devices make differ in their last bits
    #[arg(long)]
    device: Option<String>,

    /// How many threads each shard has. Without this option the programs take all cores
    #[arg(long, value_name = "N")]
    threads: Option<NonZeroUsize>,

    /// Folder for rows that are merged. It is cleared by and by. Without this option it is a temporary one
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,

    #[command(flatten)]
    common: Common,
}

fn main() -> ExitCode {
    command::main(|args: &Args| &args.common, run)
}

fn run(args: Args, _: &mut Report) -> anyhow::Result<()> {
    if let (Some(from), Some(to)) = (&args.copy, &args.output) {
        let mut file = OutputFile::create(to)?;
        let mut source = File::open(from).map_err(Error::io(from.display()))?;
        std::io::copy(&mut source, &mut file).map_err(Error::io(to.display()))?;
        return Ok(file.commit()?);
    }
    let (ip, port) = args.listen;
    if let (Some(job), Some(cluster)) = (&args.submit, &args.cluster) {
        return Ok(submit(cluster, job)?);
    }
    if let (true, Some(cluster)) = (args.ask, &args.cluster) {
        return Ok(answer(cluster, std::io::stdin().lock(), std::io::stdout().lock())?);
    }
    match args.cluster {
        None => serve(SocketAddr::new(ip, port.unwrap_or(50050)))?,
        Some(Cluster::Here) => command::wrong_usage::<Args>("a worker needs a scheduler: df://HOST:PORT".to_owned()),
        Some(Cluster::Scheduler(scheduler)) if ip.is_loopback() && !is_loopback(&scheduler) => {
            let text = format!("is another machine, which can't reach this worker at {ip}");
            let error = Error::new(format!("df://{scheduler}"), text);
            return Err(error.hint("--listen ADDRESS names the address of this machine").into());
        }
        Some(Cluster::Scheduler(scheduler)) => work(Worker {
            scheduler,
            listen: (ip, port.unwrap_or(50051)),
            units: args.units.get(),
            device: args.device,
            threads: args.threads.map(NonZeroUsize::get),
            folder: args.folder,
        })?,
    }
    Ok(())
}

/// Whether this machine is meant by a host and a port.
fn is_loopback(address: &str) -> bool {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host).trim_matches(['[', ']']);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// An address with or without a port.
fn address(text: &str) -> Result<(IpAddr, Option<u16>), String> {
    let alone = || text.trim_matches(['[', ']']).parse::<IpAddr>().map(|ip| (ip, None));
    let whole = |_| text.parse::<SocketAddr>().map(|address| (address.ip(), Some(address.port())));
    alone().or_else(whole).map_err(|_| "expected an IP address, with or without a port".to_owned())
}
