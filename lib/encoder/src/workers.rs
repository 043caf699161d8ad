//! Threads that compute side by side, each on texts of its own.
//!
//! On a CPU this beats giving all threads a share of every product: they wait for each other once a step instead of
//! several hundred times, which matters most when other programs keep some of the cores busy.

use hardmine_records::{Error, Result};
use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};
use tch::Device;

/// As many threads as libtorch would use for one product; on a GPU none but the caller's.
pub struct Workers(Option<ThreadPool>);

impl Workers {
    /// # Errors
    /// The system refuses to start threads.
    pub fn new(device: Device) -> Result<Workers> {
        let threads = usize::try_from(tch::get_num_threads()).unwrap_or(1);
        if device != Device::Cpu || threads < 2 {
            return Ok(Workers(None));
        }
        // Inside a worker a product has one thread.
        let pool = ThreadPoolBuilder::new().num_threads(threads).start_handler(|_| tch::set_num_threads(1)).build();
        Ok(Workers(Some(pool.map_err(Error::at("threads"))?)))
    }

    /// How many there are, at least 1.
    pub fn count(&self) -> usize {
        self.0.as_ref().map_or(1, ThreadPool::current_num_threads)
    }

    /// What `work` makes of each of `items`, in their order.
    pub fn map<T: Send, R: Send>(&self, items: Vec<T>, work: impl Fn(T) -> R + Sync) -> Vec<R> {
        match &self.0 {
            Some(pool) if items.len() > 1 => {
                // One item at a time, for they are few and large.
                pool.install(|| items.into_par_iter().with_max_len(1).map(&work).collect())
            }
            _ => items.into_iter().map(work).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_order_also_when_workers_ask_workers() {
        tch::set_num_threads(3);
        let workers = Workers::new(Device::Cpu).unwrap();
        assert_eq!(workers.count(), 3);
        let squares = |upto: u64| workers.map((0..upto).collect(), |number| number * number);
        let sums = workers.map((0..20).collect(), |upto| squares(upto).iter().sum::<u64>());
        assert_eq!(sums, (0..20).map(|upto| (0..upto).map(|number| number * number).sum()).collect::<Vec<u64>>());
    }
}
