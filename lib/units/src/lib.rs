//! A stage as units of work: commands of ours that make one shard each, on this machine or on others.
//!
//! A [`Job`] is a list of [`Unit`]s in a file. The shard of a unit is named by the digest of all that decides its
//! bytes, and a unit whose shard is there is not made again, so that a job that was cut off goes on where it was.
//! [`run`] has a job done by the program `worker`, [`Hands`] are what runs the command of a unit, and [`assemble`]
//! makes a dataset of the shards.

mod address;
mod assemble;
mod hands;
mod job;
mod job_copies;
mod last;
mod question;
mod run;
mod spokesman;

pub use address::Cluster;
pub use assemble::assemble;
pub use hands::{Failure, Hands};
pub use job::{Job, Unit, check_version, files_of, version};
pub use question::{Answer, Asked, Question, ask};
pub use run::run;
