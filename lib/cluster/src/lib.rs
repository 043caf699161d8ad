//! The stages on many machines: [units of work](hardmine_units) as a plan of DataFusion, which Ballista divides among
//! workers. [`submit`] hands a job to a scheduler, [`work`] is a worker, and [`serve`] is the scheduler.

mod answer;
mod client;
mod codec;
mod merge;
mod plan;
mod scheduler;
mod stores;
mod worker;

pub use answer::answer;
pub use client::submit;
pub use scheduler::serve;
pub use worker::{Worker, work};
